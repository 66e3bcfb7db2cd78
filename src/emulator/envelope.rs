//! The JSON envelope of the REST API, and the headers that every answer carries.

use crate::clock::Micros;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// A refused call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    status: u16,
    code: u32,
    message: String,
    chain: Option<(u32, String)>,
    retry_after_s: Option<u64>,
}

impl Failure {
    pub(super) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), chain: None, retry_after_s: None }
    }

    /// With the error that caused this one.
    pub(super) fn chained(mut self, code: u32, message: impl Into<String>) -> Self {
        self.chain = Some((code, message.into()));
        self
    }

    /// With a `Retry-After` header in seconds.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some((code, message)), Value::Object(error)) = (self.chain, &mut error) {
            error.insert("error_chain".to_owned(), json!([{"code": code, "message": message}]));
        }
        let body = json!({"result": null, "success": false, "errors": [error], "messages": []});
        let mut response = with_json(self.status, &body);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A granted call.
pub(super) fn success(result: Value) -> Response<Bytes> {
    full(result, None, Vec::new())
}

/// A granted call whose list has more to say about itself.
pub(super) fn success_list(result: Value, info: Value) -> Response<Bytes> {
    full(result, Some(info), Vec::new())
}

/// A granted call with a message beside the result.
pub(super) fn success_saying(result: Value, code: u32, message: &str) -> Response<Bytes> {
    full(result, None, vec![json!({"code": code, "message": message})])
}

fn full(result: Value, info: Option<Value>, messages: Vec<Value>) -> Response<Bytes> {
    let mut body = json!({"success": true, "errors": []});
    if let Value::Object(body) = &mut body {
        body.insert("result".to_owned(), result);
        body.insert("messages".to_owned(), Value::Array(messages));
        if let Some(info) = info {
            body.insert("result_info".to_owned(), info);
        }
    }
    with_json(200, &body)
}

fn with_json(status: u16, body: &Value) -> Response<Bytes> {
    with_body(status, "application/json", Bytes::from(body.to_string()))
}

/// An answer outside the envelope.
pub(super) fn with_body(status: u16, content_type: &str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    insert(&mut response, CONTENT_TYPE, content_type);
    response
}

/// Sets a header whose value is visible ASCII; anything else is left out.
pub(super) fn insert(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Adds what every answer has.
pub(super) fn stamped(mut response: Response<Bytes>, now: Micros, ray: &str) -> Response<Bytes> {
    insert(&mut response, DATE, &http_date(now));
    insert(&mut response, HeaderName::from_static("cf-ray"), ray);
    response
}

/// An instant as HTTP headers write it, whole seconds in GMT.
pub(super) fn http_date(at: Micros) -> String {
    let at = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_code_text_and_chain() {
        let response = Failure::new(400, 6003, "Invalid request headers")
            .chained(6111, "Invalid format for Authorization header")
            .into_response();
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(body["success"], false);
        assert_eq!(body["errors"][0]["code"], 6003);
        assert_eq!(body["errors"][0]["error_chain"][0]["code"], 6111);
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(Micros(784_111_777_900_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
