//! Copies of the database: whole, checked, and refused when something is wrong.

use super::{NOON, draft, fixture, options};
use crate::clock::ManualClock;
use crate::store::backup::{self, BackupError, Contents, Copying, GoesOn};
use crate::store::{Store, memory};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn always() -> GoesOn {
    Arc::new(|| true)
}

fn copy(from: &Path, to: &Path) -> Result<Contents, BackupError> {
    backup::copy(&Copying { from, to, free: &|_| Ok(u64::MAX), goes_on: &always() })
}

/// Files of the folder beside the database and its companions.
fn others(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.to_str().unwrap().contains("memtide.db")).collect()
}

#[tokio::test]
async fn a_copy_holds_one_moment_of_a_store_that_is_written_to() {
    let fixture = fixture();
    for n in 0..300 {
        let draft = draft(&format!("memory {n} {}", "x".repeat(20_000)), &["kept"]);
        fixture.store.write(move |write| memory::store(write, &draft)).await.unwrap();
    }
    let gone = draft("gone", &[]);
    let id = gone.text.id;
    fixture.store.write(move |write| memory::store(write, &gone)).await.unwrap();
    fixture.store.write(move |write| memory::delete(write, &id, "test")).await.unwrap();
    let (from, to) = (fixture.store.path().to_owned(), fixture.dir.path().join("copy.db"));
    // What a killed attempt left: its journal would be played back into the new file.
    fs::write(&to, "half a copy").unwrap();
    fs::write(fixture.dir.path().join("copy.db-journal"), "a journal").unwrap();
    let (asked, target) = (Arc::new(AtomicU32::new(0)), to.clone());
    let counting = Arc::clone(&asked);
    let copying = tokio::task::spawn_blocking(move || {
        let goes_on: GoesOn = Arc::new(move || counting.fetch_add(1, Ordering::Relaxed) < u32::MAX);
        backup::copy(&Copying {
            from: &from,
            to: &target,
            free: &|_| Ok(u64::MAX),
            goes_on: &goes_on,
        })
    });
    let mut n_meanwhile = 0;
    while !copying.is_finished() {
        let draft = draft(&format!("meanwhile {n_meanwhile}"), &[]);
        fixture.store.write(move |write| memory::store(write, &draft)).await.unwrap();
        n_meanwhile += 1;
    }
    let contents = copying.await.unwrap().unwrap();
    assert!(n_meanwhile > 0 && asked.load(Ordering::Relaxed) > 0);
    assert!((300..=300 + n_meanwhile).contains(&contents.memories), "{contents:?}");
    assert_eq!((contents.tombstones, contents.account), (1, None));
    assert_eq!(fs::metadata(&to).unwrap().len(), contents.bytes);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(others(fixture.dir.path()), std::slice::from_ref(&to), "something lies beside it");
    // A copy of the copy reads it without a trace.
    let second = fixture.dir.path().join("second ?%#.db");
    assert_eq!(copy(&to, &second).unwrap().memories, contents.memories);
    assert_eq!(others(fixture.dir.path()).len(), 2);
}

#[tokio::test]
async fn a_disowned_copy_becomes_another_device_with_the_same_memories() {
    let fixture = fixture();
    let draft = draft("kept", &[]);
    let id = draft.text.id;
    fixture.store.write(move |write| memory::store(write, &draft)).await.unwrap();
    let device = fixture.store.write(|write| Ok(write.device())).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memtide.db");
    copy(fixture.store.path(), &path).unwrap();
    let mut options = options(&dir, "here");
    options.seed = 2;
    let open = || Store::open(&options, Arc::new(ManualClock::at(NOON))).unwrap();
    let store = open();
    assert_eq!(store.write(|write| Ok(write.device())).await.unwrap(), device);
    store.close();
    backup::disown(&path).unwrap();
    let store = open();
    assert_ne!(store.write(|write| Ok(write.device())).await.unwrap(), device);
    assert_eq!(store.read(move |read| memory::get(read, &id)).await.unwrap().content, "kept");
    store.close();
    let other = open().write(|write| Ok(write.device())).await.unwrap();
    assert_ne!(other, device, "and stays it");
}

fn refused(from: &Path) -> BackupError {
    let dir = tempfile::tempdir().unwrap();
    let error = copy(from, &dir.path().join("copy")).unwrap_err();
    assert_eq!(others(dir.path()), Vec::<PathBuf>::new(), "{error}");
    error
}

