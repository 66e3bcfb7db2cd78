//! The memories nearest to a query.
//!
//! The mirror in memory proposes and the table `embedding` ranks, until nothing that wasn't looked at can be
//! nearer; while the mirror isn't there, the `vec0` table of the space ranks by scan. With a filter the mirror
//! proposes of those that pass, by the facets in memory or else by the file's indexes; few of them are looked at
//! one by one. On unit vectors L2 orders as cosine does: `cosine = 1 - d²/2`.

use super::error::StoreError;
use super::keys::Keys;
use super::ranking::{Ranking, cosine};
use super::reader::Read;
use super::select::Select;
use super::sieve::{Probe, Sieve};
use super::vector::active_space;
use crate::model::filter::Filter;
use crate::model::space::UnitVector;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use std::collections::BTreeSet;

/// sqlite-vec's own limit of `k`.
const K_MAX: usize = 4096;
/// The nearest `k` memories to `query`, with their cosines, best first. A memory with several windows
/// counts by its best one.
pub(super) fn nearest(
    read: &Read<'_>,
    query: &UnitVector,
    k: usize,
    sieve: &Sieve<'_>,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let Some((space, _)) = active_space(read.conn)? else { return Ok(Vec::new()) };
    let sought = Sought { space, query, k };
    if sieve.filter.is_empty() {
        return match by_mirror(read, &sought, &mut Passing::All)? {
            Some(found) => Ok(found),
            None => of_all_by_scan(read.conn, space, query, k),
        };
    }
    if let Some(keys) = &sieve.keys {
        let probe = Probe::new(read.conn, sieve.filter)?;
        if let Some(found) = by_mirror(read, &sought, &mut Passing::Likely(keys, probe))? {
            return Ok(found);
        }
    }
    among(read, &sought, &passing(read.conn, sieve.filter)?)
}

/// Ranks the memories of `keys` alone: by the mirror first, if they are more than it would propose.
fn among(
    read: &Read<'_>,
    sought: &Sought<'_>,
    keys: &[i64],
) -> Result<Vec<(i64, f64)>, StoreError> {
    if keys.len() > proposed(sought.k)
        && let Some(set) = Keys::of(keys)
        && let Some(found) = by_mirror(read, sought, &mut Passing::Among(&set))?
    {
        return Ok(found);
    }
    of_each(read.conn, sought, keys)
}

/// What is sought, and where.
struct Sought<'a> {
    space: i64,
    query: &'a UnitVector,
    k: usize,
}

/// Which memories pass.
enum Passing<'a> {
    All,
    /// These.
    Among(&'a Keys),
    /// These, by what is held in memory; the file has the last word.
    Likely(&'a Keys, Probe<'a>),
}

impl<'a> Passing<'a> {
    fn keys(&self) -> Option<&'a Keys> {
        match self {
            Self::All => None,
            Self::Among(keys) | Self::Likely(keys, _) => Some(keys),
        }
    }

    fn passes(&mut self, memory: i64) -> Result<bool, StoreError> {
        match self {
            Self::All => Ok(true),
            Self::Among(keys) => Ok(keys.contains(memory)),
            Self::Likely(_, probe) => probe.passes(memory),
        }
    }
}

/// How many vectors the mirror proposes for `k` memories at first. More than k: the codes mistake the order of
/// near ones, and a memory has windows.
pub(super) fn proposed(k: usize) -> usize {
    k + k / 2 + 32
}

/// The memories that pass.
fn passing(conn: &Connection, filter: &Filter) -> Result<Vec<i64>, StoreError> {
    let select = Select::findable(filter);
    let sql = format!("SELECT m.key FROM memory m WHERE {}", select.conditions);
    let mut statement = conn.prepare_cached(&sql)?;
    let keys = statement.query_map(params_from_iter(select.params), |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// Ranks all vectors of `keys`.
fn of_each(
    conn: &Connection,
    sought: &Sought<'_>,
    keys: &[i64],
) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut ranking = Ranking::new(sought.k);
    let mut statement =
        conn.prepare_cached("SELECT vec FROM embedding WHERE memory = ?1 AND space = ?2")?;
    for key in keys {
        let mut rows = statement.query((key, sought.space))?;
        while let Some(row) = rows.next()? {
            ranking.offer(*key, cosine_of(sought, row, 0)?);
        }
    }
    Ok(ranking.into_best())
}

/// Looks up what the mirror proposes until nothing else can be nearer. `None` if the mirror doesn't hold the
/// space.
fn by_mirror(
    read: &Read<'_>,
    sought: &Sought<'_>,
    passing: &mut Passing<'_>,
) -> Result<Option<Vec<(i64, f64)>>, StoreError> {
    let mut statement = read
        .conn
        .prepare_cached("SELECT memory, vec FROM embedding WHERE id = ?1 AND space = ?2")?;
    let mut n = proposed(sought.k);
    loop {
        let proposals = read.indexes.mirror.nearest(sought.space, sought.query, n, passing.keys());
        let Some(proposals) = proposals else { return Ok(None) };
        let mut ranking = Ranking::new(sought.k);
        let mut is_settled = false;
        for (bound, id) in &proposals.by_bound {
            is_settled = ranking.is_settled(f64::from(*bound));
            if is_settled {
                break;
            }
            let mut rows = statement.query((id, sought.space))?;
            let Some(row) = rows.next()? else { continue };
            let (memory, cosine) = (row.get(0)?, cosine_of(sought, row, 1)?);
            if !ranking.is_settled(cosine) && passing.passes(memory)? {
                ranking.offer(memory, cosine);
            }
        }
        let is_good = is_settled || (!proposals.is_exact && ranking.is_full());
        if is_good || proposals.is_all {
            return Ok(Some(ranking.into_best()));
        }
        n *= 4;
    }
}

fn cosine_of(sought: &Sought<'_>, row: &Row<'_>, column: usize) -> Result<f64, StoreError> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(cosine(sought.query.as_slice(), bytes))
}

