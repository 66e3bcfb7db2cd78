//! One set of questions, put to the emulator, to Cloudflare's own engine (workerd, through
//! Miniflare), and, when credentials and `MEMTIDE_CONFORMANCE_LIVE=1` are in the environment, to
//! a real account. All must answer alike, but for the differences listed by name with their
//! sources. So the emulator can't drift into wishful thinking.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of a test may end it"
)]

#[cfg(not(feature = "emulator"))]
compile_error!("the conformance suite needs the feature `emulator`; cargo test turns it on");

#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/differences.rs"]
mod differences;
#[path = "conformance/engine.rs"]
mod engine;
#[path = "conformance/http.rs"]
mod http;
#[path = "conformance/limits.rs"]
mod limits;
#[path = "support/npm.rs"]
mod npm;
#[path = "conformance/objects.rs"]
mod objects;
#[path = "conformance/push.rs"]
mod push;
#[path = "conformance/subject.rs"]
mod subject;
#[path = "conformance/workerd.rs"]
mod workerd;

use case::Case;
use serde_json::json;
use std::collections::BTreeSet;
use subject::Subject;

fn cases() -> Vec<Case> {
    [engine::cases(), limits::cases(), push::cases(), objects::cases()].concat()
}

/// Asks everything and compares, so that one run shows all disagreements.
fn conforms(subject: &mut dyn Subject) {
    let mut wrong = Vec::new();
    for case in cases() {
        subject::clean(subject);
        let seen = (case.observe)(subject);
        let expected = differences::of(subject.name(), case.name).unwrap_or(case.expected);
        if seen != expected {
            wrong.push(format!("{}\n  expected {expected}\n  seen     {seen}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} disagrees in {} of {} cases:\n{}",
        subject.name(),
        wrong.len(),
        cases().len(),
        wrong.join("\n")
    );
}

#[test]
fn the_emulator_conforms() {
    conforms(&mut http::Account::emulated());
}

#[test]
fn workerd_conforms() {
    conforms(&mut workerd::Workerd::start());
}

#[test]
fn a_real_account_conforms() {
    match http::Account::real() {
        Some(mut account) => {
            rest_answers_have_their_codes(&account);
            conforms(&mut account);
        }
        None => subject::say("no real account asked: MEMTIDE_CONFORMANCE_LIVE=1 is not set"),
    }
}

#[test]
fn the_emulator_answers_with_cloudflares_codes() {
    rest_answers_have_their_codes(&http::Account::emulated());
}

#[test]
fn every_difference_is_about_a_case_and_differs() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases share a name");
    for difference in differences::all() {
        let case = cases.iter().find(|case| case.name == difference.case);
        let case = case.unwrap_or_else(|| panic!("no case is called {}", difference.case));
        assert_ne!(case.expected, difference.instead, "{} is no difference", difference.case);
        assert!(!difference.source.is_empty());
    }
}

/// What only the REST API shows: status and code.
fn rest_answers_have_their_codes(account: &http::Account) {
    let sql = |body: serde_json::Value| account.status_and_code("POST", "d1/query", Some(body));
    assert_eq!(sql(json!({"sql": "SELECT 1"})), (200, 0));
    assert_eq!(sql(json!({"sql": "SELECT nothing"})), (400, 7500));
    assert_eq!(sql(json!({"sql": "BEGIN"})), (400, 7500));
    assert_eq!(sql(json!({"sql": "SELECT ?1"})), (400, 7500));
    assert_eq!(sql(json!({"sql": "SELECT ?1; SELECT 2", "params": ["x"]})), (400, 7400));
    assert_eq!(sql(json!({"nothing": true})), (400, 7400));
    let get = |path: &str| account.status_and_code("GET", path, None);
    let nowhere = "00000000-0000-4000-8000-000000000000";
    assert_eq!(get(&format!("d1/database/{nowhere}")), (404, 7404));
    assert_eq!(get("r2/buckets/memtide-no-such-bucket"), (404, 10006));
    assert_eq!(get("r2/object/none"), (404, 10007));
    assert_eq!(get("vectorize/v2/indexes/memtide-no-such-index").1, 3000);
}
