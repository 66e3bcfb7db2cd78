//! Linking and carrying that is interrupted: a token that loses a permission, a day's limits that are used
//! up, a kill. Nothing is half done, and it goes on.

use super::account::{Kept, assert_here, beside, fill, import, kept, plan, service_tables};
use crate::devices::converge;
use crate::{LinkMode, World, names};
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::emulator::tokens::{Permission, Token};
use memtide::replicate::progress::SyncState;
use memtide::store::{link, stats};
use std::time::Duration;

fn some(range: std::ops::Range<usize>) -> Vec<Kept> {
    range.map(kept).collect()
}

fn may_all(world: &World) {
    world.account.core().set_tokens(vec![Token::user(Options::TOKEN)]);
}

fn may_not(world: &World, permission: Permission) {
    let token = Token::user(Options::TOKEN).without(&[permission]);
    world.account.core().set_tokens(vec![token]);
}

#[tokio::test]
async fn a_token_that_loses_a_permission_while_linking_leaves_nothing_half_done() {
    // At each kind of request that linking makes.
    for at in ["IF NOT EXISTS mt_entry", "IF NOT EXISTS mt_t3", "feed_filled", "INTO mt_meta"] {
        let mut world = beside(Options::default(), false);
        world.mode = LinkMode::Dual;
        let all = some(0..30);
        fill(&world, &all).await;
        import(&world, &all).await;
        let before = service_tables(&world);
        let reply = Reply::error(403, 10000, "Authentication error");
        let lost = Rule::new(Effect::reply(reply)).on(Product::D1).body(at).times(1);
        let lost = world.account.core().inject(lost);
        let refusal = world.prepare().await.unwrap_err().to_string();
        assert_eq!(world.account.core().fired(lost), 1, "{at}");
        assert!(refusal.contains("permission"), "{refusal}");
        assert!(world.store.read(link::get).await.unwrap().is_none(), "nothing is linked");
        assert_eq!(service_tables(&world), before);
        world.link().await.unwrap();
        world.drain().await;
        assert_eq!(service_tables(&world), before);
        assert_eq!(plan(&world).await.same, 30);
    }
}

#[tokio::test]
async fn a_token_that_loses_a_permission_while_carrying_is_told_and_nothing_is_parked() {
    for (permission, product) in [
        (Permission::D1Write, Product::D1),
        (Permission::VectorizeWrite, Product::Vectorize),
        (Permission::AiRead, Product::Ai),
        (Permission::R2Write, Product::R2),
    ] {
        let mut world = beside(Options::default(), false);
        world.mode = LinkMode::Dual;
        let there = some(0..20);
        fill(&world, &there).await;
        world.link().await.unwrap();
        world.remember("sent before", &[]).await;
        world.step().await;
        may_not(&world, permission);
        world.remember(&"a long text. ".repeat(500), &[]).await;
        let ids = world.remember_many(150).await;
        world.clock.advance(Duration::from_secs(11));
        world.settle().await;
        let progress = world.replicator.handle().progress();
        assert_eq!(progress.state, SyncState::AuthRequired, "{product:?}");
        let (what, step) = progress.action.expect("a person is told");
        assert!(what.contains(product.as_str()) || what.len() > 20, "{what}");
        assert!(step.contains("memtide cloud"), "{step}");
        let counts = world.counts().await;
        assert!(counts.parked == 0 && counts.pending > 0, "{product:?}: {counts:?}");
        may_all(&world);
        world.replicator.handle().reload();
        world.drain().await;
        assert_eq!(world.counts().await.pending, 0);
        assert_here(&world, &there).await;
        assert!(ids.len() == 150 && plan(&world).await.same == 172, "{product:?}");
    }
}

#[tokio::test]
async fn a_link_that_meets_the_days_limit_goes_on_the_next_day() {
    let mut options = Options::default();
    options.limits.d1_rows_written_per_day = Some(60);
    let mut world = beside(options, false);
    world.mode = LinkMode::Dual;
    let all = some(0..100);
    fill(&world, &all).await;
    // The feed takes three rows for each memory, in one request; the next one is refused.
    let refusal = world.prepare().await.unwrap_err().to_string();
    assert!(refusal.contains("limit") || refusal.contains("quota"), "{refusal}");
    assert!(world.store.read(link::get).await.unwrap().is_none());
    world.clock.advance(Duration::from_hours(24));
    world.link().await.unwrap();
    days(&world, |_| {}).await;
    assert_here(&world, &all).await;
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["100"]);
}

/// Lives on until nothing is owed and everything is read. Returns on how many days something was refused.
async fn days(world: &World, each: impl Fn(&World)) -> usize {
    let mut n_refused = 0;
    for _ in 0..40 {
        let step = world.settle().await;
        each(world);
        let progress = world.replicator.handle().progress();
        n_refused += usize::from(progress.state == SyncState::Quota);
        let is_done = world.counts().await.pending == 0 && progress.pull.behind == Some(0);
        if is_done && progress.state == SyncState::Idle {
            return n_refused;
        }
        let next = step.next_at.expect("it goes on by itself");
        world.clock.advance(next.since(world.clock.now()).max(Duration::from_secs(1)));
    }
    panic!("it never ends: {:?}", world.replicator.handle().progress());
}