fn of_all_by_scan(
    conn: &Connection,
    space: i64,
    query: &UnitVector,
    k: usize,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let sql = format!(
        "SELECT e.memory, v.distance
         FROM (SELECT rowid AS id, distance FROM vec_{space} WHERE vec MATCH ? AND k = ?) v
         JOIN embedding e ON e.id = v.id ORDER BY v.distance"
    );
    // sqlite-vec ranks windows; a few more than k of them usually belong to k memories.
    let mut n_windows = (k + k / 4 + 8).min(K_MAX);
    loop {
        let params = vec![Value::from(query.to_bytes()), bound(n_windows)];
        let windows = ranked(conn, &sql, params)?;
        let is_all = windows.len() < n_windows || n_windows == K_MAX;
        let found = best_windows(windows, k);
        if found.len() == k || is_all {
            return Ok(found);
        }
        n_windows = (n_windows * 4).min(K_MAX);
    }
}

/// The first `k` memories of windows that come best first.
fn best_windows(mut windows: Vec<(i64, f64)>, k: usize) -> Vec<(i64, f64)> {
    let mut seen = BTreeSet::new();
    windows.retain(|(memory, _)| seen.insert(*memory));
    windows.truncate(k);
    windows
}

/// The cosines of `keys` to `query`; memories without a vector are left out.
pub(super) fn cosines(
    read: &Read<'_>,
    query: &UnitVector,
    keys: &[i64],
) -> Result<Vec<(i64, f64)>, StoreError> {
    let Some((space, _)) = active_space(read.conn)? else { return Ok(Vec::new()) };
    let sought = Sought { space, query, k: keys.len() };
    of_each(read.conn, &sought, keys)
}

fn bound(n: usize) -> Value {
    Value::from(i64::try_from(n).unwrap_or(i64::MAX))
}

