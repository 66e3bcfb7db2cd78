use super::*;
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::model::stamp::{DeviceId, Stamp};
use crate::model::state::tests::{any_state, cases, merged};
use crate::model::state::{Birth, Register};
use crate::model::state_text;
use crate::replicate::outgoing::{push_row, tests as outgoing};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = "text";

/// A state of a memtide device, of an ordinary time.
fn state() -> State {
    let at = |ms: u64| Stamp { ms: 1_600_000_000_000 + ms, counter: 0, device: DeviceId(7) };
    let birth =
        Birth { at: Micros(1_600_000_000_000_000), device: DeviceId(7), client: "c".into() };
    let tag = |name: &str| (name.to_owned(), Register::new(at(2), true));
    let value =
        |key: &str, json: &str| (key.to_owned(), Register::new(at(3), Some(json.to_owned())));
    State {
        life: Register::new(at(0), true),
        birth: Register::new(at(0), birth),
        text: Register::new(at(1), BodyHash::of(TEXT)),
        kind: Register::new(at(1), "note".to_owned()),
        superseded_by: Register::new(at(1), None),
        tags: BTreeMap::from([tag("a"), tag("b")]),
        metadata: BTreeMap::from([value("k", "1"), value("l", r#""x""#)]),
        updated_at: Micros(1_600_000_000_003_000),
    }
}

/// What a push writes for a state, read back.
fn row_of(state: &State) -> FeedRow {
    let mut memory = outgoing::outgoing(state);
    memory.state = state_text::write(state);
    let row = push_row(&memory).expect("a row");
    let seconds = |at: Micros| std::time::Duration::from_micros(at.0.unsigned_abs()).as_secs_f64();
    FeedRow {
        created_at: Some(seconds(row.created_at)),
        updated_at: Some(1_700_000_000.0),
        deleted_at: row.deleted_at.map(seconds),
        memory_type: Some(row.memory_type),
        metadata_json: Some(row.metadata_json),
        tags: row.tags.into_iter().collect(),
        ..FeedRow::default()
    }
}

fn read(row: &FeedRow) -> Shown {
    read_row(row).expect("a sound row")
}

fn reconciled(state: &State, row: &FeedRow) -> Reconciled {
    let body = Some(BodyHash::of(TEXT));
    reconcile(Some(state.clone()), Some(&read(row)), body).expect("something is there")
}

/// The row after the service changed it at 1,700,000,100.
fn changed(state: &State, change: impl FnOnce(&mut FeedRow)) -> Reconciled {
    let mut row = row_of(state);
    row.updated_at = Some(1_700_000_100.0);
    change(&mut row);
    let reconciled = reconciled(state, &row);
    assert!(!reconciled.is_shown);
    reconciled
}

const CHANGED_MS: u64 = 1_700_000_100_000;

#[test]
fn a_row_that_shows_its_state_changes_nothing() {
    let state = state();
    let found = reconciled(&state, &row_of(&state));
    assert_eq!(found, Reconciled { state, is_shown: true });
}

#[test]
fn what_the_service_changed_is_stamped_with_its_instant_by_device_0() {
    let found = changed(&state(), |row| {
        row.memory_type = Some("decision".to_owned());
        row.tags = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
        row.metadata_json = Some(r#"{"k":2,"l":"x"}"#.to_owned());
    });
    let at = Stamp { ms: CHANGED_MS, counter: 0, device: DeviceId(0) };
    let state = found.state;
    assert_eq!(state.kind, Register::new(at, "decision".to_owned()));
    assert_eq!(state.tags["a"], Register::new(at, false));
    assert_eq!(state.tags["c"], Register::new(at, true));
    assert_eq!(state.tags["b"], super::tests::state().tags["b"], "it was left alone");
    assert_eq!(state.metadata["k"], Register::new(at, Some("2".to_owned())));
    assert_eq!(state.metadata["l"], super::tests::state().metadata["l"]);
    assert_eq!(state.updated_at, Micros(1_700_000_100_000_000));
    assert_eq!(state.life, super::tests::state().life);
}

#[test]
fn what_it_replaced_it_had_seen_whatever_its_clock_says() {
    let mut state = state();
    let future = Stamp { ms: CHANGED_MS + 999, counter: 4, device: DeviceId(7) };
    state.kind = Register::new(future, "note".to_owned());
    let found = changed(&state, |row| row.memory_type = Some("theirs".to_owned()));
    assert!(found.state.kind.stamp > future, "{}", found.state.kind.stamp);
    assert_eq!(found.state.kind.stamp.device, DeviceId(0));
}

#[test]
fn a_missing_key_is_no_removal_and_is_written_again() {
    let found = changed(&state(), |row| row.metadata_json = Some(r#"{"k":1}"#.to_owned()));
    assert_eq!(found.state, state(), "and nothing else changes");
    let found = changed(&state(), |row| row.metadata_json = None);
    assert_eq!(found.state, state());
}

#[test]
fn counters_of_searches_are_no_part_of_a_memory() {
    let state = state();
    let mut row = row_of(&state);
    row.updated_at = Some(1_700_000_100.0);
    let counted = r#"{"k":1,"l":"x","access_count":9,"last_accessed":1.5,"access_queries":["q"]}"#;
    row.metadata_json = Some(counted.to_owned());
    assert!(reconciled(&state, &row).is_shown);
}

#[test]
fn a_living_row_revives_only_if_it_was_created_after_the_deletion() {
    let mut dead = state();
    let deleted = Stamp { ms: 1_650_000_000_000, counter: 0, device: DeviceId(7) };
    dead.life = Register::new(deleted, false);
    for (created, is_revived) in
        [(1_649_999_999.0, false), (1_650_000_000.0, false), (1_650_000_001.0, true)]
    {
        let mut row = row_of(&state());
        row.created_at = Some(created);
        row.tags = BTreeSet::from(["c".to_owned()]);
        row.metadata_json = Some(r#"{"m":true}"#.to_owned());
        let found = reconciled(&dead, &row);
        assert!(!found.is_shown, "the row is healed or shows too little");
        assert_eq!(found.state.is_alive(), is_revived, "created at {created}");
        if !is_revived {
            assert_eq!(found.state, dead);
            continue;
        }
        assert!(found.state.life.stamp > deleted);
        assert_eq!(found.state.live_tags(), BTreeSet::from(["c"]), "nothing of what it had");
        assert_eq!(found.state.live_metadata(), BTreeMap::from([("m", "true")]));
        assert_eq!(found.state.birth.value.client, "mcp-memory-service");
        let known = &found.state.tags["a"];
        assert!(!known.value && known.stamp > deleted, "its old tags stay removed");
    }
}

#[test]
fn a_deletion_of_the_service_is_one() {
    let found = changed(&state(), |row| row.deleted_at = Some(1_700_000_100.5));
    let life = found.state.life;
    assert!(!life.value);
    assert_eq!(life.stamp, Stamp { ms: CHANGED_MS + 500, counter: 0, device: DeviceId(0) });
    assert_eq!(found.state.tags, state().tags);
}

#[test]
fn a_missing_row_is_no_deletion_and_is_no_fault_of_a_dead_memory() {
    let living = reconcile(Some(state()), None, None).expect("a state");
    assert_eq!(living, Reconciled { state: state(), is_shown: false });
    let mut dead = state();
    dead.life.value = false;
    let gone = reconcile(Some(dead.clone()), None, None).expect("a state");
    assert_eq!(gone, Reconciled { state: dead, is_shown: true });
    assert_eq!(reconcile(None, None, None), None);
}

#[test]
fn a_dead_row_of_a_dead_memory_is_nobodys_concern() {
    let mut dead = state();
    dead.life.value = false;
    let mut row = row_of(&dead);
    row.deleted_at = Some(3.0);
    row.metadata_json = Some("{".to_owned());
    row.memory_type = Some("\0".to_owned());
    assert_eq!(reconciled(&dead, &row), Reconciled { state: dead, is_shown: true });
}

#[test]
fn a_memory_of_the_service_alone_is_born_as_its_row_tells() {
    let row = FeedRow {
        created_at: Some(1_500_000_000.25),
        updated_at: Some(1_500_000_001.0),
        memory_type: Some("decision".to_owned()),
        metadata_json: Some(r#"{"k":[1, 2]}"#.to_owned()),
        tags: BTreeSet::from(["a".to_owned()]),
        ..FeedRow::default()
    };
    let body = BodyHash::of("theirs");
    let found = reconcile(None, Some(&read(&row)), Some(body)).expect("a memory");
    assert!(!found.is_shown, "its state is written beside it");
    let state = found.state;
    assert_eq!(state.life.stamp, Stamp { ms: 1_500_000_000_250, counter: 0, device: DeviceId(0) });
    assert_eq!((state.birth.value.at, state.text.value), (Micros(1_500_000_000_250_000), body));
    assert_eq!(state.kind.stamp.ms, 1_500_000_001_000);
    assert_eq!(state.live_metadata(), BTreeMap::from([("k", "[1,2]")]));
    let deleted = FeedRow { deleted_at: Some(1_600_000_000.0), ..row.clone() };
    let dead = reconcile(None, Some(&read(&deleted)), Some(body)).expect("a tombstone").state;
    assert!(!dead.is_alive() && dead.life.stamp.ms == 1_600_000_000_000);
    assert_eq!(reconcile(None, Some(&read(&row)), None), None, "without its text it has no name");
}

#[test]
fn another_text_in_the_row_is_a_newer_version() {
    let state = state();
    let body = Some(BodyHash::of("TEXT"));
    let mut row = row_of(&state);
    row.updated_at = Some(1_700_000_100.0);
    let found = reconcile(Some(state), Some(&read(&row)), body).expect("a memory");
    assert!(!found.is_shown);
    assert_eq!(found.state.text.value, BodyHash::of("TEXT"));
    assert_eq!(found.state.text.stamp.ms, CHANGED_MS);
}

#[test]
fn tags_that_are_not_in_their_normal_form_are_taken_in_it_and_healed() {
    let found = changed(&state(), |row| {
        row.tags = [" A ", "a", "B", "c,d"].map(str::to_owned).into();
    });
    assert_eq!(found.state.live_tags(), BTreeSet::from(["a", "b", "c-d"]));
    assert_eq!(found.state.tags["a"], state().tags["a"]);
}

#[test]
fn a_successor_stands_in_the_metadata_and_is_not_removed_by_its_absence() {
    let next = MemoryId::of("next");
    let named = format!(r#"{{"k":1,"l":"x","superseded_by":"{next}"}}"#);
    let found = changed(&state(), |row| row.metadata_json = Some(named));
    assert_eq!(found.state.superseded_by.value, Some(next));
    assert!(!found.state.metadata.contains_key("superseded_by"));
    let superseded = found.state;
    assert!(reconciled(&superseded, &row_of(&superseded)).is_shown);
    let without = r#"{"k":1,"l":"x"}"#.to_owned();
    let found = changed(&superseded, |row| row.metadata_json = Some(without));
    assert_eq!(found.state, superseded);
    let other = r#"{"k":1,"l":"x","superseded_by":"no id"}"#.to_owned();
    let found = changed(&state(), |row| row.metadata_json = Some(other));
    assert_eq!(found.state.superseded_by.value, None);
    assert_eq!(found.state.live_metadata()["superseded_by"], r#""no id""#);
}

#[test]
fn what_no_row_may_hold_is_told() {
    type Change = fn(&mut FeedRow);
    let changes: [(Change, &str); 12] = [
        (|row| row.odd = Some("created_at"), "created_at"),
        (|row| row.created_at = None, "no created_at"),
        (|row| row.created_at = Some(-0.5), "no instant"),
        (|row| row.created_at = Some(f64::NAN), "no instant"),
        (|row| row.updated_at = Some(f64::INFINITY), "no instant"),
        (|row| row.deleted_at = Some(1e18), "no instant"),
        (|row| row.memory_type = Some("\0".to_owned()), "NUL"),
        (|row| row.metadata_json = Some("{".to_owned()), "no JSON"),
        (|row| row.metadata_json = Some("[]".to_owned()), "array"),
        (|row| row.tags = BTreeSet::from(["x".repeat(101)]), "100"),
        (|row| row.tags = (0..300).map(|n| n.to_string()).collect(), "299"),
        (
            |row| row.metadata_json = Some(format!(r#"{{"k":"{}"}}"#, "x".repeat(1 << 20))),
            "1048576",
        ),
    ];
    for (change, word) in changes {
        let mut row = row_of(&state());
        change(&mut row);
        let why = read_row(&row).expect_err(word);
        assert!(why.contains(word), "{word}: {why}");
    }
    for nothing in [None, Some(""), Some("  "), Some("null")] {
        let row = FeedRow { metadata_json: nothing.map(str::to_owned), ..row_of(&state()) };
        assert!(read_row(&row).expect("no metadata").metadata.is_empty());
    }
}

#[test]
fn what_several_devices_made_together_is_read_though_no_door_would_let_it_in() {
    let mut state = state();
    let at = state.newest();
    for n in 0..297 {
        state.tags.insert(format!("tag {n}"), Register::new(at, true));
    }
    for n in 0..10 {
        let value = format!("{:?}", "x".repeat(60_000));
        state.metadata.insert(format!("key {n}"), Register::new(at, Some(value)));
    }
    state.superseded_by = Register::new(at, Some(MemoryId::of("successor")));
    assert_eq!(state.live_tags().len(), 299);
    let found = reconciled(&state, &row_of(&state));
    assert!(found.is_shown && found.state == state);
}

/// Rows over a few instants and keys, so that they meet the states' own.
fn any_row() -> impl Strategy<Value = FeedRow> {
    use proptest::collection::{btree_map, btree_set};
    let instant = || (0..12_u32).prop_map(|half_ms| f64::from(half_ms) / 2000.0);
    let key = prop_oneof![
        4 => "[abc]".prop_map(|key| key),
        1 => Just("access_count".to_owned()),
        1 => Just("superseded_by".to_owned()),
    ];
    let value = prop_oneof![
        3 => (0..4_u32).prop_map(Value::from),
        1 => Just(Value::from(MemoryId::of("a").to_string())),
        1 => Just(Value::Null),
    ];
    (
        instant(),
        proptest::option::of(instant()),
        proptest::option::weighted(0.3, instant()),
        proptest::option::of("[abN ]"),
        proptest::option::of(btree_map(key, value, 0..4)),
        btree_set("[abcA]| a", 0..4),
    )
        .prop_map(|(created_at, updated_at, deleted_at, kind, metadata, tags)| FeedRow {
            created_at: Some(created_at),
            updated_at,
            deleted_at,
            memory_type: kind,
            metadata_json: metadata
                .map(|fields| Value::Object(fields.into_iter().collect()).to_string()),
            tags,
            ..FeedRow::default()
        })
}

fn any_body() -> impl Strategy<Value = BodyHash> {
    "[ab]".prop_map(|text| BodyHash::of(&text))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_was_reconciled_is_shown_by_its_own_row(
        state in proptest::option::of(any_state()),
        row in any_row(),
        body in any_body(),
    ) {
        let shown = read(&row);
        let first = reconcile(state.clone(), Some(&shown), Some(body)).expect("a memory");
        prop_assert_eq!(reconcile(state, Some(&shown), Some(body)), Some(first.clone()), "it is not a function");
        let named = first.state.text.value;
        let again = read(&row_of(&first.state));
        let second = reconcile(Some(first.state.clone()), Some(&again), Some(named));
        prop_assert_eq!(second, Some(Reconciled { state: first.state, is_shown: true }));
    }

    #[test]
    fn reconciling_loses_nothing_of_the_state(
        state in any_state(),
        row in any_row(),
        body in any_body(),
    ) {
        let found = reconcile(Some(state.clone()), Some(&read(&row)), Some(body)).expect("a memory");
        prop_assert_eq!(merged(state, &found.state), found.state);
    }

    #[test]
    fn devices_that_read_the_same_rows_in_any_order_end_with_the_same(
        local in any_state(),
        other in any_state(),
        state in any_state(),
        rows in (any_row(), any_row()),
        body in any_body(),
    ) {
        let of = |state: &State, row| {
            reconcile(Some(state.clone()), Some(&read(row)), Some(body)).expect("a memory").state
        };
        // What the service wrote first, and what it wrote over that before anybody read.
        let (one, two) = (of(&state, &rows.0), of(&state, &rows.1));
        let here = merged(merged(local.clone(), &one), &two);
        let there = merged(merged(other.clone(), &two), &one);
        prop_assert_eq!(merged(here.clone(), &there), merged(there, &here));
        prop_assert_eq!(merged(merged(local.clone(), &one), &two), merged(merged(local, &two), &one));
        // A device that read the first row before the second ends above it.
        let late = of(&one, &rows.1);
        prop_assert_eq!(merged(one, &late), late);
        let _ = other;
    }
}
