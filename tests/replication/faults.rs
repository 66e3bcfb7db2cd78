//! Everything that may come back instead of an answer: the right state, nothing parked that isn't at
//! fault, nothing lost, and all of it carried over once the fault is gone.

use super::World;
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::product::Product;
use memtide::emulator::tokens::{Permission, Token};
use memtide::replicate::progress::SyncState;
use memtide::store::{link, outbox};
use std::time::Duration;

const MIDNIGHT: Micros = Micros(1_700_006_400_000_000);

#[tokio::test]
async fn a_lost_answer_settles_without_a_second_write() {
    let world = World::linked().await;
    world.remember_many(3).await;
    let lost = world.account.core().inject(Rule::new(Effect::LoseAnswer).on(Product::D1).times(1));
    world.step().await;
    assert_eq!(world.account.core().fired(lost), 1);
    assert_eq!(world.state(), SyncState::Offline);
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["3"], "it was applied");
    let feed = world.rows("SELECT seq AS a, id AS b FROM mt_feed ORDER BY seq");
    world.drain().await;
    assert_eq!(world.rows("SELECT seq AS a, id AS b FROM mt_feed ORDER BY seq"), feed);
    assert_eq!(world.rows("SELECT count(*) FROM mt_heads"), ["3"]);
    assert_eq!(world.counts().await.conflicts, 0);
    assert_eq!(world.account.core().n_requests(Product::D1), 3, "push, push, fetch");
}

#[tokio::test]
async fn an_edit_after_a_lost_answer_is_no_conflict() {
    let world = World::linked().await;
    let id = world.remember("edited", &["one"]).await;
    let lost = world.account.core().inject(Rule::new(Effect::LoseAnswer).on(Product::D1).times(1));
    world.step().await;
    assert_eq!(world.account.core().fired(lost), 1);
    world.retag(id, &["two"]).await;
    world.drain().await;
    assert_eq!(world.rows("SELECT tags FROM memories"), ["two"]);
    assert_eq!(world.counts().await.conflicts, 0);
}

/// A fault of D1's, the state it leads to, and the least and the most time until the next attempt.
struct Case {
    effect: Effect,
    state: SyncState,
    wait: (Duration, Duration),
    attempts: u32,
}

fn cases() -> Vec<Case> {
    let seconds = Duration::from_secs;
    let reply = |reply, state, least, most, attempts| Case {
        effect: Effect::reply(reply),
        state,
        wait: (seconds(least), seconds(most)),
        attempts,
    };
    let throttled = |after| Reply::throttled(971, after);
    let until_midnight = MIDNIGHT.since(super::NOON).as_secs();
    let quota = "exceeded D1's free tier daily row write limit";
    vec![
        reply(throttled(RetryAfter::Absent), SyncState::BackingOff, 1, 61, 0),
        reply(throttled(RetryAfter::Seconds(20)), SyncState::BackingOff, 20, 20, 0),
        reply(throttled(RetryAfter::Seconds(86_400)), SyncState::BackingOff, 3600, 3600, 0),
        reply(throttled(RetryAfter::Date(seconds(90))), SyncState::BackingOff, 90, 90, 0),
        reply(Reply::throttled(7429, RetryAfter::Seconds(5)), SyncState::BackingOff, 5, 5, 0),
        reply(Reply::error(500, 7500, "internal error"), SyncState::BackingOff, 0, 1, 1),
        reply(Reply::error(400, 7500, "D1 DB is overloaded."), SyncState::BackingOff, 0, 1, 1),
        reply(Reply::html(502), SyncState::BackingOff, 0, 1, 1),
        reply(Reply::not_json(), SyncState::BackingOff, 0, 1, 1),
        Case {
            effect: Effect::CutAnswer { keep: 20 },
            state: SyncState::BackingOff,
            wait: (Duration::ZERO, seconds(1)),
            attempts: 1,
        },
        Case {
            effect: Effect::Drop,
            state: SyncState::Offline,
            wait: (Duration::ZERO, seconds(1)),
            attempts: 1,
        },
        reply(
            Reply::error(401, 10000, "Authentication error"),
            SyncState::AuthRequired,
            300,
            300,
            0,
        ),
        reply(
            Reply::error(403, 10000, "Authentication error"),
            SyncState::AuthRequired,
            300,
            300,
            0,
        ),
        reply(Reply::error(404, 7404, "not be found"), SyncState::Misconfigured, 300, 300, 0),
        reply(
            Reply::error(400, 7500, quota),
            SyncState::Quota,
            until_midnight,
            until_midnight + 60,
            0,
        ),
    ]
}

