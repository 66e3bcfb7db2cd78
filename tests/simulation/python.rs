//! The Python service, as it writes to the same account: blindly, in several requests for one change,
//! without a transaction around them. The statements and their order are its own; each is an event of
//! its own in the world's time, so that everybody else gets in between.

use super::account::{BUCKET, DATABASE, DIMS, INDEX, Template, addressed};
use super::fault::{Fault, Faults};
use super::person::{some_metadata, some_tags, text};
use bytes::Bytes;
use http::{Method, Request};
use memtide::clock::Micros;
use memtide::emulator::Cloudflare;
use memtide::model::id::MemoryId;
use rand::{Rng, RngExt as _};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

const BURY: &str = "DELETE FROM memories WHERE content_hash = ? AND deleted_at IS NOT NULL";
const INSERT: &str = "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso, updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)";
const NAME_TAG: &str = "INSERT OR IGNORE INTO tags (name) VALUES (?)";
const LINK_TAG: &str =
    "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT ?, id FROM tags WHERE name = ?";
const FIND: &str = "SELECT * FROM memories WHERE content_hash = ?";
const FORGET: &str = "UPDATE memories SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL";
const ANNOTATE: &str = "UPDATE memories SET metadata_json = ?, updated_at = ?, updated_at_iso = ? WHERE content_hash = ? AND deleted_at IS NULL RETURNING id";
const ANNOTATE_QUIETLY: &str = "UPDATE memories SET metadata_json = ? WHERE content_hash = ? AND deleted_at IS NULL RETURNING id";
const UNTAG: &str = "DELETE FROM memory_tags WHERE memory_id = ?";
const PURGE: &str = "DELETE FROM memories WHERE id = ?";

enum Param {
    Is(Value),
    /// The row that an earlier statement found or made.
    Row,
}

fn is(value: impl Into<Value>) -> Param {
    Param::Is(value.into())
}

/// What a statement's answer is for.
#[derive(PartialEq)]
enum Keep {
    Nothing,
    InsertedRow,
    /// Without one the errand is over.
    FoundRow,
}

enum Task {
    Sql { text: &'static str, params: Vec<Param>, keep: Keep },
    PutVector,
    DeleteVector,
    DeleteBody,
}

fn sql(text: &'static str, params: Vec<Param>) -> Task {
    Task::Sql { text, params, keep: Keep::Nothing }
}

/// A memory as a hybrid client once saw it.
#[derive(Clone)]
struct Copy {
    id: MemoryId,
    text: String,
    tags: Vec<String>,
    metadata: String,
    created_at: f64,
}

/// One thing that the service does, request by request.
pub struct Errand {
    pub what: String,
    memory: MemoryId,
    tasks: VecDeque<(Duration, Task)>,
    created_at: f64,
    row: Option<i64>,
    body: Option<String>,
}

/// What one request of an errand did, as far as others may care.
#[derive(Debug, Default)]
pub struct Done {
    /// A row that lives since: its memory, and when it claims to be from.
    pub inserted: Option<(MemoryId, f64)>,
    /// The body that is gone since.
    pub body: Option<String>,
}

/// The service on one machine. Its clock may be wrong too.
pub struct Python {
    ahead: i64,
    copies: Vec<Copy>,
}

impl Python {
    pub fn new(ahead: i64) -> Self {
        Self { ahead, copies: Vec::new() }
    }

    fn seconds(&self, now: Micros) -> f64 {
        Duration::from_micros((now.0 + self.ahead).unsigned_abs()).as_secs_f64()
    }

