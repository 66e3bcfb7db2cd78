//! What a database of the service holds: the report of `memtide migrate inspect`, of one moment.

use super::keyword::KeywordIndex;
use super::pseudo::is_pseudo;
use super::row::{RefusedRow, SourceMemory};
use super::source::{Source, SourceError};
use crate::clock::Micros;
use crate::model::carried::DEFAULT_STORE;
use crate::model::id::MemoryId;
use crate::model::space::UnitVector;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Rows read at once.
const PAGE_ROWS: usize = 500;
/// Bytes of text read at once, about.
const PAGE_BYTES: usize = 4 << 20;
/// Examples that are listed of a kind.
const EXAMPLES: usize = 20;
/// How far the length of a normalised vector may be from 1.
const LENGTH_TOLERANCE: f64 = 1e-3;
/// Dimensions of the service's default model.
const DEFAULT_DIMS: usize = 384;

/// What a database of the service holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes of the log of recent writes beside it.
    pub wal_bytes: u64,
    /// Its schema.
    pub schema: Schema,
    /// Its memories.
    pub memories: Memories,
    /// Memories of each store.
    pub stores: BTreeMap<String, u64>,
    /// Its vectors.
    pub vectors: Vectors,
    /// Its graph.
    pub graph: Graph,
    /// Its keyword index, which memtide makes anew.
    pub keyword_index: KeywordIndex,
    /// What is kept beside the memories: how many memories have it.
    pub carried: BTreeMap<String, u64>,
    /// Tables with rows that have no place in memtide yet, with their number of rows.
    pub no_place: BTreeMap<String, u64>,
    /// Rows that can't be taken, the first of them.
    pub refused: Vec<Refused>,
    /// Memories of which something was kept aside, the first of them.
    pub remarks: Vec<Remark>,
}

/// The schema of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// Which releases write such a one.
    pub variant: String,
    /// The version that it names; releases before 12 name none.
    pub version: Option<i64>,
    /// Whether it has the service's table of settings.
    pub has_settings: bool,
    /// Whether a deleted memory leaves a tombstone.
    pub keeps_deletions: bool,
    /// The columns of its memories.
    pub columns: Vec<String>,
    /// How it keeps its journal.
    pub journal_mode: String,
}

/// Counts of the memories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Memories {
    /// Rows.
    pub rows: u64,
    /// Memories that are alive.
    pub live: u64,
    /// Deleted ones whose tombstone is there.
    pub deleted: u64,
    /// Live ones that another one replaces.
    pub superseded: u64,
    /// Rows that can't be taken.
    pub refused: u64,
    /// Memories of which a field is kept aside, since memtide can't take it as it stands.
    pub kept_aside: u64,
    /// Live ones that the service hides until they have a new vector.
    pub embedding_pending: u64,
    /// Memories whose hash was not made by the present rule: it is kept.
    pub other_hash_rule: u64,
    /// Live memories more than there are texts by the present rule of the hash.
    pub duplicates: u64,
    /// Memories whose tags are not in their normal form: they will be.
    pub odd_tags: u64,
    /// Memories with an instant that has not come yet.
    pub in_the_future: u64,
    /// Bytes of all texts.
    pub text_bytes: u64,
    /// Bytes of the longest text.
    pub longest_text_bytes: u64,
    /// Texts longer than the daemon is set to take.
    pub too_long: u64,
    /// When the first was stored, in microseconds since the epoch.
    pub first_created_at: Option<i64>,
    /// When the last was stored.
    pub last_created_at: Option<i64>,
}

/// Counts of the vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Vectors {
    /// The model that made them, if the database says so anywhere.
    pub model: Option<String>,
    /// The model that made them unless it was set otherwise, where the database doesn't say.
    pub probable_model: Option<&'static str>,
    /// Components of each.
    pub dims: Option<usize>,
    /// How their distance is measured.
    pub metric: Option<String>,
    /// Whether the table is parted by stores.
    pub is_parted: bool,
    /// Vectors of live memories.
    pub of_live: u64,
    /// Live memories without one.
    pub missing: u64,
    /// Vectors of deleted or absent memories.
    pub orphaned: u64,
    /// Vectors with a component that is no number, of the wrong length, or of zeros.
    pub unusable: u64,
    /// Pseudo-vectors: made from a hash, while the service had no model.
    pub pseudo: u64,
    /// Other vectors that are not of length 1.
    pub not_normalised: u64,
    /// Vectors that may be of the model; an import compares a sample.
    pub plausible: u64,
}

/// Counts of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// Edges between memories.
    pub edges: u64,
    /// Edges from a memory to the name of an entity.
    pub entities: u64,
    /// Edges with an end that is no memory of this database.
    pub dangling: u64,
    /// Edges by their kind.
    pub kinds: BTreeMap<String, u64>,
}

