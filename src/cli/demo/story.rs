//! The story, step by step. A check that doesn't hold ends it.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::laptop::Laptop;
use super::{moving_in, two_laptops};
use crate::api::client::{Client, ClientError};
use crate::api::status::StatusJson;
use crate::api::wire::{
    ListAnswer, MemoryJson, SearchAnswer, SearchRequest, StoreAnswer, StoreRequest,
};
use crate::emulator::server::Running;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

pub(super) const TEXTS: [&str; 5] = [
    "We deploy with blue-green releases so that a bad build can be rolled back at once",
    "Ann prefers tabs over spaces in Python files",
    "The staging database is restored from production every Sunday night",
    "Invoices are rounded per line, not per total, because the tax office asked for it",
    "The login page must keep working without JavaScript",
];
/// The tag of every memory of the story.
const TAG: &str = "demo";
/// Stores before the daemon is killed, at least.
const STORES_BEFORE_KILL: usize = 60;

pub(super) fn chapter(title: &str) -> Result<(), Failure> {
    output::line(&format!("\n{title}"))
}

/// Between two looks at the daemon.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks until the story gives up: a minute.
pub(super) const LOOKS: u32 = 1200;

pub(super) struct Story<'a> {
    pub(super) session: &'a Session,
    pub(super) cloud: &'a Running,
    n_checks: usize,
}

/// Tells it. Returns how many checks held.
pub(super) fn tell(session: &Session, folder: &Path, cloud: &Running) -> Result<usize, Failure> {
    let mut story = Story { session, cloud, n_checks: 0 };
    let mut laptop = Laptop::new(session, folder, "first", cloud)?;
    let mut acknowledged = story.store_and_find(&laptop)?;
    let database = story.link(&laptop)?;
    story.cut_the_network(&laptop, &mut acknowledged)?;
    story.kill_while_writing(&mut laptop, &mut acknowledged)?;
    story.reconnect(&laptop, &database, &acknowledged)?;
    story.delete(&laptop, &database, &acknowledged)?;
    let second = Laptop::new(session, folder, "second", cloud)?;
    two_laptops::tell(&mut story, &database, &laptop, &second)?;
    let third = Laptop::new(session, folder, "third", cloud)?;
    moving_in::tell(&mut story, &third, [&laptop, &second], folder)?;
    for laptop in [laptop, second, third] {
        laptop.run(&["down"])?;
    }
    Ok(story.n_checks)
}

