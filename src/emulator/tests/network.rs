//! Faults, the dead network, and the server.

use super::{Hand, desk};
use crate::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use crate::emulator::options::Options;
use crate::emulator::outcome::Outcome;
use crate::emulator::product::Product;
use crate::emulator::server;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

#[test]
fn faults_say_whether_the_request_was_executed() {
    let desk = desk(Options::default());
    desk.sql(&json!({"sql": "CREATE TABLE t(a)"}));
    let insert = |n: u32| {
        let path = format!("d1/database/{}/query", desk.database);
        let body = json!({"sql": format!("INSERT INTO t VALUES({n})")}).to_string();
        desk.core.handle(&desk.request("POST", &path, body))
    };
    let once = |effect: Effect| desk.core.inject(Rule::new(effect).on(Product::D1).times(1));
    let rules = [
        (once(Effect::Drop), false),
        (once(Effect::LoseAnswer), true),
        (once(Effect::CutAnswer { keep: 10 }), true),
        (once(Effect::reply(Reply::html(502))), false),
        (once(Effect::reply_after_execution(Reply::html(500))), true),
        (once(Effect::reply_after_execution(Reply::not_json())), true),
        (once(Effect::reply(Reply::throttled(971, RetryAfter::Seconds(3)))), false),
        (once(Effect::reply(Reply::error(413, 3006, "too large"))), false),
    ];
    let mut executed = 0;
    for (n, (rule, is_executed)) in rules.iter().enumerate() {
        let outcome = insert(u32::try_from(n).unwrap());
        executed += i64::from(*is_executed);
        let rows = desk.core.d1_rows("memories", "SELECT count(*) n FROM t").unwrap();
        assert_eq!(rows[0]["n"], rusqlite::types::Value::Integer(executed), "{rule:?} {outcome:?}");
        assert_eq!(desk.core.fired(*rule), 1);
        assert_eq!(desk.core.requests().last().unwrap().fault, Some(*rule));
    }
    assert!(matches!(insert(99), Outcome::Answer(response) if response.status() == 200));
    let statuses: Vec<Option<u16>> =
        desk.core.requests().iter().skip(1).map(|entry| entry.status).collect();
    assert_eq!(
        statuses,
        [None, None, Some(200), Some(502), Some(500), Some(200), Some(429), Some(413), Some(200)]
    );
}

#[test]
fn a_dead_network_executes_nothing() {
    let desk = desk(Options::default());
    desk.core.set_network(false);
    let outcome = desk.core.handle(&desk.request("POST", "r2/buckets", r#"{"name":"other"}"#));
    assert!(matches!(outcome, Outcome::NoAnswer));
    assert_eq!((desk.core.n_refused(), desk.core.n_requests(Product::R2)), (1, 0));
    desk.core.set_network(true);
    assert!(desk.core.object_keys("other").is_err());
    desk.core.reset();
    assert!(desk.core.object_keys("bodies").is_err(), "a reset account is empty");
}

/// Sends one request over TCP and reads until the connection ends.
fn over_tcp(running: &server::Running, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", running.port())).unwrap();
    let request = format!(
        "GET /client/v4/accounts/{}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        running.account_id(),
        running.token()
    );
    // A connection that ends before or while we talk is an answer too: none.
    stream.write_all(request.as_bytes()).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_server_answers_cuts_and_comes_back_on_its_port() {
    let clock = Arc::new(Hand(AtomicI64::new(0)));
    let running = server::start(clock, 1, Options::default()).unwrap();
    running.core().create_bucket("bodies").unwrap();
    let whole = over_tcp(&running, "r2/buckets");
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    assert!(whole.contains("\"bodies\""));

    let cut = running.core().inject(Rule::new(Effect::CutAnswer { keep: 5 }).times(1));
    let piece = over_tcp(&running, "r2/buckets");
    let (head, body) = piece.split_once("\r\n\r\n").expect("a head");
    let promised: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!((body.len(), running.core().fired(cut)), (5, 1));
    assert!(promised > 5);

    running.core().inject(Rule::new(Effect::LoseAnswer).times(1));
    assert_eq!(over_tcp(&running, "r2/buckets"), "");
    running.core().inject(Rule::new(Effect::Delay(Duration::from_secs(30))).times(1));
    assert!(over_tcp(&running, "r2/buckets").starts_with("HTTP/1.1 200"), "late, in virtual time");

    running.core().set_network(false);
    assert_eq!(over_tcp(&running, "r2/buckets"), "");
    running.core().set_network(true);

    let port = running.port();
    let core = running.stop();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is closed");
    let again = server::serve(core, port).unwrap();
    assert_eq!(again.port(), port);
    assert!(over_tcp(&again, "r2/buckets").contains("\"bodies\""), "the account lives on");
}
