//! `POST /v1/migrate/verify`: a database of the Python service compared with what is here.

use super::body::Body;
use super::doors::Doors;
use super::error::ApiError;
use super::migrate::{MigrateAnswer, answer, refuse_relative};
use crate::service::ask::QUERY_MAX_BYTES;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Queries that one comparison takes.
pub const QUERIES_MAX: usize = 1000;

/// `POST /v1/migrate/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyAsk {
    /// The database, an absolute path; that of the last import if it isn't given.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Queries that both sides are asked.
    #[serde(default)]
    pub queries: Vec<String>,
}

pub(super) async fn verify(
    State(doors): State<Doors>,
    Body(request): Body<VerifyAsk>,
) -> Result<Json<MigrateAnswer>, ApiError> {
    if let Some(path) = &request.path {
        refuse_relative(path)?;
    }
    if request.queries.len() > QUERIES_MAX {
        let what =
            format!("{} queries are too many, the limit is {QUERIES_MAX}", request.queries.len());
        return Err(ApiError::bad(what, "ask fewer at once"));
    }
    if let Some(long) = request.queries.iter().find(|query| query.len() > QUERY_MAX_BYTES) {
        let what = format!("a query has {} bytes, the limit is {QUERY_MAX_BYTES}", long.len());
        return Err(ApiError::bad(what, "shorten it"));
    }
    doors.migrator.verify(request.path.as_deref(), request.queries).await?;
    answer(&doors).await
}
