//! The disk itself: it keeps what it promised to keep and loses what it may lose.

use super::{Disk, Fault, Image, contents};
use rusqlite::{Connection, ErrorCode, OpenFlags};

fn connection(disk: &Disk) -> Connection {
    Connection::open_with_flags_and_vfs("a.db", OpenFlags::default(), disk.vfs_name()).unwrap()
}

fn open(disk: &Disk) -> Connection {
    let conn = connection(disk);
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    conn
}

fn with_table(disk: &Disk) -> Connection {
    let conn = open(disk);
    conn.execute_batch("CREATE TABLE t(x INTEGER PRIMARY KEY, y BLOB)").unwrap();
    conn
}

fn insert(conn: &Connection) -> rusqlite::Result<usize> {
    conn.execute("INSERT INTO t(y) VALUES (zeroblob(9000))", [])
}

fn count(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

fn failed_with(outcome: rusqlite::Result<usize>) -> Option<ErrorCode> {
    outcome.unwrap_err().sqlite_error_code()
}

#[test]
fn a_writer_and_a_reader_share_a_log() {
    let disk = Disk::new(1);
    let writer = with_table(&disk);
    let reader = open(&disk);
    let snapshot = reader.unchecked_transaction().unwrap();
    assert_eq!(count(&reader), Ok(0));
    insert(&writer).unwrap();
    assert_eq!(count(&reader), Ok(0), "a snapshot stands still");
    let checkpoint = |conn: &Connection| -> (i64, i64, i64) {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap()
    };
    writer.pragma_update(None, "busy_timeout", 0).unwrap();
    assert_eq!(checkpoint(&writer).0, 1, "a reader holds the log");
    drop(snapshot);
    assert_eq!(count(&reader), Ok(1));
    assert_eq!(checkpoint(&writer), (0, 0, 0));
    assert_eq!(disk.image().sizes().iter().filter(|(_, len)| *len > 0).count(), 1);
    assert!(disk.image().sizes().iter().any(|(name, len)| name.ends_with("-wal") && *len == 0));
}

#[test]
fn threads_share_a_disk() {
    let disk = Disk::new(1);
    let _kept_open = with_table(&disk);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let conn = connection(&disk);
                conn.busy_handler(Some(|_| true)).unwrap();
                for _ in 0..25 {
                    insert(&conn).unwrap();
                }
            });
        }
    });
    assert_eq!(count(&open(&disk)), Ok(100));
}

#[test]
fn two_disks_are_two() {
    let (one, other) = (Disk::new(1), Disk::new(1));
    assert_ne!(one.vfs_name(), other.vfs_name());
    drop(with_table(&one));
    assert!(count(&open(&other)).is_err());
}

#[test]
fn a_synced_commit_survives_every_cut_and_an_unsynced_one_only_some() {
    let (mut n_kept, mut n_lost) = (0, 0);
    for seed in 0..200 {
        let disk = Disk::new(seed);
        let conn = with_table(&disk);
        insert(&conn).unwrap();
        conn.pragma_update(None, "synchronous", "NORMAL").unwrap();
        insert(&conn).unwrap();
        let image = disk.cut_power();
        assert!(disk.is_cut() && insert(&conn).is_err());
        assert_eq!(disk.cut_power(), image, "the power fails once");
        let found = count(&open(&Disk::from_image(&image, seed))).unwrap();
        assert!(found == 1 || found == 2, "{found}");
        *(if found == 2 { &mut n_kept } else { &mut n_lost }) += 1;
    }
    assert!(n_kept > 20 && n_lost > 20, "{n_kept} kept, {n_lost} lost");
}

#[test]
fn the_same_seed_leaves_the_same() {
    let left = |seed| -> Vec<Option<i64>> {
        let run = |n| {
            let disk = Disk::new(seed);
            disk.cut_after(n);
            let conn =
                Connection::open_with_flags_and_vfs("a.db", OpenFlags::default(), disk.vfs_name());
            let work = "PRAGMA journal_mode = WAL; CREATE TABLE t(x INTEGER PRIMARY KEY, y);
                INSERT INTO t(y) VALUES (1); INSERT INTO t(y) VALUES (zeroblob(9999));";
            assert!(conn.and_then(|conn| conn.execute_batch(work)).is_err() && disk.is_cut());
            count(&open(&Disk::from_image(&disk.cut_power(), seed))).ok()
        };
        (0..30).map(run).collect()
    };
    assert_eq!(left(7), left(7));
    assert!(left(7).contains(&None) && left(7).iter().any(|found| *found > Some(0)));
}

