//! A database as the Python service leaves it, in the schema of several of its releases: for tests and for
//! measuring how fast one moves in. It is written by memtide, so what it proves is that the documented
//! schema is read; that the service itself writes that schema is proved by tests with the service.

use super::text::Author;
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::store::know_vector_tables;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;
use std::path::Path;

/// When the first generated memory was stored, in seconds since the epoch.
const FIRST_AT: f64 = 1_700_000_000.0;
/// Memories that one transaction writes.
const BATCH: usize = 2000;

/// Whose schema is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Before 8.7: no settings, no deletions, L2.
    V8,
    /// 10.59.
    V10,
    /// 12.4.
    V12,
}

/// A memory as its row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `None` for the hash of the present rule.
    pub hash: Option<String>,
    /// The text.
    pub content: String,
    /// As the column has them.
    pub tags: Option<String>,
    /// The type.
    pub memory_type: Option<String>,
    /// As the column has it.
    pub metadata: Option<String>,
    /// Seconds since the epoch.
    pub created_at: f64,
    /// Seconds since the epoch.
    pub updated_at: f64,
    /// Seconds since the epoch.
    pub deleted_at: Option<f64>,
    /// The store, from release 12 on.
    pub store: String,
    /// Any further columns.
    pub more: Vec<(&'static str, Value)>,
    /// The vector.
    pub vector: Option<Vec<f32>>,
}

impl Row {
    /// A plain memory without a vector.
    pub fn new(content: &str) -> Self {
        Self {
            hash: None,
            content: content.to_owned(),
            tags: Some(String::new()),
            memory_type: Some("note".to_owned()),
            metadata: Some("{}".to_owned()),
            created_at: FIRST_AT,
            updated_at: FIRST_AT,
            deleted_at: None,
            store: "default".to_owned(),
            more: Vec::new(),
            vector: None,
        }
    }

    fn hash(&self) -> String {
        self.hash.clone().unwrap_or_else(|| MemoryId::of(&self.content).to_string())
    }
}

/// A database that is being written.
pub struct PythonDatabase {
    conn: Connection,
    release: Release,
    columns: BTreeSet<String>,
}

