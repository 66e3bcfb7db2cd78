//! Which seeds are run, and how a failing one is run again.

use std::io::Write as _;

/// The seeds of a test that runs `n` of them, from `first` on.
pub fn seeds(first: u64, n: u64) -> Vec<u64> {
    if let Some(seed) = variable("MEMTIDE_SEED") {
        return vec![seed];
    }
    let times = variable("MEMTIDE_SOAK").unwrap_or(1);
    (first..first + n * times).collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Says how to run a seed again, if the test fails while this is alive.
pub struct Replay {
    /// The test.
    pub test: &'static str,
    /// Its seed.
    pub seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            say(&format!(
                "seed {seed} fails: MEMTIDE_SEED={seed} cargo test --test chaos -- {test}"
            ));
        }
    }
}

/// Says something also when the test passes.
pub fn say(line: &str) {
    // The harness keeps back what the macros print.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
