//! Answers that are no success: what is decided, and that nothing is half-written.

use super::{World, push_rows, row};
use memtide::clock::Micros;
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::options::{Limits, Options};
use memtide::emulator::product::Product as Emulated;
use memtide::emulator::tokens::{Status, Token};
use memtide::remote::account::{TokenKind, verify_token};
use memtide::remote::d1::D1;
use memtide::remote::error::{Disposition, Pause};
use secrecy::SecretString;
use std::time::Duration;

const MIDNIGHT: Micros = Micros(1_700_006_400_000_000);

fn throttled(after: Option<u64>, every_product: bool) -> Disposition {
    let after = after.map(Duration::from_secs);
    Disposition::Pause(Pause::Throttled { after, every_product })
}

#[tokio::test]
async fn every_faulty_answer_is_classified_and_writes_nothing() {
    let hour = 3600;
    let cases: Vec<(Reply, Disposition)> = vec![
        (Reply::error(400, 7500, "near \"x\": syntax error"), Disposition::Park),
        (Reply::error(400, 7400, "The request is malformed"), Disposition::Park),
        (Reply::error(401, 10000, "Authentication error"), Disposition::Pause(Pause::Auth)),
        (Reply::error(403, 10000, "Authentication error"), Disposition::Pause(Pause::Auth)),
        (Reply::error(404, 7404, "could not be found"), Disposition::Pause(Pause::Misconfigured)),
        (Reply::error(409, 1, "conflict"), Disposition::Park),
        (Reply::error(413, 1, "too large"), Disposition::Park),
        (Reply::error(500, 1, "x"), Disposition::Retry),
        (Reply::error(503, 7500, "D1 DB is overloaded."), Disposition::Retry),
        (Reply::html(502), Disposition::Retry),
        (Reply::not_json(), Disposition::Retry),
        (Reply::throttled(971, RetryAfter::Absent), throttled(None, true)),
        (Reply::throttled(10429, RetryAfter::Seconds(2)), throttled(Some(2), true)),
        (Reply::throttled(10429, RetryAfter::Seconds(86_400)), throttled(Some(hour), true)),
        (
            Reply::throttled(971, RetryAfter::Date(Duration::from_secs(90))),
            throttled(Some(90), true),
        ),
        (Reply::throttled(7429, RetryAfter::Seconds(5)), throttled(Some(5), false)),
        (
            Reply::error(400, 7500, "exceeded D1's free tier daily row write limit"),
            Disposition::Pause(Pause::Quota { until: MIDNIGHT }),
        ),
    ];
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    let core = world.account.core();
    for (reply, expected) in cases {
        let fault = core.inject(Rule::new(Effect::reply(reply.clone())).on(Emulated::D1).times(1));
        let error = push_rows(&d1, &[row("x", 0)]).await.expect_err("a fault");
        assert_eq!(error.disposition, expected, "{reply:?}");
        assert_eq!(core.fired(fault), 1, "{reply:?}");
        assert!(error.cf_ray.is_some(), "{reply:?}");
        assert!(!error.hint.is_empty() && !error.to_string().contains(world.account.token()));
    }
    assert!(world.column("SELECT id FROM mt_entry").is_empty());
    assert_eq!(push_rows(&d1, &[row("x", 0)]).await.expect("applied").winners.len(), 1);
}

#[tokio::test]
async fn a_dead_network_is_waited_for() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    world.account.core().set_network(false);
    let error = push_rows(&d1, &[row("x", 0)]).await.expect_err("no network");
    assert_eq!((error.disposition, error.status), (Disposition::Retry, None));
    assert!(world.account.core().n_refused() > 0);
    world.account.core().set_network(true);
    assert_eq!(push_rows(&d1, &[row("x", 0)]).await.expect("applied").winners.len(), 1);
}

#[tokio::test]
async fn a_revoked_token_pauses_and_a_new_one_goes_on() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    assert_eq!(verify_token(&world.remote).await.expect("valid").kind, TokenKind::User);
    world.account.core().set_tokens(vec![Token::account("a-new-token-of-the-account")]);
    let error = push_rows(&d1, &[row("x", 0)]).await.expect_err("revoked");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
    assert!(error.hint.contains("memtide cloud link --token-file"), "{}", error.hint);
    assert!(verify_token(&world.remote).await.is_err());

    world.transport.set_token(SecretString::from("a-new-token-of-the-account")).expect("a token");
    assert_eq!(verify_token(&world.remote).await.expect("valid").kind, TokenKind::Account);
    assert_eq!(push_rows(&d1, &[row("x", 0)]).await.expect("applied").winners.len(), 1);

    let expired = Token::account("a-new-token-of-the-account").with_status(Status::Expired);
    world.account.core().set_tokens(vec![expired]);
    let error = verify_token(&world.remote).await.expect_err("expired");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
}

#[tokio::test]
async fn the_accounts_own_limits_pause_what_they_must() {
    let few = Limits { requests_per_5min: Some(40), ..Limits::paid() };
    let world = World::new(Options { limits: few, ..Options::default() });
    let d1 = world.ready().await;
    let mut blocked = None;
    for _ in 0..60 {
        if let Err(error) = d1.describe().await {
            blocked = Some(error.disposition);
            break;
        }
    }
    let Some(Disposition::Pause(Pause::Throttled { after, every_product: true })) = blocked else {
        panic!("{blocked:?}")
    };
    world.pass(after.unwrap_or(Duration::from_mins(5)));
    d1.describe().await.expect("the block is over");

    let rows = Limits { d1_rows_written_per_day: Some(200), ..Limits::paid() };
    let world = World::new(Options { limits: rows, ..Options::default() });
    let d1 = world.ready().await;
    let many: Vec<_> = (0..60).map(|n| row(&n.to_string(), 0)).collect();
    let mut decided = push_rows(&d1, &many).await.map(|_| ());
    if decided.is_ok() {
        decided = push_rows(&d1, &[row("one more", 0)]).await.map(|_| ());
    }
    let error = decided.expect_err("the rows of the day are used up");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Quota { until: MIDNIGHT }), "{error}");
}

#[tokio::test]
async fn a_database_or_an_account_that_is_not_there_is_said_so() {
    let world = World::new(Options::default());
    let nowhere = D1::new(world.remote.clone(), "00000000-0000-0000-0000-000000000000");
    let error = push_rows(&nowhere, &[row("x", 0)]).await.expect_err("no database");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Misconfigured), "{error}");
    assert!(error.hint.contains("memtide cloud init"), "{}", error.hint);

    let id = world.account.core().create_database("bare").expect("a database");
    let bare = D1::new(world.remote.clone(), &id);
    let error = push_rows(&bare, &[row("x", 0)]).await.expect_err("no tables");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Misconfigured), "{error}");
    assert!(error.hint.contains("tables are missing"), "{}", error.hint);
}
