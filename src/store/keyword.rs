//! Search by words: the index of the file, the one in memory that answers once it is filled, and how a
//! person's words become a query of them.
//!
//! FTS5 takes a run of Chinese, Japanese or Korean characters for one word. Text is therefore indexed
//! with a space around each of them, and a run in a query becomes a phrase of single characters.

use super::error::StoreError;
use super::inverted::{self, Ranked};
use super::keys::Keys;
use super::reader::Read;
use super::select::Select;
use super::sieve::Sieve;
use super::terms::{self, Term, is_unspaced};
use super::writer::Write;
use crate::model::filter::Filter;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// Words of a query that are looked up; the rest would only slow it down.
const QUERY_WORDS_MAX: usize = 64;
/// Rows that a query shall score, about: each costs some 1.5 µs, finding it a twentieth of that.
const SCORED_ROWS: usize = 2000;
/// Proposals beyond the ones that are needed: some may be deleted by now.
const SPARE: usize = 16;
/// Memories that a filter may let pass for them to be found before they are ranked; more are ranked first.
const ALLOWED_MAX: i64 = 2000;

pub(super) fn insert(write: &mut Write<'_>, key: i64, content: &str) -> Result<(), StoreError> {
    insert_row(write.conn, key, content)?;
    write.index(inverted::Change { key, words: Some(inverted::Words::of(content)) });
    Ok(())
}

pub(super) fn remove(write: &mut Write<'_>, key: i64) -> Result<(), StoreError> {
    remove_row(write.conn, key)?;
    write.index(inverted::Change { key, words: None });
    Ok(())
}

fn insert_row(conn: &Connection, key: i64, content: &str) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT INTO keyword(rowid, content) VALUES (?1, ?2)")?
        .execute((key, spaced(content)))?;
    Ok(())
}

fn remove_row(conn: &Connection, key: i64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM keyword WHERE rowid = ?1")?.execute([key])?;
    Ok(())
}

/// A person's query as words and as an FTS5 expression. Nothing of it is FTS5 syntax: each word is quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Lower-cased words, in order, without duplicates.
    pub(super) words: Vec<String>,
    /// What they are compared by in memory; none if they are all too frequent to rank.
    terms: Vec<Term>,
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
            all.iter().filter(|word| !terms::is_stop_word(word)).cloned().collect();
        if words.is_empty() {
            words = all;
        }
        words.truncate(QUERY_WORDS_MAX);
        let mut terms = Vec::new();
        for term in terms::of(query) {
            if terms.len() < QUERY_WORDS_MAX && !terms.contains(&term) {
                terms.push(term);
            }
        }
        (!words.is_empty()).then_some(Self { words, terms })
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
/// better), best first, at most `limit`. The index in the file leaves out frequent words, which rank little
/// and cost much there, as long as the others find `needed` memories; what it finds is measured by the best.
pub(super) fn ranked(
    read: &Read<'_>,
    words: &Words,
    sieve: &Sieve<'_>,
    limit: usize,
    needed: usize,
) -> Result<Ranked, StoreError> {
    if !words.terms.is_empty()
        && let Some(found) = in_memory(read, &words.terms, sieve, limit)?
    {
        return Ok(found);
    }
    let found = in_file(read.conn, words, sieve.filter, limit, needed)?;
    let full = found.first().map_or(0.0, |(_, best)| *best);
    Ok(Ranked { found, full })
}

/// `None` while the index in memory is not there.
fn in_memory(
    read: &Read<'_>,
    terms: &[Term],
    sieve: &Sieve<'_>,
    limit: usize,
) -> Result<Option<Ranked>, StoreError> {
    let looked_up = if sieve.keys.is_some() { None } else { allowed(read.conn, sieve.filter)? };
    let allowed = sieve.keys.as_ref().or(looked_up.as_ref());
    let mut n_asked = limit + SPARE;
    loop {
        let Some(Ranked { found, full }) = read.indexes.words.best(terms, n_asked, allowed) else {
            return Ok(None);
        };
        let is_all = found.len() < n_asked;
        let mut found = passing(read.conn, found, sieve.filter)?;
        if found.len() >= limit || is_all {
            found.truncate(limit);
            return Ok(Some(Ranked { found, full }));
        }
        n_asked *= 8;
    }
}

/// The keys that pass `filter`, if there is one and they are few.
fn allowed(conn: &Connection, filter: &Filter) -> Result<Option<Keys>, StoreError> {
    if filter.is_empty() {
        return Ok(None);
    }
    let select = Select::findable(filter);
    let sql = format!("SELECT m.key FROM memory m WHERE {} LIMIT ?", select.conditions);
    let params = select.params_then([Value::from(ALLOWED_MAX + 1)]);
    let keys: Vec<i64> = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(params), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let is_few = i64::try_from(keys.len()).is_ok_and(|n| n <= ALLOWED_MAX);
    Ok(if is_few { Keys::of(&keys) } else { None })
}

