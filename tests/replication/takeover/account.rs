//! An account as releases of the Python service have left it, and a device that took the service's local
//! memories over.

use crate::{World, names};
use memtide::clock::Micros;
use memtide::emulator::options::Options;
use memtide::model::id::{BodyHash, MemoryId};
use memtide::model::shown::Shown;
use memtide::model::space::UnitVector;
use memtide::model::stamp::Stamp;
use memtide::model::takeover::newborn;
use memtide::remote::provision;
use memtide::remote::r2::R2;
use memtide::remote::vector_row::VectorRow;
use memtide::remote::vectorize::Vectorize;
use memtide::replicate::preview::{self, Comparison, Here};
use memtide::store::transfer::{self, Record};
use std::collections::{BTreeMap, BTreeSet};

const TAGS: [&str; 4] = [
    "CREATE TABLE tags (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL)",
    "CREATE TABLE memory_tags (memory_id INTEGER, tag_id INTEGER, PRIMARY KEY (memory_id, tag_id), FOREIGN KEY (memory_id) REFERENCES memories(id) ON DELETE CASCADE, FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE)",
    "CREATE INDEX idx_memories_content_hash ON memories(content_hash)",
    "CREATE INDEX idx_memories_vector_id ON memories(vector_id)",
];
const NEW: &str = "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT, tags TEXT, deleted_at REAL DEFAULT NULL)";
/// Before its release 8.72.
const OLD: &str = "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT)";

/// Columns that every release has.
const COLUMNS: &str = "content_hash, content, memory_type, created_at, created_at_iso, updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key";

/// A memory of the service.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) text: String,
    pub(super) tags: Vec<String>,
    pub(super) kind: Option<&'static str>,
    pub(super) metadata: Option<String>,
    /// What the row names as its vector; the index holds one of that name.
    pub(super) vector: Option<String>,
    /// The key of the body, for one that is in the bucket.
    pub(super) body: Option<String>,
    /// Seconds since the epoch.
    pub(super) created_at: f64,
    pub(super) deleted_at: Option<f64>,
    /// Whether the row lists its tags as well.
    pub(super) lists_tags: bool,
}

/// A memory of an ordinary kind, the `n`th.
pub(super) fn kept(n: usize) -> Kept {
    let text = format!("kept by the service, number {n}");
    let id = MemoryId::of(&text);
    Kept {
        text,
        tags: vec![format!("t{}", n % 5), "all".to_owned()],
        kind: if n.is_multiple_of(3) { None } else { Some("note") },
        metadata: (!n.is_multiple_of(4))
            .then(|| format!(r#"{{"n": {n}, "nested": {{"b": [1, 2.5], "a": null}}}}"#)),
        vector: Some(id.to_string()),
        body: None,
        created_at: 1_690_000_000.25 + f64::from(u32::try_from(n).unwrap()),
        deleted_at: None,
        lists_tags: true,
    }
}

impl Kept {
    pub(super) fn id(&self) -> MemoryId {
        MemoryId::of(&self.text)
    }

    /// The number with which [`kept`] was asked for it.
    pub(super) fn number(&self) -> usize {
        let number = self.text.rsplit(' ').next().unwrap();
        number.parse().unwrap()
    }

    fn updated_at(&self) -> f64 {
        self.created_at + 50.5
    }

    /// What the service's local database shows of it.
    fn shown(&self) -> Shown {
        let micros =
            |seconds: f64| memtide::model::shown::instant("x", Some(seconds)).unwrap().unwrap();
        let mut shown = Shown::new(micros(self.created_at), micros(self.updated_at()));
        shown.deleted_at = self.deleted_at.map(micros);
        if shown.deleted_at.is_none() {
            shown.read_kind(self.kind).unwrap();
            shown.read_tags(&self.tags.iter().cloned().collect()).unwrap();
            shown.read_metadata(self.metadata.as_deref()).unwrap();
        }
        shown
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), quoted)
}

/// A device beside an account with the service's tables, new or old, and an index of its own.
pub(super) fn beside(options: Options, is_old: bool) -> World {
    let world = World::unlinked(options);
    let core = world.account.core();
    core.create_database("memories").unwrap();
    core.create_index("vectors", 768).unwrap();
    core.create_bucket("bodies").unwrap();
    world.rows(if is_old { OLD } else { NEW });
    for sql in TAGS {
        world.rows(sql);
    }
    world
}

/// Writes memories into the account, as the service has long ago.
pub(super) async fn fill(world: &World, all: &[Kept]) {
    let has_late = !world
        .rows("SELECT 1 FROM pragma_table_info('memories') WHERE name = 'deleted_at'")
        .is_empty();
    world.rows("BEGIN");
    for one in all {
        insert(world, one, has_late);
    }
    world.rows("COMMIT");
    let vectors: Vec<VectorRow> = all.iter().filter_map(vector).collect();
    let index = Vectorize::new(world.remote(), "vectors");
    let mut sent = 0;
    while sent < vectors.len() {
        sent += index.upsert(&vectors[sent..]).await.unwrap().0;
    }
    let bucket = R2::new(world.remote(), "bodies");
    for one in all {
        if let Some(key) = &one.body {
            bucket.put(key, one.text.clone().into_bytes().into()).await.unwrap();
        }
    }
    // Long ago: the index has caught up.
    world.clock.advance(std::time::Duration::from_mins(10));
    world.account.core().clear_requests();
}

fn insert(world: &World, one: &Kept, has_late: bool) {
    let id = one.id();
    let content =
        one.body.as_ref().map_or_else(|| one.text.clone(), |key| format!("[R2 Content: {key}]"));
    let (late, values) = if has_late {
        let tags = one.lists_tags.then(|| one.tags.join(","));
        let deleted_at = one.deleted_at.map_or_else(|| "NULL".to_owned(), |at| at.to_string());
        (", tags, deleted_at", format!(", {}, {deleted_at}", or_null(tags.as_deref())))
    } else {
        ("", String::new())
    };
    world.rows(&format!(
        "INSERT INTO memories ({COLUMNS}{late}) VALUES ('{id}', {}, {}, {:?}, 'iso', {:?}, 'iso', {}, {}, {}, {}{values})",
        quoted(&content),
        or_null(one.kind),
        one.created_at,
        one.updated_at(),
        or_null(one.metadata.as_deref()),
        or_null(one.vector.as_deref()),
        one.text.len(),
        or_null(one.body.as_deref()),
    ));
    for tag in &one.tags {
        let tag = quoted(tag);
        world.rows(&format!("INSERT OR IGNORE INTO tags (name) VALUES ({tag})"));
        world.rows(&format!(
            "INSERT INTO memory_tags SELECT (SELECT id FROM memories WHERE content_hash = '{id}'), id
             FROM tags WHERE name = {tag}"
        ));
    }
}

pub(super) fn vector(one: &Kept) -> Option<VectorRow> {
    let name = one.vector.clone().filter(|_| one.deleted_at.is_none())?;
    let mut values = vec![0.0; 768];
    values[one.text.len() % 768] = 1.0;
    values[usize::from(one.id().to_string().as_bytes()[0])] += 0.5;
    let values = UnitVector::normalise(values).unwrap();
    let created_at = Micros(0);
    let mut row = VectorRow::new(&one.id(), values, "", [], created_at, Stamp::default());
    row.id = name;
    Some(row)
}

/// Takes the memories over as a device does that reads the service's local database.
pub(super) async fn import(world: &World, all: &[Kept]) {
    let records: Vec<Record> = all
        .iter()
        .map(|one| Record {
            id: one.id(),
            state: newborn(&one.shown(), BodyHash::of(&one.text)),
            content: Some(one.text.clone()),
            versions: Vec::new(),
            carried: None,
            edges: Vec::new(),
        })
        .collect();
    let job = move |write: &mut memtide::store::Write<'_>| {
        records.iter().try_for_each(|record| transfer::absorb(write, record).map(drop))
    };
    world.store.write(job).await.unwrap();
}

