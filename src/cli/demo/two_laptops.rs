//! Two laptops edit and delete the same memories while the network is cut, and agree afterwards.

use super::super::failure::Failure;
use super::laptop::Laptop;
use super::story::{Story, TEXTS, chapter};
use crate::api::client::{Client, ClientError};
use crate::api::wire::{ListAnswer, MemoryJson};
use crate::model::id::MemoryId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Memories of a page of a list: the most that one brings.
const PAGE_SIZE: u64 = 100;

/// Tells it; the first laptop is linked already.
pub(super) fn tell(
    story: &mut Story<'_>,
    database: &str,
    first: &Laptop,
    second: &Laptop,
) -> Result<(), Failure> {
    a_second_laptop_joins(story, first, second)?;
    both_write_while_the_network_is_cut(story, first, second)?;
    they_agree(story, database, first, second)
}

fn path(text: &str) -> String {
    format!("/v1/memories/{}", MemoryId::of(text))
}

fn get(story: &Story<'_>, client: &Client, text: &str) -> Result<MemoryJson, ClientError> {
    story.session.block_on(client.get(&path(text)))
}

fn edit(story: &Story<'_>, laptop: &Laptop, text: &str, patch: &Value) -> Result<(), Failure> {
    let client = laptop.client();
    let _changed: MemoryJson = story.session.block_on(client.patch(&path(text), patch))?;
    Ok(())
}

/// Every living memory as it is shown, without what is each laptop's own.
fn all(story: &Story<'_>, laptop: &Laptop) -> Result<BTreeSet<String>, Failure> {
    let (client, mut found) = (laptop.client(), BTreeSet::new());
    for page in 1_u64.. {
        let path = format!("/v1/memories?page={page}&page_size={PAGE_SIZE}");
        let list: ListAnswer = story.session.block_on(client.get(&path))?;
        for one in list.memories {
            let shown = (one.id, one.content, one.tags, one.memory_type, one.metadata);
            found.insert(format!("{shown:?}"));
        }
        if !list.has_more {
            break;
        }
    }
    Ok(found)
}

fn sync(laptop: &Laptop) -> Result<(), Failure> {
    laptop.run(&["cloud", "sync", "--timeout", "120"]).map(|_| ())
}

fn a_second_laptop_joins(
    story: &mut Story<'_>,
    first: &Laptop,
    second: &Laptop,
) -> Result<(), Failure> {
    chapter("A second laptop joins")?;
    let own = "The second laptop had a memory before it was linked";
    story.store(&second.client(), own)?;
    second.run(&["cloud", "link", "--yes"])?;
    sync(second)?;
    sync(first)?;
    let (here, there) = (all(story, first)?, all(story, second)?);
    story.check("both hold the same memories", here == there && here.len() > TEXTS.len())?;
    let n_tombstones = story.status(&second.client())?.store.tombstones;
    story.check("what was deleted before stays deleted here too", n_tombstones >= 1)?;
    let joined = get(story, &first.client(), own).is_ok();
    story.check("and the first laptop has what the second one brought", joined)?;
    story.wait_for_vectors(&second.client())?;
    let found = story.best(&second.client(), "rounding of amounts on bills")?;
    story.check(
        "a memory of the first laptop is found by its meaning on the second",
        found.as_deref() == Some(TEXTS[3]),
    )
}

fn both_write_while_the_network_is_cut(
    story: &mut Story<'_>,
    first: &Laptop,
    second: &Laptop,
) -> Result<(), Failure> {
    chapter("Cut the network, and edit and delete on both")?;
    story.cloud.core().set_network(false);
    edit(story, first, TEXTS[1], &json!({"tags": ["demo", "style"]}))?;
    edit(
        story,
        second,
        TEXTS[1],
        &json!({"memory_type": "preference", "metadata": {"by": "second"}}),
    )?;
    edit(story, first, TEXTS[2], &json!({"memory_type": "fact"}))?;
    edit(story, second, TEXTS[2], &json!({"memory_type": "operations"}))?;
    second.run(&["delete", &MemoryId::of(TEXTS[3]).to_string(), "--yes"])?;
    edit(story, first, TEXTS[3], &json!({"tags": ["demo", "tax"]}))?;
    story.store(&first.client(), "Written on the first laptop without a network")?;
    story.store(&second.client(), "Written on the second laptop without a network")?;
    let differ = all(story, first)? != all(story, second)?;
    story.check("the laptops hold different memories now", differ)?;
    let healthy = story.status(&first.client())?.healthy && story.status(&second.client())?.healthy;
    story.check("and both are healthy: nothing is late yet", healthy)
}

fn they_agree(
    story: &mut Story<'_>,
    database: &str,
    first: &Laptop,
    second: &Laptop,
) -> Result<(), Failure> {
    chapter("Reconnect both")?;
    story.cloud.core().set_network(true);
    // The second one meets what the first one brought; the first one then reads what came of it.
    for laptop in [first, second, first] {
        sync(laptop)?;
    }
    let (here, there) = (all(story, first)?, all(story, second)?);
    story.check("both hold the same memories again", here == there)?;
    let joined = get(story, &first.client(), TEXTS[1])?;
    story.check("edits of different parts of one memory are both there", {
        joined.tags == ["demo", "style"]
            && joined.memory_type == "preference"
            && joined.metadata.get("by") == Some(&json!("second"))
    })?;
    let kind = get(story, &first.client(), TEXTS[2])?.memory_type;
    story.check("of two edits of the same part the later one holds", kind == "operations")?;
    let history = first.run(&["history", &MemoryId::of(TEXTS[2]).to_string(), "--json"])?;
    story.check("and the other one is in the history", history.contains("fact"))?;
    let is_gone = |laptop: &Laptop| get(story, &laptop.client(), TEXTS[3]).is_err();
    let is_gone = is_gone(first) && is_gone(second);
    story.check("a deletion beats an edit that did not know of it", is_gone)?;
    let dead = story.ids_in_cloud(database, "deleted_at IS NOT NULL")?;
    let is_dead = dead.contains(&MemoryId::of(TEXTS[3]).to_string());
    story.check("in the database too", is_dead)?;
    let alive = story.ids_in_cloud(database, "deleted_at IS NULL")?;
    story.check("where everything else is, once", alive.len() == here.len())?;
    let verified = first.run(&["cloud", "verify"]);
    story.check("`cloud verify` finds no difference", verified.is_ok())?;
    let statuses = [story.status(&first.client())?, story.status(&second.client())?];
    story.check("nothing is owed, and both are healthy", {
        statuses.iter().all(|one| one.healthy && one.replication.outbox.pending == 0)
    })
}
