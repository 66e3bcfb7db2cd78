//! What is promised, scenario by scenario: steps that lose or damage memories in other programs. Judged
//! by the account's tables, bucket and index and by the databases of the devices, not by messages.

mod budget;
mod conflicts;
mod deletions;
mod hostile;
mod judge;
mod neighbour;
mod outages;
mod python;
mod reads;
mod restores;

use super::World;
use super::devices::{another, converge, two};
use memtide::model::draft::{Author, Patch};
use memtide::model::id::MemoryId;
use serde_json::Value;

/// Sets metadata as a client does; the keys that aren't named stay.
async fn annotate(world: &World, id: MemoryId, metadata: Value) {
    let patch = Patch::check(None, None, None, Some(&metadata), Author::default(), 1).unwrap();
    world.patch(id, patch).await;
}

async fn metadata(world: &World, id: MemoryId) -> String {
    Value::from(world.get(id).await.metadata).to_string()
}

async fn is_alive(world: &World, id: MemoryId) -> bool {
    let found = world.store.read(move |read| memtide::store::memory::get(read, &id)).await;
    found.is_ok_and(|memory| memory.deleted_at.is_none())
}

/// The texts of the living rows, sorted.
fn rows_alive(world: &World) -> Vec<String> {
    world.rows("SELECT content FROM memories WHERE deleted_at IS NULL ORDER BY content")
}
