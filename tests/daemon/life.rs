//! Starting, stopping and being found: one daemon a folder, whoever starts it.

use crate::home::{Home, PROGRAM, Said};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

#[test]
fn the_second_daemon_of_a_folder_is_told_who_the_first_is() {
    let home = Home::new();
    let mut first = home.daemon();
    let said = home.refusal();
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out, "another daemon holds the lock\n");
    assert_eq!(
        said.err,
        format!(
            "error: another daemon (pid {}) serves this data folder\n\
             hint: it serves every client; stop it with `memtide down`\n",
            first.pid()
        )
    );
    assert!(first.is_alive());
    home.store("the first serves on");
}

#[test]
fn clients_start_the_daemon_once() {
    let home = Home::new();
    let commands: Vec<_> = (0..6)
        .map(|n| {
            home.program(PROGRAM, &["store", "--json", &format!("text {n}")])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stored: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(stored["created"], true);
    }
    let status = home.run(&["status", "--json"]).json();
    assert_eq!(status["store"]["memories"], 6);
    assert_eq!(status["daemon"]["started_by"], "client");
    let log = fs::read_to_string(home.data().join("memtide.log")).unwrap();
    assert_eq!(log.matches("serving").count(), 1, "{log}");
    // The lock of a killed daemon is stale, and so is its socket.
    let pid = i32::try_from(status["daemon"]["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while UnixStream::connect(home.socket()).is_ok() {
        std::thread::yield_now();
    }
    let said = home.run(&["get", "abcd"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert_eq!(home.counts(), json!([6, 0, 0]));
}

#[test]
fn without_leave_to_start_one_a_client_exits_with_3() {
    let home = Home::new();
    let socket = home.socket();
    let err = format!(
        "error: no daemon listens on {}\nhint: start it with `memtide up`\n",
        socket.display()
    );
    let expected = Said { code: Some(3), out: String::new(), err };
    for arguments in [
        &["--no-spawn", "store", "a"][..],
        &["search", "a", "--no-spawn"],
        &["list", "--no-spawn"],
        &["delete", "abcd", "--no-spawn"],
    ] {
        assert_eq!(home.run(arguments), expected, "{arguments:?}");
    }
    assert!(!home.data().exists(), "nothing was made");
}

#[test]
fn status_without_a_daemon_tells_where_things_are() {
    let home = Home::new();
    home.daemon().stop();
    let said = home.run(&["status"]);
    assert_eq!((said.code, said.err.as_str()), (Some(3), ""));
    assert!(
        said.out.starts_with("daemon       not running (start it with `memtide up`)\n"),
        "{said:?}"
    );
    let database = home.database().display().to_string();
    assert!(said.out.contains(&database), "{said:?}");
    let said = home.run(&["status", "--json"]);
    assert_eq!(said.code, Some(3));
    let status = said.json();
    assert_eq!(status["healthy"], false);
    assert_eq!(status["problems"][0]["code"], "no_daemon");
    assert_eq!(status["store"]["path"], database.as_str());
    assert_eq!(status["store"]["bytes"], fs::metadata(home.database()).unwrap().len());
    assert_eq!(status["socket"], home.socket().display().to_string());
}

#[test]
fn up_and_down_may_be_repeated() {
    let home = Home::new();
    let up = |is_first: bool| {
        let said = home.run(&["up", "--json"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.err, "", "nothing may be fetched here");
        let report = said.json();
        assert_eq!(report["started"], is_first);
        assert_eq!(report["status"]["problems"][0]["code"], "embedder_missing");
        assert!(report["connect"]["mcpServers"]["memtide"]["command"].is_string());
        report["status"]["daemon"]["pid"].clone()
    };
    let pid = up(true);
    home.store("between two ups");
    assert_eq!(up(false), pid);
    assert_eq!(home.counts(), json!([1, 0, 0]));
    for words in ["memtide is down\n", "no daemon runs\n", "no daemon runs\n"] {
        let said = home.run(&["down"]);
        let expected = Said { code: Some(0), out: String::new(), err: words.to_owned() };
        assert_eq!(said, expected);
    }
    assert!(!home.socket().exists());
    assert_ne!(up(true), pid);
    assert_eq!(home.counts(), json!([1, 0, 0]));
}

#[test]
fn a_stop_answers_what_is_in_flight_and_a_second_signal_hurries_it() {
    let home = Home::new();
    for signals in [1, 2] {
        let daemon = home.daemon();
        let id = home.store(&format!("before the stop {signals}"));
        // A request that will never be whole keeps the daemon from being done.
        let mut hanging = UnixStream::connect(home.socket()).unwrap();
        hanging
            .write_all(b"POST /v1/memories HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
            .unwrap();
        let mut events = UnixStream::connect(home.socket()).unwrap();
        events.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        events.read_exact(&mut [0; 12]).unwrap();
        daemon.terminate();
        // The stream of events ends when the daemon begins to stop.
        events.read_to_end(&mut Vec::new()).unwrap();
        if signals == 2 {
            daemon.terminate();
        }
        assert!(daemon.wait().success(), "{}", home.stderr());
        assert!(!home.socket().exists());
        assert_eq!(
            fs::read(home.data().join("memtide.lock")).unwrap(),
            b"",
            "the lock is withdrawn"
        );
        let wal = fs::metadata(home.data().join("memtide.db-wal")).map_or(0, |meta| meta.len());
        assert_eq!(wal, 0, "the log of the database was written back");
        let said = home.run(&["get", &id]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(home.run(&["down"]).code, Some(0));
    }
}

#[test]
fn the_token_is_told_to_nobody() {
    let canary = "CANARY-4b1d-9e77";
    let home = Home::new()
        .with("CLOUDFLARE_API_TOKEN", canary)
        .with("CLOUDFLARE_ACCOUNT_ID", "an-account")
        .with("MEMTIDE_LOG", "trace");
    // In the daemon's own environment.
    let daemon = home.daemon();
    home.store("a text");
    let mut heard = String::new();
    for path in ["/v1/status", "/metrics", "/v1/export", "/v1/outbox", "/v1/memories/zz", "/none"] {
        heard.push_str(&home.ask("GET", path, b"").json.to_string());
    }
    daemon.stop();
    // And in that of a client that starts one.
    for arguments in [
        &["store", "another"][..],
        &["status"],
        &["status", "--json"],
        &["config", "show", "--origin"],
        &["config", "show", "--json"],
        &["config", "get", "cloudflare.account_id"],
        &["get", "zz"],
        &["outbox", "list"],
        &["completions", "bash"],
    ] {
        let said = home.run(arguments);
        heard.push_str(&said.out);
        heard.push_str(&said.err);
    }
    assert!(heard.contains("an-account"), "the settings were shown");
    assert!(!heard.contains(canary));
    let status = home.run(&["status", "--json"]).json();
    let log = fs::read_to_string(home.data().join("memtide.log")).unwrap();
    assert!(log.contains("serving") && home.stderr().contains("serving"), "nothing was logged");
    assert!(!log.contains(canary) && !home.stderr().contains(canary));
    if cfg!(target_os = "linux") {
        // A daemon that a client started doesn't even know it.
        let environment = fs::read(format!("/proc/{}/environ", status["daemon"]["pid"])).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        assert!(environment.contains("MEMTIDE_DATA_DIR="));
        assert!(!environment.contains(canary));
    }
    assert_eq!(home.run(&["down"]).code, Some(0));
    for entry in fs::read_dir(home.data()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let is_in = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!is_in, "{}", path.display());
    }
}
