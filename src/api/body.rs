//! Request bodies: read within a deadline and a size, parsed with an error that names what is wrong.

use super::error::ApiError;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Bytes of a request body.
pub(super) const BODY_MAX_BYTES: usize = 64 << 20;
/// Time a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A JSON body of a known shape. An empty body reads as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = Limited::new(request.into_body(), BODY_MAX_BYTES);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, body.collect())
            .await
            .map_err(|_| {
                ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "request_timeout",
                    format!("the request's body took more than {} s", BODY_TIMEOUT.as_secs()),
                    "send the body without pauses",
                )
            })?
            .map_err(|error| {
                if error.downcast_ref::<LengthLimitError>().is_some() {
                    return ApiError::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "body_too_large",
                        format!("the request's body has more than {BODY_MAX_BYTES} bytes"),
                        "store large texts in parts",
                    );
                }
                ApiError::bad_request("the request's body ended early")
            })?
            .to_bytes();
        let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_utf8",
                format!("the request is not valid UTF-8 at byte {}", error.valid_up_to()),
                "send UTF-8 text",
            )
        })?;
        serde_json::from_str(text).map(Self).map_err(|error| {
            ApiError::bad_request(format!("the request is not understood: {error}"))
        })
    }
}
