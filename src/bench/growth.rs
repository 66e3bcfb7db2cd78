//! By how much a database grows that is edited for a long time without getting more memories.
//!
//! What an edit replaces is kept on purpose, in `history` and, where a text gets another id, as a superseded
//! memory: that is counted apart. What remains must not grow: vectors and words of texts that are gone give
//! their room to those that came, and what was freed is used again.

use super::fill::{self, Vectors};
use super::report::{Report, megabytes};
use super::rig::{Bench, Rig};
use super::text::{Author, TOPICS};
use crate::clock::SystemClock;
use crate::model::draft::{Patch, TEXT_DEFAULT_BYTES};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::store::{Store, memory};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Edits for each sample: 50,000 by default.
const EDITS_PER_SAMPLE: usize = 100;
/// Edits that are given at once; they share commits.
const AT_ONCE: usize = 32;
/// By how much what isn't kept on purpose may grow.
const GROWTH: f64 = 10.0;

/// Measures on the memories of `rig`, which no daemon serves.
///
/// # Errors
/// The store refuses, or the file can't be read.
pub(super) async fn measure(
    report: &mut Report,
    bench: &Bench<'_>,
    rig: &mut Rig,
    size: usize,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(rig.scratch())?;
    let path = folder.path().join("edited.db");
    std::fs::copy(rig.database(), &path)?;
    let before = Sizes::of(&path)?;
    let n_edits = bench.samples * EDITS_PER_SAMPLE;
    (bench.say)(&format!("{n_edits} edits of {size} memories"));
    let store = Store::open(&fill::options(&path, 0), SystemClock::shared())?;
    edit(&store, bench, rig, n_edits).await?;
    store.close();
    let after = Sizes::of(&path)?;
    let rows = Part::ALL.iter().map(|part| {
        let (before, after) = (before.of_part(*part), after.of_part(*part));
        (part.name().to_owned(), vec![megabytes(before), megabytes(after)])
    });
    let what = "MB of the database, edited";
    report.grid(what, &["before", "after"], rows.collect());
    let what =
        format!("growth by {n_edits} edits of {size} memories, without what is kept on purpose");
    report.at_most(&what, percent(before.not_kept(), after.not_kept()), GROWTH, "%");
    report.note("edits: two in five replace one of three tags, two in five set metadata, one in ten changes the case of the text, one in ten gives another text; kept on purpose are replaced versions (the table history, in full) and superseded memories; tags that were removed are remembered with the memory, which counts as growth");
    Ok(())
}

async fn edit(
    store: &Store,
    bench: &Bench<'_>,
    rig: &mut Rig,
    n_edits: usize,
) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(bench.seed);
    let mut vectors = Vectors::new(bench.seed, bench.model.dims());
    let space = bench.model.space();
    let mut ids = store.read(|read| memory::ids_matching(read, &Filter::default())).await?;
    anyhow::ensure!(!ids.is_empty(), "there is nothing to edit");
    let mut n_done = 0;
    while n_done < n_edits {
        let mut edits = tokio::task::JoinSet::new();
        // No memory is edited by two at once: the later one would give the first one's memory a second successor.
        let chosen: BTreeSet<usize> =
            (0..AT_ONCE.min(n_edits - n_done)).map(|_| rng.random_range(0..ids.len())).collect();
        n_done += chosen.len();
        for nth in chosen {
            let Some(id) = ids.get(nth).copied() else { continue };
            let edit = Edit::any(&mut rng, &mut rig.author);
            let store = store.clone();
            edits.spawn(async move { anyhow::Ok((nth, edit.apply(&store, id).await?)) });
        }
        while let Some(done) = edits.join_next().await {
            let (nth, now) = done??;
            if let Some(id) = ids.get_mut(nth) {
                *id = now;
            }
        }
        fill::embed(store, &space, || vectors.near(rng.random_range(0..TOPICS))).await?;
    }
    Ok(())
}

/// A change of one memory.
enum Edit {
    /// This tag in the place of one that is there.
    Tag(String),
    Metadata(u32),
    /// The same text in the other case, which keeps its id.
    Case,
    Text(String),
}

impl Edit {
    fn any(rng: &mut ChaCha8Rng, author: &mut Author) -> Self {
        match rng.random_range(0..10) {
            0..4 => Self::Tag(author.passage().tags.pop().unwrap_or_default()),
            4..8 => Self::Metadata(rng.random_range(0..1000)),
            8 => Self::Case,
            _ => Self::Text(author.passage().text),
        }
    }

    /// Answers the memory that holds the change.
    async fn apply(self, store: &Store, id: MemoryId) -> anyhow::Result<MemoryId> {
        let (mut text, mut tags, mut metadata) = (None, None, None);
        match self {
            Self::Tag(new) => {
                let present = store.read(move |read| memory::get(read, &id)).await?.tags;
                tags = Some(present.into_iter().skip(1).chain([new]).collect::<Vec<String>>());
            }
            Self::Metadata(number) => metadata = Some(json!({"reviewed": number})),
            Self::Case => {
                let present = store.read(move |read| memory::get(read, &id)).await?.content;
                text = Some(other_case(&present));
            }
            Self::Text(new) => text = Some(new),
        }
        let (tags, metadata) = (tags.as_deref(), metadata.as_ref());
        let patch = Patch::check(text, tags, None, metadata, fill::by(), TEXT_DEFAULT_BYTES)?;
        Ok(store.write(move |write| memory::update(write, &id, &patch)).await?)
    }
}

