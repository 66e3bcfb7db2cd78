//! `GET /v1/status`: every number has one definition, every fault its own sentence and next step.

use super::PROTOCOL;
use super::doors::Doors;
use super::error::ApiError;
use super::migrate::MigrationJson;
use super::oldest::{OldestJson, describe};
use crate::clock::Micros;
use crate::embed::status::{EmbedderState, EmbedderStatus};
use crate::remote::contract::Contract;
use crate::replicate::handle::held_action;
use crate::replicate::progress::{Course, ProductProgress, Progress, SyncState};
use crate::store::error::StoreError;
use crate::store::link::{self, Link, LinkMode};
use crate::store::oldest::{self, Oldest};
use crate::store::outbox::{self, Counts};
use crate::store::pull::{self, Quarantined};
use crate::store::source::{self, Source};
use crate::store::stats::{self, Stats};
use crate::store::unconfirmed;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusJson {
    /// Of the daemon.
    pub version: String,
    /// Of the socket.
    pub protocol: u32,
    /// False whenever a promise is not being kept at this moment.
    pub healthy: bool,
    /// Why, and what to do.
    pub problems: Vec<ProblemJson>,
    /// The process.
    pub daemon: DaemonJson,
    /// The local store.
    pub store: StoreJson,
    /// What a search works with.
    #[serde(default)]
    pub search: SearchJson,
    /// The model.
    pub embedder: EmbedderJson,
    /// The way to the cloud.
    pub replication: ReplicationJson,
    /// The move from the Python service.
    pub migration: MigrationJson,
}

/// A promise that is not being kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemJson {
    /// Its name.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

/// The daemon's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonJson {
    /// Process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// `user`, `systemd`, `launchd` or `client`.
    pub started_by: String,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Where it listens.
    pub socket: String,
}

/// The local store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreJson {
    /// The database file.
    pub path: String,
    /// Its size, without the write-ahead log.
    pub bytes: u64,
    /// Live memories.
    pub memories: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Live ones that wait for a vector.
    pub unembedded: u64,
    /// What an acknowledged write survives.
    pub durability: String,
}

/// What a search works with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SearchJson {
    /// What ranks by meaning: `memory`; `memory_bits`, where there is room for one bit a dimension only; or
    /// `file`, where there is no room, or until the vectors are read.
    pub vectors: String,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderJson {
    /// `ready`, `loading`, `missing` or `failed`.
    pub state: String,
    /// Its name.
    pub model: String,
    /// Components of a vector.
    pub dims: usize,
    /// Texts that wait for it.
    pub pending: u64,
    /// Where its files come from.
    pub source: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The way to the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicationJson {
    /// `local`, `shadow` or `dual`.
    pub mode: String,
    /// What it is doing.
    pub state: String,
    /// Duties.
    pub outbox: OutboxJson,
    /// By product.
    pub products: ProductsJson,
    /// What comes from other devices.
    pub pull: PullJson,
    /// How far what was there before has been carried.
    #[serde(default)]
    pub backfill: BackfillJson,
    /// What was used.
    pub budget: BudgetJson,
}

/// Duties to the cloud, counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxJson {
    /// Due now or later.
    pub pending: u64,
    /// Set aside for a person.
    pub parked: u64,
    /// Vectors that don't exist yet.
    pub waiting_for_embedding: u64,
    /// The cloud holds another state; part of `pending`.
    pub conflicts: u64,
    /// Vectors that the index has accepted and has not been seen to hold yet.
    #[serde(default)]
    pub unconfirmed: u64,
    /// Seconds since the oldest pending duty is owed.
    pub oldest_pending_age_s: Option<f64>,
    /// The oldest pending duty; where none is pending one that waits for a vector, else a parked one.
    #[serde(default)]
    pub oldest: Option<OldestJson>,
}

/// The products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductsJson {
    /// The database.
    pub d1: ProductJson,
    /// The vector index.
    pub vectorize: ProductJson,
    /// The bucket.
    pub r2: ProductJson,
    /// The cloud's own model.
    pub ai: ProductJson,
}

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductJson {
    /// What it is doing.
    pub state: String,
    /// When a request last succeeded.
    pub last_success_at: Option<String>,
    /// What the last failure said, until a success.
    pub last_error: Option<String>,
    /// When it is tried next.
    pub next_attempt_at: Option<String>,
    /// Duties owed to it.
    pub pending: u64,
}

