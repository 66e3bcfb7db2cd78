//! What concerns single memories, or the way they come: told whatever the state of replication is.

use crate::device::Device;
use crate::masked::masked;
use insta::assert_snapshot;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::product::Product;

/// The replication's part of a status; the rest is as in the other states.
fn replication(device: &Device, status: &serde_json::Value) -> String {
    let mut status = status.clone();
    let problems = status["problems"].take();
    let replication = status["replication"].take();
    masked(device, &serde_json::json!({"problems": problems, "replication": replication}))
}

#[test]
fn held_mass_deletion() {
    let device = Device::linked("dual");
    for n in 0..60 {
        device.store(&format!("memory {n}"));
    }
    device.sync();
    device.elsewhere("UPDATE memories SET deleted_at = unixepoch()");
    device.try_to_sync();
    let status = device.status_in("idle", &["mass_deletion"]);
    assert_eq!(status["replication"]["pull"]["held_deletions"], 60);
    assert_eq!(status["store"]["memories"], 60, "nothing is deleted unasked");
    assert_snapshot!(replication(&device, &status));
    device.succeed(&["cloud", "sync", "--accept-deletions"]);
    let status = device.status_in("idle", &[]);
    assert_eq!(status["store"]["memories"], 0);
}

#[test]
fn quarantined() {
    let device = Device::linked("dual");
    let id = device.store("damaged there");
    device.sync();
    device.elsewhere(&format!(
        "UPDATE memories SET metadata_json = '{{' WHERE content_hash = '{id}'"
    ));
    device.try_to_sync();
    let status = device.status_in("idle", &["quarantined"]);
    assert_snapshot!(replication(&device, &status));
}

#[test]
fn parked() {
    let device = Device::linked("dual");
    let reply = Reply::error(400, 7500, "near \"pill\": syntax error at offset 0: SQLITE_ERROR");
    let fault = Rule::new(Effect::reply(reply)).on(Product::D1).body("a poison pill");
    let fault = device.account.core().inject(fault);
    device.store("a poison pill");
    device.try_to_sync();
    let status = device.status_in("idle", &["parked"]);
    assert!(device.account.core().fired(fault) > 0);
    assert_snapshot!(replication(&device, &status));
}

#[test]
fn polling() {
    let device = Device::linked("dual");
    for n in 1..=5 {
        device.elsewhere(&format!("DROP TRIGGER mt_t{n}"));
    }
    device.sync();
    let status = device.status_in("idle", &[]);
    assert_eq!(status["replication"]["pull"]["notices_by"], "polling");
    assert_snapshot!(replication(&device, &status));
}

#[test]
fn conflict_in_mode_shadow() {
    let device = Device::linked("shadow");
    let id = device.store("both change it");
    device.sync();
    device.elsewhere("UPDATE memories SET memory_type = 'theirs'");
    device.succeed(&["update", &id, "--tag", "mine"]);
    device.try_to_sync();
    let status = device.status_in("idle", &["conflict"]);
    assert_snapshot!(replication(&device, &status));
}

#[test]
fn replication_late() {
    let device = Device::linked("dual");
    device.account.core().set_network(false);
    device.store("two days old");
    device.status_in("offline", &[]);
    // The laptop was shut for two days.
    let device = device.restart(|home| {
        let database = rusqlite::Connection::open(home.database()).unwrap();
        let two_days = 49 * 3_600_000_000_i64;
        let changed = database.execute("UPDATE outbox SET since = since - ?1", [two_days]).unwrap();
        assert_eq!(changed, 2);
        home
    });
    let status = device.status_in("offline", &["replication_late"]);
    assert!(status["replication"]["outbox"]["oldest"]["age_s"].as_f64() > Some(176_000.0));
    assert_snapshot!(replication(&device, &status));
}
