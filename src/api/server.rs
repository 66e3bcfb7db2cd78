//! The router.

use super::doors::Doors;
use super::listen;
use super::{audit, cloud, events, migrate, routes, status, transfer, verify};
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use tokio::net::UnixListener;

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
        .route("/v1/cloud/verify", post(audit::verify))
        .route("/v1/cloud/local", get(audit::local))
        .route("/v1/migrate", get(migrate::get))
        .route("/v1/migrate/import", post(migrate::import))
        .route("/v1/migrate/cancel", post(migrate::cancel))
        .route("/v1/migrate/follow", post(migrate::follow))
        .route("/v1/migrate/finish", post(migrate::finish))
        .route("/v1/migrate/verify", post(verify::verify))
        .route("/v1/export", get(transfer::export))
        .route("/v1/import", post(transfer::import))
        .route("/v1/events", get(events::events))
        .route("/v1/embedder/reload", post(routes::reload_embedder))
        .route("/v1/embedder/pause", post(routes::pause_embedder))
        .route("/v1/embedder/resume", post(routes::resume_embedder))
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