#[test]
fn a_recording_is_cut_anywhere() {
    let disk = Disk::new(3);
    let conn = with_table(&disk);
    assert!(disk.recording().is_none());
    disk.record();
    let mut commits = vec![0];
    for _ in 0..10 {
        insert(&conn).unwrap();
        commits.push(disk.n_recorded());
    }
    let mut recording = disk.recording().unwrap();
    for n in 0..=recording.len() {
        let image = recording.cut_after(n, n as u64);
        let n_synced = commits.iter().filter(|commit| **commit <= n).count() - 1;
        let found = count(&open(&Disk::from_image(&image, 0))).unwrap();
        assert!((n_synced..=n_synced + 1).contains(&usize::try_from(found).unwrap()), "{n}");
    }
}

#[test]
fn faults_strike_once_and_are_counted() {
    let disk = Disk::new(5);
    let conn = with_table(&disk);
    insert(&conn).unwrap();
    disk.fail(Fault::Write, 3);
    assert_eq!(failed_with(insert(&conn)), Some(ErrorCode::SystemIoFailure));
    disk.fail(Fault::Full, 1);
    assert_eq!(failed_with(insert(&conn)), Some(ErrorCode::DiskFull));
    disk.fail(Fault::Sync, 1);
    assert_eq!(failed_with(insert(&conn)), Some(ErrorCode::SystemIoFailure));
    conn.pragma_update(None, "cache_size", 0).unwrap();
    conn.execute_batch("PRAGMA shrink_memory").unwrap();
    disk.fail(Fault::Read, 1);
    assert!(count(&conn).is_err());
    assert_eq!(disk.counts().faults, [1, 1, 1, 1]);
    assert_eq!(count(&conn), Ok(1));
    insert(&conn).unwrap();
    assert_eq!(count(&open(&Disk::from_image(&disk.cut_power(), 5))), Ok(2));
    let counts = disk.counts();
    assert!(counts.reads > 0 && counts.changes() > counts.syncs && counts.truncates == 0);
}

#[test]
fn a_full_disk_has_room_again() {
    let disk = Disk::new(5);
    let conn = with_table(&disk);
    disk.leave_room(Some(30_000));
    let outcomes: Vec<_> = (0..5).map(|_| insert(&conn)).collect();
    assert!(outcomes[0].is_ok());
    assert_eq!(failed_with(outcomes.into_iter().next_back().unwrap()), Some(ErrorCode::DiskFull));
    let before = count(&conn).unwrap();
    disk.leave_room(None);
    insert(&conn).unwrap();
    assert_eq!(count(&conn), Ok(before + 1));
}

#[test]
fn a_disk_that_lies_loses_what_was_synced() {
    let (mut n_lost, mut n_torn) = (0, 0);
    for seed in 0..100 {
        let disk = Disk::new(seed);
        let conn = with_table(&disk);
        disk.lie(true);
        for _ in 0..4 {
            insert(&conn).unwrap();
            insert(&conn).unwrap();
            conn.query_row("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
        }
        disk.heal();
        let left = Disk::from_image(&disk.cut_power(), seed);
        let conn = connection(&left);
        let found = count(&conn);
        let sound = conn.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0));
        n_lost += usize::from(found.as_ref().is_ok_and(|found| *found < 8));
        n_torn += usize::from(found.is_err() || sound.as_deref() != Ok("ok"));
    }
    assert!(n_lost > 10 && n_torn > 0, "{n_lost} lost, {n_torn} torn");
}

#[test]
fn a_kill_loses_nothing_and_frees_the_locks() {
    let disk = Disk::new(9);
    let conn = with_table(&disk);
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    insert(&conn).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO t(y) VALUES (1)").unwrap();
    disk.kill();
    assert!(conn.execute_batch("COMMIT").is_err());
    let next = open(&disk);
    assert_eq!(count(&next), Ok(1));
    insert(&next).unwrap();
    drop(conn);
    assert_eq!(count(&next), Ok(2), "the dead program has left nothing behind");
}

#[test]
fn an_orderly_stop_leaves_everything() {
    let disk = Disk::new(9);
    let conn = with_table(&disk);
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    insert(&conn).unwrap();
    drop(conn);
    let conn = open(&Disk::from_image(&disk.image(), 1));
    assert_eq!(count(&conn), Ok(1));
    let before = contents(&conn);
    assert!(before.is_some());
    insert(&conn).unwrap();
    assert_ne!(contents(&conn), before);
    assert!(Image::default().sizes().is_empty());
}
