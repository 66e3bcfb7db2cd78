//! Thirty days offline on two devices: what they then owe drains within the request budget, and both end
//! with the same.

use super::account::{DATABASE, Template, ready};
use super::device::{Device, Make};
use super::network::{Network, Sent};
use super::time::{DeviceClock, Time};
use super::view::States;
use http::Request;
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::outcome::Outcome;
use memtide::model::draft::{Author, Draft, Patch};
use memtide::model::id::MemoryId;
use memtide::remote::budget::{REQUESTS, WINDOW};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::time::Duration;

/// Edits by each device while it is away.
const EDITS: usize = 5_000;
/// Memories that both edit.
const CONFLICTS: usize = 500;
/// How long the draining may take, in the world's time.
const DRAINED_WITHIN: Duration = Duration::from_hours(1);
/// The longest wait between two steps, as in the daemon's loop.
const WAKE_EVERY: Duration = Duration::from_secs(30);
/// How long a request and its answer take.
const TRIP: Duration = Duration::from_millis(80);

fn draft(text: String) -> Draft {
    let author = Author { client: "person".to_owned() };
    Draft::check(text, &["month".to_owned()], None, None, author, 1_000).unwrap()
}

/// Both devices know the same memories; then each makes its edits on another day, alone.
fn edit_offline(devices: &[Device; 2], time: &Time) {
    let shared: Vec<MemoryId> =
        (0..CONFLICTS).map(|n| draft(format!("both {n}")).text.id).collect();
    for device in devices {
        for n in 0..CONFLICTS {
            device.store(draft(format!("both {n}"))).unwrap();
        }
    }
    let day = Duration::from_hours(24);
    for n in 0..EDITS {
        if n % (EDITS / 30) == 0 {
            time.move_to(time.now().plus(day));
        }
        for (number, device) in devices.iter().enumerate() {
            if let Some(id) = shared.get(n) {
                let tags = [format!("of {number}")];
                let patch = Patch::check(None, Some(&tags), None, None, Author::default(), 1);
                device.update(*id, patch.unwrap()).unwrap();
            } else {
                device.store(draft(format!("device {number} alone {n}"))).unwrap();
            }
        }
    }
    for device in devices {
        while device.embed() > 0 {}
    }
}

/// When a device may step again, and what it waits for.
struct Turn {
    wake_at: Micros,
    answers: VecDeque<(Micros, Sent)>,
}

#[test]
fn thirty_days_offline_drain_within_the_budget() {
    let time = Time::begin();
    let account = Template::with(|template| template.account(&time));
    let network = Network::default();
    let mut devices = [0, 1].map(|number| {
        let make = Make {
            number,
            machine: format!("machine {number}"),
            clock: DeviceClock::new(&time, 0),
            network: network.clone(),
            seed: 40 + number as u64,
            requests: REQUESTS,
        };
        Template::with(|template| Device::start(make, &template.device))
    });
    edit_offline(&devices, &time);
    let until = time.now().plus(DRAINED_WITHIN);
    let mut turns = [0, 1].map(|_| Turn { wake_at: time.now(), answers: VecDeque::new() });
    let mut sent_at: [VecDeque<Micros>; 2] = Default::default();
    let (mut n_requests, mut states) = (0_u64, States::default());
    loop {
        let next = |turn: &Turn| turn.answers.front().map_or(turn.wake_at, |(at, _)| *at);
        let now = turns.iter().map(next).min().unwrap().max(time.now());
        assert!(now < until, "not drained after {n_requests} requests");
        time.move_to(now);
        for number in 0..2 {
            if next(&turns[number]) > now {
                continue;
            }
            if let Some((_, sent)) = turns[number].answers.pop_front() {
                let request: Request<bytes::Bytes> = super::account::addressed(sent.request);
                let Outcome::Answer(answer) = account.handle(&request) else { unreachable!() };
                assert!(network.answer(sent.ticket, Ok(answer)));
            }
            if let Some(step) = devices[number].advance() {
                let step = step.unwrap();
                let wait = step.next_at.map_or(WAKE_EVERY, |at| at.since(now).min(WAKE_EVERY));
                let wait = if step.tally.has_moved() { Duration::ZERO } else { wait };
                turns[number].wake_at = now.plus(wait.max(Duration::from_millis(1)));
                devices[number].embed();
            }
            for sent in network.take_sent() {
                n_requests += 1;
                let sent_at = &mut sent_at[number];
                sent_at.push_back(now);
                sent_at.retain(|at| now.since(*at) < WINDOW);
                assert!(sent_at.len() <= REQUESTS, "{} requests in five minutes", sent_at.len());
                turns[number].answers.push_back((now.plus(TRIP), sent));
            }
        }
        let last = |conn: &Connection| {
            conn.query_row("SELECT max(seq) FROM mt_feed", [], |row| row.get::<_, Option<i64>>(0))
        };
        let last = account.d1_look(DATABASE, last).unwrap().unwrap_or(0);
        let is_drained = |device: &Device| ready(device.is_drained(last));
        let is_quiet = turns.iter().all(|turn| turn.answers.is_empty());
        if is_quiet && devices.iter().all(is_drained) {
            break;
        }
    }
    let [first, second] = devices.each_mut().map(|device| device.look(&mut states).unwrap());
    assert_eq!(first.memories.len(), 2 * EDITS - CONFLICTS);
    assert_eq!(first.memories.len(), second.memories.len());
    let same = |(id, one): (&MemoryId, &super::view::Memory)| {
        let other = &second.memories[id];
        assert_eq!((&one.state, &one.content), (&other.state, &other.content), "{id}");
        one.state.live_tags().len() == 2
    };
    let n_merged = first.memories.iter().map(same).filter(|both| *both).count();
    assert_eq!(first.cursor, second.cursor);
    super::tell(&format!("{n_requests} requests; {n_merged} memories hold both devices' tags"));
    assert_eq!(n_merged, CONFLICTS, "each conflict keeps what both devices added");
}
