//! The states that `replication.state` can be in.

use crate::device::{Device, assert_problems};
use crate::masked::masked;
use insta::assert_snapshot;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::emulator::tokens::Token;
use serde_json::{Value, json};
use std::time::Duration;

/// The state in which a product is.
fn product<'a>(status: &'a Value, name: &str) -> &'a Value {
    &status["replication"]["products"][name]["state"]
}

#[test]
fn unlinked() {
    let device = Device::unlinked();
    device.store("only here");
    let status = device.status_in("unlinked", &[]);
    assert_snapshot!(masked(&device, &status));
    assert!(device.succeed(&["status"]).out.contains("\ncloud        not linked"));
}

#[test]
fn idle() {
    let device = Device::linked("dual");
    device.store("here and there");
    device.sync();
    let status = device.status_in("idle", &[]);
    assert_snapshot!(masked(&device, &status));
    let usage = device.succeed(&["cloud", "usage"]);
    let limits: Vec<&str> = usage
        .out
        .lines()
        .filter_map(|line| line.split_once("the free plan has "))
        .map(|l| l.1)
        .collect();
    assert_eq!(limits, ["100000", "5000000", "10000", "5000000"], "{usage:?}");
    let usage = device.succeed(&["cloud", "usage", "--json"]).json();
    assert_eq!(
        usage["d1_rows_written_today"],
        status["replication"]["budget"]["d1_rows_written_today"]
    );
    assert!(usage["d1_rows_read_today"].as_u64() > Some(0), "{usage}");
}

#[test]
fn syncing() {
    let device = Device::linked("dual");
    // The account's clock stands still: the answer never comes.
    let late = Rule::new(Effect::Delay(Duration::from_secs(1))).on(Product::D1);
    let late = device.account.core().inject(late);
    device.store("on its way");
    let is_held = |status: &Value| {
        status["replication"]["state"] == "syncing" && device.account.core().fired(late) == 1
    };
    let status = device.status_when(is_held);
    assert_problems(&status, &[]);
    assert_snapshot!(masked(&device, &status));
}

#[test]
fn backing_off() {
    let device = Device::linked("dual");
    let down = Rule::new(Effect::reply(Reply::html(503))).on(Product::D1);
    let down = device.account.core().inject(down);
    device.store("tried again");
    let status = device.status_in("backing_off", &[]);
    assert_snapshot!(masked(&device, &status));
    assert!(device.account.core().fired(down) > 0);
}

#[test]
fn offline() {
    let device = Device::linked("dual");
    device.account.core().set_network(false);
    device.store("written on a train");
    let status = device.status_in("offline", &[]);
    assert_snapshot!(masked(&device, &status));
    assert!(device.account.core().n_refused() > 0);
    let told = device.succeed(&["status"]).out;
    assert!(told.contains("\n             the oldest is blocked: offline: D1: "), "{told}");
    // It comes back by itself.
    device.account.core().set_network(true);
    device.sync();
    device.status_in("idle", &[]);
}

#[test]
fn paused() {
    let device = Device::linked("dual");
    device.store("sent before");
    device.sync();
    device.succeed(&["cloud", "pause"]);
    device.store("kept back");
    let status = device.status_in("paused", &[]);
    assert_snapshot!(masked(&device, &status));
}

#[test]
fn auth_required() {
    let device = Device::linked("dual");
    device.account.core().set_tokens(vec![Token::user("another")]);
    device.store("refused");
    let status = device.status_in("auth_required", &["auth_required"]);
    assert_snapshot!(masked(&device, &status));
}

#[test]
fn auth_required_by_a_token_that_can_not_be_sent() {
    let device = Device::linked("dual");
    let device = device.restart(|home| home.with("CLOUDFLARE_API_TOKEN", "two words"));
    device.store("not even tried");
    let status = device.status_in("auth_required", &["auth_required"]);
    assert_snapshot!(masked(&device, &status));
}

#[test]
fn quota_of_rows() {
    let mut options = Options::default();
    options.limits.d1_rows_written_per_day = Some(400);
    let device = Device::limited(options);
    // A hundred tags are more rows than that.
    let tags: Vec<String> = (0..100).map(|n| format!("tag {n}")).collect();
    let body = json!({"content": "much", "tags": tags}).to_string();
    assert_eq!(device.home.ask("POST", "/v1/memories", body.as_bytes()).status, 200);
    device.sync();
    device.store("tomorrow");
    let status = device.status_in("quota", &[]);
    assert_snapshot!(masked(&device, &status));
    assert!(device.account.core().rows_written_today() >= 400);
}

#[test]
fn quota_of_neurons() {
    let mut options = Options::default();
    options.limits.neurons_per_day = Some(1);
    let device = Device::beside_python(options);
    // So many words cost more than one neuron.
    device.store(&"embedded there ".repeat(200));
    device.sync();
    device.store("embedded tomorrow");
    let status = device
        .status_when(|status| product(status, "ai") == "quota" && product(status, "d1") == "idle");
    assert_problems(&status, &[]);
    assert_eq!(status["replication"]["state"], "quota");
    assert_snapshot!(masked(&device, &status));
    assert!(device.account.core().neurons_today() >= 1);
}

#[test]
fn misconfigured() {
    let device = Device::linked("dual");
    let (account, database) = (device.account.account_id(), &device.database);
    let path = format!("/client/v4/accounts/{account}/d1/database/{database}");
    let delete = http::Request::delete(path)
        .header("authorization", format!("Bearer {}", device.account.token()))
        .body(bytes::Bytes::new());
    let outcome = device.account.core().handle(&delete.unwrap());
    assert_eq!(outcome.status(), Some(200));
    device.store("nowhere to go");
    let status = device.status_in("misconfigured", &["misconfigured"]);
    assert_snapshot!(masked(&device, &status));
}

#[test]
fn misconfigured_by_another_database_of_the_same_name() {
    let device = Device::linked("dual");
    device.elsewhere("UPDATE mt_meta SET v = 'another' WHERE k = 'database'");
    device.store("not for that one");
    let status = device.status_in("misconfigured", &["misconfigured"]);
    assert_snapshot!(masked(&device, &status));
}
