//! `/v1/cloud`: the daemon's side of linking and syncing. Tokens never pass here.

use super::body::Body;
use super::doors::Doors;
use super::error::ApiError;
use crate::clock::Micros;
use crate::embed::status::EmbedderState;
use crate::replicate::progress::SyncState;
use crate::store::link::{self, Link, LinkMode};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an answer waits for the replicator to notice what was changed, so that the next look at `status`
/// agrees with it.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// How long `sync` waits unless told otherwise.
const SYNC_DEFAULT: Duration = Duration::from_secs(300);
/// How long it waits at most.
const SYNC_MAX: Duration = Duration::from_secs(3600);

/// `POST /v1/cloud/link`: what linking fixes, already looked at by the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// Base address of the interface.
    pub api_base: String,
    /// Account id.
    pub account: String,
    /// D1 database id.
    pub database: String,
    /// The name that memtide gave the database.
    pub database_uuid: String,
    /// Vectorize index.
    pub vector_index: String,
    /// R2 bucket.
    pub bucket: Option<String>,
    /// The index's embedding contract, JSON.
    pub contract: String,
    /// Whether local vectors are uploaded.
    pub is_local_space: bool,
    /// Texts of more bytes go to the bucket.
    pub inline_bytes: usize,
    /// `shadow` or `dual`.
    pub mode: String,
    /// Link although another database was linked.
    pub adopt: bool,
}

impl LinkRequest {
    /// The request for `link`.
    pub fn new(link: &Link, adopt: bool) -> Self {
        Self {
            api_base: link.api_base.clone(),
            account: link.account.clone(),
            database: link.database.clone(),
            database_uuid: link.database_uuid.clone(),
            vector_index: link.vector_index.clone(),
            bucket: link.bucket.clone(),
            contract: link.contract.clone(),
            is_local_space: link.is_local_space,
            inline_bytes: link.inline_bytes,
            mode: link.mode.as_str().to_owned(),
            adopt,
        }
    }

    fn into_link(self, now: Micros) -> Result<Link, ApiError> {
        let mode = LinkMode::parse(&self.mode).ok_or_else(|| {
            let what = format!("the mode {:?} is not known", self.mode);
            ApiError::bad(what, "choose dual, or shadow to push only")
        })?;
        Ok(Link {
            api_base: self.api_base,
            account: self.account,
            database: self.database,
            database_uuid: self.database_uuid,
            vector_index: self.vector_index,
            bucket: self.bucket,
            contract: self.contract,
            is_local_space: self.is_local_space,
            inline_bytes: self.inline_bytes,
            mode,
            is_paused: false,
            linked_at: now,
        })
    }
}

/// Answer of `POST /v1/cloud/link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAnswer {
    /// `shadow` or `dual`.
    pub mode: String,
    /// Memories to carry, deleted ones included.
    pub memories: u64,
}

/// Answer of `POST /v1/cloud/unlink`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlinkAnswer {
    /// Whether an account was linked.
    pub unlinked: bool,
}

/// Answer of `POST /v1/cloud/pause` and `/resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseAnswer {
    /// Whether syncing rests.
    pub paused: bool,
}

/// `POST /v1/cloud/sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Seconds to wait at most.
    #[serde(default)]
    pub timeout_s: Option<u64>,
    /// Carry out the deletions that are held back.
    #[serde(default)]
    pub accept_deletions: bool,
}

/// Answer of `POST /v1/cloud/sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Whether nothing is owed that could be sent, and everything of others is read.
    pub drained: bool,
    /// What the replicator is doing.
    pub state: String,
    /// Duties still pending.
    pub pending: u64,
    /// Duties set aside.
    pub parked: u64,
    /// Duties in conflict.
    pub conflicts: u64,
    /// What a person must do.
    pub message: Option<String>,
}

pub(super) fn not_linked() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "not_linked",
        "no account is linked",
        "link one with `memtide cloud init` and `memtide cloud link`",
    )
}

pub(super) async fn link(
    State(doors): State<Doors>,
    Body(request): Body<LinkRequest>,
) -> Result<Json<LinkAnswer>, ApiError> {
    let store = doors.service.store();
    let present = store.read(link::get).await?;
    let is_another =
        present.as_ref().is_some_and(|present| present.database_uuid != request.database_uuid);
    if is_another && !request.adopt {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "linked_elsewhere",
            "this device is linked to another database",
            "unlink it first, or repeat with --adopt to move to this one",
        ));
    }
    let wanted = request.into_link(doors.service.clock().now())?;
    let mode = wanted.mode.as_str().to_owned();
    let memories = if present.is_some_and(|present| is_only_another_mode(&present, &wanted)) {
        store.write(move |write| link::set_mode(write, wanted.mode)).await?
    } else {
        store.write(move |write| link::link(write, &wanted)).await?
    };
    doors.replicator.reload();
    doors.replicator.until(|state| state != SyncState::Unlinked, NOTICED_WITHIN).await;
    Ok(Json(LinkAnswer { mode, memories }))
}

fn is_only_another_mode(present: &Link, wanted: &Link) -> bool {
    let same = Link {
        mode: wanted.mode,
        is_paused: wanted.is_paused,
        linked_at: wanted.linked_at,
        ..present.clone()
    };
    present.mode != wanted.mode && same == *wanted
}

pub(super) async fn unlink(State(doors): State<Doors>) -> Result<Json<UnlinkAnswer>, ApiError> {
    let store = doors.service.store();
    let unlinked = store.read(link::get).await?.is_some();
    store.write(link::unlink).await?;
    doors.replicator.reload();
    doors.replicator.until(|state| state == SyncState::Unlinked, NOTICED_WITHIN).await;
    Ok(Json(UnlinkAnswer { unlinked }))
}

pub(super) async fn pause(State(doors): State<Doors>) -> Result<Json<PauseAnswer>, ApiError> {
    set_paused(&doors, true).await
}

pub(super) async fn resume(State(doors): State<Doors>) -> Result<Json<PauseAnswer>, ApiError> {
    set_paused(&doors, false).await
}

async fn set_paused(doors: &Doors, paused: bool) -> Result<Json<PauseAnswer>, ApiError> {
    let is_linked =
        doors.service.store().write(move |write| link::set_paused(write, paused)).await?;
    if !is_linked {
        return Err(not_linked());
    }
    // Whoever resumes may have stored another token.
    doors.replicator.reload();
    let is_noticed = move |state| (state == SyncState::Paused) == paused;
    doors.replicator.until(is_noticed, NOTICED_WITHIN).await;
    Ok(Json(PauseAnswer { paused }))
}

pub(super) async fn sync(
    State(doors): State<Doors>,
    Body(request): Body<SyncRequest>,
) -> Result<Json<SyncAnswer>, ApiError> {
    if doors.service.store().read(link::get).await?.is_none() {
        return Err(not_linked());
    }
    let timeout = request.timeout_s.map_or(SYNC_DEFAULT, Duration::from_secs).min(SYNC_MAX);
    let embedder = doors.service.embedder().clone();
    let makes_vectors = move || embedder.status().state == EmbedderState::Ready;
    if request.accept_deletions {
        doors.replicator.accept_deletions();
    }
    let drained = doors.replicator.drained(timeout, makes_vectors).await?;
    Ok(Json(SyncAnswer {
        drained: drained.is_drained,
        state: drained.progress.state.as_str().to_owned(),
        pending: drained.counts.pending,
        parked: drained.counts.parked,
        conflicts: drained.counts.conflicts,
        message: drained.progress.action.map(|(message, next)| format!("{message}; {next}")),
    }))
}
