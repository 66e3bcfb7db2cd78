//! The cloud from the command line, by the real program against the emulated account: the demo, and what a
//! person meets who types the commands.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

#[path = "support/home.rs"]
mod home;
#[path = "story/restore.rs"]
mod restore;

use home::Home;
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use memtide::emulator::tokens::{Permission, Token};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn cloud() -> Running {
    server::start(SystemClock::shared(), 1, Options::default()).expect("a port")
}

fn command(home: &Home, cloud: &Running, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command
        .env("MEMTIDE_MODEL_DIR", support::model::folder())
        .env("CLOUDFLARE_API_BASE_URL", cloud.base_url())
        .env("CLOUDFLARE_ACCOUNT_ID", Options::ACCOUNT_ID)
        .env("CLOUDFLARE_API_TOKEN", Options::TOKEN);
    command
}

fn run(home: &Home, cloud: &Running, arguments: &[&str]) -> Output {
    command(home, cloud, arguments).output().expect("the program starts")
}

fn succeed(home: &Home, cloud: &Running, arguments: &[&str]) -> String {
    let output = run(home, cloud, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn refuse(home: &Home, cloud: &Running, arguments: &[&str]) -> String {
    let output = run(home, cloud, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn token_file(home: &Home) -> PathBuf {
    home.folder().join(".local/share/memtide/cloudflare-token")
}

#[test]
fn the_demo_holds() {
    let home = Home::new();
    let mut demo = home.command(&["demo"]);
    demo.env("MEMTIDE_MODEL_DIR", support::model::folder());
    let output = demo.output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{said}");
    assert!(told.contains("all 42 checks held"), "{told}");
}

#[test]
fn an_account_is_made_checked_linked_synced_paused_and_unlinked() {
    let (home, cloud) = (Home::new(), cloud());
    let made = succeed(&home, &cloud, &["cloud", "init", "--yes", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(made["database"]["created"], true);
    assert_eq!(made["index"]["created"], true);
    assert_eq!(made["bucket"]["created"], true);
    let database = made["database"]["id"].as_str().expect("an id").to_owned();
    let again = succeed(&home, &cloud, &["cloud", "init", "--yes"]);
    assert!(again.contains("was there"), "{again}");

    let checks = succeed(&home, &cloud, &["cloud", "check"]);
    assert!(checks.contains("ok") && !checks.contains("FAILED"), "{checks}");

    succeed(&home, &cloud, &["store", "before linking", "--tag", "early"]);
    succeed(&home, &cloud, &["cloud", "link", "--yes"]);
    assert!(token_file(&home).exists(), "the token is kept");
    succeed(&home, &cloud, &["cloud", "sync", "--timeout", "60"]);
    let status = succeed(&home, &cloud, &["status", "--json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["replication"]["mode"], "dual");
    assert_eq!(status["replication"]["outbox"]["pending"], 0);
    assert_eq!(
        (&status["healthy"], &status["problems"]),
        (&Value::from(true), &serde_json::json!([]))
    );
    assert!(!status.to_string().contains(Options::TOKEN), "the token is shown");
    let rows = cloud.core().d1_rows(&database, "SELECT content FROM memories").expect("rows");
    assert_eq!(rows.len(), 1);

    succeed(&home, &cloud, &["cloud", "pause"]);
    succeed(&home, &cloud, &["store", "while paused"]);
    let status = succeed(&home, &cloud, &["status", "--json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(
        (&status["healthy"], &status["replication"]["state"]),
        (&true.into(), &"paused".into())
    );
    let waiting = run(&home, &cloud, &["cloud", "sync", "--timeout", "1"]);
    assert_eq!(waiting.status.code(), Some(1), "a paused device can't sync");
    succeed(&home, &cloud, &["cloud", "resume"]);
    succeed(&home, &cloud, &["cloud", "sync", "--timeout", "60"]);
    let rows = cloud.core().d1_rows(&database, "SELECT content FROM memories").expect("rows");
    assert_eq!(rows.len(), 2);

    succeed(&home, &cloud, &["cloud", "usage"]);
    succeed(&home, &cloud, &["cloud", "unlink", "--yes"]);
    assert!(!token_file(&home).exists(), "the token is gone");
    let refused = refuse(&home, &cloud, &["cloud", "sync"]);
    assert!(refused.contains("no account is linked"), "{refused}");
    home.run(&["down"]);
}

#[test]
fn a_token_that_lacks_a_permission_is_told_which() {
    let (home, cloud) = (Home::new(), cloud());
    cloud
        .core()
        .set_tokens(vec![Token::user(Options::TOKEN).without(&[Permission::VectorizeWrite])]);
    let refused = refuse(&home, &cloud, &["cloud", "init", "--yes"]);
    assert!(refused.contains("Vectorize Write"), "{refused}");
    let checks = run(&home, &cloud, &["cloud", "check"]);
    assert_eq!(checks.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checks.stderr);
    assert!(said.contains("memtide cloud init"), "{said}");

    cloud.core().set_tokens(vec![Token::user(Options::TOKEN)]);
    succeed(&home, &cloud, &["cloud", "init", "--yes"]);
    let lacking = Token::user(Options::TOKEN).without(&[Permission::VectorizeWrite]);
    cloud.core().set_tokens(vec![lacking]);
    let checks = run(&home, &cloud, &["cloud", "check"]);
    assert_eq!(checks.status.code(), Some(1));
    let told = String::from_utf8_lossy(&checks.stdout);
    let failed: Vec<&str> = told.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert!(failed.len() == 1 && failed[0].contains("Vectorize Write"), "{told}");
}

#[test]
fn a_wrong_token_an_unreachable_host_and_a_missing_account_are_sentences() {
    let (home, cloud) = (Home::new(), cloud());
    cloud.core().set_tokens(vec![Token::user("another")]);
    let refused = refuse(&home, &cloud, &["cloud", "init", "--yes"]);
    assert!(refused.contains("token") && !refused.contains(Options::TOKEN), "{refused}");

    cloud.core().set_network(false);
    let refused = refuse(&home, &cloud, &["cloud", "init", "--yes"]);
    assert!(refused.contains("error: D1: ") && refused.contains("hint: "), "{refused}");

    let mut nameless = command(&home, &cloud, &["cloud", "init", "--yes"]);
    let output = nameless.env_remove("CLOUDFLARE_ACCOUNT_ID").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CLOUDFLARE_ACCOUNT_ID"), "{said}");

    let mut tokenless = command(&home, &cloud, &["cloud", "link", "--yes"]);
    let output = tokenless.env_remove("CLOUDFLARE_API_TOKEN").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("D1 Write") && said.contains("--token-file"), "{said}");
}

#[test]
fn linking_before_anything_exists_says_what_to_do() {
    let (home, cloud) = (Home::new(), cloud());
    let refused = refuse(&home, &cloud, &["cloud", "link", "--yes"]);
    assert!(refused.contains("memtide cloud init"), "{refused}");
}
