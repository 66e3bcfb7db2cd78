//! The course of events on one disk from one power-up to the next cut: what was acknowledged when, and
//! what a cut at any moment must therefore leave.

use crate::disk::{Disk, Image, Recording};
use crate::laptop::Laptop;
use crate::ledger::Ledger;
use crate::sound;
use memtide::clock::ManualClock;
use memtide::store::error::StoreError;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use std::cell::Cell;
use std::fmt;
use std::ops::RangeInclusive;

/// A job that was acknowledged, and what the database held from then on.
struct Kept {
    at: usize,
    contents: Vec<u8>,
    ledger: Ledger,
    /// Whether a store that was opened after a cut showed all of it. The same pages show the same again.
    is_read: Cell<bool>,
}

/// A job that was refused. What it wrote may yet be found whole after a cut, unless something else was
/// acknowledged since.
struct Refused {
    from: usize,
    /// The jobs that were acknowledged last, from when it was refused until something was written again.
    after: RangeInclusive<usize>,
    ledger: Ledger,
}

/// What happened, while it happens.
pub struct Course {
    disk: Disk,
    kept: Vec<Kept>,
    refused: Vec<Refused>,
    story: Vec<String>,
}

/// What happened, once it is over.
pub struct Past {
    recording: Recording,
    kept: Vec<Kept>,
    refused: Vec<Refused>,
    /// For whoever looks into a failure.
    pub story: Vec<String>,
}

/// What a cut left.
pub enum Verdict {
    /// All that was acknowledged; whether the job that was running is there too.
    Whole { ledger: Ledger, with_running: bool },
    /// All that was acknowledged, and all of a job that had been refused.
    WholeWithRefused { ledger: Ledger },
    /// So many acknowledged jobs are gone.
    Lost(usize),
    /// Neither before nor after any job.
    Torn(String),
    /// The store can't be opened or read.
    Damaged(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { .. } => f.write_str("all is there"),
            Self::WholeWithRefused { .. } => f.write_str("all is there, and a refused job"),
            Self::Lost(n) => write!(f, "{n} acknowledged jobs are lost"),
            Self::Torn(why) => write!(f, "half a job is there: {why}"),
            Self::Damaged(why) => write!(f, "the database is damaged: {why}"),
        }
    }
}

impl Course {
    /// Begins on a disk that was just switched on.
    pub fn begin(disk: &Disk) -> Self {
        disk.record();
        Self { disk: disk.clone(), kept: Vec::new(), refused: Vec::new(), story: Vec::new() }
    }

    /// Events so far.
    pub fn now(&self) -> usize {
        self.disk.n_recorded()
    }

    /// Takes down what happens, for whoever looks into a failure.
    pub fn tell(&mut self, what: &str) {
        let what: String = what.chars().take(200).collect();
        self.story.push(format!("{}: {what}", self.now()));
    }

    /// Takes down that all which stands in the ledger is acknowledged.
    pub fn keep(&mut self, laptop: &Laptop, ledger: &Ledger) {
        let at = if self.kept.is_empty() { 0 } else { self.now() };
        if self.is_unchanged(laptop) {
            // Nothing was written, so what a refused job wrote is still there.
            let last = self.kept.len() - 1;
            for refused in self.refused.iter_mut().filter(|refused| *refused.after.end() == last) {
                refused.after = *refused.after.start()..=last + 1;
            }
        }
        let (contents, ledger) = (laptop.contents(), ledger.clone());
        self.kept.push(Kept { at, contents, ledger, is_read: Cell::new(false) });
    }

    /// Takes down that a job was refused which began at the event `from` and would have left this ledger.
    pub fn refuse(&mut self, from: usize, ledger: &Ledger) {
        let last = self.kept.len() - 1;
        let after = last..=last;
        self.refused.push(Refused { from, after, ledger: ledger.clone() });
    }

    /// Whether the store shows what was acknowledged last, and nothing else.
    pub fn is_unchanged(&self, laptop: &Laptop) -> bool {
        self.kept.last().is_some_and(|kept| kept.contents == laptop.contents())
    }

    /// The ledger of the refused job that is found to be there as a whole, if any is.
    pub fn refused_but_there(&self, laptop: &Laptop) -> Option<Ledger> {
        find_refused(&self.refused, self.kept.len() - 1, self.now(), laptop)
    }

