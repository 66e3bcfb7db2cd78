//! What the log says of an outage: that it began, now and then that it lasts, that it is over.

use super::World;
use super::devices::two;
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::product::Product;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Between two lines about one trouble.
const INTERVAL: Duration = Duration::from_mins(10);
/// How long the outages last.
const HOURS: u64 = 3;

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn listen(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_ansi(false)
            .without_time()
            .with_max_level(tracing::Level::INFO);
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines of the replicator since the last look.
    fn lines(&self, at: Micros) -> Vec<Line> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().filter(|line| line.contains("memtide::replicate"));
        lines.map(|line| Line { at, text: line.to_owned() }).collect()
    }
}

/// A line of the log, and when it was seen.
#[derive(Debug)]
struct Line {
    at: Micros,
    text: String,
}

/// No two lines with these words are closer to each other than the interval.
fn assert_rare(said: &[Line], words: &str) {
    let at: Vec<Micros> =
        said.iter().filter(|line| line.text.contains(words)).map(|line| line.at).collect();
    assert!(at.len() > 2, "{said:#?}");
    assert!(at.windows(2).all(|two| two[1].since(two[0]) >= INTERVAL), "{said:#?}");
}

/// Lives through some hours in which something is stored every few minutes.
async fn pass_hours(world: &World, said: &mut Vec<Line>, log: &Log) {
    for n in 0..HOURS * 60 {
        if n % 5 == 0 {
            world.remember(&format!("stored in the outage, {n}"), &[]).await;
        }
        world.settle().await;
        said.extend(log.lines(world.clock.now()));
        world.clock.advance(Duration::from_mins(1));
    }
}

/// A line when it begins, at most one in each interval, and one when it works again; nothing else.
fn assert_told_once(said: &[Line], held_up: &str, works: &str) {
    assert_rare(said, held_up);
    let (last, before) = said.split_last().unwrap();
    assert!(before.iter().all(|line| line.text.contains(held_up)), "{said:#?}");
    assert!(last.text.contains(works), "{said:#?}");
}

#[tokio::test]
async fn an_outage_of_hours_is_told_when_it_begins_now_and_then_and_when_it_is_over() {
    let (world, _) = two().await;
    world.remember("before", &[]).await;
    world.drain().await;
    let (log, mut said) = (Log::default(), Vec::new());
    let _listening = log.listen();
    world.account.core().set_network(false);
    // Rows, bodies and vectors are owed, and the feed is to be read.
    world.remember(&"large ".repeat(1000), &[]).await;
    world.embed().await;
    world.settle().await;
    said.extend(log.lines(world.clock.now()));
    assert_eq!(said.len(), 1, "one network, one line: {said:#?}");
    pass_hours(&world, &mut said, &log).await;
    assert!(world.account.core().n_refused() > 20, "it was tried all the time");
    world.account.core().set_network(true);
    world.drain().await;
    said.extend(log.lines(world.clock.now()));
    assert_told_once(&said, "cloud sync is held up", "cloud sync works again");
    assert!(said[0].text.contains("state=\"offline\""), "{said:#?}");
}

#[tokio::test]
async fn a_feed_that_can_not_be_read_is_told_as_rarely() {
    let (world, _) = two().await;
    world.drain().await;
    let (log, mut said) = (Log::default(), Vec::new());
    let _listening = log.listen();
    let down = Rule::new(Effect::reply(Reply::html(503))).on(Product::D1);
    let down = world.account.core().inject(down);
    // Nothing is owed: all that fails is the reading.
    for _ in 0..HOURS * 180 {
        world.clock.advance(Duration::from_secs(20));
        world.settle().await;
        said.extend(log.lines(world.clock.now()));
    }
    assert!(world.account.core().fired(down) > 10);
    world.account.core().clear_faults();
    world.clock.advance(Duration::from_mins(20));
    world.settle().await;
    said.extend(log.lines(world.clock.now()));
    assert_told_once(&said, "cloud sync is held up", "cloud sync works again");
    assert!(said[0].text.contains("product=\"d1\" state=\"backing_off\""), "{said:#?}");
}

#[tokio::test]
async fn a_network_that_fails_in_turns_is_told_as_rarely() {
    let (world, _) = two().await;
    world.drain().await;
    let (log, mut said) = (Log::default(), Vec::new());
    let _listening = log.listen();
    let core = world.account.core();
    for n in 0..HOURS * 180 {
        let effect = if n % 2 == 0 { Effect::Drop } else { Effect::reply(Reply::html(502)) };
        core.clear_faults();
        core.inject(Rule::new(effect));
        world.clock.advance(Duration::from_secs(20));
        world.settle().await;
        said.extend(log.lines(world.clock.now()));
    }
    assert_rare(&said, "state=\"offline\"");
    assert_rare(&said, "state=\"backing_off\"");
    assert!(
        said.iter().all(|line| line.text.contains("cloud sync is held up")),
        "neither works in between: {said:#?}"
    );
    core.clear_faults();
    world.clock.advance(Duration::from_mins(20));
    world.settle().await;
    let over = log.lines(world.clock.now());
    assert!(over.len() == 1 && over[0].text.contains("cloud sync works again"), "{over:#?}");
}

#[tokio::test]
async fn a_device_without_a_usable_token_says_so_once_in_a_while() {
    let world = World::linked().await;
    *world.token.lock().unwrap() = "two words".to_owned();
    let (log, mut said) = (Log::default(), Vec::new());
    let _listening = log.listen();
    pass_hours(&world, &mut said, &log).await;
    *world.token.lock().unwrap() = world.account.token().to_owned();
    world.settle().await;
    said.extend(log.lines(world.clock.now()));
    assert_told_once(&said, "cloud sync can't start", "cloud sync can start");
}
