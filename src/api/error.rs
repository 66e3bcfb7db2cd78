//! From typed errors to what the wire shows: an HTTP status, a code of a closed set, a sentence, a hint.

use super::wire::{ErrorBody, ErrorJson};
use crate::model::refusal::Refusal;
use crate::service::ServiceError;
use crate::store::error::StoreError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What the body says.
    pub body: ErrorJson,
}

impl ApiError {
    /// An error with its code, sentence and hint.
    pub fn new(status: StatusCode, code: &str, message: impl ToString, hint: &str) -> Self {
        let body = ErrorJson {
            code: code.to_owned(),
            message: message.to_string(),
            hint: hint.to_owned(),
            details: Value::Object(serde_json::Map::new()),
        };
        Self { status, body }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.body.details = details;
        self
    }

    /// The request is not JSON of the expected shape.
    pub fn bad_request(message: impl ToString) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            message,
            "send a JSON object with the documented keys",
        )
    }

    /// The daemon has more to do than it takes.
    pub fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the daemon has too many requests waiting",
            "try again in a moment",
        )
    }

    /// The daemon is on its way down.
    pub fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the daemon is stopping",
            "start it again with `memtide up`",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.body })).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::ContentTooLarge { .. }
            | Refusal::NeedsBucket { .. }
            | Refusal::MetadataTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let details = match &refusal {
            Refusal::ContentTooLarge { actual, limit }
            | Refusal::NeedsBucket { actual, limit }
            | Refusal::TooManyTags { actual, limit }
            | Refusal::TagTooLong { actual, limit, .. }
            | Refusal::TypeTooLong { actual, limit }
            | Refusal::MetadataTooLarge { actual, limit }
            | Refusal::MetadataTooDeep { actual, limit }
            | Refusal::QueryTooLarge { actual, limit } => json!({"actual": actual, "limit": limit}),
            Refusal::OutOfRange { name, actual, min, max } => {
                json!({"name": name, "actual": actual, "min": min, "max": max})
            }
            _ => json!({}),
        };
        Self::new(status, refusal.code(), &refusal, refusal.hint()).with_details(details)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Busy => Self::busy(),
            StoreError::Closed => Self::stopping(),
            StoreError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                error,
                "look it up with `memtide list` or `memtide search`",
            ),
            StoreError::Ambiguous { count, .. } => {
                Self::new(StatusCode::CONFLICT, "ambiguous_id", error, "give more digits of the id")
                    .with_details(json!({"count": count}))
            }
            StoreError::NoVersion { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "no_version",
                error,
                "list the versions with `memtide history`",
            ),
            StoreError::ContentDropped(_) => Self::new(
                StatusCode::GONE,
                "content_dropped",
                error,
                "a deleted memory's content is kept for a while only; store it again",
            ),
            StoreError::DiskFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                error,
                "free some space and try again; reading goes on working",
            ),
            StoreError::Corrupt(_) | StoreError::State(_) | StoreError::Foreign(_) => Self::new(
                internal,
                "database_damaged",
                error,
                "stop the daemon, copy the database file away, and restore an export or a backup",
            ),
            StoreError::Io(_) => Self::new(
                internal,
                "database_unreachable",
                error,
                "check the disk and the permissions of the data folder",
            ),
            StoreError::Newer { .. } => {
                Self::new(internal, "database_newer", error, "install the newer memtide again")
            }
            StoreError::Sqlite(_) => Self::new(
                internal,
                "internal",
                error,
                "this is a defect of memtide; please report it",
            ),
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(refusal) => refusal.into(),
            ServiceError::Store(error) => error.into(),
            ServiceError::Embedder { message, hint } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "embedder_not_ready", message, &hint)
            }
            ServiceError::Deleted { id, deleted_at } => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("memory {id} was deleted at {}", deleted_at.to_rfc3339()),
                "bring it back with `memtide restore`",
            ),
        }
    }
}
