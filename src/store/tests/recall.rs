//! Searches by meaning find what comparing every vector finds.

use super::super::connection;
use super::super::indexes::Indexes;
use super::super::kernel::Kernel;
use super::super::mirror::Limits;
use super::super::nearest::nearest;
use super::super::reader::Read;
use super::super::sieve::Sieve;
use crate::clock::Micros;
use crate::model::filter::Filter;
use crate::model::space::UnitVector;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use std::collections::BTreeSet;
use tempfile::TempDir;

const CLUSTERS: usize = 8;
/// Length of the part of a vector that is its own, against a cluster's of 1.
const OWN_SHARE: f32 = 0.7;
const K: usize = 10;

fn direction(rng: &mut ChaCha8Rng, dims: usize) -> Vec<f32> {
    let values = (0..dims).map(|_| rng.random::<f32>() - 0.5).collect();
    UnitVector::normalise(values).unwrap().as_slice().to_vec()
}

fn near(rng: &mut ChaCha8Rng, centre: &[f32]) -> UnitVector {
    let own = direction(rng, centre.len());
    let values = centre.iter().zip(own).map(|(centre, own)| centre + OWN_SHARE * own).collect();
    UnitVector::normalise(values).unwrap()
}

/// Memories with a vector each; the vector of key `n + 1` is of cluster `n % CLUSTERS`.
struct Given {
    _dir: TempDir,
    conn: Connection,
    centres: Vec<Vec<f32>>,
    vectors: Vec<UnitVector>,
    rng: ChaCha8Rng,
}

fn given(n: usize, dims: usize) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let conn = connection::open_writer(&dir.path().join("memtide.db"), None).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(n as u64 + dims as u64);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| direction(&mut rng, dims)).collect();
    let vectors: Vec<UnitVector> =
        centres.iter().cycle().take(n).map(|centre| near(&mut rng, centre)).collect();
    conn.execute_batch("BEGIN").unwrap();
    conn.execute("INSERT INTO space VALUES (1, 'test', ?1, 1)", [dims]).unwrap();
    let mut memory = conn
        .prepare(
            "INSERT INTO memory(key, id, body, kind, created_at, updated_at, device, client, generation,
              metadata, state, content)
             VALUES (?1, ?1, 'b', 'note', ?1, 1, 1, 'c', 1, '{}', '{}', 'text')",
        )
        .unwrap();
    let mut embedding =
        conn.prepare("INSERT INTO embedding VALUES (?1, ?1, 1, 0, 'b', ?2)").unwrap();
    let mut tag = conn.prepare("INSERT INTO tag VALUES (?1, ?2)").unwrap();
    for (key, vector) in (1_i64..).zip(&vectors) {
        memory.execute([key]).unwrap();
        embedding.execute((key, vector.to_bytes())).unwrap();
        if key % 5 < 3 {
            tag.execute(("most", key)).unwrap();
        }
        if key % 100 == 0 {
            tag.execute(("few", key)).unwrap();
        }
        // Those of every other cluster.
        if key % 2 == 0 {
            tag.execute(("elsewhere", key)).unwrap();
        }
    }
    drop((memory, embedding, tag));
    conn.execute_batch("COMMIT").unwrap();
    Given { _dir: dir, conn, centres, vectors, rng }
}

/// A filter, and whether a key passes it.
type Case = (Filter, fn(i64) -> bool);

fn cases() -> Vec<Case> {
    let tagged = |tag: &str| Filter { tags: BTreeSet::from([tag.to_owned()]), ..Filter::default() };
    let both = ["most", "elsewhere"].map(str::to_owned);
    let both = Filter { tags: BTreeSet::from(both), tags_all: true, ..Filter::default() };
    let late = Filter {
        memory_type: Some("note".to_owned()),
        after: Some(Micros(301)),
        ..tagged("elsewhere")
    };
    vec![
        (Filter::default(), |_| true),
        (tagged("most"), |key| key % 5 < 3),
        (tagged("few"), |key| key % 100 == 0),
        (tagged("elsewhere"), |key| key % 2 == 0),
        (both, |key| key % 5 < 3 && key % 2 == 0),
        (late, |key| key % 2 == 0 && key > 300),
        (tagged("nobody"), |_| false),
    ]
}