/// Those of `proposed` that may be found on this snapshot, in their order.
fn passing(
    conn: &Connection,
    mut proposed: Vec<(i64, f64)>,
    filter: &Filter,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let keys: Vec<i64> = proposed.iter().map(|(key, _)| *key).collect();
    let keys = Value::from(serde_json::to_string(&keys).unwrap_or_default());
    let select = Select::findable(filter);
    let sql = format!(
        "SELECT m.key FROM json_each(?) j CROSS JOIN memory m ON m.key = j.value WHERE {}",
        select.conditions
    );
    let params = std::iter::once(keys).chain(select.params_then([]));
    let there: HashSet<i64> = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(params), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    proposed.retain(|(key, _)| there.contains(key));
    Ok(proposed)
}

fn in_file(
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
    use super::super::tests::options;
    use super::super::{Store, memory};
    use super::*;
    use crate::clock::SystemClock;
    use crate::model::draft::{Author, Draft};
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::seq::IndexedRandom as _;
    use rand_chacha::ChaCha8Rng;

    fn index(texts: &[&str]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE VIRTUAL TABLE keyword USING fts5(content, content = '', contentless_delete = 1,
               tokenize = 'porter unicode61 remove_diacritics 2')",
        )
        .unwrap();
        for (key, text) in (1..).zip(texts) {
            insert_row(&conn, key, text).unwrap();
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
        remove_row(&conn, 1).unwrap();
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

    async fn write(store: &Store, rng: &mut ChaCha8Rng, n: usize) {
        // Words that both indexes reduce to the same stem.
        const WORDS: [&str; 9] =
            ["daemon", "socket", "café", "index", "retry", "v2", "running", "queues", "token"];
        for nth in 0..n {
            let length = rng.random_range(1..20);
            let text: Vec<&str> = (0..length).filter_map(|_| WORDS.choose(rng).copied()).collect();
            let text = format!("{nth} {}", text.join(" "));
            let draft = Draft::check(text, &[], None, None, Author::default(), 1 << 20).unwrap();
            let stored = store.write(move |w| memory::store(w, &draft)).await.unwrap();
            if rng.random_ratio(1, 4) {
                store.write(move |w| memory::delete(w, &stored.id, "test")).await.unwrap();
            }
        }
    }

    /// What each index finds. Their scores differ: FTS5 goes on counting what was deleted.
    async fn both(store: &Store, query: &str) -> [BTreeSet<i64>; 2] {
        store.wait_until_filled();
        let words = Words::of(query).unwrap();
        let found = store.read(move |read| {
            let filter = Filter::default();
            let sieve = Sieve::of(read, &filter);
            let here = in_memory(read, &words.terms, &sieve, 1000)?.expect("it is filled").found;
            Ok([here, matches(read.conn, &words.words, &filter, 1000)?])
        });
        found.await.unwrap().map(|found| found.into_iter().map(|(key, _)| key).collect())
    }

    #[tokio::test]
    async fn memory_and_file_find_the_same_whatever_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let queries = ["daemon", "sockets cafe", "RETRY index v2", "queue", "run tokens 3"];
        for _ in 0..2 {
            let store = Store::open(&options(&dir, "here"), SystemClock::shared()).unwrap();
            write(&store, &mut rng, 150).await;
            for query in queries {
                let [here, there] = both(&store, query).await;
                assert!(!here.is_empty(), "{query}");
                assert_eq!(here, there, "{query}");
            }
            store.close();
        }
    }

    #[tokio::test]
    async fn a_filter_that_many_pass_and_one_that_few_pass_find_what_they_let_pass() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&options(&dir, "here"), SystemClock::shared()).unwrap();
        let fill = |write: &mut Write<'_>| {
            for n in 0..ALLOWED_MAX + 500 {
                let tags = [if n % 250 == 0 { "few" } else { "many" }.to_owned()];
                let text = format!("gear {n}");
                let draft = Draft::check(text, &tags, None, None, Author::default(), 1 << 20)?;
                memory::store(write, &draft)?;
            }
            Ok(())
        };
        store.write(fill).await.unwrap();
        store.wait_until_filled();
        for (tag, limit, expected) in [("few", 50, 10), ("many", 50, 50), ("none", 50, 0)] {
            let filter = Filter { tags: [tag.to_owned()].into(), ..Filter::default() };
            let words = Words::of("gear").unwrap();
            for is_known in [true, false] {
                let (filter, terms) = (filter.clone(), words.terms.clone());
                let find = move |read: &Read<'_>| {
                    let sieve = Sieve::of(read, &filter);
                    assert!(sieve.keys.is_some());
                    let keys = sieve.keys.filter(|_| is_known);
                    in_memory(read, &terms, &Sieve { keys, ..Sieve::of(read, &filter) }, limit)
                };
                let found = store.read(find).await.unwrap().unwrap().found;
                assert_eq!(found.len(), expected, "{tag}");
            }
        }
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