fn ranked(conn: &Connection, sql: &str, params: Vec<Value>) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params_from_iter(params), |row| {
        let distance: f64 = row.get(1)?;
        Ok((row.get(0)?, 1.0 - distance * distance / 2.0))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::indexes::Indexes;
    use super::super::mirror::{Change, Limits, Mirror};
    use super::super::tests::options;
    use super::super::vector::{self, Embedded};
    use super::super::{Store, StoreOptions, memory};
    use super::*;
    use crate::clock::SystemClock;
    use crate::model::draft::{Author, Draft};
    use crate::model::space::Space;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    const DIMS: usize = 32;

    fn any_vector(rng: &mut ChaCha8Rng) -> UnitVector {
        UnitVector::normalise((0..DIMS).map(|_| rng.random::<f32>() - 0.5).collect()).unwrap()
    }

    fn space() -> Space {
        Space::new("test", "1", "mean", 256, DIMS)
    }

    async fn embed_all(store: &Store, rng: &mut ChaCha8Rng, windows_max: usize) {
        let waiting = store.read(|r| vector::pending(r, 1000, 1 << 20)).await.unwrap();
        let embedded: Vec<Embedded> = waiting
            .into_iter()
            .map(|one| {
                let n_windows = rng.random_range(1..=windows_max);
                let outcome = Ok((0..n_windows).map(|_| any_vector(rng)).collect());
                Embedded { key: one.key, body: one.body, outcome }
            })
            .collect();
        store.write(move |w| vector::settle(w, &space(), &embedded)).await.unwrap();
    }

    async fn put(store: &Store, content: String) {
        let draft = Draft::check(content, &[], None, None, Author::default(), 1 << 20).unwrap();
        store.write(move |w| memory::store(w, &draft)).await.unwrap();
    }

    fn assert_same(mirrored: &[(i64, f64)], scanned: &[(i64, f64)]) {
        let memories = |found: &[(i64, f64)]| found.iter().map(|(memory, _)| *memory).collect();
        let (a, b): (Vec<i64>, Vec<i64>) = (memories(mirrored), memories(scanned));
        assert_eq!(a, b);
        for (a, b) in mirrored.iter().zip(scanned) {
            assert!((a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
        }
    }

    type Contents = std::collections::BTreeMap<i64, (i64, Vec<i8>, Vec<u64>)>;

    async fn contents(store: &Store) -> Contents {
        store.read(|read| Ok(read.indexes.mirror.contents())).await.unwrap()
    }

    /// What the mirror should hold.
    async fn from_the_table(store: &Store) -> Contents {
        let filled = store.read(|read| {
            let mirror = Mirror::new(Limits::of_bytes(1 << 24));
            mirror.fill(read.conn)?;
            Ok(mirror.contents())
        });
        filled.await.unwrap()
    }

    /// What the mirror answers, and what the scan does.
    async fn both(store: &Store, query: UnitVector) -> [Vec<(i64, f64)>; 2] {
        let found = store.read(move |read| {
            let (space, _) = active_space(read.conn)?.unwrap();
            let mirrored =
                by_mirror(read, &Sought { space, query: &query, k: 10 }, &mut Passing::All)?
                    .expect("it is filled");
            Ok([mirrored, of_all_by_scan(read.conn, space, &query, 10)?])
        });
        found.await.unwrap()
    }

    #[tokio::test]
    async fn the_mirror_and_the_scan_find_the_same_whatever_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir, "here");
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let store = Store::open(&options, SystemClock::shared()).unwrap();
        store.write(|w| vector::activate(w, &space(), DIMS)).await.unwrap();
        for n in 0..300 {
            put(&store, format!("Text {n}")).await;
        }
        embed_all(&store, &mut rng, 3).await;
        // Changed, deleted, and given up by a job that failed.
        for n in 0..40 {
            put(&store, format!("text {n}")).await;
        }
        embed_all(&store, &mut rng, 3).await;
        let gone = crate::model::id::MemoryId::of("Text 50");
        let refused = store.write(move |w| {
            memory::delete(w, &gone, "test")?;
            memory::delete(w, &gone, "test")
        });
        assert!(refused.await.is_err());
        for n in 60..120 {
            let id = crate::model::id::MemoryId::of(&format!("Text {n}"));
            store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
        }
        let queries: Vec<UnitVector> = (0..30).map(|_| any_vector(&mut rng)).collect();
        for query in &queries {
            let [mirrored, scanned] = both(&store, query.clone()).await;
            assert_eq!(mirrored.len(), 10);
            assert_same(&mirrored, &scanned);
        }
        assert_eq!(contents(&store).await, from_the_table(&store).await);
        // What a killed program leaves behind, and the same after a start: the mirror is filled from the table.
        let killed = StoreOptions { path: dir.path().join("killed.db"), ..options.clone() };
        std::fs::copy(&options.path, &killed.path).unwrap();
        std::fs::copy(dir.path().join("memtide.db-wal"), dir.path().join("killed.db-wal")).unwrap();
        let before = contents(&store).await;
        store.close();
        let store = Store::open(&killed, SystemClock::shared()).unwrap();
        store.wait_until_filled();
        assert_eq!(contents(&store).await, before);
        // A start with many writes beside it.
        store.close();
        let store = Store::open(&options, SystemClock::shared()).unwrap();
        for n in 200..240 {
            put(&store, format!("TEXT {n}")).await;
            embed_all(&store, &mut rng, 2).await;
        }
        store.wait_until_filled();
        assert_eq!(contents(&store).await, from_the_table(&store).await);
        assert_eq!(store.served(), super::super::Served::Memory);
        for query in queries {
            let [mirrored, scanned] = both(&store, query).await;
            assert_same(&mirrored, &scanned);
        }
    }

    #[tokio::test]
    async fn a_mirror_that_lags_behind_proposes_but_never_decides() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir, "here");
        let store = Store::open(&options, SystemClock::shared()).unwrap();
        store.write(|w| vector::activate(w, &space(), DIMS)).await.unwrap();
        put(&store, "there".to_owned()).await;
        embed_all(&store, &mut ChaCha8Rng::seed_from_u64(2), 1).await;
        let query = any_vector(&mut ChaCha8Rng::seed_from_u64(3));
        let found = store.read(move |read| {
            let (space, _) = active_space(read.conn)?.unwrap();
            let stale = Indexes::new(Limits::of_bytes(1 << 20));
            stale.mirror.fill(read.conn)?;
            stale.mirror.publish(vec![
                Change::Space { key: space, dims: DIMS },
                Change::Put { id: 1, memory: 1, vector: query.clone() },
                Change::Put { id: 77, memory: 5, vector: query.clone() },
            ]);
            let read = Read { conn: read.conn, indexes: &stale };
            Ok((
                by_mirror(&read, &Sought { space, query: &query, k: 10 }, &mut Passing::All)?,
                of_all_by_scan(read.conn, space, &query, 10)?,
            ))
        });
        let (by_mirror, by_scan) = found.await.unwrap();
        assert_eq!(by_scan.len(), 1);
        assert_same(&by_mirror.unwrap(), &by_scan);
    }
}