    pub fn end(self) -> Past {
        let recording = self.disk.recording().unwrap();
        Past { recording, kept: self.kept, refused: self.refused, story: self.story }
    }
}

impl Past {
    /// How many events there are to cut after.
    pub fn len(&self) -> usize {
        self.recording.len()
    }

    /// How many jobs had been acknowledged after so many events.
    pub fn n_acknowledged(&self, n_events: usize) -> usize {
        self.kept.iter().filter(|kept| kept.at <= n_events).count() - 1
    }

    /// A number of events to cut after: any, or one at which a job was about to be acknowledged.
    pub fn moment(&self, rng: &mut ChaCha8Rng) -> usize {
        let last = self.kept[rng.random_range(0..self.kept.len())].at;
        if rng.random_bool(0.7) {
            rng.random_range(0..=self.len())
        } else {
            last.saturating_sub(rng.random_range(0..4))
        }
    }

    /// What a cut leaves after `n_events`; `n_events` never falls from call to call.
    pub fn cut(&mut self, n_events: usize, seed: u64) -> Image {
        self.recording.cut_after(n_events, seed)
    }

    /// Judges what a cut after `n_events` left. With `thoroughly`, the file is checked as well, in all its
    /// parts.
    pub fn judge(
        &self,
        n_events: usize,
        image: &Image,
        clock: &ManualClock,
        thoroughly: bool,
    ) -> Verdict {
        let disk = Disk::from_image(image, 0);
        Laptop::open(&disk, clock)
            .and_then(|laptop| {
                let verdict = self.judge_open(n_events, &laptop, thoroughly);
                // Nobody needs what an orderly stop would write.
                disk.kill();
                verdict
            })
            .unwrap_or_else(|error| Verdict::Damaged(error.to_string()))
    }

    fn judge_open(
        &self,
        n_events: usize,
        laptop: &Laptop,
        thoroughly: bool,
    ) -> Result<Verdict, StoreError> {
        let contents = laptop.contents();
        let due = self.n_acknowledged(n_events);
        let is_found = |nth: &usize| self.kept[*nth].contents == contents;
        let expected = due..self.kept.len().min(due + 2);
        let verdict = if let Some(found) = expected.clone().find(is_found) {
            let Kept { ledger, is_read, .. } = &self.kept[found];
            if (thoroughly || !is_read.replace(true))
                && let Some(difference) = ledger.difference(laptop)?
            {
                return Ok(Verdict::Torn(difference));
            }
            Verdict::Whole { ledger: ledger.clone(), with_running: found > due }
        } else if let Some(ledger) = find_refused(&self.refused, due, n_events, laptop) {
            Verdict::WholeWithRefused { ledger }
        } else if let Some(older) = (0..due).rev().find(is_found) {
            return Ok(Verdict::Lost(due - older));
        } else {
            return Ok(Verdict::Torn(self.why_torn(n_events, laptop)?));
        };
        if thoroughly {
            if let Some(why) = sound::disagreement(laptop) {
                return Ok(Verdict::Torn(why));
            }
            if let Some(why) = sound::damage(laptop) {
                return Ok(Verdict::Damaged(why));
            }
        }
        Ok(verdict)
    }
}

impl Past {
    fn why_torn(&self, n_events: usize, laptop: &Laptop) -> Result<String, StoreError> {
        if let Some(why) = sound::disagreement(laptop) {
            return Ok(why);
        }
        let due = self.n_acknowledged(n_events);
        let n_refused = self.refused.iter().filter(|one| one.after.contains(&due)).count();
        let difference = self.kept[due].ledger.difference(laptop)?;
        Ok(format!(
            "of {} kept, {due} were acknowledged, {n_refused} refused since; {difference:?}",
            self.kept.len() - 1
        ))
    }
}

/// A refused job counts as whole if the database agrees with itself and shows what the job wanted.
fn find_refused(
    refused: &[Refused],
    after: usize,
    n_events: usize,
    laptop: &Laptop,
) -> Option<Ledger> {
    let mut possible =
        refused.iter().filter(|one| one.after.contains(&after) && one.from <= n_events).peekable();
    possible.peek()?;
    if sound::disagreement(laptop).is_some() {
        return None;
    }
    let is_shown = |ledger: &&Ledger| matches!(ledger.difference(laptop), Ok(None));
    possible.map(|one| &one.ledger).find(is_shown).cloned()
}
