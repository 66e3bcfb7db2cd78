//! A person who has used mcp-memory-service until now moves in: looked at, taken over, followed while the
//! service still writes, compared, and in the end on all laptops.

use super::super::failure::Failure;
use super::laptop::Laptop;
use super::story::{LOOK_EVERY, LOOKS, Story, chapter};
use crate::api::client::Client;
use crate::api::wire::MemoryJson;
use crate::bench::python_database::{PythonDatabase, Release, Row};
use crate::model::id::MemoryId;
use serde_json::Value;
use std::path::Path;

/// Components of the default model's vectors.
const DIMS: usize = 384;
/// When the story's memories were written: 2024-01-01, in seconds.
const THEN: f64 = 1_704_067_200.125;

const KEPT: &str = "The cache is flushed by hand after every release";
const RETAGGED: &str = "Standups are at half past nine, in the small room";
const DELETED: &str = "The old office had a broken lift";
const DELETED_LATER: &str = "Use the second printer until Friday";
const LATER: &str = "The new printer prints on both sides by itself";

/// Tells it; `others` are linked to the account already.
pub(super) fn tell(
    story: &mut Story<'_>,
    laptop: &Laptop,
    others: [&Laptop; 2],
    folder: &Path,
) -> Result<(), Failure> {
    let path = folder.join("sqlite_vec.db");
    let source = written(&path).map_err(broken)?;
    let path = path.to_string_lossy();
    look_and_take_over(story, laptop, &path)?;
    follow(story, laptop, &source, &path)?;
    join_the_others(story, laptop, others)
}

fn broken(error: rusqlite::Error) -> Failure {
    Failure::new(format!("the demo's own database: {error}"))
}

/// What the service would have written.
fn written(path: &Path) -> rusqlite::Result<PythonDatabase> {
    let source = PythonDatabase::create(path, Release::V12, DIMS)?;
    let row = |text: &str, tags: &str| Row {
        tags: Some(tags.to_owned()),
        created_at: THEN,
        updated_at: THEN,
        ..Row::new(text)
    };
    source.add(&row(KEPT, "ops,release"))?;
    source.add(&row(RETAGGED, "team"))?;
    source.add(&row(DELETED_LATER, ""))?;
    source.add(&Row { deleted_at: Some(THEN + 60.0), ..row(DELETED, "") })?;
    Ok(source)
}

fn get(story: &Story<'_>, client: &Client, text: &str) -> Option<MemoryJson> {
    let path = format!("/v1/memories/{}", MemoryId::of(text));
    story.session.block_on(client.get(&path)).ok()
}

fn look_and_take_over(story: &mut Story<'_>, laptop: &Laptop, path: &str) -> Result<(), Failure> {
    chapter("Move in from mcp-memory-service")?;
    let told: Value = serde_json::from_str(&laptop.run(&["migrate", "inspect", path, "--json"])?)?;
    let number = |pointer: &str| told.pointer(pointer).and_then(Value::as_u64);
    story.check("`migrate inspect` counts the living and the deleted", {
        number("/memories/live") == Some(3) && number("/memories/deleted") == Some(1)
    })?;
    laptop.run(&["migrate", "import", path])?;
    let client = laptop.client();
    let kept = get(story, &client, KEPT);
    story.check("a memory comes with its id, tags and time", {
        kept.is_some_and(|memory| {
            memory.tags == ["ops", "release"] && memory.created_at == "2024-01-01T00:00:00.125000Z"
        })
    })?;
    let is_gone = get(story, &client, DELETED).is_none();
    let n_tombstones = story.status(&client)?.store.tombstones;
    story.check("what was deleted there is deleted here", is_gone && n_tombstones == 1)?;
    story.wait_for_vectors(&client)?;
    let found = story.best(&client, "what must be done when software was shipped?")?;
    story.check("and all is found by its meaning", found.as_deref() == Some(KEPT))
}

fn follow(
    story: &mut Story<'_>,
    laptop: &Laptop,
    source: &PythonDatabase,
    path: &str,
) -> Result<(), Failure> {
    laptop.run(&["migrate", "follow", path])?;
    let (conn, now) = (source.conn(), THEN + 3600.0);
    let id = |text: &str| MemoryId::of(text).to_string();
    conn.execute("UPDATE memories SET tags = 'team,room' WHERE content_hash = ?1", [id(RETAGGED)])
        .map_err(broken)?;
    let delete = "UPDATE memories SET deleted_at = ?2 WHERE content_hash = ?1";
    conn.execute(delete, (id(DELETED_LATER), now)).map_err(broken)?;
    let later = Row { created_at: now, updated_at: now, ..Row::new(LATER) };
    source.add(&later).map_err(broken)?;
    let client = laptop.client();
    let is_here = story.comes_true(|story| {
        let tags = get(story, &client, RETAGGED).map(|memory| memory.tags);
        tags.is_some_and(|tags| tags == ["room", "team"])
            && get(story, &client, DELETED_LATER).is_none()
            && get(story, &client, LATER).is_some()
    });
    story.check("the service goes on writing, and every change is taken over", is_here)?;
    story.wait_for_vectors(&client)?;
    let verified = laptop.run(&["migrate", "verify", path]);
    story.check("both sides agree in every memory and field", verified.is_ok())?;
    laptop.run(&["migrate", "finish"])?;
    let is_finished = story.status(&client)?.migration.state == "finished";
    story.check("`migrate finish` ends the move", is_finished)
}

fn join_the_others(
    story: &mut Story<'_>,
    laptop: &Laptop,
    others: [&Laptop; 2],
) -> Result<(), Failure> {
    laptop.run(&["cloud", "link", "--yes"])?;
    laptop.run(&["cloud", "sync", "--timeout", "120"])?;
    let mut n_joined = 0;
    for other in others {
        other.run(&["cloud", "sync", "--timeout", "120"])?;
        let client = other.client();
        let is_there = get(story, &client, LATER).is_some() && get(story, &client, KEPT).is_some();
        let is_gone = get(story, &client, DELETED_LATER).is_none();
        n_joined += usize::from(is_there && is_gone);
    }
    story.check("linked, it brings them to the other laptops too", n_joined == others.len())
}

impl Story<'_> {
    /// Looks for something until it is there, for a minute.
    fn comes_true(&self, is_there: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..LOOKS {
            if is_there(self) {
                return true;
            }
            self.session.pause(LOOK_EVERY);
        }
        false
    }
}