    /// Draws what it does next.
    pub fn errand(
        &mut self,
        account: &Cloudflare,
        now: Micros,
        n_texts: usize,
        faults: &mut Faults,
        rng: &mut impl Rng,
    ) -> Errand {
        let number = rng.random_range(0..n_texts);
        let memory = super::person::id(number);
        let at = self.seconds(now);
        if self.copies.is_empty() || rng.random_bool(0.3) {
            self.copy_all(account);
        }
        let is_sooner = |fault| faults.is_on(fault) && !faults.happened().contains_key(&fault);
        let may_purge = faults.is_on(Fault::Purges) && rng.random_bool(0.2);
        if is_sooner(Fault::Purges) || may_purge {
            if let Some(row) = account.d1_look(DATABASE, tombstone).unwrap() {
                faults.count(Fault::Purges);
                return purge(memory, row);
            }
            if let Some(living) = account.d1_look(DATABASE, living).unwrap() {
                return forget(living.parse().expect("an id"), at);
            }
        }
        let may_upload = faults.is_on(Fault::OldCopies) && rng.random_bool(0.3);
        if (is_sooner(Fault::OldCopies) || may_upload) && !self.copies.is_empty() {
            let copy = self.copies[rng.random_range(0..self.copies.len())].clone();
            return upload(copy, faults, rng);
        }
        let wants_tags = is_sooner(Fault::LateTags);
        match rng.random_range(0..10) {
            _ if wants_tags || rng.random_bool(0.4) => {
                let mut tags = some_tags(rng);
                if wants_tags {
                    tags.push("late".to_owned());
                }
                let copy = Copy {
                    id: memory,
                    text: text(number),
                    tags,
                    metadata: some_metadata(rng, "python").to_string(),
                    created_at: at,
                };
                store(copy, at, faults, rng)
            }
            0..=3 => annotate(memory, at, rng),
            4..=6 => retag(memory, at, faults, rng),
            _ => forget(memory, at),
        }
    }

    fn copy_all(&mut self, account: &Cloudflare) {
        let rows = "SELECT content_hash, content, metadata_json, created_at, (SELECT json_group_array(t.name) FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = m.id) FROM memories m WHERE deleted_at IS NULL AND r2_key IS NULL ORDER BY id";
        let look = |conn: &Connection| {
            let mut statement = conn.prepare_cached(rows)?;
            let copies = statement.query_map([], |row| {
                Ok(Copy {
                    id: row.get::<_, String>(0)?.parse().expect("an id"),
                    text: row.get(1)?,
                    metadata: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                    created_at: row.get(3)?,
                    tags: serde_json::from_str(&row.get::<_, String>(4)?).expect("names"),
                })
            })?;
            copies.collect::<rusqlite::Result<Vec<_>>>()
        };
        let seen = account.d1_look(DATABASE, look).unwrap();
        // The oldest copy of a memory is the one that hurts most.
        for copy in seen {
            if self.copies.iter().all(|known| known.id != copy.id) {
                self.copies.push(copy);
            }
        }
    }
}

fn upload(copy: Copy, faults: &mut Faults, rng: &mut impl Rng) -> Errand {
    faults.count(Fault::OldCopies);
    let at = copy.created_at;
    let mut errand = store(copy, at, faults, rng);
    errand.what = format!("uploads its old copy of {:.8}", errand.memory.to_string());
    errand
}

/// A row that may be purged: its retention is longer than a run, so by then some device has heard.
fn tombstone(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT m.id FROM memories m JOIN mt_entry e ON e.id = m.content_hash WHERE m.deleted_at IS NOT NULL AND NOT (e.state->>'$.life[1]') ORDER BY m.id LIMIT 1";
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()
}

fn living(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT content_hash FROM memories WHERE deleted_at IS NULL ORDER BY id LIMIT 1";
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()
}

fn purge(memory: MemoryId, row: i64) -> Errand {
    let mut errand = Errand::new("purges a tombstone".to_owned(), memory);
    errand.then(0, sql(PURGE, vec![is(row)]));
    errand
}

impl Errand {
    fn new(what: String, memory: MemoryId) -> Self {
        let tasks = VecDeque::new();
        Self { what, memory, tasks, created_at: 0.0, row: None, body: None }
    }

