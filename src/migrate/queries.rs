//! The same queries asked of both sides, while both are there: how much of what the service finds is found
//! here too, in which order, and how fast.
//!
//! Where the source's vectors are of the space that is used here, it is asked as the service asks it: by
//! meaning, with the same statement, and with the query's vector made here. Else it is asked by words. What
//! is compared with that is a search of the same kind here; the default search, which blends both, is told
//! beside it.

use super::job::Ticket;
use super::keyword::KeywordIndex;
use super::source::{Source, SourceError};
use super::vectors::{self, DecideError};
use super::verify::VerifyError;
use crate::model::filter::Filter;
use crate::model::space::UnitVector;
use crate::service::Service;
use crate::service::ask::SearchAsk;
use crate::store::know_vector_tables;
use crate::store::search::Mode;
use rusqlite::Connection;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Hits that are compared.
const DEPTH: usize = 10;
/// Hits of the shorter comparison.
const SHORT: usize = 5;
/// Queries of which the differences are told one by one.
const NAMED: usize = 50;

/// What came out of all queries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queries {
    /// Queries that were asked.
    pub asked: u64,
    /// How the source was asked: `meaning` or `words`.
    pub kind: String,
    /// Why.
    pub why: String,
    /// A search of the same kind here.
    pub alike: Agreement,
    /// The default search here.
    pub default: Agreement,
    /// Milliseconds that the source took, without making the query's vector.
    pub source_ms: Spread,
    /// Milliseconds that a search of the same kind took here, likewise.
    pub here_ms: Spread,
    /// Queries whose first hits differ, the first of them.
    pub differing: Vec<Differing>,
}

/// How far two lists of hits agree, over all queries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of the source's first 5 that are among the first 5 here.
    pub overlap_at_5: f64,
    /// The same of the first 10.
    pub overlap_at_10: f64,
    /// Share of queries with the same first hit.
    pub same_first: f64,
    /// By how many places a hit of both is off, on average.
    pub mean_rank_difference: f64,
}

/// Times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// Nineteen of twenty are faster.
    pub p95: f64,
}

/// A query whose first hits differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// The query.
    pub query: String,
    /// Ids that only the source found among its first 10.
    pub only_there: Vec<String>,
    /// Ids that were only found here.
    pub only_here: Vec<String>,
    /// Whether the same were found in another order.
    pub is_order_only: bool,
}

/// How the source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Meaning,
    Index,
    Substring,
}

/// Asks both sides.
///
/// # Errors
/// The source can't be read, or the store refused.
pub(super) async fn run(
    service: &Service,
    source: Source,
    asked: &[String],
    ticket: &Ticket,
) -> Result<Queries, VerifyError> {
    know_vector_tables();
    let path = source.path().to_owned();
    let (source, verdict, reuse) =
        vectors::decide(service, source).await.map_err(|error| match error {
            DecideError::Source(error) => VerifyError::Source(error),
            DecideError::Store(error) => VerifyError::Store(error),
            DecideError::Defect => VerifyError::Defect,
        })?;
    drop(source);
    // Its connection was opened before tables of vectors were known.
    let opening = tokio::task::spawn_blocking(move || {
        let source = Source::open(&path)?;
        let is_sound = source.keyword_index()? == KeywordIndex::Sound;
        Ok::<_, SourceError>((source, is_sound))
    });
    let (mut source, is_sound) = opening.await.map_err(|_| VerifyError::Defect)??;
    let how = match (reuse, is_sound) {
        (Some(_), _) => How::Meaning,
        (None, true) => How::Index,
        (None, false) => How::Substring,
    };
    let mut queries = Queries {
        kind: if how == How::Meaning { "meaning" } else { "words" }.to_owned(),
        why: verdict.why,
        ..Queries::default()
    };
    let mut sums = (Sum::default(), Sum::default());
    let (mut source_ms, mut here_ms) = (Vec::new(), Vec::new());
    for query in asked {
        if ticket.stop().is_some() {
            break;
        }
        let vector = match how {
            How::Meaning => service.embedder().query(query).await.ok().map(|found| found.vector),
            _ => None,
        };
        if how == How::Meaning && vector.is_none() {
            continue;
        }
        let clock = service.clock().clone();
        let text = query.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let began = clock.now();
            let found = source.ask(how, &text, vector.as_ref());
            (source, found, clock.now().since(began))
        });
        let (again, there, took) = asking.await.map_err(|_| VerifyError::Defect)?;
        source = again;
        let there = there?;
        let mode = if how == How::Meaning { Mode::Semantic } else { Mode::Keyword };
        let Some((alike, alike_took)) = here(service, query, mode).await else { continue };
        let Some((default, _)) = here(service, query, Mode::Hybrid).await else { continue };
        source_ms.push(millis(took));
        here_ms.push(millis(alike_took));
        sums.0.add(&there, &alike);
        sums.1.add(&there, &default);
        if there != alike && queries.differing.len() < NAMED {
            queries.differing.push(differing(query, &there, &alike));
        }
        queries.asked += 1;
        ticket.progress("queries", queries.asked, u64::try_from(asked.len()).unwrap_or(0));
    }
    (queries.alike, queries.default) = (sums.0.agreement(), sums.1.agreement());
    (queries.source_ms, queries.here_ms) = (spread(source_ms), spread(here_ms));
    Ok(queries)
}

