//! What requests are made of: a body is read within a deadline and a size, and parsed with an error that
//! names what is wrong; a path names a memory.

use super::error::ApiError;
use crate::model::refusal::Refusal;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Bytes of a request body.
pub(super) const BODY_MAX_BYTES: usize = 64 << 20;
/// Time a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Levels of nesting that the parser follows.
const NESTING_MAX: usize = 127;

/// A JSON body of a known shape. An empty body reads as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        parse(&read(request.into_body(), BODY_MAX_BYTES, BODY_TIMEOUT).await?).map(Self)
    }
}

async fn read(body: axum::body::Body, limit: usize, timeout: Duration) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await;
    let collected = collected.map_err(|_| {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("the request's body took more than {} s", timeout.as_secs()),
            "send the body without pauses",
        )
    })?;
    let whole = collected.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            return ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the request's body has more than {limit} bytes, the limit"),
                "store large texts in parts",
            );
        }
        ApiError::bad("the request's body ended early", "send as many bytes as its header says")
    })?;
    Ok(whole.to_bytes())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_utf8",
            format!("the request is not valid UTF-8 at byte {}", error.valid_up_to()),
            "send UTF-8 text",
        )
    })?;
    // A list would be taken for the fields in their order.
    if text.trim_start().starts_with('[') {
        return Err(ApiError::bad_request("the request is a JSON array, it must be an object"));
    }
    serde_json::from_str(text).map_err(|error| {
        let levels = nesting(text);
        if levels > NESTING_MAX {
            return ApiError::bad(
                format!("the request is nested {levels} levels deep, the limit is {NESTING_MAX}"),
                "put nested data into the text",
            );
        }
        ApiError::bad_request(format!("the request is not understood: {error}"))
    })
}

/// How deep the brackets of a JSON text lie in each other.
fn nesting(text: &str) -> usize {
    let (mut levels, mut deepest) = (0_usize, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' => {
                levels += 1;
                deepest = deepest.max(levels);
            }
            b'}' | b']' => levels = levels.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The id, or its start, in the path of a request.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if let Ok(Path(id)) = Path::<String>::from_request_parts(parts, state).await {
            return Ok(Self(id));
        }
        let given = parts.uri.path().split('/').nth(3).unwrap_or_default();
        Err(Refusal::BadId { text: given.chars().take(80).collect() }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use serde_json::Value;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = axum::body::Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let error = read(endless, 10, Duration::ZERO).await.expect_err("no body");
        assert_eq!(error.status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(error.body.code, "request_timeout");
    }

    #[tokio::test]
    async fn a_body_at_and_beyond_its_limit() {
        let body = |bytes: usize| axum::body::Body::from(vec![b' '; bytes]);
        let ample = Duration::from_secs(60);
        assert_eq!(read(body(10), 10, ample).await.expect("read").len(), 10);
        let error = read(body(11), 10, ample).await.expect_err("too long");
        assert_eq!(error.body.message, "the request's body has more than 10 bytes, the limit");
    }

    #[test]
    fn brackets_in_strings_nest_nothing() {
        assert_eq!(nesting(r#"{"a": "[[[\\\"[", "b": [{}, []]}"#), 3);
        assert_eq!(nesting("}}{"), 1);
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let error = parse::<Value>(format!("{{\"a\":{deep}}}").as_bytes()).expect_err("too deep");
        assert_eq!(error.body.message, "the request is nested 201 levels deep, the limit is 127");
    }
}