#[tokio::test]
async fn what_is_no_sound_database_of_ours_is_refused_and_nothing_is_left() {
    let fixture = fixture();
    let texts: Vec<String> =
        (0..400).map(|n| format!("letters {n} {}", "abc ".repeat(99))).collect();
    for text in texts {
        let draft = draft(&text, &[]);
        fixture.store.write(move |write| memory::store(write, &draft)).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    copy(fixture.store.path(), &path("sound")).unwrap();
    let sound = fs::read(path("sound")).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(path(name), bytes).unwrap();
        path(name)
    };
    let said = |from: &Path| refused(from).to_string().replace(dir.path().to_str().unwrap(), "");

    assert_eq!(said(&path("missing")), "there is no file /missing");
    assert_eq!(said(&file("empty", b"")), "/empty is no memtide database");
    let words = "only some words in a file".repeat(100);
    assert_eq!(said(&file("words", words.as_bytes())), "/words is no memtide database");
    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE memories(id)").unwrap();
    drop(other);
    assert_eq!(said(&path("other")), "/other is no memtide database");
    let newer = file("newer", &sound);
    let conn = rusqlite::Connection::open(&newer).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    assert!(said(&newer).starts_with("/newer has schema version 999, "), "{}", said(&newer));

    let half = &sound[..sound.len() / 8192 * 4096];
    let half = said(&file("half", half));
    assert!(half.starts_with("/half is damaged: "), "{half}");
    let mut letter = sound.clone();
    let at = letter.windows(10).position(|window| window == b"letters 7 ").unwrap();
    letter[at] = b'L';
    let letter = said(&file("letter", &letter));
    assert!(letter.contains(" is not what was stored"), "{letter}");
    let (mut n_damaged, mut n_same) = (0, 0);
    for page in (0..sound.len() / 4096).step_by(9) {
        let mut bytes = sound.clone();
        for byte in &mut bytes[page * 4096 + 200..page * 4096 + 3900] {
            *byte ^= 0xa5;
        }
        match copy(&file("page", &bytes), &path("copy")) {
            Err(error) => {
                assert!(matches!(error, BackupError::Damaged { .. }), "page {page}: {error}");
                assert!(!path("copy").exists());
                n_damaged += 1;
            }
            // What is derived from the texts may be damaged unnoticed; each text was compared.
            Ok(contents) => {
                assert_eq!(contents.memories, 400, "page {page}");
                n_same += 1;
            }
        }
    }
    assert!(n_damaged > 2 * n_same, "{n_damaged} {n_same}");
}

#[tokio::test]
async fn a_copy_without_room_or_given_up_leaves_nothing() {
    let fixture = fixture();
    for n in 0..1500 {
        let draft = draft(&format!("memory {n} {}", "x".repeat(3000)), &[]);
        fixture.store.write(move |write| memory::store(write, &draft)).await.unwrap();
    }
    let (from, to) = (fixture.store.path(), fixture.dir.path().join("copy.db"));
    let attempt = |free: u64, goes_on: GoesOn| {
        let copying = Copying { from, to: &to, free: &move |_| Ok(free), goes_on: &goes_on };
        let error = backup::copy(&copying).unwrap_err();
        assert_eq!(others(fixture.dir.path()), Vec::<PathBuf>::new(), "{error}");
        error
    };
    let error = attempt(64 << 20, always());
    assert!(matches!(error, BackupError::NoSpace { free: 67_108_864, .. }), "{error}");
    assert!(matches!(attempt(u64::MAX, Arc::new(|| false)), BackupError::Cancelled));
    // While the copy is checked.
    let (asked, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counting, limit) = (Arc::clone(&asked), Arc::clone(&seen));
    let once =
        Arc::new(move || counting.fetch_add(1, Ordering::Relaxed) < limit.load(Ordering::Relaxed));
    let goes_on: GoesOn = once;
    seen.store(u32::MAX, Ordering::Relaxed);
    backup::copy(&Copying { from, to: &to, free: &|_| Ok(u64::MAX), goes_on: &goes_on }).unwrap();
    fs::remove_file(&to).unwrap();
    let n_asked = asked.swap(0, Ordering::Relaxed);
    seen.store(n_asked - 1, Ordering::Relaxed);
    assert!(matches!(attempt(u64::MAX, goes_on), BackupError::Cancelled));
}
