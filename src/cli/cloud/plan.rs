//! `memtide cloud plan`: what linking would do, before it is done. Nothing is created or changed.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use super::{account, token};
use crate::api::audit::{FactsJson, LocalAnswer};
use crate::model::id::MemoryId;
use crate::remote::contract::Contract;
use crate::remote::provision::{self, Bucket, DatabaseName, Inventory, Names};
use crate::replicate::linking;
use crate::replicate::preview::{self, Cloud, Comparison, Cost, FREE_COMPONENTS, Here, Load};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// What is known before linking.
struct Plan {
    account: String,
    names: Names,
    found: Inventory,
    contract: Option<Contract>,
    is_by_ai: bool,
    facts: FactsJson,
    cloud: Cloud,
    counts: Comparison,
    cost: Cost,
    /// Why linking would be refused.
    obstacles: Vec<String>,
}

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let plan = make(session)?;
    if args.json {
        output::json(&plan.json())?;
    } else {
        plan.print()?;
    }
    Ok(if plan.obstacles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn make(session: &Session) -> Result<Plan, Failure> {
    let remote = account::client(session, token::demanded(session, None)?)?;
    let names = account::names(session);
    let found = session.block_on(provision::inspect(&remote, &names))?;
    let local = session.embedder_options()?.model.space();
    let (facts, here) = this_device(session)?;
    let cloud = match &found.database {
        Some(database) => {
            session.block_on(preview::look(&remote, &database.uuid, &found.schema))?
        }
        None => Cloud::default(),
    };
    let mut obstacles = Vec::new();
    let (DatabaseName::Id(database) | DatabaseName::Name(database)) = &names.database;
    if found.database.is_none() {
        obstacles.push(format!("there is no database {database}: `memtide cloud init` makes one"));
    }
    let contract = match &found.index {
        None => {
            let index = &names.index;
            obstacles.push(format!("there is no index {index}: `memtide cloud init` makes one"));
            Contract::local(local.clone())
        }
        Some(index) => match linking::agreed(&found, index, &local) {
            Ok(contract) => Some(contract),
            Err(refusal) => {
                obstacles.push(refusal.to_string());
                None
            }
        },
    };
    let has_bucket = found.bucket == Bucket::Exists;
    if facts.n_long_texts > 0 && !has_bucket {
        obstacles.push(format!(
            "{} too long for a row and need a bucket: `memtide cloud init` makes one where R2 is enabled",
            output::counted(facts.n_long_texts, "text is", "texts are")
        ));
    }
    let is_by_ai = contract.as_ref().is_some_and(|contract| !contract.takes(&local));
    let counts = preview::compare(&here, &cloud);
    let cost = Cost::of(&load(&facts, &counts, contract.as_ref(), is_by_ai));
    let account = remote.account().to_owned();
    Ok(Plan { account, names, found, contract, is_by_ai, facts, cloud, counts, cost, obstacles })
}

/// What the daemon says of the store.
fn this_device(session: &Session) -> Result<(FactsJson, BTreeMap<MemoryId, Here>), Failure> {
    let client = session.client()?;
    let inline = session.settings().cloudflare.large_content_threshold;
    let (mut facts, mut here, mut after) = (None, BTreeMap::new(), Some(0));
    while let Some(from) = after {
        let path = format!("/v1/cloud/local?after={from}&inline_bytes={inline}");
        let page: LocalAnswer = session.block_on(client.get(&path))?;
        facts = facts.or(page.facts);
        for memory in page.memories {
            let id = memory.id.parse().map_err(Failure::new)?;
            let is_alive = memory.alive;
            here.insert(id, Here { digest: memory.digest, shown: memory.shown, is_alive });
        }
        after = page.next;
    }
    let facts = facts.ok_or_else(|| Failure::new("the daemon said nothing of its store"))?;
    Ok((facts, here))
}

/// The share of the store that the cloud doesn't hold yet.
fn load(
    facts: &FactsJson,
    counts: &Comparison,
    contract: Option<&Contract>,
    is_by_ai: bool,
) -> Load {
    let living = counts.only_local + counts.differing + counts.deleted_there;
    let living = living.min(facts.memories);
    let share = |of: u64| (of * living).div_ceil(facts.memories.max(1));
    Load {
        living,
        dead: counts.only_local_deleted,
        entries: counts.same_without_entry + counts.only_cloud,
        tag_links: share(facts.tag_links),
        tags: share(facts.tags),
        text_bytes: share(facts.text_bytes),
        bodies: share(facts.n_long_texts),
        vectors: share(facts.findable),
        dims: contract.and_then(|contract| u64::try_from(contract.dims).ok()).unwrap_or(0),
        is_by_ai,
    }
}

impl Plan {
    fn has_triggers(&self) -> bool {
        !self.found.schema.missing().iter().any(|name| name.starts_with("mt_t"))
    }

    fn fits_free_plan(&self) -> bool {
        let dims = self.contract.as_ref().and_then(|c| u64::try_from(c.dims).ok()).unwrap_or(0);
        self.found.vectors * dims + self.cost.components <= FREE_COMPONENTS
    }

    fn json(&self) -> Value {
        let (DatabaseName::Id(database) | DatabaseName::Name(database)) = &self.names.database;
        let long: Vec<Value> = self
            .facts
            .long_texts
            .iter()
            .map(|text| json!({"id": text.id, "bytes": text.bytes}))
            .collect();
        json!({
            "account": self.account,
            "database": {
                "name": database,
                "id": self.found.database.as_ref().map(|database| &database.uuid),
                "found": self.found.database.is_some(),
                "missing": self.found.schema.missing(),
                "triggers": self.has_triggers(),
            },
            "index": {
                "name": self.names.index,
                "found": self.found.index.is_some(),
                "vectors": self.found.vectors,
            },
            "bucket": {
                "name": self.names.bucket,
                "found": self.found.bucket == Bucket::Exists,
                "enabled": !matches!(self.found.bucket, Bucket::NotEnabled(_)),
            },
            "embedding": {
                "space": self.contract.as_ref().map(|contract| contract.space.as_str()),
                "dimensions": self.contract.as_ref().map(|contract| contract.dims),
                "made_by": if self.is_by_ai { "workers_ai" } else { "device" },
            },
            "memories": {
                "only_local": self.counts.only_local,
                "only_local_deleted": self.counts.only_local_deleted,
                "only_cloud": self.counts.only_cloud,
                "only_cloud_deleted": self.counts.only_cloud_deleted,
                "same": self.counts.same,
                "differing": self.counts.differing,
                "deleted_here": self.counts.deleted_here,
                "deleted_there": self.counts.deleted_there,
                "complete": !self.cloud.is_cut,
            },
            "long_texts": {"count": self.facts.n_long_texts, "first": long},
            "backfill": {
                "rows_written": self.cost.rows,
                "requests": self.cost.requests,
                "neurons": self.cost.neurons,
                "free_plan_days": self.cost.free_days(),
                "free_plan_holds_the_vectors": self.fits_free_plan(),
            },
            "obstacles": self.obstacles,
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let (DatabaseName::Id(database) | DatabaseName::Name(database)) = &self.names.database;
        let missing = self.found.schema.missing().len();
        let tables = match (&self.found.database, missing) {
            (None, _) => "not there".to_owned(),
            (Some(_), 0) => "there, with memtide's tables".to_owned(),
            (Some(_), n) if self.has_triggers() => format!("there; linking makes {n} tables"),
            (Some(_), n) => format!("there; linking makes {n} tables, indexes and triggers"),
        };
        output::line(&format!("database   {database}, {tables}"))?;
        let index = match &self.found.index {
            None => "not there".to_owned(),
            Some(_) => output::counted(self.found.vectors, "vector", "vectors"),
        };
        output::line(&format!("index      {}, {index}", self.names.index))?;
        output::line(&format!("bucket     {}", self.bucket()))?;
        if let Some(contract) = &self.contract {
            let by = if self.is_by_ai { "Workers AI" } else { "this device" };
            output::line(&format!("vectors    {}, made by {by}", contract.space))?;
        }
        let counts = &self.counts;
        let least = if self.cloud.is_cut { "at least " } else { "" };
        output::line(&format!(
            "memories   {} only here, {least}{} only there, {} the same, {} differing",
            counts.only_local, counts.only_cloud, counts.same, counts.differing
        ))?;
        output::line(&format!(
            "deletions  {} known only here, {} only there; {} deleted here and alive there, {} the other way round",
            counts.only_local_deleted,
            counts.only_cloud_deleted,
            counts.deleted_here,
            counts.deleted_there
        ))?;
        self.print_cost()?;
        for text in &self.facts.long_texts {
            let id = text.id.get(..output::SHORT_ID).unwrap_or(&text.id);
            output::line(&format!("long text  {id}, {} bytes", text.bytes))?;
        }
        for obstacle in &self.obstacles {
            output::note(obstacle);
        }
        if self.obstacles.is_empty() {
            output::note(
                "next: `memtide cloud link`; both sides are merged, and nothing is deleted",
            );
        }
        Ok(())
    }

    fn print_cost(&self) -> Result<(), Failure> {
        let cost = &self.cost;
        let minutes = cost.budget_time().as_secs() / 60;
        let neurons =
            if cost.neurons == 0 { String::new() } else { format!(", {} neurons", cost.neurons) };
        output::line(&format!(
            "upload     about {} rows{neurons} in {}, {minutes} min of memtide's request budget",
            cost.rows,
            output::counted(cost.requests, "request", "requests"),
        ))?;
        let days = output::counted(cost.free_days(), "day", "days");
        let fits = if self.fits_free_plan() {
            "holds the vectors"
        } else {
            "doesn't hold so many vectors"
        };
        output::line(&format!("free plan  takes {days}, {fits}"))
    }

    fn bucket(&self) -> String {
        let name = self.names.bucket.as_deref().unwrap_or("none");
        match (&self.found.bucket, self.facts.n_long_texts) {
            (Bucket::Exists, 0) => format!("{name}, there"),
            (Bucket::Exists, n) => format!("{name}, there, for {n} long texts"),
            (Bucket::NotEnabled(_), _) => "R2 is not enabled on this account".to_owned(),
            (Bucket::Missing, _) => format!("{name}, not there"),
            (Bucket::NotWanted, _) => "none".to_owned(),
        }
    }
}
