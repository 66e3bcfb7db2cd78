//! The daemon killed again and again while several clients write: what was acknowledged is there, once,
//! with its tags, its words and its duties; what was not is there whole or not at all.

use crate::home::Home;
use crate::load::{self, Known, StoredRow, Tally, Wire, Worker, as_stored};
use memtide::clock::{Micros, SystemClock};
use memtide::store::link::{self, Link, LinkMode};
use memtide::store::{Store, StoreOptions};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const KILLS: usize = 200;
const CLIENTS: u64 = 4;
/// Between two looks at everything; after each kill only what was just written is looked at.
const KILLS_A_LOOK: usize = 40;

/// A daemon that is killed before it serves.
const KILLS_A_START: usize = 8;

/// What the database holds of a memory, checked against all tables that speak of it.
fn stored(conn: &Connection, id: &str) -> Option<Known> {
    let StoredRow { key, generation, known } = load::stored_row(conn, id)?;
    let texts = |sql: &str, value: &dyn rusqlite::ToSql| load::texts(conn, sql, [value]);
    // Each text begins with a word that no other has.
    let word = format!("\"{}\"", known.content.split(' ').next().unwrap());
    let found = texts("SELECT CAST(rowid AS TEXT) FROM keyword WHERE keyword MATCH ?1", &word);
    let waiting = texts("SELECT 'yes' FROM pending_embedding WHERE memory = ?1", &key);
    let duties = texts(
        "SELECT product || ' ' || state || ' ' || generation FROM outbox WHERE memory = ?1
         ORDER BY product",
        &key,
    );
    let (state, n_found) =
        if known.is_findable() { ("waiting_for_embedding", 1) } else { ("due", 0) };
    assert_eq!(found, vec![key.to_string(); n_found], "words of {known:?}");
    assert_eq!(waiting.len(), n_found, "the duty to embed {known:?}");
    assert_eq!(duties.len(), 2, "{duties:?} of {known:?}");
    assert_eq!(duties[0], format!("d1 due {generation}"), "{known:?}");
    assert!(duties[1].starts_with(&format!("vectorize {state} ")), "{duties:?} of {known:?}");
    Some(known)
}

/// Compares everything, and that there is nothing else.
fn check_all(conn: &Connection, workers: &[Worker]) {
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let all = || workers.iter().flat_map(|worker| &worker.known);
    let count = |n: usize| i64::try_from(n).unwrap();
    for (id, known) in all() {
        assert_eq!(stored(conn, id), Some(as_stored(known)), "{id}");
    }
    let n_memories = count(all().count());
    let n_findable = count(all().filter(|(_, known)| known.is_findable()).count());
    let n_tags = count(all().map(|(_, known)| as_stored(known).tags.len()).sum());
    assert_eq!(one("SELECT count(*) FROM memory"), n_memories);
    assert_eq!(one("SELECT count(DISTINCT generation) FROM memory"), n_memories);
    assert_eq!(one("SELECT count(*) FROM keyword_docsize"), n_findable);
    assert_eq!(one("SELECT count(*) FROM pending_embedding"), n_findable);
    assert_eq!(one("SELECT count(*) FROM tag"), n_tags);
    assert_eq!(one("SELECT count(*) FROM outbox"), 2 * n_memories);
    let is_behind = "SELECT max(generation) > (SELECT generation FROM device) FROM memory";
    assert_eq!(one(is_behind), 0, "a generation could be given twice");
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    let mut given: Vec<i64> = workers.iter().flat_map(|w| w.generations.clone()).collect();
    let n_given = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), n_given, "a generation was given twice");
}

/// Links the store to an account that can't be reached, so that each change makes duties.
pub(crate) fn link(home: &Home) {
    fs::DirBuilder::new().mode(0o700).create(home.data()).unwrap();
    let options = StoreOptions {
        path: home.database(),
        machine: String::new(),
        seed: 1,
        n_readers: 1,
        vfs: None,
        keep_versions: 100,
        mirror_bytes: 1 << 24,
    };
    let link = Link {
        api_base: "http://127.0.0.1:9".to_owned(),
        account: "account".to_owned(),
        database: "database".to_owned(),
        database_uuid: "uuid".to_owned(),
        vector_index: "index".to_owned(),
        bucket: None,
        contract: "{}".to_owned(),
        is_local_space: true,
        inline_bytes: 1 << 20,
        mode: LinkMode::Shadow,
        is_paused: false,
        linked_at: Micros(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::open(&options, SystemClock::shared()).unwrap();
    runtime.block_on(store.write(move |write| link::link(write, &link))).unwrap();
    store.close();
}

#[test]
fn nothing_acknowledged_is_lost_by_killing_the_daemon() {
    let home = Home::new().with("CLOUDFLARE_API_TOKEN", "of-nobody");
    link(&home);
    let mut rng = ChaCha8Rng::seed_from_u64(200);
    let mut workers: Vec<Worker> = (0..CLIENTS).map(|number| Worker::new(number, number)).collect();
    let mut tally = Tally::default();
    let mut daemon = home.daemon();
    for kill in 1..=KILLS {
        let (failed, failure) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            for worker in &mut workers {
                let (wire, failed) = (Wire::open(&home.socket()), failed.clone());
                scope.spawn(move || {
                    worker.run(wire);
                    // Dropped by a panic too: then nobody waits for the moment of the kill.
                    drop(failed);
                });
            }
            drop(failed);
            let moment = Duration::from_micros(rng.random_range(5_000..65_000));
            let waited = failure.recv_timeout(moment);
            assert_eq!(waited, Err(RecvTimeoutError::Timeout), "the load ended before kill {kill}");
            daemon.kill();
        });
        if kill % KILLS_A_START == 0 {
            // Nor does it matter if the next one is killed while it recovers.
            home.killed_while_it_starts(Duration::from_micros(rng.random_range(0..40_000)));
        }
        daemon = home.daemon();
        let conn = load::snapshot(&home.database());
        for worker in &mut workers {
            worker.settle(&mut tally, |id| stored(&conn, id));
        }
        if kill % KILLS_A_LOOK == 0 {
            check_all(&conn, &workers);
        }
    }
    daemon.stop();
    let conn = Connection::open(home.database()).unwrap();
    check_all(&conn, &workers);
    conn.execute_batch("INSERT INTO keyword(keyword) VALUES ('integrity-check')").unwrap();
    assert!(tally.acknowledged > KILLS, "{tally:?}: there was no load");
    assert!(tally.unanswered > KILLS, "{tally:?}: the kills met nobody at work");
    assert_eq!(tally.kept + tally.lost, KILLS * workers.len(), "{tally:?}");
    assert!(tally.lost > 0, "{tally:?}: no kill came before a commit");
    assert!(!home.stderr().contains("panicked"), "{}", home.stderr());
}
