//! Connections that are slow, cut, too many or not HTTP: each gets its answer or its end, and the daemon
//! serves on.

use crate::home::{Home, raw, read_answer};
use memtide::api::client::{Client, ClientError};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const HEAD: &str = "POST /v1/memories HTTP/1.1\r\nhost: memtide\r\nconnection: close\r\n";
/// Bytes of a body at most.
const BODY_MAX: usize = 64 << 20;

fn open(home: &Home) -> UnixStream {
    UnixStream::connect(home.socket()).unwrap()
}

#[test]
fn a_slow_or_silent_header_ends_the_connection() {
    let home = Home::new();
    let _daemon = home.daemon();
    let starts: [&[u8]; 3] = [b"", b"G", b"POST /v1/memories HTTP/1.1\r\nhost: memtide\r\nx-a: "];
    let mut slow: Vec<UnixStream> = starts
        .iter()
        .map(|start| {
            let mut stream = open(&home);
            stream.write_all(start).unwrap();
            stream
        })
        .collect();
    for (stream, start) in slow.iter_mut().zip(starts) {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{start:?}: {rest:?}");
    }
    home.store("after the slow ones");
}

#[test]
fn what_is_no_http_is_refused() {
    let home = Home::new();
    let _daemon = home.daemon();
    let long = format!("GET /v1/status HTTP/1.1\r\nx-a: {}\r\n\r\n", "y".repeat(5_000_000));
    let many = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let cases: [(&[u8], u16); 6] = [
        (b"\x00\xff\xferubbish\r\n\r\n", 400),
        (b"GET /v1/status HTTP/9.9\r\n\r\n", 400),
        (b"POST /v1/memories HTTP/1.1\r\ncontent-length: many\r\n\r\n", 400),
        (b"GET /v1/\xff\x00 HTTP/1.1\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
    ];
    for (request, status) in cases {
        let start = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert_eq!(raw(&home.socket(), request).status, status, "{start}");
    }
    home.store("after the rubbish");
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let home = Home::new();
    let _daemon = home.daemon();
    let expected =
        "400 bad_request: the request's body ended early | send as many bytes as its header says";
    let whole = r#"{"content":"a whole text"}"#;
    for framing in [
        "content-length: 50\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n1a\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = open(&home);
        stream.write_all(format!("{HEAD}{framing}{whole}").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_answer(&mut stream).line(), expected, "{framing}");
        // Nor does one whose client is gone altogether.
        let mut stream = open(&home);
        stream.write_all(format!("{HEAD}{framing}{whole}").as_bytes()).unwrap();
    }
    assert_eq!(home.counts(), json!([0, 0, 0]));
}

#[test]
fn a_body_at_and_beyond_its_limit() {
    let home = Home::new();
    let _daemon = home.daemon();
    let text = r#"{"content":"padded"}"#;
    let padding = vec![b' '; BODY_MAX - text.len()];
    let send = |head: &str, parts: &[&[u8]]| {
        let mut stream = open(&home);
        let heard =
            [head.as_bytes()].iter().chain(parts).try_for_each(|part| stream.write_all(part));
        (heard.is_ok(), read_answer(&mut stream))
    };
    let head = format!("{HEAD}content-length: {BODY_MAX}\r\n\r\n");
    let (_, answer) = send(&head, &[text.as_bytes(), &padding]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = "413 body_too_large: the request's body has more than 67108864 bytes, the limit \
                    | store large texts in parts";
    let beyond = BODY_MAX + 1;
    let head = format!("{HEAD}content-length: {beyond}\r\n\r\n");
    let (_, answer) = send(&head, &[text.as_bytes(), &padding, b" "]);
    assert_eq!(answer.line(), expected);
    // The same without its length told before.
    let head = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{beyond:x}\r\n");
    let (_, answer) = send(&head, &[text.as_bytes(), &padding, b" \r\n0\r\n\r\n"]);
    assert_eq!(answer.line(), expected);
    assert_eq!(home.counts(), json!([1, 0, 0]));
}

/// A connection with an answer that doesn't end.
fn watching(home: &Home) -> UnixStream {
    let mut stream = open(home);
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: memtide\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[test]
fn the_65th_connection_is_told_that_the_daemon_is_busy() {
    let home = Home::new();
    let _daemon = home.daemon();
    let mut held: Vec<UnixStream> = (0..64).map(|_| watching(&home)).collect();
    let expected = "503 busy: the daemon has 64 connections, its limit | close some clients or try \
                    again in a moment";
    assert_eq!(home.ask("GET", "/v1/status", b"").line(), expected);
    // One that has much to say hears it too.
    let body = json!({"content": "x".repeat(1_000_000)});
    assert_eq!(home.ask("POST", "/v1/memories", body.to_string().as_bytes()).line(), expected);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let client = Client::new(home.socket(), "test", Duration::from_secs(30));
        client.post::<Value>("/v1/memories", &body).await
    });
    match refused {
        Err(ClientError::Refused { status: 503, body }) => assert_eq!(body.error.code, "busy"),
        other => panic!("{other:?}"),
    }
    let said = home.run(&["status"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            Some(1),
            "error: the daemon has 64 connections, its limit\n\
             hint: close some clients or try again in a moment\n"
        )
    );
    // A place is free once the daemon has noticed that a client left.
    drop(held.pop());
    let status = loop {
        let answer = home.ask("GET", "/v1/status", b"");
        if answer.status != 503 {
            break answer.json;
        }
        std::thread::yield_now();
    };
    assert_eq!(status["store"]["memories"], 0);
}