    fn then(&mut self, after_ms: u64, task: Task) {
        self.tasks.push_back((Duration::from_millis(after_ms), task));
    }

    /// How long until the next request; `None` when there is none.
    pub fn pause(&self) -> Option<Duration> {
        self.tasks.front().map(|(pause, _)| *pause)
    }

    /// Whether it may be given up here: not where a half of it can't be told from harm that was meant, and
    /// no device could make it good.
    pub fn may_end(&self) -> bool {
        let next = self.tasks.front().map(|(_, task)| task);
        !matches!(next, Some(Task::Sql { text, .. }) if *text == INSERT || *text == FORGET)
    }

    /// Makes the next request. What fails ends the errand, as it does there.
    pub fn go_on(&mut self, account: &Cloudflare) -> Done {
        let Some((_, task)) = self.tasks.pop_front() else { return Done::default() };
        if matches!(task, Task::DeleteBody) && !self.is_there(account) {
            // A body that it removes in vain is damage, which a verification finds and nothing else.
            self.body = None;
        }
        let request = self.request(&task);
        let answer = request.and_then(|request| account.handle(&addressed(request)).answer());
        let answer = answer.filter(|answer| answer.status().is_success());
        let Some(answer) = answer else {
            // Only the vector's failures are swallowed.
            if !matches!(task, Task::PutVector | Task::DeleteVector | Task::DeleteBody) {
                self.tasks.clear();
            }
            return Done::default();
        };
        match task {
            Task::Sql { text, keep, .. } => self.keep(text, &keep, answer.body()),
            Task::DeleteBody => Done { body: self.body.clone(), ..Done::default() },
            Task::PutVector | Task::DeleteVector => Done::default(),
        }
    }

    fn is_there(&self, account: &Cloudflare) -> bool {
        let sql = "SELECT 1 FROM memories WHERE id = ? AND r2_key IS ? AND deleted_at IS NULL";
        let look = |conn: &Connection| conn.prepare_cached(sql)?.exists((self.row, &self.body));
        account.d1_look(DATABASE, look).unwrap()
    }

    fn keep(&mut self, text: &str, keep: &Keep, body: &[u8]) -> Done {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let result = &answer["result"][0];
        match keep {
            Keep::Nothing => {}
            Keep::InsertedRow => self.row = result["meta"]["last_row_id"].as_i64(),
            Keep::FoundRow => {
                let found = &result["results"][0];
                self.row = found["id"].as_i64();
                self.body = found["r2_key"].as_str().map(str::to_owned);
                if self.row.is_none() {
                    self.tasks.clear();
                }
            }
        }
        let inserted = (text == INSERT).then_some((self.memory, self.created_at));
        Done { inserted, body: None }
    }

