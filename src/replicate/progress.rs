//! How far replication has come, for `status`.

use crate::clock::Micros;

/// What the replicator, or one product of it, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncState {
    /// No account is linked.
    #[default]
    Unlinked,
    /// Everything that can be sent has been.
    Idle,
    /// Sending.
    Syncing,
    /// Waiting before the next attempt after a failure.
    BackingOff,
    /// The network doesn't reach Cloudflare.
    Offline,
    /// The owner stopped syncing for now.
    Paused,
    /// The token is missing, wrong or lacks a permission.
    AuthRequired,
    /// A plan's limit is used up.
    Quota,
    /// The account is set up differently from what was linked.
    Misconfigured,
}

impl SyncState {
    /// The stable name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unlinked => "unlinked",
            Self::Idle => "idle",
            Self::Syncing => "syncing",
            Self::BackingOff => "backing_off",
            Self::Offline => "offline",
            Self::Paused => "paused",
            Self::AuthRequired => "auth_required",
            Self::Quota => "quota",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductProgress {
    /// What it is doing.
    pub state: SyncState,
    /// When it last took something.
    pub last_success_at: Option<Micros>,
    /// What the last attempt met, if it failed.
    pub last_error: Option<String>,
    /// When it is tried again; `None` if nothing is owed to it.
    pub next_attempt_at: Option<Micros>,
}

/// The reading of what others wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// How far the feed has been read.
    pub cursor: i64,
    /// When everything in it was last read.
    pub last_success_at: Option<Micros>,
    /// Positions that are not read yet; `None` before the first answer.
    pub behind: Option<u64>,
    /// Whether the database refuses triggers, so that the Python service's writes are looked for.
    pub is_polling: bool,
    /// Whether somebody waits for it to be read to its end.
    pub is_owed: bool,
    /// When it is read next.
    pub next_at: Option<Micros>,
    /// Deletions that a person has to agree to, and of how many memories.
    pub held: Option<(u64, u64)>,
    /// By how much the newest stamp is later than the own clock, if that is suspect.
    pub ahead: Option<std::time::Duration>,
}

/// How far the backfill has come in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Course {
    /// Carried.
    pub done: u64,
    /// There to carry in all: memories on the way up, positions of the feed on the way down.
    pub total: u64,
    /// Carried in a minute, lately; 0 where nothing moves.
    pub per_min: f64,
    /// Seconds until it is over, as far as can be told: waits that are known are in it, and days where a
    /// day's limit is used up.
    pub eta_s: Option<u64>,
}

/// Replication as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// The state that matters most among the products'.
    pub state: SyncState,
    /// The database.
    pub d1: ProductProgress,
    /// The vector index.
    pub vectorize: ProductProgress,
    /// The bucket.
    pub r2: ProductProgress,
    /// Workers AI; idle where devices make the vectors.
    pub ai: ProductProgress,
    /// What comes from others.
    pub pull: PullProgress,
    /// The upload of what was here when the account was linked; `None` if nothing was.
    pub up: Option<Course>,
    /// The reading of what was there then.
    pub down: Option<Course>,
    /// Requests in the last five minutes.
    pub requests_5min: u64,
    /// Requests that memtide allows itself in five minutes.
    pub requests_limit: u64,
    /// Rows that D1 wrote for this device today, UTC.
    pub d1_rows_written_today: u64,
    /// Rows that D1 read for this device today, UTC.
    pub d1_rows_read_today: u64,
    /// Neurons that Workers AI spent for this device today, UTC, estimated.
    pub neurons_today: u64,
    /// What a person must do, if anything: the sentence and the next step.
    pub action: Option<(String, String)>,
}

impl Progress {
    /// The same with everything in one state, and the next attempt at one instant.
    #[must_use]
    pub fn in_state(mut self, state: SyncState, next_attempt_at: Option<Micros>) -> Self {
        for product in [&mut self.d1, &mut self.vectorize, &mut self.r2, &mut self.ai] {
            product.state = state;
            product.next_attempt_at = next_attempt_at;
        }
        self.state = state;
        self
    }

    /// The products, in the order of a memory's way.
    pub fn products(&self) -> [&ProductProgress; 4] {
        [&self.r2, &self.d1, &self.vectorize, &self.ai]
    }

    /// The earliest instant at which anything is tried again.
    pub fn next_attempt_at(&self) -> Option<Micros> {
        let products = self.products().into_iter().filter_map(|product| product.next_attempt_at);
        products.chain(self.pull.next_at.filter(|_| self.pull.is_owed)).min()
    }
}
