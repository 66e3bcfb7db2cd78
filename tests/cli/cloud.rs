//! The way to the cloud, against an emulated account: what each command prints with a good token, with a
//! token that lacks a permission, and with a wrong one.

use crate::home::{Home, Said};
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use memtide::emulator::tokens::{Permission, Token};
use std::fs;
use std::path::PathBuf;

const SEED: u64 = 11;
const WEAK: &str = "emulated-user-token-without-d1";

fn account() -> Running {
    server::start(SystemClock::shared(), SEED, Options::default()).expect("an account")
}

/// A home that knows the account, and a file with a token.
fn home(cloud: &Running, token: &str) -> (Home, PathBuf) {
    let home = Home::new()
        .with("CLOUDFLARE_API_BASE_URL", cloud.base_url())
        .with("CLOUDFLARE_ACCOUNT_ID", cloud.account_id())
        .with("CLOUDFLARE_API_TOKEN", token);
    let file = home.root().join("token");
    fs::write(&file, token).expect("a file");
    (home, file)
}

#[track_caller]
fn ok(said: Said) -> Said {
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

#[test]
fn an_account_is_made_ready_checked_linked_and_filled() {
    let cloud = account();
    let (home, file) = home(&cloud, cloud.token());
    let asked = home.run(&["cloud", "init"]);
    assert_eq!((asked.code, asked.out.as_str()), (Some(1), ""), "{asked:?}");
    let init = ok(home.run(&["cloud", "init", "--yes"]));
    println!("INIT {}\n{}", init.err, init.out);
    let check = ok(home.run(&["cloud", "check"]));
    println!("CHECK {}\n{}", check.err, check.out);
    ok(home.run(&["store", "we deploy on Fridays"]));
    let link = ok(home.run(&["cloud", "link", "--yes", "--token-file", file.to_str().unwrap()]));
    println!("LINK {}\n{}", link.err, link.out);
    let sync = ok(home.run(&["cloud", "sync", "--timeout", "60"]));
    println!("SYNC {}\n{}", sync.err, sync.out);
    let usage = ok(home.run(&["cloud", "usage"]));
    println!("USAGE {}\n{}", usage.err, usage.out);
    let status = ok(home.run(&["status"]));
    println!("STATUS {}\n{}", status.err, status.out);
    let pause = ok(home.run(&["cloud", "pause"]));
    println!("PAUSE {}\n{}", pause.err, pause.out);
    ok(home.run(&["store", "a second memory"]));
    let list = ok(home.run(&["outbox", "list"]));
    println!("OUTBOX {}\n{}", list.err, list.out);
    let sync = home.run(&["cloud", "sync", "--timeout", "1"]);
    println!("SYNC {sync:?}");
    let status = ok(home.run(&["status"]));
    println!("STATUS {}\n{}", status.err, status.out);
    ok(home.run(&["cloud", "resume"]));
    ok(home.run(&["cloud", "sync"]));
    let unlink = home.run(&["cloud", "unlink"]);
    println!("UNLINK {unlink:?}");
    let unlink = home.run(&["cloud", "unlink", "--yes"]);
    println!("UNLINK {unlink:?}");
    panic!();
}

#[test]
fn a_token_that_will_not_do_is_told_with_what_it_lacks() {
    let cloud = account();
    cloud.core().set_tokens(vec![
        Token::user(Options::TOKEN),
        Token::user(WEAK).without(&[Permission::D1Read, Permission::D1Write]),
    ]);
    let (home, file) = home(&cloud, "a-token-that-nobody-has-ever-made-0000000");
    for command in [&["cloud", "init", "--yes"][..], &["cloud", "check"], &["cloud", "link", "--yes"]] {
        println!("WRONG {command:?} {:?}", home.run(command));
    }
    fs::write(&file, WEAK).unwrap();
    let file = file.to_str().unwrap();
    let home = home.with("CLOUDFLARE_API_TOKEN", WEAK);
    println!("WEAK {:?}", home.run(&["cloud", "init", "--yes"]));
    let c = home.run(&["cloud", "check"]);
    println!("WEAK {:?} {}{}", c.code, c.err, c.out);
    println!("WEAK {:?}", home.run(&["cloud", "link", "--yes", "--token-file", file]));
    cloud.core().set_network(false);
    println!("NET {:?}", home.run(&["cloud", "check"]));
    println!("NET {:?}", home.run(&["cloud", "link", "--yes"]));
    panic!();
}