async fn here(service: &Service, query: &str, mode: Mode) -> Option<(Vec<String>, Duration)> {
    let depth = i64::try_from(DEPTH).unwrap_or(i64::MAX);
    let ask = SearchAsk::check(query.to_owned(), mode, Filter::default(), depth).ok()?;
    let found = service.search(ask).await.ok()?;
    let ids = found.hits.iter().map(|hit| hit.memory.id.to_string()).collect();
    Some((ids, found.took.saturating_sub(found.embed_took)))
}

impl Source {
    fn ask(
        &self,
        how: How,
        query: &str,
        vector: Option<&UnitVector>,
    ) -> Result<Vec<String>, SourceError> {
        let layout = self.layout();
        let mut only = Vec::new();
        if layout.has("deleted_at") {
            only.push("m.deleted_at IS NULL");
        }
        if layout.has("embedding_pending") {
            only.push("(m.embedding_pending IS NULL OR m.embedding_pending = 0)");
        }
        if layout.has("superseded_by") {
            only.push("(m.superseded_by IS NULL OR m.superseded_by = '')");
        }
        let only = if only.is_empty() { "1".to_owned() } else { only.join(" AND ") };
        self.reading(|conn| match (how, vector) {
            (How::Meaning, Some(vector)) => nearest(conn, &only, vector),
            (How::Index, _) => by_words(conn, &only, query),
            _ => by_substring(conn, &only, query),
        })
    }
}

fn depth() -> i64 {
    i64::try_from(DEPTH).unwrap_or(i64::MAX)
}

fn hashes(conn: &Connection, sql: &str, values: &[Value]) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(sql)?
        .query_map(rusqlite::params_from_iter(values), |row| row.get(0))?
        .map(|hash| hash.map(|hash: String| hash.to_ascii_lowercase()))
        .collect()
}

/// As the service asks for what is near, in all stores.
fn nearest(conn: &Connection, only: &str, vector: &UnitVector) -> rusqlite::Result<Vec<String>> {
    let sql = format!(
        "SELECT m.content_hash FROM memories m
         INNER JOIN (
           SELECT rowid, distance FROM memory_embeddings
           WHERE content_embedding MATCH ?1 AND k = ?2
             AND rowid IN (SELECT m.id FROM memories m WHERE {only})
         ) e ON m.id = e.rowid ORDER BY e.distance LIMIT ?2"
    );
    hashes(conn, &sql, &[Value::Blob(vector.to_bytes()), Value::Integer(depth())])
}

fn by_words(conn: &Connection, only: &str, query: &str) -> rusqlite::Result<Vec<String>> {
    let words: Vec<String> = words(query).iter().map(|word| format!("\"{word}\"")).collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT m.content_hash FROM memory_content_fts f JOIN memories m ON f.rowid = m.id
         WHERE memory_content_fts MATCH ?1 AND {only}
         ORDER BY bm25(memory_content_fts) LIMIT ?2"
    );
    hashes(conn, &sql, &[Value::Text(words.join(" OR ")), Value::Integer(depth())])
}