/// What comes from other devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullJson {
    /// How far their feed has been read.
    pub cursor: i64,
    /// When it was last read.
    pub last_success_at: Option<String>,
    /// Positions of the feed that are not read yet; null before the first look.
    pub behind: Option<u64>,
    /// How the Python service's writes are noticed: `triggers`, or `polling` where D1 refuses them.
    pub notices_by: String,
    /// Entries of the cloud that can't be taken.
    pub quarantined: u64,
    /// Deletions that wait for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_deletions: Option<u64>,
    /// Seconds by which the newest change of others is later than this device's clock, if that is suspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<u64>,
}

/// The backfill: what was on either side when the account was linked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BackfillJson {
    /// Memories of this device on their way to the cloud; null if there were none.
    pub up: Option<CourseJson>,
    /// Positions of the feed that are read; null if there were none.
    pub down: Option<CourseJson>,
}

/// One direction of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CourseJson {
    /// Carried.
    pub done: u64,
    /// There to carry in all.
    pub total: u64,
    /// Carried in a minute, lately.
    pub per_min: f64,
    /// Seconds until it is over, as far as can be told.
    pub eta_s: Option<u64>,
}

impl From<Course> for CourseJson {
    fn from(course: Course) -> Self {
        let Course { done, total, per_min, eta_s } = course;
        Self { done, total, per_min, eta_s }
    }
}

/// What was used of the account's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetJson {
    /// Requests in the last five minutes.
    pub requests_5min: u64,
    /// Requests allowed in five minutes.
    pub requests_limit: u64,
    /// Rows that D1 says it has written for this device today, UTC.
    pub d1_rows_written_today: u64,
    /// Rows that D1 says it has read for this device today, UTC.
    #[serde(default)]
    pub d1_rows_read_today: u64,
    /// Neurons used today, UTC: estimated from the bytes of the texts, as Workers AI doesn't tell.
    pub neurons_today: u64,
    /// Components that the index stores: those of one vector, for each memory that is known here, can be
    /// found and owes the index nothing. The index isn't asked.
    #[serde(default)]
    pub vector_dimensions_stored: u64,
}

/// What is read from the store, in one snapshot.
#[derive(Default)]
struct Stored {
    stats: Stats,
    counts: Counts,
    /// The oldest, and how many there are.
    quarantined: (Vec<Quarantined>, u64),
    unconfirmed: u64,
    oldest: Option<Oldest>,
    /// Memories that the cloud's index holds.
    n_indexed: u64,
    link: Option<Link>,
    source: Option<Source>,
}

pub(super) async fn status(State(doors): State<Doors>) -> Result<Json<StatusJson>, ApiError> {
    let read = doors
        .service
        .read(|read| {
            let link = link::get(read)?;
            Ok(Stored {
                stats: stats::stats(read)?,
                counts: outbox::counts(read)?,
                quarantined: pull::quarantined(read, 1)?,
                unconfirmed: unconfirmed::count(read)?,
                oldest: oldest::oldest(read)?,
                n_indexed: if link.is_some() { stats::n_indexed(read)? } else { 0 },
                link,
                source: source::current(read)?,
            })
        })
        .await;
    // A database that can't be read is what people look at the status for: it is told, and what would
    // have been counted is shown as 0.
    let stored = match read {
        Err(error) if error.is_storage_fault() && !matches!(error, StoreError::Closed) => {
            Stored::default()
        }
        read => read?,
    };
    let progress = match doors.replicator.progress() {
        // It is about to take its first look.
        unseen if unseen.state == SyncState::Unlinked && stored.link.is_some() => {
            unseen.in_state(SyncState::Syncing, None)
        }
        seen => seen,
    };
    let now = doors.service.clock().now();
    // Read once: the state that is shown is the one that was judged.
    let model = doors.service.embedder().status();
    let (job, trouble) = (doors.migrator.job(), doors.migrator.trouble());
    let left_out = doors.migrator.left_out();
    let migration = MigrationJson::new(stored.source.as_ref(), job.as_ref(), trouble, left_out);
    let mut problems = problems(&doors, &stored, &progress, &model, now);
    if let Some(trouble) = &migration.trouble {
        problems.push(problem("migration_source", &trouble.message, &trouble.next_step));
    }
    if let Some(rows) = &migration.left_out {
        problems.push(problem("migration_rows", &rows.message, &rows.next_step));
    }
    let Stored { stats, .. } = &stored;
    Ok(Json(StatusJson {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        healthy: problems.is_empty(),
        problems,
        daemon: DaemonJson {
            pid: std::process::id(),
            uptime_s: now.since(doors.started_at).as_secs(),
            started_by: doors.started_by.clone(),
            rss_bytes: doors.rss_bytes(),
            socket: doors.socket.display().to_string(),
        },
        store: StoreJson {
            path: doors.service.store().path().display().to_string(),
            bytes: stats.bytes,
            memories: stats.memories,
            tombstones: stats.tombstones,
            unembedded: stats.unembedded,
            durability: "power-loss".to_owned(),
        },
        search: SearchJson { vectors: doors.service.store().served().as_str().to_owned() },
        embedder: embedder(&doors, stats, model),
        replication: replication(&stored, &progress, now),
        migration,
    }))
}