/// The share of what should be found that is found; ties count.
fn recall(given: &mut Given, indexes: &Indexes, cases: &[Case], n_queries: usize) -> f64 {
    let read = Read { conn: &given.conn, indexes };
    let (mut n_missed, mut n_all) = (0_u32, 0_u32);
    for n in 0..n_queries {
        // The clusters of even keys have odd numbers: "elsewhere" is far from half of the queries.
        let query = near(&mut given.rng, &given.centres[n % CLUSTERS]);
        let cosines: Vec<f64> = given
            .vectors
            .iter()
            .map(|one| {
                let pairs = one.as_slice().iter().zip(query.as_slice());
                f64::from(pairs.map(|(a, b)| a * b).sum::<f32>())
            })
            .collect();
        for (filter, passes) in cases {
            let mut truth: Vec<f64> =
                (1..).zip(&cosines).filter(|(key, _)| passes(*key)).map(|(_, one)| *one).collect();
            truth.sort_by(|a, b| b.total_cmp(a));
            truth.truncate(K);
            let found = nearest(&read, &query, K, &Sieve::of(&read, filter)).unwrap();
            assert_eq!(found.len(), truth.len());
            assert!(found.iter().all(|(key, _)| passes(*key)));
            let distinct: BTreeSet<i64> = found.iter().map(|(key, _)| *key).collect();
            assert_eq!(distinct.len(), found.len());
            let worst = truth.last().copied().unwrap_or(1.0) - 1e-6;
            for (_, cosine) in found {
                n_missed += u32::from(cosine < worst);
                n_all += 1;
            }
        }
    }
    1.0 - f64::from(n_missed) / f64::from(n_all)
}

fn filled(given: &Given, limits: Limits) -> Indexes {
    let indexes = Indexes::new(limits);
    indexes.expect_filling();
    indexes.mirror.fill(&given.conn).unwrap();
    indexes.facets.fill(&given.conn).unwrap();
    indexes
}

fn assert_found(n: usize, dims: usize, n_queries: usize, kernels: &[Kernel]) {
    let mut given = given(n, dims);
    for kernel in kernels {
        let indexes = filled(&given, Limits { kernel: *kernel, ..Limits::of_bytes(1 << 30) });
        let recall = recall(&mut given, &indexes, &cases(), n_queries);
        assert!(recall >= 0.999, "{recall} of {n} with {dims} dimensions, {kernel:?}");
    }
}

#[test]
fn of_1000_with_384_dimensions_all_are_found() {
    assert_found(1000, 384, 8, &[Kernel::PORTABLE, Kernel::best()]);
}

#[test]
fn of_1000_with_768_dimensions_all_are_found() {
    assert_found(1000, 768, 8, &[Kernel::PORTABLE, Kernel::best()]);
}

#[test]
fn of_10000_with_384_dimensions_all_are_found() {
    assert_found(10_000, 384, 4, &[Kernel::best()]);
}

#[test]
fn of_10000_with_768_dimensions_all_are_found() {
    assert_found(10_000, 768, 2, &[Kernel::best()]);
}

#[test]
fn signs_that_choose_first_miss_little() {
    let mut given = given(10_000, 384);
    let limits = Limits { signs_above: 1000, ..Limits::of_bytes(1 << 30) };
    let indexes = filled(&given, limits);
    let recall = recall(&mut given, &indexes, &cases()[..2], 8);
    assert!(recall >= 0.97, "{recall}");
}

#[test]
fn signs_alone_find_most() {
    let mut given = given(2000, 384);
    // Room for two chunks of signs, not of codes.
    let indexes = filled(&given, Limits::of_bytes(200 << 10));
    assert_eq!(indexes.mirror.served(), super::super::Served::MemoryBits);
    let recall = recall(&mut given, &indexes, &cases()[..2], 16);
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn without_a_mirror_the_file_tells_who_passes() {
    let mut given = given(1000, 384);
    let indexes = Indexes::new(Limits::of_bytes(0));
    let recall = recall(&mut given, &indexes, &cases()[1..], 4);
    assert!(recall >= 0.999, "{recall}");
}

#[test]
fn without_facets_the_file_tells_who_passes() {
    let mut given = given(1000, 384);
    let indexes = Indexes::new(Limits::of_bytes(1 << 30));
    indexes.mirror.fill(&given.conn).unwrap();
    let recall = recall(&mut given, &indexes, &cases()[1..], 4);
    assert!(recall >= 0.999, "{recall}");
}
