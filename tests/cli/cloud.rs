//! The way to the cloud, against an emulated account: what each command prints with a good token, with a
//! token that lacks a permission, with a wrong one, and without a network.

use crate::home::{Home, Said};
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use memtide::emulator::tokens::{Permission, Token};
use std::fs;

const SEED: u64 = 11;

fn account() -> Running {
    server::start(SystemClock::shared(), SEED, Options::default()).expect("an account")
}

/// A home that knows the account and a token.
fn home(cloud: &Running, token: &str) -> Home {
    Home::new()
        .with("CLOUDFLARE_API_BASE_URL", cloud.base_url())
        .with("CLOUDFLARE_ACCOUNT_ID", cloud.account_id())
        .with("CLOUDFLARE_API_TOKEN", token)
}

#[track_caller]
fn ok(home: &Home, arguments: &[&str]) -> Said {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    said
}

/// First words of the lines of `cloud check`, without reasons.
fn states(said: &Said) -> Vec<String> {
    let lines = said.out.lines().filter(|line| !line.starts_with("    "));
    lines.map(|line| line.split_at(20).0.trim_end().to_owned()).collect()
}

#[test]
fn an_account_is_made_ready_checked_linked_and_filled() {
    let cloud = account();
    let home = home(&cloud, cloud.token());
    let asked = home.run(&["cloud", "init"]);
    assert_eq!((asked.code, asked.out.as_str()), (Some(1), ""), "{asked:?}");
    assert!(asked.err.ends_with("\nhint: repeat with --yes\n"), "{asked:?}");
    let early = home.run(&["cloud", "check"]);
    assert_eq!(early.code, Some(1), "nothing was proven: {early:?}");
    let untried = "nothing to try it on";
    assert_eq!(states(&early), ["ok", untried, untried, untried, "ok"]);
    assert!(early.err.contains("run `memtide cloud init`"), "{early:?}");

    let init = ok(&home, &["cloud", "init", "--yes"]).out;
    let words: Vec<&str> = init.lines().filter_map(|line| line.get(10..)).collect();
    assert!(words[0].starts_with("memtide (") && words[0].ends_with("), created"), "{init}");
    assert_eq!(words[2..], ["memtide, created", "created"], "{init}");
    let again = ok(&home, &["cloud", "init", "--yes"]).out;
    assert!(again.contains("\nindex     memtide, was there\n"), "{again}");
    assert_eq!(states(&ok(&home, &["cloud", "check"])), ["ok"; 5]);

    let id = ok(&home, &["store", "we deploy on Fridays"]).out;
    let file = home.root().join("token");
    fs::write(&file, cloud.token()).unwrap();
    let link = ok(&home, &["cloud", "link", "--yes", "--token-file", file.to_str().unwrap()]);
    assert_eq!(link.out, "linked (dual): 1 memory to carry\n");
    assert_eq!(
        ok(&home, &["cloud", "sync"]).out,
        "everything is in the cloud, and everything of other devices is here\n"
    );
    let status = ok(&home, &["status"]).out;
    assert!(status.contains("\ncloud        dual, idle, 1 waiting for a vector\n"), "{status}");
    assert!(ok(&home, &["get", id.trim_end()]).out.ends_with("\nin cloud  yes\n"));

    let paused = ok(&home, &["cloud", "pause"]);
    assert_eq!(paused.err, "paused: writes stay here until `memtide cloud resume`\n");
    ok(&home, &["store", "a second memory"]);
    let duties = ok(&home, &["outbox", "list"]).out;
    assert!(duties.contains("  d1         due  "), "{duties}");
    let sync = home.run(&["cloud", "sync", "--timeout", "1"]);
    assert_eq!((sync.code, sync.out.as_str()), (Some(1), "1 duty still pending: paused\n"));
    assert_eq!(ok(&home, &["cloud", "resume"]).err, "syncing goes on\n");
    assert_eq!(
        ok(&home, &["cloud", "sync"]).out,
        "everything is in the cloud, and everything of other devices is here\n"
    );
    assert_eq!(home.run(&["cloud", "unlink"]).code, Some(1));
    let unlinked = ok(&home, &["cloud", "unlink", "--yes"]);
    assert_eq!(unlinked.err, "unlinked; nothing was changed in the cloud\n");
    assert!(!home.data().join("cloudflare-token").exists(), "the token is forgotten too");
}

#[test]
fn a_token_that_lacks_a_permission_is_told_which() {
    const WEAK: &str = "emulated-user-token-without-d1";
    let cloud = account();
    ok(&home(&cloud, cloud.token()), &["cloud", "init", "--yes"]);
    let weak = Token::user(WEAK).without(&[Permission::D1Read, Permission::D1Write]);
    cloud.core().set_tokens(vec![weak]);
    let home = home(&cloud, WEAK);
    let check = home.run(&["cloud", "check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert_eq!(states(&check), ["ok", "FAILED", "ok", "ok", "ok"], "{check:?}");
    assert!(check.out.contains("-> the token lacks the permission `D1 Write`"), "{check:?}");
    let link = home.run(&["cloud", "link", "--yes"]);
    assert_eq!((link.code, link.out.as_str()), (Some(1), ""));
    assert!(link.err.contains("\nhint: the token lacks the permission `D1 Write`"), "{link:?}");
    assert!(!home.data().join("cloudflare-token").exists(), "a refused token is not kept");
}

#[test]
fn a_wrong_token_and_a_dead_network_are_told_apart() {
    let cloud = account();
    let home = home(&cloud, "a-token-that-nobody-has-ever-made-0000000");
    for command in [&["cloud", "init", "--yes"][..], &["cloud", "link", "--yes"]] {
        let said = home.run(command);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{command:?}");
        assert!(said.err.contains("(HTTP 401, "), "{said:?}");
        assert!(
            said.err.contains("\nhint: make a new token in the Cloudflare dashboard"),
            "{said:?}"
        );
    }
    assert_eq!(states(&home.run(&["cloud", "check"])), ["FAILED"; 5]);
    cloud.core().set_network(false);
    let dead = home.run(&["cloud", "link", "--yes"]);
    assert_eq!(dead.code, Some(1));
    let hint = "\nhint: check the network connection, then repeat the command\n";
    assert!(dead.err.ends_with(hint), "{dead:?}");
}
