//! How far replication has come, for `status`.

use crate::clock::Micros;

/// What replication as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncState {
    /// No account is linked.
    #[default]
    Unlinked,
    /// Nothing is due.
    Idle,
    /// Duties are being carried out.
    Syncing,
    /// The last tries failed; the next one has a time.
    BackingOff,
    /// The cloud can't be reached.
    Offline,
    /// The owner paused it.
    Paused,
    /// The token is missing, wrong or lacks a permission.
    AuthRequired,
    /// A limit of the plan is used up until its reset.
    Quota,
    /// A linked resource doesn't exist.
    Misconfigured,
}

impl SyncState {
    /// The name in `status`.
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

/// One product of the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductProgress {
    /// What it is doing.
    pub state: SyncState,
    /// When a request to it last succeeded.
    pub last_success_at: Option<Micros>,
    /// What the last failure said, until a success.
    pub last_error: Option<String>,
    /// When it is tried next, if that is known.
    pub next_attempt_at: Option<Micros>,
}

/// Everything that `status` tells of replication beyond the outbox's counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The whole.
    pub state: SyncState,
    /// The database.
    pub d1: ProductProgress,
    /// The vector index.
    pub vectorize: ProductProgress,
    /// The bucket.
    pub r2: ProductProgress,
    /// The cloud's own embedding model.
    pub ai: ProductProgress,
    /// Requests in the last five minutes.
    pub requests_5min: u64,
    /// Requests allowed in five minutes.
    pub requests_limit: u64,
    /// Rows written to the database today, UTC.
    pub d1_rows_written_today: u64,
    /// Neurons used today, UTC.
    pub neurons_today: u64,
    /// What a person must do, if anything: the sentence and the next step.
    pub action: Option<(String, String)>,
}