#[tokio::test]
async fn every_fault_has_its_state_and_nothing_is_lost_or_parked() {
    for case in cases() {
        let what = format!("{:?}", case.effect);
        let world = World::linked().await;
        world.remember_many(5).await;
        world.embed().await;
        let fault = world.account.core().inject(Rule::new(case.effect).on(Product::D1).times(1));
        let before = world.clock.now();
        let step = world.step().await;
        assert_eq!(world.account.core().fired(fault), 1, "{what}");
        let progress = world.replicator.handle().progress();
        assert_eq!((progress.d1.state, progress.state), (case.state, case.state), "{what}");
        assert!(progress.d1.last_error.is_some(), "{what}");
        let needs_a_person =
            matches!(case.state, SyncState::AuthRequired | SyncState::Misconfigured);
        assert_eq!(progress.action.is_some(), needs_a_person, "{what}");
        let wait = step.next_at.expect("a next attempt").since(before);
        assert!(wait >= case.wait.0 && wait <= case.wait.1, "{what}: {wait:?}");
        let counts = world.counts().await;
        assert_eq!((counts.pending, counts.parked, counts.conflicts), (10, 0, 0), "{what}");
        let entries = world.entries().await;
        let d1 = entries.iter().filter(|entry| entry.product == outbox::Product::D1);
        assert!(d1.clone().all(|entry| entry.attempts == case.attempts), "{what}");
        assert!(d1.clone().all(|entry| entry.error.is_some()), "{what}");
        world.drain().await;
        assert_eq!(world.rows("SELECT count(*) FROM memories"), ["5"], "{what}");
        assert_eq!(world.rows("SELECT max(seq) FROM mt_feed"), ["5"], "{what}: written once");
        assert_eq!(world.vectors().len(), 5, "{what}");
        assert_eq!(world.state(), SyncState::Idle, "{what}");
    }
}

#[tokio::test]
async fn a_shut_gate_sends_nothing_and_lets_one_probe_through() {
    let world = World::linked().await;
    world.remember_many(20).await;
    let reply = Reply::error(401, 10000, "Authentication error");
    let fault = world.account.core().inject(Rule::new(Effect::reply(reply)).times(2));
    let step = world.settle().await;
    assert_eq!(world.n_requests(), 1);
    world.settle().await;
    assert_eq!(world.n_requests(), 1, "the gate is shut");
    world.clock.set(step.next_at.unwrap());
    world.settle().await;
    assert_eq!((world.n_requests(), world.account.core().fired(fault)), (2, 2));
    let sizes: Vec<usize> =
        world.account.core().requests().iter().map(|entry| entry.request_bytes).collect();
    assert!(sizes[1] * 4 < sizes[0], "the probe is small: {sizes:?}");
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["20"]);
}

