//! `memtide migrate verify` with an account linked: the source against what is here, and what is here
//! against the cloud, in one answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::daemon::{Home, Said};
use super::model;
use super::python_service::{PythonService, Release};
use super::real::live;
use super::verified::{done, embedded, import, source_path};
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use memtide::model::id::MemoryId;
use serde_json::{Value, json};
use std::time::Duration;

fn home(cloud: &Running) -> Home {
    Home::new()
        .with("MEMTIDE_MODEL_DIR", model::folder())
        .with("CLOUDFLARE_API_BASE_URL", cloud.base_url())
        .with("CLOUDFLARE_ACCOUNT_ID", Options::ACCOUNT_ID)
        .with("CLOUDFLARE_API_TOKEN", Options::TOKEN)
}

fn sync(home: &Home) {
    done(home.run(&["cloud", "sync", "--timeout", "120"]));
}

/// What both comparisons found: the exit code, whether all agrees, and the differences of each.
fn verify(home: &Home) -> (Option<i32>, bool, u64, u64, Value) {
    let said = home.run(&["migrate", "verify", "--json"]);
    let report = said.json();
    let differences = |of: &Value| of["differences"].as_u64().unwrap();
    let (source, cloud) = (differences(&report), differences(&report["cloud"]));
    (said.code, report["agrees"].as_bool().unwrap(), source, cloud, report)
}

#[test]
fn the_source_and_the_cloud_are_compared_in_one_answer_and_fail_each_for_itself() {
    // What the index accepts can be found at once.
    let options = Options { vectorize_delay: Duration::ZERO, ..Options::default() };
    let cloud = server::start(SystemClock::shared(), 1, options).unwrap();
    let home = home(&cloud);
    let daemon = home.daemon();
    let path = source_path(&home);
    let mut service = PythonService::start(Release::V12);
    service.open(&path);
    live(&mut service, Release::V12);
    // Young vectors may be on their way, so only old ones are compared by value.
    let old = MemoryId::of("An old note without tags").to_string();
    service.sql(
        "UPDATE memories SET created_at = 1.6e9, updated_at = 1.7e9 WHERE content_hash = ?",
        json!([old]),
    );
    import(&home);
    embedded(&home);
    let unlinked = done(home.run(&["migrate", "verify", "--json"])).json();
    assert_eq!(unlinked["cloud"], Value::Null);

    let made = done(home.run(&["cloud", "init", "--yes", "--json"])).json();
    let database = made["database"]["id"].as_str().unwrap().to_owned();
    done(home.run(&["cloud", "link", "--yes"]));
    sync(&home);
    let (code, agrees, of_source, of_cloud, report) = verify(&home);
    assert_eq!((code, agrees, of_source, of_cloud), (Some(0), true, 0, 0), "{report}");
    let n_rows = service.dump()["memories"].as_array().unwrap().len();
    let compared = &report["cloud"]["compared"];
    assert_eq!(compared["memories"], n_rows, "deleted ones included: {report}");
    assert_eq!(compared["entries"], n_rows);
    assert_eq!(compared["vectors"], report["compared"]["vectors"]);
    assert_eq!(compared["sampled"], 1);
    let told = done(home.run(&["migrate", "verify"])).out;
    assert!(told.contains("all of the source is here\nthe cloud:\n"), "{told}");
    assert!(told.ends_with("everything agrees\n"), "{told}");

    // Something that is lost in the cloud is no fault of the source, and is put back.
    let lost = MemoryId::of("An old note without tags");
    let core = cloud.core();
    core.d1_rows(&database, "INSERT INTO mt_stage(j) VALUES ('damage')").unwrap();
    core.d1_rows(&database, &format!("DELETE FROM mt_entry WHERE id = '{lost}'")).unwrap();
    core.d1_rows(&database, "DELETE FROM mt_stage").unwrap();
    let (code, agrees, of_source, of_cloud, report) = verify(&home);
    assert_eq!((code, agrees, of_source, of_cloud), (Some(1), false, 0, 1), "{report}");
    assert_eq!(report["cloud"]["findings"][0]["kind"], "missing_in_cloud", "{report}");
    done(home.run(&["cloud", "verify", "--repair"]));
    sync(&home);
    assert_eq!(verify(&home).0, Some(0));

    // And something that is new in the source is no fault of the cloud.
    service.store("Stored there after the move", json!({}));
    let (code, agrees, of_source, of_cloud, report) = verify(&home);
    assert_eq!((code, agrees, of_source, of_cloud), (Some(1), false, 1, 0), "{report}");
    import(&home);
    embedded(&home);
    sync(&home);
    assert_eq!(verify(&home).0, Some(0));

    // Without the network the source is compared all the same, and nothing is called fine.
    core.set_network(false);
    let said = home.run(&["migrate", "verify", "--json"]);
    let report = said.json();
    assert_eq!((said.code, &report["agrees"]), (Some(1), &json!(false)), "{said:?}");
    assert_eq!((&report["differences"], &report["cloud"]), (&json!(0), &Value::Null));
    assert!(!report["cloud_error"].as_str().unwrap().is_empty(), "{report}");
    let Said { code, out, err } = home.run(&["migrate", "verify"]);
    assert_eq!(code, Some(1));
    assert!(out.ends_with("all of the source is here\n"), "{out}");
    assert!(err.contains("the cloud could not be compared: "), "{err}");
    daemon.stop();
}
