//! The memories nearest to a query.
//!
//! Without a filter the mirror in memory proposes and the table `embedding` ranks; while the mirror isn't
//! there, the `vec0` table of the space ranks by scan. With a filter, the filter's index chooses and
//! `vec_distance_l2` ranks what it chose. On unit vectors L2 orders as cosine does: `cosine = 1 - d²/2`.

use super::error::StoreError;
use super::reader::Read;
use super::select::Select;
use super::vector::active_space;
use crate::model::filter::Filter;
use crate::model::space::UnitVector;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;

/// sqlite-vec's own limit of `k`.
const K_MAX: usize = 4096;

/// The nearest `k` memories to `query`, with their cosines, best first. A memory with several windows
/// counts by its best one.
pub(super) fn nearest(
    read: &Read<'_>,
    query: &UnitVector,
    k: usize,
    filter: &Filter,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let Some((space, _)) = active_space(read.conn)? else { return Ok(Vec::new()) };
    if filter.is_empty() {
        return match of_all_by_mirror(read, space, query, k)? {
            Some(found) => Ok(found),
            None => of_all_by_scan(read.conn, space, query, k),
        };
    }
    let select = Select::findable(filter);
    let sql = format!(
        "SELECT e.memory, min(vec_distance_l2(e.vec, ?)) AS d
         FROM memory m JOIN embedding e ON e.memory = m.key AND e.space = ?
         WHERE {} GROUP BY e.memory ORDER BY d LIMIT ?",
        select.conditions
    );
    let params = [Value::from(query.to_bytes()), Value::from(space)]
        .into_iter()
        .chain(select.params_then([bound(k)]));
    ranked(read.conn, &sql, params.collect())
}

/// `None` if the mirror doesn't hold the space.
fn of_all_by_mirror(
    read: &Read<'_>,
    space: i64,
    query: &UnitVector,
    k: usize,
) -> Result<Option<Vec<(i64, f64)>>, StoreError> {
    // More than k: one byte a component mistakes the order of near ones, and a memory has windows.
    let mut n_windows = k + k / 4 + 16;
    loop {
        let Some(ids) = read.mirror.nearest(space, query, n_windows) else { return Ok(None) };
        let mut windows: Vec<(i64, f64)> = Vec::with_capacity(ids.len());
        let sql = "SELECT memory, vec FROM embedding WHERE id = ?1 AND space = ?2";
        let mut statement = read.conn.prepare_cached(sql)?;
        for id in &ids {
            let mut rows = statement.query((id, space))?;
            while let Some(row) = rows.next()? {
                windows.push((
                    row.get(0)?,
                    cosine(query, row.get_ref(1)?.as_blob().unwrap_or_default()),
                ));
            }
        }
        windows.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let found = best_windows(windows, k);
        if found.len() == k || ids.len() < n_windows {
            return Ok(Some(found));
        }
        n_windows *= 4;
    }
}

/// Sums that run side by side: the compiler makes vector instructions of them.
const LANES: usize = 8;

/// The cosine of a unit vector and one in the form of the table.
fn cosine(query: &UnitVector, stored: &[u8]) -> f64 {
    let (query, query_rest) = query.as_slice().as_chunks::<LANES>();
    let (stored, stored_rest) = stored.as_chunks::<4>().0.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in query.iter().zip(stored) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * f32::from_le_bytes(*b);
        }
    }
    let rest = query_rest.iter().zip(stored_rest).map(|(a, b)| a * f32::from_le_bytes(*b));
    f64::from(sums.into_iter().chain(rest).sum::<f32>())
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
    let sql = "SELECT vec FROM embedding WHERE memory = ?1 AND space = ?2";
    let mut statement = read.conn.prepare_cached(sql)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let mut rows = statement.query((key, space))?;
        let mut best: Option<f64> = None;
        while let Some(row) = rows.next()? {
            let cosine = cosine(query, row.get_ref(0)?.as_blob().unwrap_or_default());
            best = Some(best.map_or(cosine, |best| best.max(cosine)));
        }
        found.extend(best.map(|best| (*key, best)));
    }
    Ok(found)
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
    use super::super::mirror::Mirror;
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

    /// What the mirror answers, and what the scan does.
    async fn both(store: &Store, query: UnitVector) -> [Vec<(i64, f64)>; 2] {
        let found = store.read(move |read| {
            let (space, _) = active_space(read.conn)?.unwrap();
            let mirrored = of_all_by_mirror(read, space, &query, 10)?.expect("it is filled");
            Ok([mirrored, of_all_by_scan(read.conn, space, &query, 10)?])
        });
        found.await.unwrap()
    }

    /// The same memories in the same order; their cosines are summed in another order.
    fn assert_same(one: &[(i64, f64)], other: &[(i64, f64)]) {
        assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(other) {
            assert_eq!(one.0, other.0);
            assert!((one.1 - other.1).abs() < 1e-5, "{} {}", one.1, other.1);
        }
    }

    #[tokio::test]
    async fn the_mirror_and_the_scan_find_the_same_whatever_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            path: dir.path().join("memtide.db"),
            machine: String::new(),
            seed: 1,
            n_readers: 1,
            vfs: None,
            keep_versions: 3,
        };
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
        store.close();
        // The same after a start, when the mirror is filled from the table.
        let store = Store::open(&options, SystemClock::shared()).unwrap();
        put(&store, "a write comes after the mirror was filled".to_owned()).await;
        for query in queries {
            let [mirrored, scanned] = both(&store, query).await;
            assert_same(&mirrored, &scanned);
        }
    }

    #[tokio::test]
    async fn a_mirror_that_lags_behind_proposes_but_never_decides() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            path: dir.path().join("memtide.db"),
            machine: String::new(),
            seed: 1,
            n_readers: 1,
            vfs: None,
            keep_versions: 3,
        };
        let store = Store::open(&options, SystemClock::shared()).unwrap();
        store.write(|w| vector::activate(w, &space(), DIMS)).await.unwrap();
        put(&store, "there".to_owned()).await;
        embed_all(&store, &mut ChaCha8Rng::seed_from_u64(2), 1).await;
        let query = any_vector(&mut ChaCha8Rng::seed_from_u64(3));
        let found = store.read(move |read| {
            let (space, _) = active_space(read.conn)?.unwrap();
            let stale = Mirror::default();
            stale.publish(vec![
                super::super::mirror::Change::Space { key: space, dims: DIMS },
                super::super::mirror::Change::Put { id: 1, vector: query.clone() },
                super::super::mirror::Change::Put { id: 77, vector: query.clone() },
            ]);
            let read = Read { conn: read.conn, mirror: &stale, words: read.words };
            Ok((
                of_all_by_mirror(&read, space, &query, 10)?,
                of_all_by_scan(read.conn, space, &query, 10)?,
            ))
        });
        let (by_mirror, by_scan) = found.await.unwrap();
        assert_eq!(by_scan.len(), 1);
        assert_same(&by_mirror.unwrap(), &by_scan);
    }
}