impl PythonDatabase {
    /// Makes the file as `release` does, for vectors of `dims` components.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn create(path: &Path, release: Release, dims: usize) -> rusqlite::Result<Self> {
        know_vector_tables();
        let conn = Connection::open(path)?;
        let (schema, metric) = match release {
            Release::V8 => (include_str!("release_8.sql"), ""),
            Release::V10 => (include_str!("release_10.sql"), "distance_metric=cosine"),
            Release::V12 => (include_str!("release_12.sql"), "distance_metric=cosine"),
        };
        let schema =
            schema.replace("{vectors}", &format!("FLOAT[{dims}]")).replace("{metric}", metric);
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        conn.execute_batch(&schema)?;
        conn.execute_batch(include_str!("common.sql"))?;
        let columns = conn
            .prepare("SELECT name FROM pragma_table_info('memories')")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Self { conn, release, columns })
    }

    /// The connection, for what has no method.
    pub fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Writes a memory, and its vector if it has one, as the service does. Answers the row.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn add(&self, row: &Row) -> rusqlite::Result<i64> {
        let iso = |at: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "an instant")]
            let micros = (at * 1e6).round() as i64;
            Value::Text(Micros(micros).to_rfc3339())
        };
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
        let mut values = vec![
            ("content_hash", Value::Text(row.hash())),
            ("content", Value::Text(row.content.clone())),
            ("tags", text(&row.tags)),
            ("memory_type", text(&row.memory_type)),
            ("metadata", text(&row.metadata)),
            ("created_at", Value::Real(row.created_at)),
            ("updated_at", Value::Real(row.updated_at)),
            ("created_at_iso", iso(row.created_at)),
            ("updated_at_iso", iso(row.updated_at)),
            ("deleted_at", row.deleted_at.map_or(Value::Null, Value::Real)),
            ("store", Value::Text(row.store.clone())),
        ];
        values.retain(|(name, _)| self.columns.contains(*name));
        values.extend(row.more.iter().cloned());
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let sql = format!(
            "INSERT INTO memories({}) VALUES ({})",
            names.join(", "),
            vec!["?"; names.len()].join(", ")
        );
        let values = params_from_iter(values.into_iter().map(|(_, value)| value));
        self.conn.prepare_cached(&sql)?.execute(values)?;
        let rowid = self.conn.last_insert_rowid();
        if let Some(vector) = &row.vector {
            self.set_vector(rowid, vector, &row.store)?;
        }
        Ok(rowid)
    }

    /// Writes the vector of a row that has none.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_vector(&self, rowid: i64, vector: &[f32], store: &str) -> rusqlite::Result<()> {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        if self.release == Release::V12 {
            let sql = "INSERT INTO memory_embeddings(rowid, content_embedding, store) VALUES (?1, ?2, ?3)";
            self.conn.prepare_cached(sql)?.execute((rowid, bytes, store))?;
        } else {
            let sql = "INSERT INTO memory_embeddings(rowid, content_embedding) VALUES (?1, ?2)";
            self.conn.prepare_cached(sql)?.execute((rowid, bytes))?;
        }
        Ok(())
    }

    /// Writes `n` memories whose every field follows from `seed`. With `passages`, texts and their true
    /// vectors, the texts of the memories are variants of these whose spaces differ: other memories, but
    /// the same words, so that their vectors are true as well. Else they have pseudo-random unit vectors.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn fill(
        &self,
        n: usize,
        seed: u64,
        dims: usize,
        passages: &[(String, Vec<f32>)],
    ) -> rusqlite::Result<()> {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut author = Author::new(seed);
        let mut at = FIRST_AT;
        let mut earlier: Vec<String> = Vec::new();
        for start in (0..n).step_by(BATCH) {
            self.conn.execute_batch("BEGIN")?;
            for number in start..(start + BATCH).min(n) {
                at += chance.random_range(1.0..600.0);
                let row = generated(number, at, &mut chance, &mut author, dims, passages);
                self.add(&row)?;
                let hash = row.hash();
                if let Some(other) = earlier.get(chance.random_range(0..BATCH)) {
                    self.link(&hash, other, at)?;
                }
                if earlier.len() < BATCH {
                    earlier.push(hash);
                }
            }
            self.conn.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// Writes an edge.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn link(&self, from: &str, to: &str, at: f64) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO memory_graph VALUES (?1, ?2, 0.5, '[\"semantic\"]', '{}', ?3, 'related')";
        self.conn.prepare_cached(sql)?.execute((from, to, at))?;
        Ok(())
    }
}

fn generated(
    number: usize,
    at: f64,
    chance: &mut ChaCha8Rng,
    author: &mut Author,
    dims: usize,
    passages: &[(String, Vec<f32>)],
) -> Row {
    let passage = author.passage();
    let (content, vector) = match passages.get(number % passages.len().max(1)) {
        Some((text, vector)) => (respaced(text, number / passages.len()), vector.clone()),
        None => (passage.text, unit_vector(chance, dims)),
    };
    // About one in fifty was deleted, and lost its vector with that.
    let deleted_at = chance.random_bool(0.02).then_some(at + 50.0);
    let metadata = serde_json::json!({"source": "generated", "n": number});
    Row {
        tags: Some(passage.tags.join(",")),
        metadata: Some(metadata.to_string()),
        created_at: at,
        updated_at: at + chance.random_range(0.0..40.0),
        vector: deleted_at.is_none().then_some(vector),
        deleted_at,
        ..Row::new(&content)
    }
}

/// The text with some of its spaces doubled: which ones is `variant` in binary digits.
fn respaced(text: &str, variant: usize) -> String {
    let mut spaced = String::with_capacity(text.len() + 20);
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            let place = u32::try_from(place - 1).unwrap_or(u32::MAX);
            let is_double = variant.checked_shr(place).is_some_and(|bits| bits & 1 == 1);
            spaced.push_str(if is_double { "  " } else { " " });
        }
        spaced.push_str(word);
    }
    spaced
}

fn unit_vector(chance: &mut ChaCha8Rng, dims: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..dims).map(|_| chance.random_range(-1.0_f32..1.0)).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_in_their_spaces_only() {
        let variants: BTreeSet<String> = (0..8).map(|n| respaced("a b c d", n)).collect();
        assert_eq!(variants.len(), 8);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(variants.iter().all(|text| words(text) == ["a", "b", "c", "d"]));
        assert_eq!(respaced("a b", 0), "a b");
    }
}
