//! A cut after each of the first 2,000 changes of the disk that an operation makes.

use crate::course::{Course, Verdict};
use crate::disk::{Disk, Image};
use crate::laptop::{FILE, Laptop, clock, draft, records, tag, template};
use crate::ledger::Ledger;
use crate::sound;
use crate::work::Job;
use memtide::model::id::MemoryId;
use memtide::store::memory;
use memtide::store::outbox::Product;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;

const CUTS: usize = 2000;
/// Of so many cuts one is followed by a check of the whole file.
const THOROUGH: usize = 40;

fn text(n: usize) -> String {
    format!("Step number{n} {}", "of a long way ".repeat(n % 50))
}

fn store(n: usize) -> Job {
    Job::Store { text: text(n), tags: vec![tag(n), tag(n + 1)] }
}

/// A disk on which `jobs` were done.
fn prepared(jobs: impl Iterator<Item = Job>) -> (Image, Ledger) {
    let disk = Disk::from_image(template(), 1);
    let laptop = Laptop::open(&disk, &clock()).unwrap();
    let mut ledger = Ledger::default();
    for job in jobs {
        job.run(&laptop).unwrap();
        job.apply(&mut ledger);
    }
    laptop.stop();
    (disk.image(), ledger)
}

/// Does one job after the other until there are enough changes, and cuts after each of them.
fn cut_everywhere(before: (Image, Ledger), mut next: impl FnMut(&Ledger, usize) -> Job) {
    let (image, mut ledger) = before;
    let (disk, clock) = (Disk::from_image(&image, 1), clock());
    let mut course = Course::begin(&disk);
    let laptop = Laptop::open(&disk, &clock).unwrap();
    course.keep(&laptop, &ledger);
    for n in 0.. {
        if course.now() >= CUTS {
            break;
        }
        let job = next(&ledger, n);
        job.run(&laptop).unwrap();
        job.apply(&mut ledger);
        ledger.note_counters(&laptop);
        course.keep(&laptop, &ledger);
    }
    let mut past = course.end();
    disk.kill();
    drop(laptop);
    let mut n_running = 0;
    for n in 0..CUTS {
        let image = past.cut(n, n as u64);
        match past.judge(n, &image, &clock, n % THOROUGH == 0) {
            Verdict::Whole { with_running, .. } => n_running += u32::from(with_running),
            wrong => panic!("after {n} changes: {wrong}"),
        }
    }
    assert!(past.n_acknowledged(CUTS) > 5, "{}", past.n_acknowledged(CUTS));
    assert!(n_running > 5, "no cut hit the end of a commit");
}

#[test]
fn a_cut_at_any_step_of_storing_is_whole() {
    cut_everywhere(prepared((0..20).map(store)), |_, n| store(100 + n));
}

#[test]
fn a_cut_at_any_step_of_deleting_is_whole() {
    let delete = |ledger: &Ledger, _| {
        let alive: Vec<MemoryId> = ledger.ids(|known| known.is_alive);
        Job::Delete { id: alive[alive.len() / 2] }
    };
    let jobs = (0..200).map(store).chain((0..10).map(|_| Job::Embed { limit: 15 }));
    cut_everywhere(prepared(jobs), delete);
}

#[test]
fn a_cut_at_any_step_of_pulling_is_whole() {
    let jobs = (0..20).map(store).chain([Job::Link]);
    cut_everywhere(prepared(jobs), |ledger, n| {
        let pages: Vec<_> = records().chunks(12).collect();
        Job::pull(pages[n % pages.len()], ledger, n % 3 == 0)
    });
}

#[test]
fn a_cut_at_any_step_of_the_backfill_is_whole() {
    let jobs = (0..150).map(store).chain((0..5).map(|_| Job::Embed { limit: 20 }));
    cut_everywhere(prepared(jobs), |_, n| match n % 20 {
        0 => Job::Link,
        18 => Job::Unlink,
        n if n % 5 == 4 => Job::Settle { product: Product::Vectorize, limit: 10 },
        n if n % 5 == 3 => Job::SetBack { product: Product::D1 },
        _ => Job::Settle { product: Product::D1, limit: 10 },
    });
}