#[tokio::test]
async fn a_backfill_upwards_takes_days_and_loses_nothing() {
    let mut options = Options::default();
    options.limits.d1_rows_written_per_day = Some(6000);
    let mut world = beside(options, false);
    world.mode = LinkMode::Dual;
    world.remember_many(2000).await;
    world.link().await.unwrap();
    let started = world.clock.now();
    let courses = std::sync::Mutex::new(Vec::new());
    let n_refused = days(&world, |world| {
        let progress = world.replicator.handle().progress();
        courses.lock().unwrap().push((progress.state, progress.up.unwrap()));
    })
    .await;
    assert!(n_refused >= 2, "{n_refused}");
    let courses = courses.into_inner().unwrap();
    assert!(courses.iter().all(|(_, up)| up.total == 2000), "{courses:?}");
    assert!(courses.is_sorted_by_key(|(_, up)| up.done), "{courses:?}");
    let (_, held) = courses.iter().find(|(state, _)| *state == SyncState::Quota).unwrap();
    let hours = held.eta_s.expect("today is the measure of tomorrow") / 3600;
    assert!(held.done < 1000 && (24..200).contains(&hours), "{held:?}");
    let (_, last) = courses.last().unwrap();
    assert_eq!((last.done, last.eta_s), (2000, Some(0)));
    assert!(world.clock.now().since(started) > Duration::from_hours(24));
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["2000"]);
    assert_eq!(world.counts().await.parked, 0);
    assert_eq!(world.vectors().len(), 2000);
}

#[tokio::test]
async fn a_backfill_downwards_takes_days_and_loses_nothing() {
    let mut options = Options::default();
    options.limits.d1_rows_read_per_day = Some(9000);
    let mut world = beside(options, false);
    world.mode = LinkMode::Dual;
    let all = some(0..3000);
    fill(&world, &all).await;
    let linked = loop {
        match world.link().await {
            Ok(linked) => break linked,
            // Putting the memories into the feed reads them as well.
            Err(_) => world.clock.advance(Duration::from_hours(24)),
        }
    };
    assert_eq!(linked.link.vector_index, names().index);
    let progress = |world: &World| world.replicator.handle().progress().down;
    let mut seen = Vec::new();
    for _ in 0..3 {
        world.step().await;
        seen.extend(progress(&world));
        world.clock.advance(Duration::from_secs(11));
    }
    assert!(seen.iter().any(|down| down.done < down.total && down.total == 3000), "{seen:?}");
    world.restart();
    let n_refused = days(&world, |_| {}).await;
    assert!(n_refused >= 1, "{n_refused}");
    let down = progress(&world).unwrap();
    assert_eq!((down.done, down.total, down.eta_s), (3000, 3000, Some(0)), "over a restart, too");
    assert_here(&world, &all).await;
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["3000"]);
}

#[tokio::test]
async fn a_link_that_is_killed_at_any_request_goes_on() {
    let all = some(0..60);
    let mut n_killed = 0;
    for kill in 0..30_u64 {
        let mut world = beside(Options::default(), false);
        world.mode = LinkMode::Dual;
        fill(&world, &all).await;
        import(&world, &some(30..90)).await;
        let fault = Rule::new(Effect::LoseAnswer).skip(kill).times(1);
        let fault = world.account.core().inject(fault);
        // The command is killed: what it was told is lost.
        if world.link().await.is_ok() {
            for _ in 0..60 {
                world.step().await;
                world.clock.advance(Duration::from_secs(2));
                if world.account.core().fired(fault) > 0 {
                    break;
                }
            }
            world.restart();
        }
        n_killed += world.account.core().fired(fault);
        if world.store.read(link::get).await.unwrap().is_none() {
            world.link().await.unwrap();
        }
        world.drain().await;
        crate::devices::converge(&[&world]).await;
        assert_here(&world, &all).await;
        assert_eq!(plan(&world).await.same, 90, "killed at request {kill}");
        let here = world.store.read(stats::stats).await.unwrap();
        assert_eq!((here.memories, here.tombstones), (90, 0));
        assert_eq!(world.rows("SELECT count(*) FROM mt_stage"), ["0"]);
    }
    assert!(n_killed > 20, "{n_killed} requests were met");
}

#[tokio::test]
async fn rows_that_showed_their_memories_until_the_database_was_put_back_are_written_again() {
    let all = some(0..12);
    let mut world = beside(Options::default(), false);
    world.mode = LinkMode::Dual;
    fill(&world, &all[..6]).await;
    world.link().await.unwrap();
    converge(&[&world]).await;
    world.drain().await;
    let backup = world.account.core().d1_copy("memories").unwrap();
    fill(&world, &all[6..]).await;
    let before = service_tables(&world);
    // They are pulled, and their rows found right; the entries that are owed beside them don't get there.
    let refusal = Effect::reply(Reply::error(503, 10002, "try again"));
    let refused = Rule::new(refusal).on(Product::D1).body("INTO mt_entry").times(1);
    let refused = world.account.core().inject(refused);
    world.clock.advance(Duration::from_hours(1));
    world.settle().await;
    assert_eq!(world.account.core().fired(refused), 1);
    assert_here(&world, &all).await;
    world.account.core().d1_become("memories", &backup).unwrap();
    converge(&[&world]).await;
    world.drain().await;
    let contents = "SELECT content FROM memories ORDER BY 1";
    let mut expected: Vec<&str> = all.iter().map(|one| one.text.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(world.rows(contents), expected);
    assert_eq!(service_tables(&world).len(), before.len());
    assert_here(&world, &all).await;
}