/// Most words first, where there is no index that could be trusted.
fn by_substring(conn: &Connection, only: &str, query: &str) -> rusqlite::Result<Vec<String>> {
    let words = words(query);
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let counted: Vec<String> =
        (2..words.len() + 2).map(|n| format!("(instr(lower(m.content), ?{n}) > 0)")).collect();
    let counted = counted.join(" + ");
    let sql = format!(
        "SELECT m.content_hash FROM memories m WHERE {only} AND {counted} > 0
         ORDER BY {counted} DESC, m.created_at DESC LIMIT ?1"
    );
    let mut values = vec![Value::Integer(depth())];
    values.extend(words.into_iter().map(|word| Value::Text(word.to_lowercase())));
    hashes(conn, &sql, &values)
}

/// The words of a query that an index of three letters knows, a bounded number of them.
fn words(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| word.chars().count() >= 3).take(32).collect()
}

#[derive(Default)]
struct Sum {
    n: u64,
    at_5: f64,
    at_10: f64,
    first: f64,
    off: f64,
    n_off: u64,
}

#[expect(clippy::cast_precision_loss, reason = "shares of a few hits")]
impl Sum {
    fn add(&mut self, there: &[String], here: &[String]) {
        self.n += 1;
        self.at_5 += overlap(there, here, SHORT);
        self.at_10 += overlap(there, here, DEPTH);
        self.first += f64::from(u8::from(there.first() == here.first()));
        for (place, id) in there.iter().enumerate() {
            if let Some(other) = here.iter().position(|other| other == id) {
                self.off += place.abs_diff(other) as f64;
                self.n_off += 1;
            }
        }
    }

    fn agreement(&self) -> Agreement {
        let of = |sum: f64, n: u64| if n == 0 { 0.0 } else { sum / n as f64 };
        Agreement {
            overlap_at_5: of(self.at_5, self.n),
            overlap_at_10: of(self.at_10, self.n),
            same_first: of(self.first, self.n),
            mean_rank_difference: of(self.off, self.n_off),
        }
    }
}

/// Which share of the first `depth` there is among the first `depth` here. Where nothing was found there,
/// nothing is missing.
#[expect(clippy::cast_precision_loss, reason = "shares of a few hits")]
fn overlap(there: &[String], here: &[String], depth: usize) -> f64 {
    let there: Vec<&String> = there.iter().take(depth).collect();
    if there.is_empty() {
        return 1.0;
    }
    let both = there.iter().filter(|id| here.iter().take(depth).any(|other| other == **id)).count();
    both as f64 / there.len() as f64
}

fn differing(query: &str, there: &[String], here: &[String]) -> Differing {
    let without = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|id| !others.contains(id)).cloned().collect()
    };
    let (only_there, only_here) = (without(there, here), without(here, there));
    let is_order_only = only_there.is_empty() && only_here.is_empty();
    Differing { query: query.to_owned(), only_there, only_here, is_order_only }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn spread(mut times: Vec<f64>) -> Spread {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    Spread { median: at(50), p95: at(95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn overlap_counts_what_both_found_so_far_down() {
        let there = ids("a b c d e f g h i j");
        assert!((overlap(&there, &there, 5) - 1.0).abs() < 1e-9);
        assert!((overlap(&there, &ids("f a b c d e"), 5) - 0.8).abs() < 1e-9);
        assert!((overlap(&there, &ids("f a b c d e"), 10) - 0.6).abs() < 1e-9);
        assert!((overlap(&[], &there, 5) - 1.0).abs() < 1e-9);
        let mut sum = Sum::default();
        sum.add(&ids("a b"), &ids("b a"));
        let agreement = sum.agreement();
        assert!((agreement.mean_rank_difference - 1.0).abs() < 1e-9);
        assert!(agreement.same_first.abs() < 1e-9);
        assert!(differing("q", &ids("a b"), &ids("b a")).is_order_only);
        assert_eq!(differing("q", &ids("a b"), &ids("b c")).only_there, ["a"]);
    }

    #[test]
    fn times_are_told_by_their_middle() {
        let spread = spread(vec![3.0, 1.0, 2.0]);
        assert!((spread.median - 2.0).abs() < 1e-9 && (spread.p95 - 3.0).abs() < 1e-9);
        assert_eq!(words("a an the-word \"x\""), ["the", "word"]);
    }
}
