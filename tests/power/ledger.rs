//! What was acknowledged, in the words of the one who asked for it.

use crate::laptop::Laptop;
use memtide::model::id::MemoryId;
use memtide::store::error::StoreError;
use memtide::store::search::{self, Mode, Search};
use memtide::store::{memory, pull, stats};
use std::collections::{BTreeMap, BTreeSet};

/// What a memory must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub content: String,
    pub tags: BTreeSet<String>,
    pub is_alive: bool,
    pub is_superseded: bool,
}

/// All memories, as the acknowledged jobs left them.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub memories: BTreeMap<MemoryId, Known>,
    pub is_linked: bool,
    /// How far the feed was read.
    pub cursor: i64,
    /// The last memory that was spoken of.
    pub last: Option<MemoryId>,
    /// The device's generation and last stamp.
    pub counters: (i64, String),
}

impl Ledger {
    /// The ids of memories that pass, in order.
    pub fn ids(&self, passes: impl Fn(&Known) -> bool) -> Vec<MemoryId> {
        self.memories.iter().filter(|(_, known)| passes(known)).map(|(id, _)| *id).collect()
    }

    /// Takes down how far the device has counted.
    pub fn note_counters(&mut self, laptop: &Laptop) {
        self.counters = counters(laptop).unwrap();
    }

    /// What the store shows otherwise; `None` if it is all as it should be.
    pub fn difference(&self, laptop: &Laptop) -> Result<Option<String>, StoreError> {
        let expected = self.memories.clone();
        let last = self.last;
        let cursor = self.is_linked.then_some(self.cursor);
        let first_wrong = laptop.read(move |read| {
            for (id, known) in &expected {
                let found = match memory::get(read, id) {
                    Ok(found) => found,
                    Err(StoreError::NotFound(_)) => return Ok(Some(format!("{id} is gone"))),
                    Err(error) => return Err(error),
                };
                let found = Known {
                    content: found.content,
                    // A deleted memory shows no tags; its registers keep them for a restoration.
                    tags: if known.is_alive {
                        found.tags.into_iter().collect()
                    } else {
                        known.tags.clone()
                    },
                    is_alive: found.deleted_at.is_none(),
                    is_superseded: found.superseded_by.is_some(),
                };
                if found != *known {
                    return Ok(Some(format!("{id} is {found:?}, not {known:?}")));
                }
            }
            let found = pull::cursor(read)?;
            if found != cursor {
                return Ok(Some(format!("the cursor is {found:?}, not {cursor:?}")));
            }
            let n_alive = expected.values().filter(|known| known.is_alive).count();
            let stats = stats::stats(read)?;
            if stats.memories != n_alive as u64
                || stats.memories + stats.tombstones != expected.len() as u64
            {
                return Ok(Some(format!("there are {stats:?}, not {n_alive}")));
            }
            let Some((id, known)) = last.and_then(|id| expected.get_key_value(&id)) else {
                return Ok(None);
            };
            let search = Search {
                query: word(&known.content),
                vector: None,
                mode: Mode::Keyword,
                filter: memtide::model::filter::Filter::default(),
                limit: 10,
            };
            let hits = search::run(read, &search)?;
            let is_found = hits.iter().any(|hit| hit.memory.id == *id);
            let is_findable = known.is_alive && !known.is_superseded;
            Ok((is_found != is_findable).then(|| format!("{id} is found by its word: {is_found}")))
        })?;
        let counters = counters(laptop)?;
        let is_behind = counters.0 < self.counters.0 || counters.1 < self.counters.1;
        let behind = || format!("the counters are {counters:?}, below {:?}", self.counters);
        Ok(first_wrong.or_else(|| is_behind.then(behind)))
    }
}

/// The word that only this text has: the one with a number in it.
fn word(content: &str) -> String {
    let is_numbered = |word: &&str| word.bytes().any(|byte| byte.is_ascii_digit());
    content.split(|c: char| !c.is_alphanumeric()).find(is_numbered).unwrap().to_owned()
}

fn counters(laptop: &Laptop) -> rusqlite::Result<(i64, String)> {
    let mut statement = laptop.probe.prepare_cached("SELECT generation, last_stamp FROM device")?;
    statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}
