//! A backup that is put back on a linked device: an older copy of it, which the cloud brings up to date.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::{Home, cloud, run, succeed};
use memtide::emulator::server::Running;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Tags by text of the living memories.
fn held(home: &Home, cloud: &Running) -> BTreeMap<String, Value> {
    let listed = succeed(home, cloud, &["list", "--json", "--page-size", "100"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let memories = listed["memories"].as_array().expect("memories").clone();
    let text = |memory: &Value| memory["content"].as_str().expect("text").to_owned();
    memories.iter().map(|memory| (text(memory), memory["tags"].clone())).collect()
}

fn stored(home: &Home, cloud: &Running, text: &str, tag: &str) -> String {
    succeed(home, cloud, &["store", text, "--tag", tag]).trim_end().to_owned()
}

fn device(home: &Home, cloud: &Running, id: &str) -> Value {
    let memory: Value =
        serde_json::from_str(&succeed(home, cloud, &["get", id, "--json"])).expect("JSON");
    memory["origin"]["device"].clone()
}

fn sync(home: &Home, cloud: &Running) {
    succeed(home, cloud, &["cloud", "sync", "--timeout", "60"]);
}

#[test]
fn a_restored_device_converges_and_what_was_deleted_since_the_backup_stays_deleted() {
    let (home, other, cloud) = (Home::new(), Home::new(), cloud());
    let made = succeed(&home, &cloud, &["cloud", "init", "--yes", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let database = made["database"]["id"].as_str().expect("an id").to_owned();
    succeed(&home, &cloud, &["cloud", "link", "--yes"]);
    succeed(&other, &cloud, &["cloud", "link", "--yes"]);
    let before = stored(&home, &cloud, "kept all along", "a");
    let deleted = stored(&home, &cloud, "deleted since the backup", "a");
    let deleted_there = stored(&home, &cloud, "deleted since the backup by another device", "a");
    let edited = stored(&home, &cloud, "edited since the backup", "old");
    let owed = stored(&home, &cloud, "owed when the backup is made", "a");
    sync(&home, &cloud);
    sync(&other, &cloud);
    succeed(&home, &cloud, &["cloud", "pause"]);
    succeed(&home, &cloud, &["update", &owed, "--tag", "sent later"]);
    let backup = succeed(&home, &cloud, &["backup"]);
    succeed(&home, &cloud, &["cloud", "resume"]);

    succeed(&home, &cloud, &["delete", &deleted]);
    succeed(&home, &cloud, &["update", &edited, "--tag", "new"]);
    stored(&home, &cloud, "stored since the backup", "a");
    sync(&home, &cloud);
    succeed(&other, &cloud, &["delete", &deleted_there]);
    sync(&other, &cloud);

    // Nothing is read meanwhile, so that what was put back is seen.
    cloud.core().set_network(false);
    let said = run(&home, &cloud, &["backup", "restore", backup.trim_end(), "--yes"]);
    assert!(said.status.success(), "{said:?}");
    let yesterday = held(&home, &cloud);
    assert_eq!(yesterday.len(), 5, "{yesterday:?}");
    assert!(yesterday.contains_key("deleted since the backup"), "{yesterday:?}");
    assert_eq!(yesterday["edited since the backup"], json!(["old"]));
    let after = stored(&home, &cloud, "stored after the restore", "b");
    succeed(&home, &cloud, &["update", &before, "--tag", "after the restore"]);
    assert_ne!(device(&home, &cloud, &after), device(&home, &cloud, &before));
    cloud.core().set_network(true);

    // It was paused when the backup was made, and is paused again.
    succeed(&home, &cloud, &["cloud", "resume"]);
    for device in [&home, &other, &home] {
        sync(device, &cloud);
    }
    let expected: BTreeMap<String, Value> = [
        ("edited since the backup", "new"),
        ("kept all along", "after the restore"),
        ("owed when the backup is made", "sent later"),
        ("stored after the restore", "b"),
        ("stored since the backup", "a"),
    ]
    .map(|(text, tag)| (text.to_owned(), json!([tag])))
    .into();
    assert_eq!(held(&home, &cloud), expected);
    assert_eq!(held(&other, &cloud), expected);
    let alive = "SELECT content FROM memories WHERE deleted_at IS NULL";
    let rows = cloud.core().d1_rows(&database, alive).expect("rows");
    assert_eq!(rows.len(), expected.len());
    succeed(&home, &cloud, &["cloud", "verify"]);
    succeed(&other, &cloud, &["cloud", "verify"]);
    other.run(&["down"]);
    home.run(&["down"]);
}