#[tokio::test]
async fn a_new_token_is_used_at_once() {
    let world = World::linked().await;
    world.remember("waits for a token", &[]).await;
    let core = world.account.core();
    core.set_tokens(vec![Token::user("another-token")]);
    world.settle().await;
    assert_eq!(world.state(), SyncState::AuthRequired);
    assert_eq!(core.requests().last().unwrap().status, Some(401));
    *world.token.lock().unwrap() = "another-token".to_owned();
    world.settle().await;
    assert_eq!(world.n_requests(), 1, "nobody has said so yet");
    world.replicator.handle().reload();
    world.settle().await;
    assert_eq!(world.state(), SyncState::Idle);
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["1"]);
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_a_stated_condition() {
    let world = World::linked().await;
    world.remember("waits", &[]).await;
    *world.token.lock().unwrap() = "two words".to_owned();
    let step = world.step().await;
    assert_eq!(world.state(), SyncState::AuthRequired);
    assert!(step.next_at.is_some());
    let (what, next_step) = world.replicator.handle().progress().action.unwrap();
    assert!(what.contains("token") && next_step == "give another token", "{what}");
    *world.token.lock().unwrap() = world.account.token().to_owned();
    world.settle().await;
    assert_eq!(world.state(), SyncState::Idle);
}

#[tokio::test]
async fn one_poisoned_entry_among_a_hundred_is_parked_alone() {
    let world = World::linked().await;
    world.remember_many(99).await;
    let poison = world.remember("a poison pill", &[]).await;
    let reply = Reply::error(400, 7500, "near \"pill\": syntax error at offset 0: SQLITE_ERROR");
    let fault = Rule::new(Effect::reply(reply)).on(Product::D1).body("a poison pill");
    let fault = world.account.core().inject(fault);
    world.settle().await;
    assert!(world.account.core().fired(fault) >= 7, "it was looked for by halves");
    let counts = world.counts().await;
    assert_eq!((counts.pending_by_product[1], counts.parked), (0, 1));
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["99"]);
    let parked = world.store.read(|read| outbox::list(read, true, 9)).await.unwrap();
    assert_eq!((parked.len(), parked[0].id), (1, poison));
    assert!(parked[0].error.as_ref().unwrap().contains("syntax error"));
    let n_requests = world.n_requests();
    world.clock.advance(Duration::from_hours(9));
    world.settle().await;
    assert_eq!(world.n_requests(), n_requests, "what is parked isn't tried again by itself");

    world.account.core().clear_faults();
    let n_parked = world.store.write(|write| outbox::retry(write, None)).await.unwrap();
    assert_eq!(n_parked, 1);
    world.settle().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["100"]);
    assert_eq!(world.counts().await.parked, 0);
}

#[tokio::test]
async fn one_poisoned_vector_among_a_hundred_is_parked_alone() {
    let world = World::linked().await;
    let ids = world.remember_many(100).await;
    world.embed().await;
    let reply = Reply::error(400, 40016, "oversized metadata for vector");
    let poison = format!("{{\"id\":\"{}\"", ids[42]);
    let fault = Rule::new(Effect::reply(reply)).on(Product::Vectorize).body(&poison);
    let fault = world.account.core().inject(fault);
    world.settle().await;
    assert!(world.account.core().fired(fault) >= 7);
    let counts = world.counts().await;
    assert_eq!((counts.pending, counts.parked), (0, 1));
    assert_eq!(world.vectors().len(), 99);
}

#[tokio::test]
async fn a_dead_network_is_noticed_and_everything_goes_when_it_is_back() {
    let world = World::linked().await;
    let core = world.account.core();
    core.set_network(false);
    let id = world.remember("offline", &[]).await;
    let mut waits = Vec::new();
    for _ in 0..12 {
        let step = world.settle().await;
        assert_eq!(world.state(), SyncState::Offline);
        let wait = step.next_at.unwrap().since(world.clock.now());
        waits.push(wait);
        world.clock.advance(wait);
    }
    assert!(core.n_refused() >= 12);
    assert!(waits[..4].iter().all(|wait| *wait <= Duration::from_secs(8)), "{waits:?}");
    assert!(waits[4] >= Duration::from_secs(30), "the gate is shut: {waits:?}");
    assert_eq!(waits[11], Duration::from_mins(15), "{waits:?}");
    assert!(!world.get(id).await.synced);
    core.set_network(true);
    world.drain().await;
    assert!(world.get(id).await.synced);
    assert_eq!(world.state(), SyncState::Idle);
}