fn embedder(doors: &Doors, stats: &Stats, status: EmbedderStatus) -> EmbedderJson {
    EmbedderJson {
        state: status.state.as_str().to_owned(),
        model: status.model.to_owned(),
        dims: status.dims,
        pending: stats.unembedded,
        source: status.source.clone(),
        error: (doors.fetching)().or_else(|| status.error.clone()),
    }
}

fn replication(stored: &Stored, progress: &Progress, now: Micros) -> ReplicationJson {
    let Stored { counts, link, quarantined, .. } = stored;
    let [r2, d1, vectorize] = counts.pending_by_product;
    ReplicationJson {
        mode: link.as_ref().map_or("local", |link| link.mode.as_str()).to_owned(),
        state: progress.state.as_str().to_owned(),
        outbox: OutboxJson {
            pending: counts.pending,
            parked: counts.parked,
            waiting_for_embedding: counts.waiting_for_embedding,
            conflicts: counts.conflicts,
            unconfirmed: stored.unconfirmed,
            oldest_pending_age_s: counts.oldest_pending_since.map(|at| now.since(at).as_secs_f64()),
            oldest: stored.oldest.as_ref().map(|found| describe(found, progress, now)),
        },
        products: ProductsJson {
            d1: product(&progress.d1, d1),
            vectorize: product(&progress.vectorize, vectorize),
            r2: product(&progress.r2, r2),
            ai: product(&progress.ai, 0),
        },
        pull: PullJson {
            cursor: progress.pull.cursor,
            last_success_at: progress.pull.last_success_at.map(Micros::to_rfc3339),
            behind: progress.pull.behind,
            notices_by: if progress.pull.is_polling { "polling" } else { "triggers" }.to_owned(),
            quarantined: quarantined.1,
            held_deletions: progress.pull.held.map(|(deletions, _)| deletions),
            clock_ahead_s: progress.pull.ahead.map(|ahead| ahead.as_secs()),
        },
        backfill: BackfillJson {
            up: progress.up.map(CourseJson::from),
            down: progress.down.map(CourseJson::from),
        },
        budget: BudgetJson {
            requests_5min: progress.requests_5min,
            requests_limit: progress.requests_limit,
            d1_rows_written_today: progress.d1_rows_written_today,
            d1_rows_read_today: progress.d1_rows_read_today,
            neurons_today: progress.neurons_today,
            vector_dimensions_stored: stored.n_indexed.saturating_mul(dimensions(link.as_ref())),
        },
    }
}

/// Components of a vector of the cloud's index.
fn dimensions(link: Option<&Link>) -> u64 {
    // What can't be read is told by the replicator, which refuses to work with it.
    let contract = link.and_then(|link| Contract::from_json(&link.contract).ok());
    contract.map_or(0, |contract| contract.dims as u64)
}

fn product(progress: &ProductProgress, pending: u64) -> ProductJson {
    ProductJson {
        state: progress.state.as_str().to_owned(),
        last_success_at: progress.last_success_at.map(Micros::to_rfc3339),
        last_error: progress.last_error.clone(),
        next_attempt_at: progress.next_attempt_at.map(Micros::to_rfc3339),
        pending,
    }
}

fn problem(code: &str, message: impl ToString, next_step: &str) -> ProblemJson {
    ProblemJson {
        code: code.to_owned(),
        message: message.to_string(),
        next_step: next_step.to_owned(),
    }
}