    /// `None` if there is nothing to ask for.
    fn request(&self, task: &Task) -> Option<Request<Bytes>> {
        let (method, path, body) = match task {
            Task::Sql { text, params, .. } => {
                let value = |param: &Param| match param {
                    Param::Is(value) => value.clone(),
                    Param::Row => json!(self.row),
                };
                let params: Vec<Value> = params.iter().map(value).collect();
                let body = json!({"sql": text, "params": params}).to_string();
                let id = Template::with(|template| template.database_id.clone());
                (Method::POST, format!("d1/database/{id}/query"), body)
            }
            Task::PutVector => {
                let metadata = json!({"content_hash": self.memory.to_string()});
                let vector = vec![0.5; DIMS];
                let body =
                    json!({"id": self.memory.to_string(), "values": vector, "metadata": metadata});
                (Method::POST, format!("vectorize/v2/indexes/{INDEX}/upsert"), format!("{body}\n"))
            }
            Task::DeleteVector => {
                let body = json!({"ids": [self.memory.to_string()]}).to_string();
                (Method::POST, format!("vectorize/v2/indexes/{INDEX}/delete_by_ids"), body)
            }
            Task::DeleteBody => {
                let key = self.body.as_ref()?;
                (Method::DELETE, format!("r2/buckets/{BUCKET}/objects/{key}"), String::new())
            }
        };
        let account = memtide::emulator::options::Options::ACCOUNT_ID;
        let kind =
            if path.ends_with("upsert") { "application/x-ndjson" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(format!("/accounts/{account}/{path}"))
            .header("content-type", kind)
            .body(Bytes::from(body));
        Some(request.unwrap())
    }
}

fn store(copy: Copy, updated_at: f64, faults: &mut Faults, rng: &mut impl Rng) -> Errand {
    let memory = copy.id;
    let mut errand = Errand::new(format!("stores {:.12}", copy.text), memory);
    errand.created_at = copy.created_at;
    errand.then(0, Task::PutVector);
    errand.then(200, sql(BURY, vec![is(memory.to_string())]));
    let params = vec![
        is(memory.to_string()),
        is(copy.text.clone()),
        is("note"),
        is(copy.created_at),
        is(iso(copy.created_at)),
        is(updated_at),
        is(iso(updated_at)),
        is(copy.metadata),
        is(memory.to_string()),
        is(copy.text.len()),
        is(copy.tags.join(",")),
    ];
    errand.then(200, Task::Sql { text: INSERT, params, keep: Keep::InsertedRow });
    link_tags(&mut errand, &copy.tags, faults, rng);
    errand
}

fn link_tags(errand: &mut Errand, tags: &[String], faults: &mut Faults, rng: &mut impl Rng) {
    let is_late = !tags.is_empty() && faults.strikes(Fault::LateTags, 2, rng);
    for tag in tags {
        let pause = if is_late { rng.random_range(11_000..45_000) } else { 250 };
        errand.then(pause, sql(NAME_TAG, vec![is(tag.clone())]));
        errand.then(250, sql(LINK_TAG, vec![Param::Row, is(tag.clone())]));
    }
}

/// The metadata is replaced as a whole by what the caller changed.
fn annotate(memory: MemoryId, at: f64, rng: &mut impl Rng) -> Errand {
    let metadata = some_metadata(rng, "python").to_string();
    let mut errand = Errand::new(format!("annotates {:.8} {metadata}", memory.to_string()), memory);
    let task = if rng.random_bool(0.2) {
        sql(ANNOTATE_QUIETLY, vec![is(metadata), is(memory.to_string())])
    } else {
        sql(ANNOTATE, vec![is(metadata), is(at), is(iso(at)), is(memory.to_string())])
    };
    errand.then(0, task);
    errand
}

fn retag(memory: MemoryId, at: f64, faults: &mut Faults, rng: &mut impl Rng) -> Errand {
    let tags = some_tags(rng);
    let metadata = some_metadata(rng, "python").to_string();
    let mut errand = Errand::new(format!("retags {:.8} {tags:?}", memory.to_string()), memory);
    let params = vec![is(metadata), is(at), is(iso(at)), is(memory.to_string())];
    errand.then(0, Task::Sql { text: ANNOTATE, params, keep: Keep::FoundRow });
    errand.then(250, sql(UNTAG, vec![Param::Row]));
    link_tags(&mut errand, &tags, faults, rng);
    errand
}

fn forget(memory: MemoryId, at: f64) -> Errand {
    let mut errand = Errand::new(format!("deletes {:.8}", memory.to_string()), memory);
    let find = vec![is(memory.to_string())];
    errand.then(0, Task::Sql { text: FIND, params: find, keep: Keep::FoundRow });
    errand.then(250, Task::DeleteVector);
    errand.then(250, Task::DeleteBody);
    errand.then(0, sql(FORGET, vec![is(at), Param::Row]));
    errand
}

fn iso(seconds: f64) -> String {
    let micros = Duration::from_secs_f64(seconds).as_micros();
    Micros(i64::try_from(micros).unwrap()).to_rfc3339()
}
