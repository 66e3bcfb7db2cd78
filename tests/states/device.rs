//! A home with a running daemon, and the account that it is linked to.

use crate::home::{Daemon, Home, Said};
use memtide::clock::{Clock as _, ManualClock, SystemClock};
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use serde_json::Value;
use std::sync::Arc;

/// What database, index and bucket are called unless a person names them.
const NAME: &str = "memtide";
/// Components of the default model's vectors.
const DIMS: usize = 384;
/// Looks at the status before a state is given up: each takes a millisecond or more.
const LOOKS: usize = 20_000;

/// A device.
pub struct Device {
    pub account: Running,
    /// The account's time: it stands still unless it is moved.
    pub clock: ManualClock,
    pub home: Home,
    /// The id of the account's database.
    pub database: String,
    daemon: Option<Daemon>,
}

impl Device {
    /// A running daemon beside an account with an index of vectors of `dims` components.
    fn beside(options: Options, dims: usize) -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let account = server::start(Arc::new(clock.clone()), 5, options).expect("an account");
        let core = account.core();
        let database = core.create_database(NAME).expect("a database");
        core.create_index(NAME, dims).expect("an index");
        core.create_bucket(NAME).expect("a bucket");
        let home = Home::new()
            .with("CLOUDFLARE_API_BASE_URL", account.base_url())
            .with("CLOUDFLARE_ACCOUNT_ID", account.account_id())
            .with("CLOUDFLARE_API_TOKEN", account.token());
        let daemon = Some(home.daemon());
        Self { account, clock, home, database, daemon }
    }

    /// A running daemon that is not linked.
    pub fn unlinked() -> Self {
        Self::beside(Options::default(), DIMS)
    }

    /// One that is linked in `mode`; everything is read and sent.
    pub fn linked(mode: &str) -> Self {
        Self::unlinked().link(mode)
    }

    /// One that is linked in both directions to an account with these limits.
    pub fn limited(options: Options) -> Self {
        Self::beside(options, DIMS).link("dual")
    }

    /// One whose index holds the Python service's vectors, which Workers AI makes.
    pub fn beside_python(options: Options) -> Self {
        Self::beside(options, 768).link("dual")
    }

    fn link(self, mode: &str) -> Self {
        self.succeed(&["cloud", "link", "--yes", "--mode", mode]);
        self.sync();
        self
    }

    /// Runs a command, which must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Said {
        let said = self.home.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said
    }

    /// Sends and reads everything.
    pub fn sync(&self) {
        self.succeed(&["cloud", "sync", "--timeout", "100"]);
    }

    /// Has everything sent and read that can be, whatever comes of it.
    pub fn try_to_sync(&self) {
        self.home.run(&["cloud", "sync", "--timeout", "10"]);
    }

    /// Stores a text and gives its id.
    pub fn store(&self, content: &str) -> String {
        self.home.store(content)
    }

    /// Changes the account's database as somebody else does, and lets that settle.
    pub fn elsewhere(&self, sql: &str) {
        self.account.core().d1_rows(&self.database, sql).expect(sql);
        self.clock.advance(std::time::Duration::from_secs(11));
    }

    /// Stops the daemon, lets `change` change the home, and starts it again.
    pub fn restart(mut self, change: impl FnOnce(Home) -> Home) -> Self {
        self.daemon.take().expect("a daemon").stop();
        self.home = change(self.home);
        self.daemon = Some(self.home.daemon());
        self
    }

    /// The status once it is as wanted, as the command prints it.
    pub fn status_when(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let is_so = |status: &Value| status["embedder"]["state"] == "missing" && is_so(status);
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            last = self.home.ask("GET", "/v1/status", b"").json;
            if is_so(&last) {
                last = self.succeed(&["status", "--json"]).json();
                // It may have changed in between.
                if is_so(&last) {
                    return last;
                }
            }
            std::thread::yield_now();
        }
        panic!("the status never came to be as wanted: {last:#}");
    }

    /// The status in this state of replication, with these problems besides the missing model.
    #[track_caller]
    pub fn status_in(&self, state: &str, problems: &[&str]) -> Value {
        let status = self.status_when(|status| {
            status["replication"]["state"] == state && codes(status).len() == problems.len() + 1
        });
        assert_problems(&status, problems);
        status
    }
}

fn codes(status: &Value) -> Vec<&str> {
    let problems = status["problems"].as_array().expect("problems");
    problems.iter().map(|one| one["code"].as_str().expect("a code")).collect()
}

/// The status has these problems besides the missing model, each with its sentences, and is not healthy.
#[track_caller]
pub fn assert_problems(status: &Value, problems: &[&str]) {
    let mut expected = vec!["embedder_missing"];
    expected.extend(problems);
    assert_eq!(codes(status), expected, "{status:#}");
    assert_eq!(status["healthy"], false);
    for problem in status["problems"].as_array().expect("problems") {
        for part in ["message", "next_step"] {
            assert!(problem[part].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
    }
}