/// What is wrong with the daemon and its files, whatever it is to do.
fn problems_of_daemon(doors: &Doors) -> Vec<ProblemJson> {
    let mut problems = Vec::new();
    if let Some(fault) = doors.service.storage_fault() {
        problems.push(problem(fault.code, fault.message, fault.next_step));
    }
    for part in (doors.broken)() {
        problems.push(problem(
            "broken_down",
            format!("a part of the daemon, {part}, broke down by a defect and stays still"),
            "`memtide down`, then `memtide up`; and report it, with the log",
        ));
    }
    if let Some(reason) = doors.backups.failure() {
        problems.push(problem(
            "backup_failed",
            format!("the daily backup was not made: {reason}"),
            "mend the cause; it is tried again every ten minutes, or now with `memtide backup`",
        ));
    }
    problems
}

/// Every promise that is not being kept at this moment. Being offline is none, until something has been
/// owed for longer than the alarm age.
fn problems(
    doors: &Doors,
    stored: &Stored,
    progress: &Progress,
    model: &EmbedderStatus,
    now: Micros,
) -> Vec<ProblemJson> {
    let Stored { stats, counts, quarantined, link, .. } = stored;
    let mut problems = problems_of_daemon(doors);
    let reason = (doors.fetching)().or_else(|| model.error.clone()).unwrap_or_default();
    match model.state {
        EmbedderState::Missing => problems.push(problem(
            "embedder_missing",
            format!("the model {} is not here: search finds words only. {reason}", model.model),
            "run `memtide model pull`, or without a network `memtide model pull --from DIR`",
        )),
        EmbedderState::Failed => problems.push(problem(
            "embedder_failed",
            format!("the model {} doesn't load: search finds words only. {reason}", model.model),
            "run `memtide model pull` to fetch its files anew",
        )),
        EmbedderState::Ready | EmbedderState::Loading => {}
    }
    if stats.unembeddable > 0 {
        problems.push(problem(
            "unembeddable",
            format!(
                "{} memories could not be embedded: they are found by words only",
                stats.unembeddable
            ),
            "see the log; they are tried again when the daemon starts",
        ));
    }
    if counts.parked > 0 {
        problems.push(problem(
            "parked",
            format!("{} duties to the cloud are parked", counts.parked),
            "look at `memtide outbox list --parked`, mend the cause, then `memtide outbox retry --all`",
        ));
    }
    if let (Some(first), n) = (quarantined.0.first(), quarantined.1) {
        problems.push(problem(
            "quarantined",
            format!(
                "{n} entries of the cloud can't be taken; the oldest is {}: {}",
                first.key, first.reason
            ),
            "mend the row in the database, or store the memory again; each is tried once an hour",
        ));
    }
    if let Some((message, next_step)) = held_action(progress) {
        problems.push(problem("mass_deletion", message, &next_step));
    }
    let is_push_only = link.as_ref().is_some_and(|link| link.mode == LinkMode::Shadow);
    if counts.conflicts > 0 && is_push_only {
        problems.push(problem(
            "conflict",
            format!(
                "{} changes were not uploaded: others changed the same memories in the cloud",
                counts.conflicts
            ),
            "look at `memtide outbox list`; `memtide outbox retry ID` tries one again",
        ));
    }
    // A quota that is used up comes back by itself, as a network does.
    let is_stuck = matches!(progress.state, SyncState::AuthRequired | SyncState::Misconfigured);
    if is_stuck {
        let (message, next_step) = progress.action.clone().unwrap_or_default();
        problems.push(problem(progress.state.as_str(), message, &next_step));
    }
    let oldest = counts.oldest_pending_since.map(|at| now.since(at)).unwrap_or_default();
    if oldest > doors.alarm_age {
        problems.push(problem(
            "replication_late",
            format!(
                "the oldest duty to the cloud has waited {} hours, the alarm is set at {}",
                oldest.as_secs() / 3600,
                doors.alarm_age.as_secs() / 3600
            ),
            "check the network and `memtide outbox list`",
        ));
    }
    let reads = link.as_ref().is_some_and(|link| link.mode == LinkMode::Dual && !link.is_paused);
    let read_at = progress.pull.last_success_at.unwrap_or(doors.started_at);
    if reads && now.since(read_at) > doors.alarm_age {
        problems.push(problem(
            "pull_late",
            format!(
                "what other devices wrote was last read {} hours ago, the alarm is set at {}",
                now.since(read_at).as_secs() / 3600,
                doors.alarm_age.as_secs() / 3600
            ),
            "check the network, and `memtide cloud check`",
        ));
    }
    problems
}
