//! The verdict: every device and the account hold the same memories, each once, whole.

use crate::World;
use crate::devices::held;
use memtide::model::state::State;
use memtide::model::state_text;
use memtide::store::transfer::{self, Record};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the Python service counts in the metadata at every search.
const COUNTED: [&str; 4] = ["access_count", "access_queries", "last_accessed", "last_accessed_at"];

/// Nothing is owed, nothing is set aside, and devices and account hold the same.
pub(super) async fn all_hold_the_same(worlds: &[&World]) {
    let first = worlds[0];
    let expected = held(first).await;
    for (n, world) in worlds.iter().enumerate() {
        assert_eq!(held(world).await, expected, "device {n} holds something else than device 0");
        let counts = world.counts().await;
        assert_eq!(
            (counts.pending_by_product[0], counts.pending_by_product[1], counts.parked),
            (0, 0, 0),
            "device {n} owes {:?}",
            world.entries().await
        );
        let aside = world.store.read(|read| memtide::store::pull::quarantined(read, 9)).await;
        assert_eq!(aside.unwrap().0, [], "device {n} has set something aside");
    }
    let records = first.store.read(|read| transfer::page(read, 0, 100_000, usize::MAX)).await;
    check_account(first, &records.unwrap().0);
}

fn check_account(world: &World, records: &[Record]) {
    let mut entries: Vec<String> = records
        .iter()
        .map(|one| {
            let state = state_text::write(&one.state);
            format!("{}|{state}|{}", one.id, state_text::digest(&one.id, &state))
        })
        .collect();
    entries.sort_unstable();
    let found = world.rows("SELECT id AS a, state AS b, dg AS c FROM mt_entry ORDER BY id");
    assert_eq!(found, entries, "the states in the account are others than those of the devices");
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in world.rows(
        "SELECT json_array(m.content_hash, m.content, m.memory_type, m.metadata_json, m.tags,
           (SELECT group_concat(name, ',') FROM (SELECT t.name FROM memory_tags x
              JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = m.id ORDER BY t.name)),
           m.r2_key, m.vector_id) FROM memories m WHERE m.deleted_at IS NULL",
    ) {
        let cells: Vec<Value> = serde_json::from_str(&line).unwrap();
        let text = |cell: &Value| cell.as_str().unwrap_or_default().to_owned();
        let mut cells = cells.iter().map(text);
        let id = cells.next().unwrap();
        assert!(rows.insert(id.clone(), cells.collect()).is_none(), "two rows of {id}");
    }
    for one in records.iter().filter(|one| one.state.is_alive()) {
        let id = one.id.to_string();
        let row = rows.remove(&id).unwrap_or_else(|| panic!("no living row of {id}"));
        check_row(world, one, &row);
    }
    assert!(rows.is_empty(), "rows live whose memories are dead: {rows:?}");
    assert_eq!(world.rows("SELECT count(*) FROM mt_stage"), ["0"]);
    let twice = "SELECT id FROM mt_feed GROUP BY id HAVING count(*) > 1";
    assert!(world.rows(twice).is_empty());
}

fn check_row(world: &World, one: &Record, row: &[String]) {
    let [content, kind, metadata, tags, joined, r2_key, vector] = row else { panic!("{row:?}") };
    let id = one.id.to_string();
    let text = one.content.as_deref().unwrap();
    if r2_key.is_empty() {
        assert_eq!(content, text, "{id}");
    } else {
        assert_eq!(*content, format!("[R2 Content: {r2_key}]"), "{id}");
        let body = world.account.core().object("bodies", r2_key).unwrap();
        assert_eq!(body.expect("a living row has its body"), text.as_bytes(), "{id}");
    }
    let live: Vec<&str> = one.state.live_tags().into_iter().collect();
    assert_eq!((kind, vector), (&one.state.kind.value, &id));
    assert_eq!((tags, joined), (&live.join(","), &live.join(",")), "tags of {id}");
    let shown: Map<String, Value> = serde_json::from_str(metadata).unwrap();
    let shown: Map<String, Value> =
        shown.into_iter().filter(|(key, _)| !COUNTED.contains(&key.as_str())).collect();
    assert_eq!(shown, expected_metadata(&one.state), "metadata of {id}");
}

fn expected_metadata(state: &State) -> Map<String, Value> {
    let live = state.live_metadata().into_iter();
    let live = live.filter(|(key, _)| !COUNTED.contains(key));
    let mut fields: Map<String, Value> =
        live.map(|(key, value)| (key.to_owned(), serde_json::from_str(value).unwrap())).collect();
    if let Some(successor) = state.superseded_by.value {
        fields.insert("superseded_by".to_owned(), successor.to_string().into());
    }
    fields
}