#[tokio::test]
async fn products_fail_independently() {
    let world = World::linked().await;
    world.remember_many(10).await;
    world.embed().await;
    let core = world.account.core();
    let down = core.inject(Rule::new(Effect::reply(Reply::html(503))).on(Product::Vectorize));
    for _ in 0..8 {
        let step = world.settle().await;
        world.clock.set(step.next_at.unwrap());
    }
    assert!(core.fired(down) >= 8);
    let progress = world.replicator.handle().progress();
    assert_eq!(progress.d1.state, SyncState::Idle);
    assert_eq!(progress.vectorize.state, SyncState::BackingOff);
    assert_eq!(progress.state, SyncState::BackingOff);
    assert_eq!(world.counts().await.pending_by_product, [0, 0, 10]);
    world.remember("goes up all the same", &[]).await;
    world.settle().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["11"]);

    core.clear_faults();
    let reply = Reply::error(403, 10000, "Authentication error");
    let refused = core.inject(Rule::new(Effect::reply(reply)).on(Product::D1).times(1));
    world.remember("waits for a permission", &[]).await;
    world.clock.advance(Duration::from_mins(15));
    world.settle().await;
    assert_eq!(core.fired(refused), 1);
    let progress = world.replicator.handle().progress();
    assert_eq!(progress.d1.state, SyncState::AuthRequired);
    assert_eq!(progress.vectorize.state, SyncState::Idle);
    assert_eq!(world.vectors().len(), 10);
}

#[tokio::test]
async fn a_missing_permission_names_itself() {
    let world = World::linked().await;
    let token = Token::user(world.account.token()).without(&[Permission::VectorizeWrite]);
    world.account.core().set_tokens(vec![token]);
    world.remember("x", &[]).await;
    world.embed().await;
    world.settle().await;
    let progress = world.replicator.handle().progress();
    assert_eq!(progress.vectorize.state, SyncState::AuthRequired);
    assert_eq!(progress.d1.state, SyncState::Idle);
    assert!(progress.action.unwrap().1.contains("`Vectorize Write`"));
}

#[tokio::test]
async fn gates_and_budget_survive_a_restart() {
    let mut world = World::linked().await;
    world.remember_many(3).await;
    let reply = Reply::error(401, 10000, "Authentication error");
    let fault =
        world.account.core().inject(Rule::new(Effect::reply(reply)).on(Product::D1).times(1));
    let next_at = world.settle().await.next_at.unwrap();
    assert_eq!(world.account.core().fired(fault), 1);
    let before = world.replicator.handle().progress();

    world.restart();
    let step = world.settle().await;
    assert_eq!(world.n_requests(), 1, "nothing is sent before the probe");
    assert_eq!(step.next_at, Some(next_at));
    let after = world.replicator.handle().progress();
    assert_eq!(after, before);
    assert_eq!(after.requests_5min, 1);
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["3"]);

    let rows = world.replicator.handle().progress().d1_rows_written_today;
    world.restart();
    world.settle().await;
    assert_eq!(world.replicator.handle().progress().d1_rows_written_today, rows);
    assert!(rows > 0);
}

#[tokio::test]
async fn the_own_budget_is_kept_over_a_restart() {
    let mut world = World::linked().await;
    let sent: Vec<i64> = vec![world.clock.now().0; 600];
    let sent = serde_json::to_string(&sent).unwrap();
    world.store.write(move |write| link::remember(write, "budget", &sent)).await.unwrap();
    world.restart();
    world.remember("waits for the budget", &[]).await;
    world.clock.advance(Duration::from_secs(100));
    let step = world.settle().await;
    assert_eq!(world.n_requests(), 0);
    assert_eq!(step.next_at.unwrap().since(world.clock.now()), Duration::from_secs(200));
    let progress = world.replicator.handle().progress();
    assert_eq!((progress.requests_5min, progress.requests_limit), (600, 600));
    assert_eq!(progress.d1.state, SyncState::BackingOff);
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["1"]);
}
