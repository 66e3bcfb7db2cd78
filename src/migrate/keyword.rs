//! The state of the service's keyword index. It is never read for an answer; memtide makes its own. But who
//! moves wants to know whether searches have been missing something, as they do where its triggers have left
//! ghosts behind.

use super::source::{Source, SourceError};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use serde::Serialize;

/// Rows whose words are looked up.
const PROBES: i64 = 16;
/// Rows that a looked-up word may find.
const FOUND_MAX: i64 = 200;

/// What the keyword index is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KeywordIndex {
    /// There is none.
    None,
    /// No fault was found.
    Sound,
    /// Memories are missing in it, or it has rows of memories that are gone.
    Incomplete {
        /// Memories that it doesn't know.
        missing: u64,
        /// Rows of no memory.
        surplus: u64,
    },
    /// It finds memories by words that they don't have.
    Stale,
    /// It can't be read.
    Damaged {
        /// What SQLite said.
        reason: String,
    },
}

impl Source {
    /// Looks at the keyword index.
    ///
    /// # Errors
    /// The source, the index aside, can't be read.
    pub fn keyword_index(&self) -> Result<KeywordIndex, SourceError> {
        if !self.layout().has_keyword_index {
            return Ok(KeywordIndex::None);
        }
        self.reading(|conn| match probe(conn) {
            Err(error) if is_of_the_index(&error) => {
                Ok(KeywordIndex::Damaged { reason: error.to_string() })
            }
            other => other,
        })
    }
}

/// A lock is the whole database's matter; whatever else the index says is the index's.
fn is_of_the_index(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted)
    )
}

fn probe(conn: &Connection) -> rusqlite::Result<KeywordIndex> {
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u64>(0));
    let missing = count(
        "SELECT count(*) FROM memories WHERE rowid NOT IN (SELECT id FROM memory_content_fts_docsize)",
    )?;
    let surplus = count(
        "SELECT count(*) FROM memory_content_fts_docsize WHERE id NOT IN (SELECT rowid FROM memories)",
    )?;
    let mut texts = conn.prepare(
        "SELECT content FROM memories WHERE typeof(content) = 'text'
         ORDER BY rowid % 7, rowid DESC LIMIT ?1",
    )?;
    let texts: Vec<String> =
        texts.query_map([PROBES], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut is_stale = false;
    for text in &texts {
        let Some(word) = longest_word(text) else { continue };
        let mut found = conn.prepare_cached(
            "SELECT rowid FROM memory_content_fts WHERE memory_content_fts MATCH ?1 LIMIT ?2",
        )?;
        let found: Vec<i64> = found
            .query_map((format!("\"{word}\""), FOUND_MAX), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for rowid in found {
            let content: Option<String> = conn
                .prepare_cached("SELECT CAST(content AS TEXT) FROM memories WHERE rowid = ?1")?
                .query_row([rowid], |row| row.get(0))
                .optional()?;
            let word = word.to_lowercase();
            is_stale |= content.is_none_or(|content| !content.to_lowercase().contains(&word));
        }
    }
    Ok(match (missing, surplus) {
        _ if is_stale => KeywordIndex::Stale,
        (0, 0) => KeywordIndex::Sound,
        _ => KeywordIndex::Incomplete { missing, surplus },
    })
}

/// The longest of the plain words: a word with other letters may be folded by the index.
fn longest_word(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.len() >= 3).max_by_key(|word| word.len())
}
