//! Memories that say the same under different ids. An id is made from the text, so that there are none but
//! those that came from elsewhere: the Python service once made its ids from the metadata too.

use super::error::StoreError;
use super::memory;
use super::reader::Read;
use crate::model::id::MemoryId;
use crate::model::memory::Memory;
use std::collections::BTreeMap;

/// Groups of memories that a search may find and whose texts make the same id, at most `limit`. First in a
/// group is the one to keep: the one that a new store of the text would meet, else the oldest.
///
/// # Errors
/// The database refused.
pub fn groups(read: &Read<'_>, limit: usize) -> Result<Vec<Vec<Memory>>, StoreError> {
    let mut groups = Vec::new();
    for (id, strangers) in strangers(read)? {
        let mut group = Vec::new();
        for key in strangers {
            group.extend(memory::by_key(read, key)?);
        }
        group.sort_by_key(|memory| (memory.created_at, memory.id));
        match memory::get(read, &id) {
            Ok(native) if native.deleted_at.is_none() && native.superseded_by.is_none() => {
                // A memory under the id of another text's says something else.
                if MemoryId::of(&native.content) == id {
                    group.insert(0, native);
                }
            }
            Ok(_) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        if group.len() > 1 {
            groups.push(group);
        }
        if groups.len() >= limit {
            break;
        }
    }
    Ok(groups)
}

/// The keys of memories whose id is not made from their text, by the id that would be.
fn strangers(read: &Read<'_>) -> Result<BTreeMap<MemoryId, Vec<i64>>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT key, id, content FROM memory
         WHERE deleted_at IS NULL AND superseded_by IS NULL AND content IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    let mut strangers: BTreeMap<MemoryId, Vec<i64>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let made = MemoryId::of(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?);
        if made.to_string() != row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? {
            strangers.entry(made).or_default().push(row.get(0)?);
        }
    }
    Ok(strangers)
}
