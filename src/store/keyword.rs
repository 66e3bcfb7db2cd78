//! The keyword index: what is put into it and how a person's words become a query of it.
//!
//! FTS5 takes a run of Chinese, Japanese or Korean characters for one word. Text is therefore indexed
//! with a space around each of them, and a run in a query becomes a phrase of single characters.

use super::error::StoreError;
use super::select::Select;
use crate::model::filter::Filter;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Words of a query that are looked up; the rest would only slow it down.
const QUERY_WORDS_MAX: usize = 64;
/// Rows that a query shall score, about: each costs some 1.5 µs, finding it a twentieth of that.
const SCORED_ROWS: usize = 2000;

/// English words so frequent that they rank nothing. They are dropped while other words remain.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "did",
    "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so", "that", "the",
    "their", "them", "then", "there", "these", "they", "this", "to", "was", "we", "were", "what",
    "when", "where", "which", "who", "why", "will", "with", "would", "you", "your",
];

pub(super) fn insert(conn: &Connection, key: i64, content: &str) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT INTO keyword(rowid, content) VALUES (?1, ?2)")?
        .execute((key, spaced(content)))?;
    Ok(())
}

pub(super) fn remove(conn: &Connection, key: i64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM keyword WHERE rowid = ?1")?.execute([key])?;
    Ok(())
}

/// A person's query as words and as an FTS5 expression. Nothing of it is FTS5 syntax: each word is quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Lower-cased words, in order, without duplicates.
    pub(super) words: Vec<String>,
}

impl Words {
    /// The words of `query`; `None` if it has none.
    pub(super) fn of(query: &str) -> Option<Self> {
        let mut seen = BTreeSet::new();
        let all: Vec<String> = query
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .filter(|word| seen.insert(word.clone()))
            .collect();
        let mut words: Vec<String> =
            all.iter().filter(|word| !STOP_WORDS.contains(&word.as_str())).cloned().collect();
        if words.is_empty() {
            words = all;
        }
        words.truncate(QUERY_WORDS_MAX);
        (!words.is_empty()).then_some(Self { words })
    }

    /// Those of the words that stand in `content`, whatever their case.
    pub(super) fn matched_in(&self, content: &str) -> Vec<String> {
        let content = content.to_lowercase();
        self.words.iter().filter(|word| content.contains(word.as_str())).cloned().collect()
    }
}

/// Words joined by OR, each quoted.
fn expression(words: &[String]) -> String {
    let quoted: Vec<String> =
        words.iter().map(|word| format!("\"{}\"", spaced(word).trim())).collect();
    quoted.join(" OR ")
}

/// The memories that pass `filter` and have words of the query, with their BM25 (positive, larger is
/// better), best first, at most `limit`. Frequent words, which rank little and cost much, are left out
/// as long as the others find `needed` memories.
pub(super) fn ranked(
    conn: &Connection,
    words: &Words,
    filter: &Filter,
    limit: usize,
    needed: usize,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let telling = telling(conn, &words.words, SCORED_ROWS)?;
    let found = matches(conn, &telling, filter, limit)?;
    if found.len() < needed && telling.len() < words.words.len() {
        return matches(conn, &words.words, filter, limit);
    }
    Ok(found)
}

/// The rarest of `words`, as many as together stand in at most `rows_max` memories, but at least one that
/// stands in any.
fn telling(
    conn: &Connection,
    words: &[String],
    rows_max: usize,
) -> Result<Vec<String>, StoreError> {
    // Keys are given in order, so the last one tells about how many memories there are.
    let last: Option<i64> =
        conn.prepare_cached("SELECT max(key) FROM memory")?.query_row([], |row| row.get(0))?;
    let n_memories = usize::try_from(last.unwrap_or(0)).unwrap_or(usize::MAX);
    if words.len() < 2 || n_memories <= rows_max {
        return Ok(words.to_vec());
    }
    let mut by_rows = Vec::with_capacity(words.len());
    for word in words {
        by_rows.push((n_rows(conn, word, rows_max)?, word));
    }
    by_rows.sort();
    let (mut telling, mut n_scored) = (Vec::new(), 0);
    for (n_rows, word) in by_rows {
        // A word that nobody wrote tells nothing, so the next one stays.
        if n_scored > 0 && n_scored + n_rows > rows_max {
            break;
        }
        n_scored += n_rows;
        telling.push(word.clone());
    }
    Ok(telling)
}

/// How many memories have `word`, counted up to one more than `max`.
fn n_rows(conn: &Connection, word: &String, max: usize) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM keyword WHERE keyword MATCH ?1 LIMIT ?2)";
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    Ok(conn
        .prepare_cached(sql)?
        .query_row((expression(std::slice::from_ref(word)), limit), |row| row.get(0))?)
}

