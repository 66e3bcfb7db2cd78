//! Settings, the daemon, the outbox, and what is made from the command line itself.

use crate::home::{Home, Said};
use std::fs;

#[track_caller]
fn ok(home: &Home, arguments: &[&str]) -> String {
    let said = home.run(arguments);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}: {said:?}");
    said.out
}

#[test]
fn settings_are_shown_with_their_origin_and_can_be_set() {
    let home = Home::new().with("MEMTIDE_LOG", "warn");
    let file = home.root().join("config.toml");
    let path = file.display();
    assert_eq!(ok(&home, &["config", "path"]), format!("{path}\n"));
    assert_eq!(ok(&home, &["config", "get", "embedding.fetch"]), "never\n");
    assert_eq!(ok(&home, &["config", "set", "search.default_limit", "5"]), "");
    assert_eq!(ok(&home, &["config", "get", "search.default_limit"]), "5\n");
    let shown = ok(&home, &["config", "show", "--origin"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.contains(&"log.filter = warn  (environment variable MEMTIDE_LOG)"), "{shown}");
    assert!(lines.contains(&"search.default_mode = hybrid  (default)"), "{shown}");
    let set = format!("search.default_limit = 5  ({path}:");
    assert!(lines.iter().any(|line| line.starts_with(&set)), "{shown}");
    let refused = home.run(&["config", "set", "search.default_limit", "500"]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.err,
        "error: `search.default_limit` is \"500\", it must be a whole number from 1 to 100\n"
    );
    assert_eq!(ok(&home, &["config", "get", "search.default_limit"]), "5\n");
    let _daemon = home.daemon();
    let said = home.run(&["config", "set", "search.default_limit", "6"]);
    assert_eq!(
        said.err,
        "it takes effect when the daemon starts again: `memtide down`, `memtide up`\n"
    );
}

#[test]
fn a_broken_config_file_keeps_nobody_from_stopping_the_daemon() {
    let home = Home::new();
    let file = home.root().join("config.toml");
    let mut daemon = home.daemon();
    fs::write(&file, "[search]\ndefault_limt = 1\n").unwrap();
    let remark = format!(
        "no daemon starts with these settings: {}:2: unknown key `search.default_limt`; did you mean `search.default_limit`?\n",
        file.display()
    );
    let path = home.run(&["config", "path"]);
    assert_eq!(
        path,
        Said { code: Some(0), out: format!("{}\n", file.display()), err: remark.clone() }
    );
    let status = home.run(&["status"]);
    assert_eq!((status.code, &status.err), (Some(0), &remark), "{status:?}");
    assert_eq!(home.run(&["list"]).code, Some(1), "other commands are refused");
    let down = home.run(&["down"]);
    assert_eq!((down.code, down.err), (Some(0), format!("{remark}memtide is down\n")));
    assert!(!daemon.is_alive(), "it has been stopped");
}

#[test]
fn up_tells_how_to_connect_and_fetches_nothing_where_nothing_may_be_fetched() {
    let home = Home::new();
    assert_eq!(home.run(&["up", "--no-spawn"]).code, Some(3));
    let up = home.run(&["up"]);
    assert_eq!((up.code, up.err.as_str()), (Some(0), ""), "{up:?}");
    assert!(up.out.starts_with("memtide is up\n\nNOT HEALTHY\n  embedder_missing: "), "{up:?}");
    let program = crate::home::PROGRAM;
    for line in [
        format!("\n  Claude Code  claude mcp add --scope user memtide -- {program} mcp\n"),
        format!("\n  Codex        codex mcp add memtide -- {program} mcp\n"),
        "\n  VS Code      code --add-mcp '{".to_owned(),
    ] {
        assert!(up.out.contains(&line), "{line} is missing: {}", up.out);
    }
    let again = home.run(&["up", "--json"]);
    assert_eq!(again.json()["started"], false);
    assert_eq!(again.json()["connect"]["mcpServers"]["memtide"]["command"], program);
    let status = home.run(&["status"]);
    assert_eq!((status.code, status.err.as_str()), (Some(0), ""));
    let version = concat!("\ndaemon       ", env!("CARGO_PKG_VERSION"), ", pid ");
    assert!(status.out.contains(version), "{}", status.out);
    assert!(status.out.contains("\ncloud        not linked (see `memtide cloud --help`)\n"));
    assert_eq!(home.run(&["down"]).err, "memtide is down\n");
    let stopped = home.run(&["status"]);
    assert_eq!(stopped.code, Some(3));
    assert!(stopped.out.starts_with("daemon       not running (start it with `memtide up`)\n"));
    assert_eq!(
        home.run(&["down"]),
        Said { code: Some(0), out: String::new(), err: "no daemon runs\n".to_owned() }
    );
}

#[test]
fn an_empty_outbox_says_so() {
    let home = Home::new();
    let _daemon = home.daemon();
    let said = home.run(&["outbox", "list"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", "no duties\n"));
    assert_eq!(ok(&home, &["outbox", "list", "--json"]).trim_end(), "{\"entries\":[]}");
    let said = home.run(&["outbox", "retry", "--all"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), "no parked duty was found\n"));
    assert_eq!(ok(&home, &["outbox", "export"]), "");
}

#[test]
fn completions_and_the_manual_need_no_home() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = home
            .program(crate::home::PROGRAM, &["completions", shell])
            .env_clear()
            .output()
            .expect("the program");
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("memtide") && script.contains("outbox"), "{shell}: {script}");
    }
    let output =
        home.program(crate::home::PROGRAM, &["man"]).env_clear().output().expect("the program");
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains(".TH memtide 1"));
}

#[test]
fn options_of_another_benchmark_are_refused_and_what_is_missing_is_told_before_anything_is_measured()
 {
    let home = Home::new();
    let refused = |arguments: &[&str]| {
        let said = home.run(arguments);
        assert_eq!(said.out, "", "{arguments:?}");
        (said.code, said.err)
    };
    for (option, value) in [("--against", "usearch,bandwidth"), ("--plot", "search.svg")] {
        let (code, said) = refused(&["bench", "store", option, value]);
        assert_eq!(code, Some(2));
        assert_eq!(said, format!("error: {option} is for `memtide bench search`\n"));
    }
    let (code, said) = refused(&["bench", "search", "--against", "everybody"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("[possible values: sqlite-vec, usearch, bandwidth, "), "{said}");
    // `false` is a program that runs and can do nothing.
    let (code, said) = refused(&["bench", "search", "--against", "usearch", "--python", "false"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("get it with `false -m pip install usearch numpy`"), "{said}");
}
