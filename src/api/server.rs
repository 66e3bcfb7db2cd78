//! The router and what its handlers share.

use super::listen;
use super::{cloud, events, routes, status, transfer};
use crate::clock::Micros;
use crate::replicate::handle::ReplicatorHandle;
use crate::service::Service;
use crate::shutdown::{Phase, Shutdown, Stopper};
use crate::store::search::Mode;
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// What every handler can reach.
pub type Doors = Arc<DoorParts>;

/// Parts of the daemon that the API shows.
pub struct DoorParts {
    /// What does the work.
    pub service: Service,
    /// What carries duties to the cloud.
    pub replicator: ReplicatorHandle,
    /// What is being fetched for the embedder, or why that failed.
    pub fetching: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Zone in which dates and phrases are read.
    pub zone: jiff::tz::TimeZone,
    /// Mode of a search that names none.
    pub default_mode: Mode,
    /// Hits of a search that names no number.
    pub default_limit: i64,
    /// Age of a duty from which on `status` is unhealthy.
    pub alarm_age: Duration,
    /// When the daemon started.
    pub started_at: Micros,
    /// `user`, `systemd`, `launchd` or `client`.
    pub started_by: String,
    /// Where it listens.
    pub socket: PathBuf,
    /// Tells the process's resident memory in bytes.
    pub rss: fn() -> u64,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Watches the way down.
    pub shutdown: Shutdown,
    /// Starts the way down.
    pub stopper: Stopper,
}

impl DoorParts {
    pub(super) fn rss_bytes(&self) -> u64 {
        (self.rss)()
    }

    pub(super) fn stop(&self) {
        self.stopper.advance(Phase::Draining);
    }
}

/// All routes.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/memories", post(routes::store).get(routes::list))
        .route("/v1/memories/delete", post(routes::delete_many))
        .route("/v1/memories/{id}", get(routes::get).patch(routes::update).delete(routes::delete))
        .route("/v1/memories/{id}/history", get(routes::history))
        .route("/v1/memories/{id}/restore", post(routes::restore))
        .route("/v1/search", post(routes::search))
        .route("/v1/tags", get(routes::tags))
        .route("/v1/outbox", get(routes::outbox))
        .route("/v1/outbox/retry", post(routes::retry))
        .route("/v1/cloud/link", post(cloud::link))
        .route("/v1/cloud/unlink", post(cloud::unlink))
        .route("/v1/cloud/pause", post(cloud::pause))
        .route("/v1/cloud/resume", post(cloud::resume))
        .route("/v1/cloud/sync", post(cloud::sync))
        .route("/v1/export", get(transfer::export))
        .route("/v1/import", post(transfer::import))
        .route("/v1/events", get(events::events))
        .route("/v1/embedder/reload", post(routes::reload_embedder))
        .route("/v1/daemon/stop", post(routes::stop))
        .route("/metrics", get(metrics))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .with_state(doors)
}

async fn metrics(State(doors): State<Doors>) -> String {
    doors.metrics.render()
}

async fn unknown_route(method: Method, uri: Uri) -> super::error::ApiError {
    super::error::ApiError::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        format!("there is no {method} {}", uri.path()),
        "the routes are listed in the README",
    )
}

/// Serves until the daemon drains, then answers what is in flight.
pub async fn serve(listener: UnixListener, doors: Doors) {
    let shutdown = doors.shutdown.clone();
    listen::serve(listener, router(doors), shutdown).await;
}