fn matches(
    conn: &Connection,
    words: &[String],
    filter: &Filter,
    limit: usize,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let limit = Value::from(i64::try_from(limit).unwrap_or(i64::MAX));
    let expression = Value::from(expression(words));
    let (sql, params) = if filter.is_empty() {
        // Superseded and deleted memories are not in the index. `rank` is the BM25 that the rows were
        // sorted by; asking for bm25() as well would count all words a second time.
        let sql = "SELECT rowid, -rank FROM keyword WHERE keyword MATCH ? ORDER BY rank LIMIT ?";
        (sql.to_owned(), vec![expression, limit])
    } else {
        // The plus keeps SQLite from asking the index anew for every memory that passes the filter;
        // without `rank` only those rows are scored that do.
        let select = Select::findable(filter);
        let sql = format!(
            "SELECT keyword.rowid, -bm25(keyword) AS score FROM keyword WHERE keyword MATCH ?
               AND +keyword.rowid IN (SELECT m.key FROM memory m WHERE {})
             ORDER BY score DESC LIMIT ?",
            select.conditions
        );
        (sql, std::iter::once(expression).chain(select.params_then([limit])).collect())
    };
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement
        .query_map(params_from_iter(params), |row| Ok((row.get(0)?, row.get::<_, f64>(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2ffff}')
}

fn spaced(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unspaced) {
        return Cow::Borrowed(text);
    }
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_unspaced(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    Cow::Owned(spaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(texts: &[&str]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE VIRTUAL TABLE keyword USING fts5(content, content = '', contentless_delete = 1,
               tokenize = 'porter unicode61 remove_diacritics 2')",
        )
        .unwrap();
        for (key, text) in (1..).zip(texts) {
            insert(&conn, key, text).unwrap();
        }
        conn
    }

    fn hits(conn: &Connection, query: &str) -> rusqlite::Result<Vec<i64>> {
        let Some(words) = Words::of(query) else { return Ok(Vec::new()) };
        conn.prepare("SELECT rowid FROM keyword WHERE keyword MATCH ?1 ORDER BY rowid")?
            .query_map([expression(&words.words)], |row| row.get(0))?
            .collect()
    }

    #[test]
    fn words_are_stemmed_and_characters_without_spaces_are_found() {
        let conn = index(&["The daemon was running", "我喜欢数据库索引", "cafés in Zürich"]);
        assert_eq!(hits(&conn, "run daemons").unwrap(), [1]);
        assert_eq!(hits(&conn, "数据库").unwrap(), [2]);
        assert_eq!(hits(&conn, "据数").unwrap(), Vec::<i64>::new());
        assert_eq!(hits(&conn, "cafe zurich").unwrap(), [3]);
        remove(&conn, 1).unwrap();
        assert_eq!(hits(&conn, "daemon").unwrap(), Vec::<i64>::new());
    }

    #[test]
    fn stop_words_count_only_when_alone() {
        assert_eq!(Words::of("what is the plan").unwrap().words, ["plan"]);
        assert_eq!(Words::of("To be or not").unwrap().words, ["to", "be", "or", "not"]);
        assert_eq!(Words::of("'\"*:()^-+"), None);
    }

    #[test]
    fn frequent_words_are_left_out_while_rare_ones_tell_enough() {
        let texts: Vec<String> = (0..40)
            .map(|n| match n {
                0..2 => "common rare".to_owned(),
                2..12 => "common usual".to_owned(),
                _ => "common".to_owned(),
            })
            .collect();
        let conn = index(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        conn.execute_batch("CREATE TABLE memory(key INTEGER PRIMARY KEY)").unwrap();
        conn.execute("INSERT INTO memory VALUES (40)", []).unwrap();
        let words = ["common", "usual", "rare"].map(str::to_owned);
        assert_eq!(telling(&conn, &words, 20).unwrap(), ["rare", "usual"]);
        assert_eq!(telling(&conn, &words, 5).unwrap(), ["rare"]);
        assert_eq!(telling(&conn, &words[..1], 5).unwrap(), ["common"], "one always stays");
        let unheard = ["common", "unheard"].map(str::to_owned);
        assert_eq!(telling(&conn, &unheard, 5).unwrap(), ["unheard", "common"]);
        assert_eq!(telling(&conn, &words, 40).unwrap(), words, "a small store scores them all");
    }

    proptest! {
        #[test]
        fn no_query_is_ever_a_syntax_error(query in any::<String>()) {
            let conn = index(&["some text"]);
            prop_assert!(hits(&conn, &query).is_ok());
        }

        #[test]
        fn operators_are_words(query in "(AND|OR|NOT|NEAR|\\*|\"|\\(|\\)|a|b|:|\\^|-|\\+| ){1,12}") {
            let conn = index(&["some text"]);
            prop_assert!(hits(&conn, &query).is_ok());
        }
    }
}
