//! The daemon killed again and again while several clients write: what was acknowledged is there, once,
//! with its tags, its words and its duties; what was not is there whole or not at all.

use crate::home::Home;
use memtide::clock::{Micros, SystemClock};
use memtide::model::id::MemoryId;
use memtide::store::link::{self, Link, LinkMode};
use memtide::store::{Store, StoreOptions};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const KILLS: usize = 200;
const CLIENTS: u64 = 4;
/// Between two looks at everything; after each kill only what was just written is looked at.
const KILLS_A_LOOK: usize = 40;

/// A daemon that is killed before it serves.
const KILLS_A_START: usize = 8;

/// What is known of a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    content: String,
    tags: BTreeSet<String>,
    is_alive: bool,
    superseded_by: Option<String>,
}

impl Known {
    fn new(content: String, tags: &[&str]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Self { content, tags, is_alive: true, superseded_by: None }
    }

    fn is_findable(&self) -> bool {
        self.is_alive && self.superseded_by.is_none()
    }
}

/// What one transaction makes of the memories it touches.
type Change = Vec<(String, Known)>;

/// One client with memories of its own, so that it knows what each of them must be.
struct Worker {
    number: u64,
    rng: ChaCha8Rng,
    n_texts: usize,
    known: BTreeMap<String, Known>,
    touched: BTreeSet<String>,
    /// The change whose answer never came.
    doubt: Option<Change>,
    n_acknowledged: usize,
    n_unanswered: usize,
    generations: Vec<i64>,
}

