//! A load of changes whose outcome is known: clients that write as fast as they are answered, each to
//! memories of its own, and what the database must hold of them afterwards.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what isn't as expected fails the test"
)]

use memtide::model::id::MemoryId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What is known of a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub content: String,
    pub tags: BTreeSet<String>,
    pub is_alive: bool,
    pub superseded_by: Option<String>,
}

impl Known {
    fn new(content: String, tags: &[&str]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Self { content, tags, is_alive: true, superseded_by: None }
    }

    /// Whether searches find it.
    pub fn is_findable(&self) -> bool {
        self.is_alive && self.superseded_by.is_none()
    }
}

/// What one transaction makes of the memories it touches.
pub type Change = Vec<(String, Known)>;

/// One client with memories of its own, so that it knows what each of them must be.
pub struct Worker {
    number: u64,
    rng: ChaCha8Rng,
    n_texts: usize,
    /// What its memories must be, by id.
    pub known: BTreeMap<String, Known>,
    /// The memories of the last changes, answered or not.
    pub touched: BTreeSet<String>,
    /// The change whose answer never came.
    doubt: Option<Change>,
    n_acknowledged: usize,
    n_unanswered: usize,
    /// The generations that were given to its stores.
    pub generations: Vec<i64>,
}

impl Worker {
    /// A client whose texts carry its number and whose choices follow the seed.
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            rng: ChaCha8Rng::seed_from_u64(seed),
            n_texts: 0,
            known: BTreeMap::new(),
            touched: BTreeSet::new(),
            doubt: None,
            n_acknowledged: 0,
            n_unanswered: 0,
            generations: Vec::new(),
        }
    }

    /// Writes until the daemon is gone.
    pub fn run(&mut self, mut wire: Wire) {
        while self.write(&mut wire) {}
    }

    /// Makes one change; returns whether it was answered.
    pub fn write(&mut self, wire: &mut Wire) -> bool {
        let (method, path, body, change) = self.next();
        self.touched.extend(change.iter().map(|(id, _)| id.clone()));
        match wire.exchange(method, &path, &body) {
            Exchange::Answered(status, answer) => {
                assert_eq!(status, 200, "{method} {path} {body}: {answer}");
                self.generations.extend(answer["generation"].as_i64());
                self.known.extend(change);
                self.n_acknowledged += 1;
                true
            }
            unanswered => {
                self.n_unanswered += usize::from(unanswered == Exchange::Unanswered);
                self.doubt = Some(change);
                false
            }
        }
    }

    /// Compares what was just written with what is `stored`. A change in doubt is there as a whole or
    /// not at all. Returns which memories that were.
    pub fn settle(
        &mut self,
        tally: &mut Tally,
        stored: impl Fn(&str) -> Option<Known>,
    ) -> BTreeSet<String> {
        if let Some(change) = self.doubt.take() {
            let now: Vec<Option<Known>> = change.iter().map(|(id, _)| stored(id)).collect();
            let before: Vec<Option<Known>> =
                change.iter().map(|(id, _)| self.known.get(id).map(as_stored)).collect();
            let after: Vec<Option<Known>> =
                change.iter().map(|(_, known)| Some(as_stored(known))).collect();
            assert!(now == before || now == after, "half of {change:?} is there: {now:?}");
            if now == after {
                self.known.extend(change);
                tally.kept += 1;
            } else {
                tally.lost += 1;
            }
        }
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            assert_eq!(stored(id), self.known.get(id).map(as_stored), "{id}");
        }
        tally.acknowledged += std::mem::take(&mut self.n_acknowledged);
        tally.unanswered += std::mem::take(&mut self.n_unanswered);
        touched
    }

    fn next(&mut self) -> (&'static str, String, Value, Change) {
        let dice = self.rng.random_range(0..100);
        let current = self.some(Known::is_findable, 3);
        let tag = format!("t{}", self.rng.random::<u32>());
        let Some((id, known)) = current.first().cloned().filter(|_| dice >= 45) else {
            let text = self.text();
            return store(&text, &Known::new(text.clone(), &["load", &tag]), &tag);
        };
        let path = format!("/v1/memories/{id}");
        match dice {
            // The same text once more, with one tag more.
            45..55 => {
                let mut after = known;
                after.tags.insert(tag.clone());
                after.tags.insert("load".to_owned());
                store(&after.content.clone(), &after, &tag)
            }
            55..70 => {
                let after = Known::new(known.content, &[&tag]);
                ("PATCH", path, json!({ "tags": [tag] }), vec![(id, after)])
            }
            // Another text: the old memory and its successor in one.
            70..80 => {
                let text = self.text();
                let new = MemoryId::of(&text).to_string();
                let successor = Known { content: text.clone(), ..known.clone() };
                let old = Known { superseded_by: Some(new.clone()), ..known };
                ("PATCH", path, json!({ "content": text }), vec![(id, old), (new, successor)])
            }
            80..88 => ("DELETE", path, json!({}), vec![(id, Known { is_alive: false, ..known })]),
            // Several in one.
            88..95 => {
                let ids: Vec<&String> = current.iter().map(|(id, _)| id).collect();
                let body = json!({ "ids": ids });
                let dead = |known: Known| Known { is_alive: false, ..known };
                let change = current.iter().cloned().map(|(id, known)| (id, dead(known))).collect();
                ("POST", "/v1/memories/delete".to_owned(), body, change)
            }
            // A deleted one begins anew.
            _ => {
                let gone = self.some(|known| !known.is_alive, 1);
                let text = gone.first().map_or(known.content, |(_, known)| known.content.clone());
                let tags: Vec<&str> = vec!["load", &tag];
                let mut after = Known::new(text.clone(), &tags);
                if gone.is_empty() {
                    after.tags.extend(known.tags);
                }
                store(&text, &after, &tag)
            }
        }
    }

    /// Up to `n` memories of a kind, at random.
    fn some(&mut self, is_wanted: impl Fn(&Known) -> bool, n: usize) -> Vec<(String, Known)> {
        let Some(last) = self.known.keys().next_back().cloned() else { return Vec::new() };
        // Ids are hashes: a random one is followed by a random memory.
        let from = format!("{:08x}", self.rng.random::<u32>()).min(last);
        let wanted = self.known.range(from..).filter(|(_, known)| is_wanted(known));
        wanted.take(n).map(|(id, known)| (id.clone(), known.clone())).collect()
    }

    /// A new text that begins with a word of its own.
    fn text(&mut self) -> String {
        self.n_texts += 1;
        let length = if self.rng.random_bool(0.05) { 2000 } else { self.rng.random_range(5..60) };
        let words = ["tide", "Wren", "copper", "lantern", "of", "Größe", "7", "the", "harbour"];
        let mut text = format!("k{}x{}", self.number, self.n_texts);
        for _ in 0..length {
            text.push(' ');
            text.push_str(words[self.rng.random_range(0..words.len())]);
        }
        text
    }
}

