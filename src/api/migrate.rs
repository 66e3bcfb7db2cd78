//! `/v1/migrate`: moving in from the Python service, as the daemon does it and shows it.

use super::body::Body;
use super::doors::Doors;
use super::error::ApiError;
use crate::clock::Micros;
use crate::migrate::job::{JobState, JobView, MigrateError, Trouble};
use crate::migrate::source::SourceError;
use crate::store::source::{self, Source, Stage};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// `POST /v1/migrate/import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportAsk {
    /// The database, an absolute path.
    pub path: PathBuf,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// `POST /v1/migrate/follow`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowAsk {
    /// The database, an absolute path; that of the last import if it isn't given.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Delete even many memories that are gone from a database which keeps no deletions.
    #[serde(default)]
    pub accept_deletions: bool,
}

/// `POST /v1/migrate/finish`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishAsk {
    /// Whatever of the source isn't here.
    #[serde(default)]
    pub force: bool,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleJson {
    /// A sentence.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobJson {
    /// `import`, `dry_run` or `verify`.
    pub kind: String,
    /// `running`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// What it is at.
    pub phase: String,
    /// How much of that is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
    /// Seconds since it began, or that it took.
    pub elapsed_s: f64,
    /// What it found or did.
    pub report: Option<Value>,
    /// Why it failed.
    pub trouble: Option<TroubleJson>,
}

/// Answer of `GET /v1/migrate` and of everything that moves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrateAnswer {
    /// How the move stands.
    #[serde(flatten)]
    pub migration: MigrationJson,
    /// The job at work, or the last one since the daemon started.
    pub job: Option<JobJson>,
    /// The report of the last import.
    pub report: Option<Value>,
}

/// The move from the Python service, as `status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationJson {
    /// `none`, `importing`, `following`, `verified` or `finished`.
    pub state: String,
    /// Rows of the source that are here.
    pub imported: u64,
    /// Rows of the source, at the last look at all of them.
    pub total: u64,
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether an import has come to its end.
    #[serde(default)]
    pub is_imported: bool,
    /// Whether changes of the source are taken over as they come.
    #[serde(default)]
    pub is_followed: bool,
    /// When something was last taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleJson>,
    /// Rows of the followed source that can't be taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<TroubleJson>,
}

impl MigrationJson {
    pub(super) fn new(
        source: Option<&Source>,
        job: Option<&JobView>,
        trouble: Option<Trouble>,
        left_out: Option<Trouble>,
    ) -> Self {
        let Some(source) = source else {
            return Self { state: "none".to_owned(), ..Self::default() };
        };
        let is_running = job.is_some_and(|job| job.state == JobState::Running);
        let is_interrupted = source.stage == Stage::Importing && !is_running;
        let failed = job.filter(|job| job.state == JobState::Failed && is_interrupted);
        let trouble = trouble.or_else(|| failed.and_then(|job| job.trouble.clone()));
        let state = match source.stage {
            Stage::Importing if is_running => "importing",
            Stage::Imported if source.is_followed => "following",
            Stage::Verified => "verified",
            Stage::Finished => "finished",
            // What was begun and is not going on is no more than what is here of it.
            Stage::Importing | Stage::Stopped | Stage::Imported => "none",
        };
        Self {
            state: state.to_owned(),
            imported: source.imported,
            total: source.total,
            source: Some(source.path.clone()),
            is_imported: matches!(
                source.stage,
                Stage::Imported | Stage::Verified | Stage::Finished
            ),
            is_followed: source.is_followed,
            changed_at: Some(source.changed_at.to_rfc3339()),
            trouble: trouble.map(TroubleJson::from),
            left_out: left_out.map(TroubleJson::from),
        }
    }
}

impl From<Trouble> for TroubleJson {
    fn from(trouble: Trouble) -> Self {
        Self { message: trouble.message, next_step: trouble.next_step }
    }
}

impl JobJson {
    fn new(job: JobView, now: Micros) -> Self {
        Self {
            kind: job.kind.as_str().to_owned(),
            state: job.state.as_str().to_owned(),
            phase: job.phase.to_owned(),
            done: job.done,
            total: job.total,
            elapsed_s: job.ended_at.unwrap_or(now).since(job.began_at).as_secs_f64(),
            report: job.report,
            trouble: job.trouble.map(TroubleJson::from),
        }
    }
}

impl From<MigrateError> for ApiError {
    fn from(error: MigrateError) -> Self {
        let message = error.to_string();
        match error {
            MigrateError::Running(_) => Self::new(
                StatusCode::CONFLICT,
                "migration_running",
                message,
                "wait for it, see `memtide migrate status`, or stop it with Ctrl-C where it was started",
            ),
            MigrateError::NoSource => Self::new(
                StatusCode::CONFLICT,
                "no_migration",
                message,
                "begin with `memtide migrate import`",
            ),
            MigrateError::Source(error) => error.into(),
            MigrateError::Store(error) => error.into(),
            MigrateError::Incomplete(trouble) => Self::new(
                StatusCode::CONFLICT,
                "migration_incomplete",
                message,
                &format!(
                    "{}; or end the move as it stands with `memtide migrate finish --force`",
                    trouble.next_step
                ),
            ),
            MigrateError::Defect => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                message,
                "this is a defect of memtide; please report it",
            ),
        }
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let status = match &error {
            SourceError::Missing(_) => StatusCode::NOT_FOUND,
            SourceError::Locked { .. } => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, "migration_source", &error, error.hint())
    }
}

pub(super) async fn answer(doors: &Doors) -> Result<Json<MigrateAnswer>, ApiError> {
    let source = doors.service.read(source::current).await?;
    let job = doors.migrator.job();
    let (trouble, left_out) = (doors.migrator.trouble(), doors.migrator.left_out());
    let migration = MigrationJson::new(source.as_ref(), job.as_ref(), trouble, left_out);
    let now = doors.service.clock().now();
    let report = source.and_then(|source| serde_json::from_str(&source.report?).ok());
    Ok(Json(MigrateAnswer { migration, job: job.map(|job| JobJson::new(job, now)), report }))
}

pub(super) async fn get(State(doors): State<Doors>) -> Result<Json<MigrateAnswer>, ApiError> {
    answer(&doors).await
}

pub(super) async fn import(
    State(doors): State<Doors>,
    Body(request): Body<ImportAsk>,
) -> Result<Json<MigrateAnswer>, ApiError> {
    refuse_relative(&request.path)?;
    doors.migrator.import(&request.path, request.dry_run).await?;
    answer(&doors).await
}

pub(super) async fn follow(
    State(doors): State<Doors>,
    Body(request): Body<FollowAsk>,
) -> Result<Json<MigrateAnswer>, ApiError> {
    if let Some(path) = &request.path {
        refuse_relative(path)?;
    }
    doors.migrator.follow(request.path.as_deref(), request.accept_deletions).await?;
    answer(&doors).await
}

pub(super) async fn cancel(State(doors): State<Doors>) -> Result<Json<MigrateAnswer>, ApiError> {
    doors.migrator.cancel();
    answer(&doors).await
}

pub(super) async fn finish(
    State(doors): State<Doors>,
    Body(ask): Body<FinishAsk>,
) -> Result<Json<MigrateAnswer>, ApiError> {
    doors.migrator.finish(ask.force).await?;
    answer(&doors).await
}

pub(super) fn refuse_relative(path: &std::path::Path) -> Result<(), ApiError> {
    if path.is_absolute() {
        return Ok(());
    }
    let what = format!("the path {} is relative to where the daemon was started", path.display());
    Err(ApiError::bad(what, "give an absolute path"))
}
