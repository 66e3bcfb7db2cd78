use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const DIMS: usize = 16;

fn unit() -> impl Strategy<Value = UnitVector> {
    proptest::collection::vec(-1.0_f32..1.0, DIMS)
        .prop_filter_map("no direction", UnitVector::normalise)
}

fn cosine(a: &UnitVector, b: &UnitVector) -> f32 {
    a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
}

/// A mirror of an empty database.
fn empty(limits: Limits) -> Mirror {
    let mirror = Mirror::new(limits).assisted();
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE space(key, dims, is_active)").unwrap();
    mirror.fill(&conn).unwrap();
    mirror
}

fn with_space(limits: Limits) -> Mirror {
    let mirror = empty(limits);
    mirror.publish(vec![Change::Space { key: 1, dims: DIMS }]);
    mirror
}

fn put(id: i64, vector: &UnitVector) -> Change {
    Change::Put { id, memory: id / 2, vector: vector.clone() }
}

fn ids(proposals: &Proposals) -> Vec<i64> {
    proposals.by_bound.iter().map(|(_, id)| *id).collect()
}

/// The fastest loops and those for every processor; signs first, or not; on one thread or two.
fn ways() -> [Limits; 5] {
    let fast = Limits::of_bytes(1 << 20);
    [
        fast,
        Limits { kernel: Kernel::PORTABLE, ..fast },
        Limits { signs_above: 0, ..fast },
        Limits { shared_above: 0, ..fast },
        Limits { signs_above: 0, shared_above: 0, ..fast },
    ]
}

proptest! {
    #[test]
    fn what_it_proposes_has_everything_above_the_last_bound(
        steps in proptest::collection::vec(
            (0_i64..3000, proptest::option::weighted(0.8, unit())), 1..120),
        query in unit(),
        n in 1_usize..20,
        every in 1_i64..4,
    ) {
        for limits in ways() {
            let mirror = with_space(limits);
            let mut truth: BTreeMap<i64, &UnitVector> = BTreeMap::new();
            for (id, vector) in &steps {
                let change = if let Some(vector) = vector {
                    truth.insert(*id, vector);
                    put(*id, vector)
                } else {
                    truth.remove(id);
                    Change::Remove { id: *id }
                };
                mirror.publish(vec![change]);
            }
            let passing: Vec<i64> = (0..3000).filter(|memory| memory % every == 0).collect();
            for keys in [None, Some(Keys::of(&passing).unwrap())] {
                let mut truth = truth.clone();
                truth.retain(|id, _| keys.is_none() || id / 2 % every == 0);
                let proposals = mirror.nearest(1, &query, n, keys.as_ref()).unwrap();
                let found = ids(&proposals);
                prop_assert_eq!(found.len(), n.min(truth.len()));
                prop_assert!(proposals.is_all || found.len() == n);
                prop_assert!(proposals.by_bound.is_sorted_by(|a, b| a.0 >= b.0));
                for (bound, id) in &proposals.by_bound {
                    prop_assert!(cosine(truth[id], &query) <= *bound);
                }
                // Signs choose far more than there are here, so nothing is missed that way either.
                let last = proposals.by_bound.last().map_or(-2.0, |(bound, _)| *bound);
                for (id, vector) in &truth {
                    prop_assert!(found.contains(id) || cosine(vector, &query) <= last);
                }
            }
        }
    }
}

#[test]
fn it_answers_for_its_own_space_only() {
    let mirror = empty(Limits::of_bytes(1 << 20));
    assert_eq!(mirror.served(), Served::Memory);
    let query = UnitVector::normalise(vec![1.0; DIMS]).unwrap();
    let found = |space, query| mirror.nearest(space, query, 5, None).as_ref().map(ids);
    assert_eq!(found(1, &query), None);
    mirror.publish(vec![Change::Space { key: 1, dims: DIMS }, put(7, &query)]);
    assert_eq!(found(1, &query), Some(vec![7]));
    assert_eq!(found(2, &query), None);
    let short = UnitVector::normalise(vec![1.0; 4]).unwrap();
    assert_eq!(found(1, &short), None);
    mirror.publish(vec![Change::Space { key: 2, dims: DIMS }]);
    assert_eq!(found(2, &query), Some(vec![]));
}