fn store(text: &str, after: &Known, tag: &str) -> (&'static str, String, Value, Change) {
    let id = MemoryId::of(text).to_string();
    let body = json!({"content": text, "tags": ["load", tag]});
    ("POST", "/v1/memories".to_owned(), body, vec![(id, after.clone())])
}

/// A connection that is not mended when it breaks: a lost answer must show.
pub struct Wire(BufReader<UnixStream>);

/// How far a request came.
#[derive(Debug, PartialEq)]
pub enum Exchange {
    Answered(u16, Value),
    Unanswered,
    Unsent,
}

impl Wire {
    /// Connects.
    pub fn open(socket: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(socket).expect("a daemon")))
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, method: &str, path: &str, body: &Value) -> Exchange {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: memtide\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if self.0.get_mut().write_all(request.as_bytes()).is_err() {
            return Exchange::Unsent;
        }
        let answer = self.answer();
        answer.map_or(Exchange::Unanswered, |(status, json)| Exchange::Answered(status, json))
    }

    fn answer(&mut self) -> Option<(u16, Value)> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok().filter(|n| *n > 0)?;
            match line.trim_end().split_once(' ') {
                Some(("HTTP/1.1", rest)) => status = rest[..3].parse().ok(),
                Some(("content-length:", rest)) => length = rest.parse().expect("a length"),
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).ok()?;
        Some((status?, serde_json::from_slice(&answer).expect("JSON")))
    }
}

/// What came of the changes in doubt.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub acknowledged: usize,
    pub unanswered: usize,
    pub kept: usize,
    pub lost: usize,
}

/// A deleted memory has no tags to be found by.
pub fn as_stored(known: &Known) -> Known {
    let mut known = known.clone();
    if !known.is_alive {
        known.tags.clear();
    }
    known
}

/// A look at the database file beside the daemon, in one snapshot.
pub fn snapshot(path: &Path) -> Connection {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    conn.execute_batch("BEGIN").unwrap();
    conn
}

/// A memory as the database holds it.
#[derive(Debug)]
pub struct StoredRow {
    pub key: i64,
    pub generation: i64,
    pub known: Known,
}

/// Reads a memory past the daemon.
pub fn stored_row(conn: &Connection, id: &str) -> Option<StoredRow> {
    let (key, generation, content, is_alive, superseded_by) = conn
        .prepare_cached(
            "SELECT key, generation, coalesce(content, ''), deleted_at IS NULL, superseded_by
             FROM memory WHERE id = ?1",
        )
        .unwrap()
        .query_row([id], |row| {
            let numbers: (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((numbers.0, numbers.1, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()
        .unwrap()?;
    let tags = texts(conn, "SELECT name FROM tag WHERE memory = ?1 ORDER BY name", [key]);
    let known = Known { content, tags: tags.into_iter().collect(), is_alive, superseded_by };
    Some(StoredRow { key, generation, known })
}

/// The texts that a statement gives.
pub fn texts(conn: &Connection, sql: &str, values: impl rusqlite::Params) -> Vec<String> {
    let mut statement = conn.prepare_cached(sql).unwrap();
    let rows = statement.query_map(values, |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}