fn other_case(text: &str) -> String {
    let is_lower = !text.contains(|c: char| c.is_ascii_uppercase());
    if is_lower { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() }
}

/// What a part of the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    History,
    Superseded,
    Memories,
    Vectors,
    Words,
    Rest,
    Free,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::History,
        Self::Superseded,
        Self::Memories,
        Self::Vectors,
        Self::Words,
        Self::Rest,
        Self::Free,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::History => "replaced versions",
            Self::Superseded => "superseded memories",
            Self::Memories => "memories and tags",
            Self::Vectors => "vectors",
            Self::Words => "words",
            Self::Rest => "the rest",
            Self::Free => "free pages",
        }
    }

    fn is_kept_on_purpose(self) -> bool {
        matches!(self, Self::History | Self::Superseded)
    }

    /// The part that a table belongs to.
    fn of(table: &str) -> Self {
        match table {
            "history" => Self::History,
            "memory" | "tag" => Self::Memories,
            "embedding" | "free_slot" | "pending_embedding" => Self::Vectors,
            _ if table.starts_with("vec_") => Self::Vectors,
            _ if table.starts_with("keyword") => Self::Words,
            _ => Self::Rest,
        }
    }
}

/// Bytes of the parts of a database that nobody has open.
#[derive(Debug)]
struct Sizes(BTreeMap<Part, u64>);

impl Sizes {
    fn of(path: &Path) -> rusqlite::Result<Self> {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
        let mut statement = conn.prepare(
            "SELECT coalesce(s.tbl_name, d.name), sum(d.pgsize) FROM dbstat d
             LEFT JOIN sqlite_schema s ON s.name = d.name WHERE d.aggregate = TRUE GROUP BY 1",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (table, bytes): (String, u64) = (row.get(0)?, row.get(1)?);
            let superseded = bytes * superseded_per_mille(&conn, &table)? / 1000;
            *parts.entry(Part::Superseded).or_default() += superseded;
            *parts.entry(Part::of(&table)).or_default() += bytes - superseded;
        }
        let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        parts.insert(Part::Free, pragma("freelist_count")? * pragma("page_size")?);
        Ok(Self(parts))
    }

    fn of_part(&self, part: Part) -> u64 {
        self.0.get(&part).copied().unwrap_or(0)
    }

    fn not_kept(&self) -> u64 {
        let parts = Part::ALL.iter().filter(|part| !part.is_kept_on_purpose());
        parts.map(|part| self.of_part(*part)).sum()
    }
}

/// The share of superseded memories in a table, in thousandths: they share pages with the others.
fn superseded_per_mille(conn: &Connection, table: &str) -> rusqlite::Result<u64> {
    let counts = match table {
        "memory" => {
            "SELECT octet_length(state) + octet_length(metadata) + coalesce(octet_length(content), 0)
               AS bytes, superseded_by FROM memory"
        }
        "tag" => {
            "SELECT 1 AS bytes, superseded_by FROM tag t JOIN memory m ON m.key = t.memory"
        }
        _ => return Ok(0),
    };
    let share = "coalesce(sum(bytes) FILTER (WHERE superseded_by IS NOT NULL), 0) * 1000";
    let sql = format!("SELECT {share} / max(sum(bytes), 1) FROM ({counts})");
    conn.query_row(&sql, [], |row| row.get::<_, Option<u64>>(0)).map(Option::unwrap_or_default)
}

fn percent(before: u64, after: u64) -> f64 {
    (megabytes(after) / megabytes(before).max(1e-9) - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_case_is_the_same_memory() {
        let text = "T-1: The Retry is due.";
        let other = other_case(text);
        assert_ne!(other, text);
        assert_ne!(other_case(&other), other);
        assert_eq!(MemoryId::of(&other), MemoryId::of(text));
    }

    #[tokio::test]
    async fn each_part_of_the_file_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.db");
        let model = crate::embed::manifest::MODELS.first().unwrap();
        fill::fill(&path, 300, &mut Author::new(5), model, 5).await.unwrap();
        let store = Store::open(&fill::options(&path, 0), SystemClock::shared()).unwrap();
        let ids = store.read(|read| memory::ids_matching(read, &Filter::default())).await.unwrap();
        let first = Edit::Text("another text".to_owned()).apply(&store, ids[0]).await.unwrap();
        assert_ne!(first, ids[0]);
        assert_eq!(Edit::Case.apply(&store, first).await.unwrap(), first);
        assert_eq!(Edit::Metadata(3).apply(&store, ids[1]).await.unwrap(), ids[1]);
        store.close();
        let sizes = Sizes::of(&path).unwrap();
        let sum: u64 = Part::ALL.iter().map(|part| sizes.of_part(*part)).sum();
        assert_eq!(sum, std::fs::metadata(&path).unwrap().len());
        for part in [Part::History, Part::Superseded, Part::Memories, Part::Vectors, Part::Words] {
            assert!(sizes.of_part(part) > 0, "{part:?}: {sizes:?}");
        }
        assert!(sizes.of_part(Part::Superseded) < sizes.of_part(Part::Memories) / 100);
        assert!((percent(200, 210) - 5.0).abs() < 1e-6);
    }
}
