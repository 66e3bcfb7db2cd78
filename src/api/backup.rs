//! `POST /v1/backup`: a copy of the whole database, made beside the daily work.

use super::body::Body;
use super::doors::Doors;
use super::error::ApiError;
use crate::service::backup::Made;
use crate::store::backup::BackupError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `POST /v1/backup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The file, as an absolute path; without one it gets its name in the folder of the backups.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Whether a file that is there may be replaced.
    #[serde(default)]
    pub replace: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAnswer {
    /// The file.
    pub path: String,
    /// Live memories in it.
    pub memories: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Its size.
    pub bytes: u64,
}

pub(super) async fn backup(
    State(doors): State<Doors>,
    Body(request): Body<BackupRequest>,
) -> Result<Json<BackupAnswer>, ApiError> {
    if let Some(path) = request.path.as_ref().filter(|path| !path.is_absolute()) {
        let message = format!("the path {} is not absolute", path.display());
        return Err(ApiError::bad(message, "send the whole path of the file"));
    }
    let made = doors.backups.make(request.path, request.replace).await?;
    Ok(Json(made.into()))
}

impl From<Made> for BackupAnswer {
    fn from(made: Made) -> Self {
        Self {
            path: made.path.display().to_string(),
            memories: made.contents.memories,
            tombstones: made.contents.tombstones,
            bytes: made.contents.bytes,
        }
    }
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        let status = match error {
            BackupError::Store(error) => return error.into(),
            BackupError::Cancelled => return Self::stopping(),
            BackupError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            BackupError::Exists(_) | BackupError::InUse(_) => StatusCode::CONFLICT,
            BackupError::Io { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            BackupError::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
            BackupError::Missing(_)
            | BackupError::Foreign(_)
            | BackupError::Newer { .. }
            | BackupError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code(), &error, error.hint())
    }
}