/// A row that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its number in the database.
    pub row: i64,
    /// What stands there as its hash.
    pub hash: Option<String>,
    /// Why, in a sentence.
    pub why: String,
}

/// A memory of which something was kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Its id.
    pub id: String,
    /// What, in a sentence.
    pub what: String,
}

/// Tables whose rows come over, and those that hold nothing of the user's.
const PLACED: [&str; 4] = ["memories", "metadata", "memory_graph", "migration_registry"];

/// Looks through a whole database. Texts of more than `text_limit` bytes are counted as too long, instants
/// after `now` as not yet come.
///
/// # Errors
/// The source can't be read.
pub fn inspect(source: &Source, text_limit: usize, now: Micros) -> Result<Report, SourceError> {
    source.at_one_moment(|source| {
        let mut look = Look { text_limit, now, ..Look::default() };
        let mut after = i64::MIN;
        loop {
            let page = source.page(after, PAGE_ROWS, PAGE_BYTES)?;
            let rowids: Vec<i64> = page.rows.iter().flatten().map(|memory| memory.rowid).collect();
            let vectors = source.vectors(&rowids)?;
            for row in &page.rows {
                match row {
                    Ok(memory) => look.memory(memory, vectors.get(&memory.rowid)),
                    Err(refused) => look.refused(refused),
                }
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        let rows_of_live: HashSet<i64> = std::mem::take(&mut look.live_rows);
        let stored = source.vector_rowids()?;
        look.vectors.orphaned =
            count(stored.iter().filter(|rowid| !rows_of_live.contains(*rowid)).count());
        look.report(source)
    })
}

#[derive(Default)]
struct Look {
    text_limit: usize,
    now: Micros,
    memories: Memories,
    stores: BTreeMap<String, u64>,
    vectors: Vectors,
    carried: BTreeMap<String, u64>,
    refused: Vec<Refused>,
    remarks: Vec<Remark>,
    live_rows: HashSet<i64>,
    texts: HashMap<MemoryId, u64>,
    ids: HashSet<MemoryId>,
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Look {
    fn refused(&mut self, row: &RefusedRow) {
        self.memories.rows += 1;
        self.memories.refused += 1;
        if self.refused.len() < EXAMPLES {
            let (hash, why) = (row.hash.clone(), row.why.clone());
            self.refused.push(Refused { row: row.rowid, hash, why });
        }
    }

    fn memory(&mut self, memory: &SourceMemory, vector: Option<&Vec<f32>>) {
        let shown = &memory.shown;
        let is_live = shown.deleted_at.is_none();
        let by_rule = MemoryId::of(&memory.content);
        self.ids.insert(memory.id);
        let counts = &mut self.memories;
        counts.rows += 1;
        counts.live += u64::from(is_live);
        counts.deleted += u64::from(!is_live);
        counts.superseded += u64::from(is_live && shown.superseded_by.is_some());
        counts.embedding_pending += u64::from(is_live && memory.is_embedding_pending);
        counts.other_hash_rule += u64::from(by_rule != memory.id);
        counts.odd_tags += u64::from(!shown.has_normal_tags);
        let instants = [Some(shown.created_at), Some(shown.updated_at), shown.deleted_at];
        let is_ahead = instants.into_iter().flatten().any(|at| at > self.now);
        counts.in_the_future += u64::from(is_ahead);
        let bytes = count(memory.content.len());
        counts.text_bytes += bytes;
        counts.longest_text_bytes = counts.longest_text_bytes.max(bytes);
        counts.too_long += u64::from(memory.content.len() > self.text_limit);
        let created = shown.created_at.0;
        counts.first_created_at =
            Some(counts.first_created_at.map_or(created, |first| first.min(created)));
        counts.last_created_at =
            Some(counts.last_created_at.map_or(created, |last| last.max(created)));
        if is_live {
            *self.texts.entry(by_rule).or_default() += 1;
            self.live_rows.insert(memory.rowid);
            self.vector(&memory.content, vector);
        }
        let store = memory.carried.store.as_deref().unwrap_or(DEFAULT_STORE);
        *self.stores.entry(store.to_owned()).or_default() += 1;
        self.carried(memory);
    }

    fn vector(&mut self, text: &str, vector: Option<&Vec<f32>>) {
        let counts = &mut self.vectors;
        let Some(vector) = vector else {
            counts.missing += 1;
            return;
        };
        counts.of_live += 1;
        let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        if UnitVector::normalise(vector.clone()).is_none() {
            counts.unusable += 1;
        } else if is_pseudo(text, vector) {
            counts.pseudo += 1;
        } else if (square.sqrt() - 1.0).abs() > LENGTH_TOLERANCE {
            counts.not_normalised += 1;
        } else {
            counts.plausible += 1;
        }
    }

    fn carried(&mut self, memory: &SourceMemory) {
        let carried = &memory.carried;
        let has = [
            ("store", carried.store.is_some()),
            ("parent_id", carried.parent.is_some()),
            ("version", carried.version.is_some()),
            ("confidence", carried.confidence.is_some()),
            ("last_accessed", carried.last_accessed.is_some()),
        ];
        let own = has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name);
        for name in own.chain(carried.extra.keys().map(String::as_str)) {
            *self.carried.entry(name.to_owned()).or_default() += 1;
        }
        self.memories.kept_aside += u64::from(!memory.remarks.is_empty());
        for what in &memory.remarks {
            if self.remarks.len() < EXAMPLES {
                self.remarks.push(Remark { id: memory.id.to_string(), what: what.clone() });
            }
        }
    }

    fn report(mut self, source: &Source) -> Result<Report, SourceError> {
        let layout = source.layout();
        self.memories.duplicates = self.texts.values().map(|n| n - 1).sum();
        if let Some(table) = &layout.vectors {
            self.vectors.dims = table.dims;
            self.vectors.metric = Some(table.metric.to_string());
            self.vectors.is_parted = table.is_parted;
        }
        self.vectors.model = source.named_model()?;
        let is_default = self.vectors.model.is_none() && self.vectors.dims == Some(DEFAULT_DIMS);
        self.vectors.probable_model = is_default.then_some("all-MiniLM-L6-v2");
        let mut no_place = BTreeMap::new();
        for name in layout.tables.keys().filter(|name| !PLACED.contains(&name.as_str())) {
            let rows = source.rows_of(name)?;
            if rows > 0 {
                no_place.insert(name.clone(), rows);
            }
        }
        Ok(Report {
            path: source.path().to_owned(),
            bytes: size(source.path()),
            wal_bytes: size(&beside(source.path(), "-wal")),
            schema: Schema {
                variant: layout.variant.to_string(),
                version: layout.schema_version,
                has_settings: layout.settings.is_some(),
                keeps_deletions: layout.keeps_deletions(),
                columns: layout.columns.iter().cloned().collect(),
                journal_mode: layout.journal_mode.clone(),
            },
            graph: graph(source, &self.ids)?,
            keyword_index: source.keyword_index()?,
            memories: self.memories,
            stores: self.stores,
            vectors: self.vectors,
            carried: self.carried,
            no_place,
            refused: self.refused,
            remarks: self.remarks,
        })
    }
}

fn graph(source: &Source, ids: &HashSet<MemoryId>) -> Result<Graph, SourceError> {
    const ENTITY: &str = "has_entity";
    let mut graph = Graph::default();
    let mut after = i64::MIN;
    loop {
        let edges = source.edges(after, PAGE_ROWS)?;
        let Some(last) = edges.last() else { return Ok(graph) };
        after = last.rowid;
        for edge in &edges {
            let kind = edge.relationship.as_deref().unwrap_or("related");
            *graph.kinds.entry(kind.to_owned()).or_default() += 1;
            let is_known = |hash: &str| hash.parse().is_ok_and(|id| ids.contains(&id));
            let is_entity = kind == ENTITY;
            graph.entities += u64::from(is_entity);
            graph.edges += u64::from(!is_entity);
            let is_whole = is_known(&edge.source) && (is_entity || is_known(&edge.target));
            graph.dangling += u64::from(!is_whole);
        }
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// The file beside another whose name ends so.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

impl Source {
    /// The model that the database names, in its settings or in its log of events.
    fn named_model(&self) -> Result<Option<String>, SourceError> {
        let settings = self.layout().settings.iter().flatten();
        let named = settings
            .filter(|(key, _)| ["embedding_model", "embedding_model_name"].contains(&key.as_str()))
            .map(|(_, value)| value.clone())
            .next();
        let logs_it =
            self.layout().table("sync_events").is_some_and(|log| log.contains("embedding_model"));
        if named.is_some() || !logs_it {
            return Ok(named);
        }
        self.reading(|conn| {
            let sql = "SELECT (SELECT embedding_model FROM sync_events
                       WHERE embedding_model IS NOT NULL ORDER BY seq DESC LIMIT 1)";
            conn.query_row(sql, [], |row| row.get(0))
        })
    }

    fn rows_of(&self, table: &str) -> Result<u64, SourceError> {
        let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
        self.reading(|conn| conn.query_row(&sql, [], |row| row.get(0)))
    }
}