#[test]
fn without_room_for_codes_signs_are_kept_then_nothing() {
    let axis = |at: usize| {
        let values = (0..DIMS).map(|n| if n == at { 1.0 } else { -0.1 }).collect();
        UnitVector::normalise(values).unwrap()
    };
    let coded = chunk::Chunk::bytes(DIMS, true);
    assert!(coded > chunk::Chunk::bytes(DIMS, false));
    let limits = Limits::of_bytes(coded);
    let mirror = with_space(limits);
    mirror.publish((0..4_u8).map(|n| put(n.into(), &axis(n.into()))).collect());
    assert_eq!(mirror.served(), Served::Memory);
    let before = mirror.nearest(1, &axis(2), 1, None).unwrap();
    assert_eq!((ids(&before), before.is_exact), (vec![2], true));

    mirror.publish(vec![put(1024, &axis(2)), put(1025, &axis(5))]);
    assert_eq!(mirror.served(), Served::MemoryBits);
    let proposals = mirror.nearest(1, &axis(2), 1, None).unwrap();
    assert!(proposals.is_all && !proposals.is_exact);
    let mut all = ids(&proposals);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 1024, 1025]);
    let keys = Keys::of(&[1, 512]).unwrap();
    let passing = mirror.nearest(1, &axis(2), 1, Some(&keys)).unwrap();
    assert_eq!(ids(&passing), [2, 3, 1024, 1025]);

    mirror.publish(vec![put(1_000_000, &axis(2))]);
    assert_eq!((mirror.served(), mirror.held(1).is_some()), (Served::File, false));
    assert_eq!(mirror.nearest(1, &axis(2), 1, None), None);
    mirror.publish(vec![put(1, &axis(2)), Change::Remove { id: 0 }]);
    assert!(mirror.held(1).is_none());
    // Another space begins anew.
    mirror.publish(vec![Change::Space { key: 2, dims: DIMS }, put(9, &axis(2))]);
    assert_eq!((mirror.served(), mirror.held(2).is_some()), (Served::Memory, true));
}

#[test]
fn what_is_published_while_it_is_filled_stands_above_what_is_read() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(
        "CREATE TABLE space(key INTEGER, dims INTEGER, is_active INTEGER);
         CREATE TABLE embedding(id INTEGER, memory INTEGER, space INTEGER, vec BLOB);",
    )
    .unwrap();
    let vector = |angle: f32| {
        let mut values = vec![0.0; DIMS];
        (values[0], values[1]) = (angle.cos(), angle.sin());
        UnitVector::normalise(values).unwrap()
    };
    conn.execute("INSERT INTO space VALUES (1, ?1, 1)", [DIMS]).unwrap();
    for id in 0..3_u8 {
        let bytes = vector(f32::from(id) / 10.0).to_bytes();
        conn.execute("INSERT INTO embedding VALUES (?1, ?1, 1, ?2)", (id, bytes)).unwrap();
    }
    let mirror = Mirror::new(Limits::of_bytes(1 << 20));
    mirror.publish(vec![
        put(0, &vector(1.0)),
        put(5, &vector(0.05)),
        Change::Remove { id: 1 },
        put(6, &vector(0.0)),
        Change::Remove { id: 6 },
    ]);
    assert_eq!((mirror.served(), mirror.held(1).is_some()), (Served::File, false));
    mirror.fill(&conn).unwrap();
    assert_eq!(mirror.served(), Served::Memory);
    let found = mirror.nearest(1, &vector(0.0), 10, None).unwrap();
    assert_eq!(ids(&found), [5, 2, 0]);

    // A change of the space while it is filled leaves nothing of the old one.
    let mirror = Mirror::new(Limits::of_bytes(1 << 20));
    mirror.publish(vec![put(0, &vector(1.0)), Change::Space { key: 2, dims: 4 }]);
    mirror.fill(&conn).unwrap();
    assert!(mirror.held(1).is_none() && mirror.held(2).is_some());
}

#[test]
fn a_filling_that_fails_leaves_the_file_to_rank() {
    let mirror = Mirror::new(Limits::of_bytes(1 << 20));
    mirror.publish(vec![put(0, &UnitVector::normalise(vec![1.0; DIMS]).unwrap())]);
    assert!(mirror.fill(&Connection::open_in_memory().unwrap()).is_err());
    assert_eq!((mirror.served(), mirror.held(1).is_some()), (Served::File, false));
}