impl Worker {
    fn new(number: u64) -> Self {
        Self {
            number,
            rng: ChaCha8Rng::seed_from_u64(number),
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
    fn run(&mut self, mut wire: Wire) {
        loop {
            let (method, path, body, change) = self.next();
            self.touched.extend(change.iter().map(|(id, _)| id.clone()));
            match wire.exchange(method, &path, &body) {
                Exchange::Answered(status, answer) => {
                    assert_eq!(status, 200, "{method} {path} {body}: {answer}");
                    self.generations.extend(answer["generation"].as_i64());
                    self.known.extend(change);
                    self.n_acknowledged += 1;
                }
                unanswered => {
                    self.n_unanswered += usize::from(unanswered == Exchange::Unanswered);
                    self.doubt = Some(change);
                    return;
                }
            }
        }
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
struct Wire(BufReader<UnixStream>);

/// How far a request came.
#[derive(Debug, PartialEq)]
enum Exchange {
    Answered(u16, Value),
    Unanswered,
    Unsent,
}

impl Wire {
    fn open(socket: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(socket).expect("a daemon")))
    }

    fn exchange(&mut self, method: &str, path: &str, body: &Value) -> Exchange {
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

/// What the database holds of a memory, checked against all tables that speak of it.
fn stored(conn: &Connection, id: &str) -> Option<Known> {
    let (key, generation, content, is_alive, superseded_by) = conn
        .prepare_cached(
            "SELECT key, generation, content, deleted_at IS NULL, superseded_by
             FROM memory WHERE id = ?1",
        )
        .unwrap()
        .query_row([id], |row| {
            let numbers: (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((numbers.0, numbers.1, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()
        .unwrap()?;
    let texts = |sql: &str, value: &dyn rusqlite::ToSql| -> Vec<String> {
        let mut statement = conn.prepare_cached(sql).unwrap();
        let rows = statement.query_map([value], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let tags = texts("SELECT name FROM tag WHERE memory = ?1 ORDER BY name", &key);
    let known = Known { content, tags: tags.into_iter().collect(), is_alive, superseded_by };
    // Each text begins with a word that no other has.
    let word = format!("\"{}\"", known.content.split(' ').next().unwrap());
    let found = texts("SELECT CAST(rowid AS TEXT) FROM keyword WHERE keyword MATCH ?1", &word);
    let waiting = texts("SELECT 'yes' FROM pending_embedding WHERE memory = ?1", &key);
    let duties = texts(
        "SELECT product || ' ' || state || ' ' || generation FROM outbox WHERE memory = ?1
         ORDER BY product",
        &key,
    );
    let (state, n_found) =
        if known.is_findable() { ("waiting_for_embedding", 1) } else { ("due", 0) };
    assert_eq!(found, vec![key.to_string(); n_found], "words of {known:?}");
    assert_eq!(waiting.len(), n_found, "the duty to embed {known:?}");
    assert_eq!(duties.len(), 2, "{duties:?} of {known:?}");
    assert_eq!(duties[0], format!("d1 due {generation}"), "{known:?}");
    assert!(duties[1].starts_with(&format!("vectorize {state} ")), "{duties:?} of {known:?}");
    Some(known)
}

/// A look at the file beside the daemon, in one snapshot.
fn open(path: &Path) -> Connection {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    conn.execute_batch("BEGIN").unwrap();
    conn
}

/// What came of the changes in doubt.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    unanswered: usize,
    kept: usize,
    lost: usize,
}

/// Compares what was just written. A change in doubt is there as a whole or not at all.
fn check_touched(conn: &Connection, worker: &mut Worker, tally: &mut Tally) {
    if let Some(change) = worker.doubt.take() {
        let now: Vec<Option<Known>> = change.iter().map(|(id, _)| stored(conn, id)).collect();
        let before: Vec<Option<Known>> =
            change.iter().map(|(id, _)| worker.known.get(id).map(as_stored)).collect();
        let after: Vec<Option<Known>> =
            change.iter().map(|(_, known)| Some(as_stored(known))).collect();
        assert!(now == before || now == after, "half of {change:?} is there: {now:?}");
        if now == after {
            worker.known.extend(change);
            tally.kept += 1;
        } else {
            tally.lost += 1;
        }
    }
    for id in std::mem::take(&mut worker.touched) {
        assert_eq!(stored(conn, &id), worker.known.get(&id).map(as_stored), "{id}");
    }
    tally.acknowledged += std::mem::take(&mut worker.n_acknowledged);
    tally.unanswered += std::mem::take(&mut worker.n_unanswered);
}

/// A deleted memory has no tags to be found by.
fn as_stored(known: &Known) -> Known {
    let mut known = known.clone();
    if !known.is_alive {
        known.tags.clear();
    }
    known
}

/// Compares everything, and that there is nothing else.
fn check_all(conn: &Connection, workers: &[Worker]) {
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let all = || workers.iter().flat_map(|worker| &worker.known);
    let count = |n: usize| i64::try_from(n).unwrap();
    for (id, known) in all() {
        assert_eq!(stored(conn, id), Some(as_stored(known)), "{id}");
    }
    let n_memories = count(all().count());
    let n_findable = count(all().filter(|(_, known)| known.is_findable()).count());
    let n_tags = count(all().map(|(_, known)| as_stored(known).tags.len()).sum());
    assert_eq!(one("SELECT count(*) FROM memory"), n_memories);
    assert_eq!(one("SELECT count(DISTINCT generation) FROM memory"), n_memories);
    assert_eq!(one("SELECT count(*) FROM keyword_docsize"), n_findable);
    assert_eq!(one("SELECT count(*) FROM pending_embedding"), n_findable);
    assert_eq!(one("SELECT count(*) FROM tag"), n_tags);
    assert_eq!(one("SELECT count(*) FROM outbox"), 2 * n_memories);
    let is_behind = "SELECT max(generation) > (SELECT generation FROM device) FROM memory";
    assert_eq!(one(is_behind), 0, "a generation could be given twice");
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    let mut given: Vec<i64> = workers.iter().flat_map(|w| w.generations.clone()).collect();
    let n_given = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), n_given, "a generation was given twice");
}

/// Links the store to an account that can't be reached, so that each change makes duties.
pub(crate) fn link(home: &Home) {
    fs::DirBuilder::new().mode(0o700).create(home.data()).unwrap();
    let options = StoreOptions {
        path: home.database(),
        machine: String::new(),
        seed: 1,
        n_readers: 1,
        vfs: None,
        keep_versions: 100,
    };
    let link = Link {
        api_base: "http://127.0.0.1:9".to_owned(),
        account: "account".to_owned(),
        database: "database".to_owned(),
        database_uuid: "uuid".to_owned(),
        vector_index: "index".to_owned(),
        bucket: None,
        contract: "{}".to_owned(),
        is_local_space: true,
        inline_bytes: 1 << 20,
        mode: LinkMode::Shadow,
        is_paused: false,
        linked_at: Micros(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::open(&options, SystemClock::shared()).unwrap();
    runtime.block_on(store.write(move |write| link::link(write, &link))).unwrap();
    store.close();
}

#[test]
fn nothing_acknowledged_is_lost_by_killing_the_daemon() {
    let home = Home::new().with("CLOUDFLARE_API_TOKEN", "of-nobody");
    link(&home);
    let mut rng = ChaCha8Rng::seed_from_u64(200);
    let mut workers: Vec<Worker> = (0..CLIENTS).map(Worker::new).collect();
    let mut tally = Tally::default();
    let mut daemon = home.daemon();
    for kill in 1..=KILLS {
        let (failed, failure) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            for worker in &mut workers {
                let (wire, failed) = (Wire::open(&home.socket()), failed.clone());
                scope.spawn(move || {
                    worker.run(wire);
                    // Dropped by a panic too: then nobody waits for the moment of the kill.
                    drop(failed);
                });
            }
            drop(failed);
            let moment = Duration::from_micros(rng.random_range(5_000..65_000));
            let waited = failure.recv_timeout(moment);
            assert_eq!(waited, Err(RecvTimeoutError::Timeout), "the load ended before kill {kill}");
            daemon.kill();
        });
        if kill % KILLS_A_START == 0 {
            // Nor does it matter if the next one is killed while it recovers.
            home.killed_while_it_starts(Duration::from_micros(rng.random_range(0..40_000)));
        }
        daemon = home.daemon();
        let conn = open(&home.database());
        for worker in &mut workers {
            check_touched(&conn, worker, &mut tally);
        }
        if kill % KILLS_A_LOOK == 0 {
            check_all(&conn, &workers);
        }
    }
    daemon.stop();
    let conn = Connection::open(home.database()).unwrap();
    check_all(&conn, &workers);
    conn.execute_batch("INSERT INTO keyword(keyword) VALUES ('integrity-check')").unwrap();
    assert!(tally.acknowledged > KILLS, "{tally:?}: there was no load");
    assert!(tally.unanswered > KILLS, "{tally:?}: the kills met nobody at work");
    assert_eq!(tally.kept + tally.lost, KILLS * workers.len(), "{tally:?}");
    assert!(tally.lost > 0, "{tally:?}: no kill came before a commit");
    assert!(!home.stderr().contains("panicked"), "{}", home.stderr());
}
