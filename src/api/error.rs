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
        Self::bad(message, "send a JSON object with the documented keys")
    }

    /// A parameter in the request's address can't be used.
    pub fn bad_parameter(message: impl ToString) -> Self {
        Self::bad(message, "correct the address; the README lists the parameters")
    }

    /// The request can't be used for another reason.
    pub fn bad(message: impl ToString, hint: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, hint)
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

    /// As many connections are open as there may be.
    pub fn no_connection_left(limit: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            format!("the daemon has {limit} connections, its limit"),
            "close some clients or try again in a moment",
        )
        .with_details(json!({"limit": limit}))
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
        let status = match &error {
            StoreError::Refused(refusal) => return refusal.clone().into(),
            StoreError::Busy => return Self::busy(),
            StoreError::Closed => return Self::stopping(),
            StoreError::Held => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::NotFound(_) | StoreError::NoVersion { .. } => StatusCode::NOT_FOUND,
            StoreError::Ambiguous { .. } => StatusCode::CONFLICT,
            StoreError::ContentDropped(_) => StatusCode::GONE,
            StoreError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::Corrupt(_)
            | StoreError::State(_)
            | StoreError::Foreign(_)
            | StoreError::Newer { .. }
            | StoreError::Io(_)
            | StoreError::Panicked(_)
            | StoreError::Sqlite(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let details = match &error {
            StoreError::Ambiguous { count, .. } => json!({"count": count}),
            _ => json!({}),
        };
        Self::new(status, error.code(), &error, error.hint()).with_details(details)
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
            )
            .with_details(json!({"deleted_at": deleted_at.to_rfc3339()})),
        }
    }
}