/// What a plan counts.
pub(super) async fn plan(world: &World) -> Comparison {
    let remote = world.remote();
    let found = provision::inspect(&remote, &names()).await.unwrap();
    let database = found.database.unwrap().uuid;
    let cloud = preview::look(&remote, &database, &found.schema).await.unwrap();
    assert!(!cloud.is_cut);
    let read = |read: &memtide::store::Read<'_>| memtide::store::digest::page(read, 0, 100_000);
    let here: BTreeMap<MemoryId, Here> = world
        .store
        .read(read)
        .await
        .unwrap()
        .into_iter()
        .map(|one| {
            let here = Here { digest: one.digest, shown: one.row, is_alive: one.is_alive };
            (one.id, here)
        })
        .collect();
    preview::compare(&here, &cloud)
}

/// The service's own tables as they stand.
pub(super) fn service_tables(world: &World) -> Vec<String> {
    let quoted: Vec<String> =
        COLUMNS.split(", ").map(|column| format!("quote({column})")).collect();
    let mut lines =
        world.rows(&format!("SELECT id || {} FROM memories ORDER BY id", quoted.join(" || ")));
    lines.extend(world.rows("SELECT id || name FROM tags ORDER BY id"));
    lines.extend(
        world.rows("SELECT memory_id || ' ' || tag_id FROM memory_tags ORDER BY memory_id, tag_id"),
    );
    lines
}

/// Everything the account's database holds, schema included.
pub(super) fn database(world: &World) -> Vec<String> {
    let mut lines = world.rows("SELECT name || coalesce(sql, '') FROM sqlite_master ORDER BY name");
    lines.extend(service_tables(world));
    for table in ["mt_entry", "mt_feed", "mt_heads", "mt_meta"] {
        let there = format!("SELECT 1 FROM sqlite_master WHERE name = '{table}'");
        if !world.rows(&there).is_empty() {
            lines.extend(world.rows(&format!("SELECT count(*) FROM {table}")));
        }
    }
    lines
}

/// The names of the index's vectors.
pub(super) fn vector_names(world: &World) -> BTreeSet<String> {
    world.vectors().into_iter().map(|vector| vector.id).collect()
}

/// Everything of `all` that lives is here, to the last key.
pub(super) async fn assert_here(world: &World, all: &[Kept]) {
    for one in all {
        let id = one.id();
        let found = world.store.read(move |read| memtide::store::memory::get(read, &id)).await;
        if one.deleted_at.is_some() {
            assert!(found.is_err() || found.unwrap().deleted_at.is_some(), "{id} is deleted");
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", one.text));
        let mut tags = one.tags.clone();
        tags.sort_unstable();
        let kind = one.kind.unwrap_or(memtide::model::draft::DEFAULT_TYPE);
        assert_eq!((&found.content, found.tags), (&one.text, tags));
        assert_eq!(found.memory_type, kind);
        let metadata: serde_json::Value = one
            .metadata
            .as_deref()
            .map_or_else(|| serde_json::json!({}), |text| serde_json::from_str(text).unwrap());
        assert_eq!(serde_json::Value::from(found.metadata), metadata, "{}", one.text);
        let created_at = memtide::model::shown::instant("x", Some(one.created_at)).unwrap();
        assert_eq!(Some(found.created_at), created_at);
    }
}