impl Story<'_> {
    pub(super) fn check(&mut self, what: &str, holds: bool) -> Result<(), Failure> {
        if !holds {
            return Err(Failure::new(format!("a check of the demo doesn't hold: {what}")));
        }
        self.n_checks += 1;
        output::line(&format!("  ok  {what}"))
    }

    pub(super) fn store(&self, client: &Client, content: &str) -> Result<String, Failure> {
        let request = StoreRequest {
            content: content.to_owned(),
            tags: vec![TAG.to_owned()],
            ..StoreRequest::default()
        };
        let answer: StoreAnswer = self.session.block_on(client.post("/v1/memories", &request))?;
        Ok(answer.id)
    }

    pub(super) fn best(&self, client: &Client, query: &str) -> Result<Option<String>, Failure> {
        let request = SearchRequest { query: query.to_owned(), ..SearchRequest::default() };
        let answer: SearchAnswer = self.session.block_on(client.post("/v1/search", &request))?;
        Ok(answer.hits.first().map(|hit| hit.memory.content.clone()))
    }

    /// Waits until every memory has its vector; a killed daemon loads its model anew.
    pub(super) fn wait_for_vectors(&self, client: &Client) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            let status = self.status(client)?;
            if status.embedder.state == "ready" && status.store.unembedded == 0 {
                return Ok(());
            }
            self.session.pause(LOOK_EVERY);
        }
        Err(Failure::new("the model doesn't load"))
    }

    pub(super) fn status(&self, client: &Client) -> Result<StatusJson, Failure> {
        Ok(self.session.block_on(client.get("/v1/status"))?)
    }

    /// A column of text from the emulated database, as the Python service would read it.
    pub(super) fn column(&self, database: &str, sql: &str) -> Result<Vec<String>, Failure> {
        let rows = self.cloud.core().d1_rows(database, sql).map_err(Failure::new)?;
        let text = |value| match value {
            Sql::Text(text) => Some(text),
            _ => None,
        };
        Ok(rows.into_iter().flat_map(BTreeMap::into_values).filter_map(text).collect())
    }

    pub(super) fn ids_in_cloud(
        &self,
        database: &str,
        condition: &str,
    ) -> Result<Vec<String>, Failure> {
        self.column(database, &format!("SELECT content_hash FROM memories WHERE {condition}"))
    }

    fn store_and_find(&mut self, laptop: &Laptop) -> Result<BTreeSet<String>, Failure> {
        chapter("Store and find")?;
        let client = laptop.client();
        let mut acknowledged = BTreeSet::new();
        for text in TEXTS {
            acknowledged.insert(self.store(&client, text)?);
        }
        self.check(
            "five texts are stored, each with its own id",
            acknowledged.len() == TEXTS.len(),
        )?;
        self.wait_for_vectors(&client)?;
        let found = self.best(&client, "how do we ship software safely?")?;
        self.check("a question finds the text by its meaning", found.as_deref() == Some(TEXTS[0]))?;
        let again = self.store(&client, TEXTS[1])?;
        self.check("storing a text twice makes no second memory", acknowledged.contains(&again))?;
        Ok(acknowledged)
    }

    fn link(&mut self, laptop: &Laptop) -> Result<String, Failure> {
        chapter("Link the cloud")?;
        let made = laptop.run(&["cloud", "init", "--yes", "--json"])?;
        let made: Value = serde_json::from_str(&made)?;
        let database = made.pointer("/database/id").and_then(Value::as_str).unwrap_or_default();
        self.check("`cloud init` has made a database", !database.is_empty())?;
        laptop.run(&["cloud", "link", "--yes"])?;
        laptop.run(&["cloud", "sync", "--timeout", "60"])?;
        let ids = self.ids_in_cloud(database, "deleted_at IS NULL")?;
        self.check("every memory is in the database", ids.len() == TEXTS.len())?;
        let status = self.status(&laptop.client())?;
        self.check("nothing is pending and status is healthy", {
            status.replication.outbox.pending == 0 && status.healthy
        })?;
        Ok(database.to_owned())
    }

    fn cut_the_network(
        &mut self,
        laptop: &Laptop,
        acknowledged: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        chapter("Cut the network")?;
        self.cloud.core().set_network(false);
        let client = laptop.client();
        for n in 1..=20 {
            acknowledged
                .insert(self.store(&client, &format!("Offline note {n}: the train was late"))?);
        }
        let found = self.best(&client, "delayed railway")?;
        self.check("writing and finding go on", found.is_some_and(|text| text.contains("train")))?;
        let status = self.status(&client)?;
        self.check("the writes wait in the outbox", status.replication.outbox.pending >= 20)?;
        self.check("being offline is no fault yet", status.healthy)
    }

    fn kill_while_writing(
        &mut self,
        laptop: &mut Laptop,
        acknowledged: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        chapter("Kill the daemon while it writes")?;
        let (acks, acked) = std::sync::mpsc::channel();
        let writer = write_until_it_fails(laptop.client(), acks);
        let before: Vec<String> = acked.iter().take(STORES_BEFORE_KILL).collect();
        laptop.kill()?;
        let n_before = before.len();
        acknowledged.extend(before.into_iter().chain(acked));
        let is_cut_off = writer.join().is_ok_and(|outcome| outcome.is_err());
        self.check("the daemon was killed under its writer", {
            n_before == STORES_BEFORE_KILL && is_cut_off
        })?;
        laptop.start()?;
        let client = laptop.client();
        let mut n_found = 0;
        for id in &*acknowledged {
            let memory: MemoryJson =
                self.session.block_on(client.get(&format!("/v1/memories/{id}")))?;
            n_found += usize::from(memory.tags == [TAG]);
        }
        self.check(
            "every acknowledged memory is back, with its tag",
            n_found == acknowledged.len(),
        )?;
        let list: ListAnswer = self.session.block_on(client.get("/v1/memories?page_size=1"))?;
        let total = usize::try_from(list.total).unwrap_or(usize::MAX);
        self.check("and none of them twice", total == acknowledged.len())?;
        let pending = self.status(&client)?.replication.outbox.pending;
        self.check("the duties to the cloud are back too", pending >= 20)
    }

    fn reconnect(
        &mut self,
        laptop: &Laptop,
        database: &str,
        acknowledged: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        chapter("Reconnect")?;
        self.cloud.core().set_network(true);
        laptop.run(&["cloud", "sync", "--timeout", "120"])?;
        let ids = self.ids_in_cloud(database, "deleted_at IS NULL")?;
        let distinct: BTreeSet<String> = ids.iter().cloned().collect();
        self.check("nothing is lost", distinct == *acknowledged)?;
        self.check("nothing is there twice", ids.len() == distinct.len())?;
        let tags = self.column(
            database,
            "SELECT m.content_hash FROM memory_tags t JOIN memories m ON m.id = t.memory_id",
        )?;
        self.check("every memory has its tag there", tags.len() == acknowledged.len())?;
        let status = self.status(&laptop.client())?;
        self.check("status is healthy and nothing is pending", {
            status.healthy && status.replication.outbox.pending == 0
        })
    }

    fn delete(
        &mut self,
        laptop: &Laptop,
        database: &str,
        acknowledged: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        chapter("Delete")?;
        let Some(id) = acknowledged.first() else { return Ok(()) };
        laptop.run(&["delete", id, "--yes"])?;
        laptop.run(&["cloud", "sync", "--timeout", "60"])?;
        let dead = self.ids_in_cloud(database, "deleted_at IS NOT NULL")?;
        self.check("the deletion is in the cloud", dead == [id.clone()])?;
        let gone = laptop.run(&["get", id]);
        self.check("and the memory is gone here", gone.is_err())
    }
}

/// Stores one text after the other on a thread of its own, and tells of each that was acknowledged. Ends
/// with the error that ended it.
fn write_until_it_fails(
    client: Client,
    acks: Sender<String>,
) -> JoinHandle<Result<(), ClientError>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        for n in 0_u64.. {
            let content = format!("Note {n} written while the power fails");
            let request =
                StoreRequest { content, tags: vec![TAG.to_owned()], ..Default::default() };
            let answer: StoreAnswer =
                runtime.block_on(async { client.post("/v1/memories", &request).await })?;
            if acks.send(answer.id).is_err() {
                break;
            }
        }
        Ok(())
    })
}
