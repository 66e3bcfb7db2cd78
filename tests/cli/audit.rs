//! What linking would do, and whether the stores agree: what the commands print and how they end.

use crate::home::{Home, Said};
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};

const SEED: u64 = 12;

fn account() -> Running {
    server::start(SystemClock::shared(), SEED, Options::default()).expect("an account")
}

fn home(cloud: &Running) -> Home {
    Home::new()
        .with("CLOUDFLARE_API_BASE_URL", cloud.base_url())
        .with("CLOUDFLARE_ACCOUNT_ID", cloud.account_id())
        .with("CLOUDFLARE_API_TOKEN", cloud.token())
        .with("CLOUDFLARE_LARGE_CONTENT_THRESHOLD", "1000")
}

#[track_caller]
fn ok(home: &Home, arguments: &[&str]) -> Said {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    said
}

#[test]
fn a_plan_tells_what_linking_would_do_and_changes_nothing() {
    let cloud = account();
    let home = home(&cloud);
    ok(&home, &["store", "we deploy on Fridays", "--tag", "deploy"]);
    let long = ok(&home, &["store", &"a long text ".repeat(200)]).out;
    let early = home.run(&["cloud", "plan"]);
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.out.contains("database   memtide, not there\n"), "{early:?}");
    assert!(
        early.out.contains("\nmemories   2 only here, 0 only there, 0 the same, 0 differing\n")
    );
    assert!(
        early.out.contains(&format!("\nlong text  {}, 2400 bytes\n", &long[..12])),
        "{early:?}"
    );
    assert!(early.err.contains("1 text is too long for a row and need a bucket"), "{early:?}");
    assert!(early.err.contains("there is no index memtide: `memtide cloud init` makes one"));

    ok(&home, &["cloud", "init", "--yes"]);
    let before = cloud.core().rows_written_today();
    let plan = ok(&home, &["cloud", "plan"]);
    assert!(plan.out.starts_with("database   memtide, there, with memtide's tables\n"), "{plan:?}");
    assert!(plan.out.contains("\nbucket     memtide, there, for 1 long texts\n"), "{plan:?}");
    assert!(plan.out.contains(", made by this device\n"), "{plan:?}");
    assert!(plan.out.contains("\nfree plan  takes 1 day, holds the vectors\n"), "{plan:?}");
    assert!(plan.err.contains("next: `memtide cloud link`"), "{plan:?}");
    assert_eq!(cloud.core().rows_written_today(), before, "nothing was written");
    let json = ok(&home, &["cloud", "plan", "--json"]).json();
    assert_eq!(json["memories"]["only_local"], 2);
    assert_eq!(
        (&json["database"]["triggers"], &json["bucket"]["found"]),
        (&true.into(), &true.into())
    );

    ok(&home, &["cloud", "link", "--yes"]);
    ok(&home, &["cloud", "sync"]);
    let written = cloud.core().rows_written_today() - before;
    let told = json["backfill"]["rows_written"].as_u64().expect("a number");
    assert!(told.abs_diff(written) <= 10, "told {told}, written {written}");
    let again = ok(&home, &["cloud", "plan", "--json"]).json();
    assert_eq!(
        (&again["memories"]["only_local"], &again["memories"]["same"]),
        (&0.into(), &2.into())
    );
}

#[test]
fn verify_finds_what_is_gone_and_repairs_it() {
    let cloud = account();
    let home = home(&cloud);
    let unlinked = home.run(&["cloud", "verify"]);
    assert_eq!((unlinked.code, unlinked.out.as_str()), (Some(1), ""), "{unlinked:?}");
    assert!(unlinked.err.starts_with("error: no account is linked\n"), "{unlinked:?}");
    ok(&home, &["cloud", "init", "--yes"]);
    let id = ok(&home, &["store", "we deploy on Fridays"]).out;
    let id = id.trim_end();
    ok(&home, &["store", "and never on Mondays"]);
    ok(&home, &["cloud", "link", "--yes"]);
    ok(&home, &["cloud", "sync"]);
    let fine = ok(&home, &["cloud", "verify"]);
    let first = "2 memories compared with 2 states, 2 rows, 0 vectors\n";
    assert_eq!(fine.out, format!("{first}everything agrees\n"), "{fine:?}");

    let database = cloud.core().d1_rows("memtide", "DELETE FROM mt_entry").expect("a statement");
    assert!(database.is_empty());
    let found = home.run(&["cloud", "verify"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("       2  missing in the cloud: "), "{found:?}");
    assert!(found.out.contains(&id[..12]) && found.out.ends_with("\n2 differences\n"), "{found:?}");
    let repaired = ok(&home, &["cloud", "verify", "--repair", "--json"]).json();
    assert_eq!((&repaired["differences"], &repaired["repaired"]), (&2.into(), &2.into()));
    assert_eq!(repaired["findings"][0]["kind"], "missing_in_cloud");
    ok(&home, &["cloud", "sync"]);
    assert!(ok(&home, &["cloud", "verify"]).out.ends_with("\neverything agrees\n"));
    cloud.core().set_network(false);
    let dead = home.run(&["cloud", "verify"]);
    assert_eq!(dead.code, Some(1), "{dead:?}");
    assert!(dead.err.starts_with("error: "), "{dead:?}");
}