#[test]
fn a_cut_at_any_step_of_making_the_schema_leaves_a_store_that_opens() {
    let (disk, clock) = (Disk::new(1), clock());
    disk.record();
    drop(Laptop::open(&disk, &clock).unwrap());
    let recording = disk.recording().unwrap();
    let (mut n_cuts, mut n_absent) = (0, 0);
    for round in 0.. {
        if n_cuts >= CUTS {
            break;
        }
        let mut recording = recording.clone();
        for n in 0..=recording.len() {
            let image = recording.cut_after(n, (round * 10_000 + n) as u64);
            n_absent += usize::from(!image.sizes().iter().any(|(name, _)| *name == FILE));
            assert_opens(&image, n);
            n_cuts += 1;
        }
    }
    assert!(n_absent > 0 && recording.len() > 100, "{n_absent} of {}", recording.len());
}

#[test]
fn a_cut_at_any_step_of_an_upgrade_loses_nothing() {
    let (image, ledger) = prepared((0..20).map(store));
    let old = put_back_to_the_first_schema(&image);
    let (disk, clock) = (Disk::from_image(&old, 1), clock());
    disk.record();
    drop(Laptop::open(&disk, &clock).unwrap());
    let recording = disk.recording().unwrap();
    let (mut n_cuts, mut n_before, mut n_after) = (0, 0, 0);
    for round in 0.. {
        if n_cuts >= CUTS {
            break;
        }
        let mut recording = recording.clone();
        for n in 0..=recording.len() {
            let image = recording.cut_after(n, (round * 10_000 + n) as u64);
            match version(&connect(&Disk::from_image(&image, 1))) {
                1 => n_before += 1,
                _ => n_after += 1,
            }
            let laptop = Laptop::open(&Disk::from_image(&image, 1), &clock)
                .unwrap_or_else(|error| panic!("after {n} changes: {error}"));
            assert_eq!(ledger.difference(&laptop).unwrap(), None, "after {n} changes");
            if n.is_multiple_of(THOROUGH) {
                assert_eq!(sound::damage(&laptop), None, "after {n} changes");
            }
            n_cuts += 1;
        }
    }
    assert!(n_before > 0 && n_after > 0, "{n_before} before, {n_after} after the upgrade");
}

/// The disk as a memtide that knew only the first schema would have left it.
fn put_back_to_the_first_schema(image: &Image) -> Image {
    let first = Connection::open_in_memory().unwrap();
    first.execute_batch(include_str!("../../src/store/schema.sql")).unwrap();
    let disk = Disk::from_image(image, 1);
    let conn = connect(&disk);
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let (known, mut n_dropped) = (tables(&first), 0);
    for table in tables(&conn) {
        if known.contains(&table) {
            for column in columns(&conn, &table).difference(&columns(&first, &table)) {
                conn.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}")).unwrap();
                n_dropped += 1;
            }
        } else if !table.starts_with("vec_") {
            // Those of the vectors are made as they are needed.
            conn.execute_batch(&format!("DROP TABLE {table}")).unwrap();
            n_dropped += 1;
        }
    }
    conn.pragma_update(None, "user_version", 1).unwrap();
    assert!(n_dropped > 0, "the schema has one version only");
    drop(conn);
    disk.image()
}

fn connect(disk: &Disk) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    Connection::open_with_flags_and_vfs(FILE, flags, disk.vfs_name()).unwrap()
}

fn version(conn: &Connection) -> i64 {
    conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn tables(conn: &Connection) -> BTreeSet<String> {
    names(conn, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
}

fn columns(conn: &Connection, table: &str) -> BTreeSet<String> {
    names(conn, &format!("SELECT name FROM pragma_table_info('{table}')"))
}

fn names(conn: &Connection, sql: &str) -> BTreeSet<String> {
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn assert_opens(image: &Image, n: usize) {
    let clock = clock();
    let laptop = Laptop::open(&Disk::from_image(image, 1), &clock)
        .unwrap_or_else(|error| panic!("after {n} changes: {error}"));
    let job = store(1);
    let mut ledger = Ledger::default();
    job.run(&laptop).unwrap();
    job.apply(&mut ledger);
    assert_eq!(ledger.difference(&laptop).unwrap(), None, "after {n} changes");
    if n.is_multiple_of(THOROUGH) {
        assert_eq!(sound::damage(&laptop), None, "after {n} changes");
    }
    let again = draft(&text(1), &[]);
    assert!(!laptop.write(move |write| memory::store(write, &again)).unwrap().created);
}
