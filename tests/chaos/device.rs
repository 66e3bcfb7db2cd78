//! A device: a home, clients that write, and its own network to the account.

use crate::chaos::Chaos;
use crate::home::{Daemon, Home, Said};
use crate::load::{Known, Tally, Wire, Worker};
use memtide::clock::SystemClock;
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// What database, index and bucket are called unless a person names them.
pub const NAME: &str = "memtide";
/// Components of the default model's vectors.
const DIMS: usize = 384;
/// Bytes of text that stay in a row: about one in twenty texts of the load is longer.
const INLINE: &str = "4096";

/// An account with what replication needs. It blocks nobody: how much the daemon asks is judged from what
/// it asks.
pub fn account(seed: u64) -> Running {
    let mut options = Options { vectorize_delay: Duration::ZERO, ..Options::default() };
    options.limits.requests_per_5min = None;
    let account = server::start(SystemClock::shared(), seed, options).expect("an account");
    account.core().create_database(NAME).expect("a database");
    account.core().create_index(NAME, DIMS).expect("an index");
    account.core().create_bucket(NAME).expect("a bucket");
    account
}

/// A linked device.
pub struct Device {
    pub home: Home,
    pub chaos: Chaos,
    pub workers: Vec<Worker>,
    pub tally: Tally,
}

impl Device {
    /// A home without a daemon, and `n` clients, numbered from `first` on.
    pub fn new(account: &Running, seed: u64, first: u64, n: u64) -> Self {
        let chaos = Chaos::start(account.port(), seed ^ first);
        let home = Home::new()
            .with("CLOUDFLARE_API_BASE_URL", chaos.base_url())
            .with("CLOUDFLARE_ACCOUNT_ID", account.account_id())
            .with("CLOUDFLARE_API_TOKEN", account.token())
            .with("CLOUDFLARE_LARGE_CONTENT_THRESHOLD", INLINE);
        let numbers = first..first + n;
        let workers = numbers.map(|number| Worker::new(number, seed * 1000 + number)).collect();
        let device = Self { home, chaos, workers, tally: Tally::default() };
        device.allow(1200);
        device
    }

    /// Sets how many requests it may send in five minutes, from the next start on.
    pub fn allow(&self, requests: usize) {
        let settings =
            format!("[embedding]\nfetch = \"never\"\n[replication]\nrequest_budget = {requests}\n");
        fs::write(self.home.root().join("config.toml"), settings).expect("settings");
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        self.chaos.begin_life();
        self.home.daemon()
    }

    /// Links the running daemon, and says in which mode.
    pub fn link(&self) -> String {
        let said = self.home.run(&["cloud", "link", "--yes", "--json"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.json()["mode"].as_str().expect("a mode").to_owned()
    }

    /// A connection to its daemon.
    pub fn wire(&self) -> Wire {
        Wire::open(&self.home.socket())
    }

    /// Has deferred duties sent now, without waiting for what comes of it.
    pub fn hasten(&self) {
        let answer = self.home.ask("POST", "/v1/cloud/sync", br#"{"timeout_s":0}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until everything is sent that can be.
    pub fn sync(&self) -> Said {
        self.home.run(&["cloud", "sync", "--timeout", "100", "--json"])
    }

    /// The same, and nothing is left over.
    pub fn drain(&self) {
        let said = self.sync();
        let status = self.status();
        assert_eq!(said.code, Some(0), "{said:?} {status:#}");
        self.chaos.wait_until_still();
    }

    /// What the daemon says of itself.
    pub fn status(&self) -> Value {
        self.home.ask("GET", "/v1/status", b"").json
    }

    /// What its clients know, by id.
    pub fn known(&self) -> BTreeMap<String, Known> {
        let all = self.workers.iter().flat_map(|worker| &worker.known);
        all.map(|(id, known)| (id.clone(), known.clone())).collect()
    }
}
