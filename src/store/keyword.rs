//! The keyword index: what is put into it and how a person's words become a query of it.
//!
//! FTS5 takes a run of Chinese, Japanese or Korean characters for one word. Text is therefore indexed
//! with a space around each of them, and a run in a query becomes a phrase of single characters.

use super::error::StoreError;
use rusqlite::Connection;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Words of a query that are looked up; the rest would only slow it down.
const QUERY_WORDS_MAX: usize = 64;

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

    /// The words joined by OR, each quoted.
    pub(super) fn expression(&self) -> String {
        let quoted: Vec<String> =
            self.words.iter().map(|word| format!("\"{}\"", spaced(word).trim())).collect();
        quoted.join(" OR ")
    }

    /// Those of the words that stand in `content`, whatever their case.
    pub(super) fn matched_in(&self, content: &str) -> Vec<String> {
        let content = content.to_lowercase();
        self.words.iter().filter(|word| content.contains(word.as_str())).cloned().collect()
    }
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
            .query_map([words.expression()], |row| row.get(0))?
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
