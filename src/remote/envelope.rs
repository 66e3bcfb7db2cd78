//! The envelope of every answer, read leniently: unknown fields, missing fields and other types
//! where a list is expected are no errors, as the interface varies between its products.

use super::error::{Product, RemoteError};
use bytes::Bytes;
use http::header::HeaderMap;
use serde_json::{Map, Value};

/// One error or remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiMessage {
    /// The code; `None` if there was none or it was no number.
    pub code: Option<i64>,
    /// The text.
    pub message: String,
}

/// What kind of body came.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `{"result":…,"success":…,"errors":…}`.
    Envelope {
        /// What was asked for; null on failure.
        result: Value,
        /// The list's paging, on lists.
        info: Value,
        /// Whether the interface calls it a success.
        success: bool,
        /// What it complains of.
        errors: Vec<ApiMessage>,
    },
    /// A web page: something on the way answered, not the interface.
    Html,
    /// Neither: cut off, empty, or another format.
    Unreadable,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: Bytes,
}

impl Answer {
    /// Takes a response apart.
    pub fn new(response: http::Response<Bytes>) -> Self {
        let (parts, bytes) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Cloudflare's name for the request.
    pub fn cf_ray(&self) -> Option<String> {
        self.header("cf-ray").map(|ray| ray.chars().take(64).collect())
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body.
    pub fn body(&self) -> Body {
        match serde_json::from_slice::<Value>(&self.bytes) {
            Ok(Value::Object(object)) => read_envelope(object),
            Err(_) if looks_like_html(&self.bytes) => Body::Html,
            _ => Body::Unreadable,
        }
    }
}

fn read_envelope(mut object: Map<String, Value>) -> Body {
    let success = match object.get("success") {
        Some(Value::Bool(success)) => *success,
        // Any other type is no success either; without the field the presence of a result decides.
        Some(_) => false,
        None => object.contains_key("result"),
    };
    Body::Envelope {
        result: object.remove("result").unwrap_or(Value::Null),
        info: object.remove("result_info").unwrap_or(Value::Null),
        success,
        errors: object.get("errors").map(read_messages).unwrap_or_default(),
    }
}

fn read_messages(list: &Value) -> Vec<ApiMessage> {
    let Value::Array(list) = list else { return Vec::new() };
    list.iter()
        .map(|entry| ApiMessage {
            code: entry.get("code").and_then(read_code),
            message: match entry.get("message").unwrap_or(entry) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        })
        .collect()
}

fn read_code(code: &Value) -> Option<i64> {
    code.as_i64().or_else(|| code.as_str()?.parse().ok())
}

fn looks_like_html(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace())
        .take(9)
        .map(u8::to_ascii_lowercase)
        .collect();
    start.starts_with(b"<!doctype") || start.starts_with(b"<html")
}

/// Reads a part of a `result` into a type of this module.
///
/// # Errors
/// The part is missing or has another form: an unreadable answer.
pub fn part<T: serde::de::DeserializeOwned>(
    product: Product,
    result: Value,
) -> Result<T, RemoteError> {
    serde_json::from_value(result)
        .map_err(|error| RemoteError::unreadable(product, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(text: &str) -> Body {
        Answer { status: 200, headers: HeaderMap::new(), bytes: Bytes::from(text.to_owned()) }
            .body()
    }

    #[test]
    fn envelopes_are_read_leniently() {
        let full = r#"{"result":{"a":1},"success":true,"errors":[],"messages":[],"new":1}"#;
        let Body::Envelope { result, success, errors, .. } = body(full) else {
            panic!("no envelope")
        };
        assert_eq!((result, success, errors.len()), (json!({"a": 1}), true, 0));

        let failed = r#"{"result":[],"success":false,"errors":[{"code":7500,"message":"x"},
            {"code":"6003","message":"y","error_chain":[]},"plain"]}"#;
        let Body::Envelope { success, errors, .. } = body(failed) else { panic!("no envelope") };
        assert!(!success);
        let codes: Vec<_> = errors.iter().map(|e| (e.code, e.message.as_str())).collect();
        assert_eq!(codes, [(Some(7500), "x"), (Some(6003), "y"), (None, "plain")]);

        let bare = body(r#"{"errors":null}"#);
        assert!(
            matches!(bare, Body::Envelope { success: false, ref errors, .. } if errors.is_empty())
        );
    }

    #[test]
    fn pages_and_cut_answers_are_told_apart() {
        assert_eq!(body(" \n<!DOCTYPE html><html>"), Body::Html);
        assert_eq!(body("<HTML><body>502"), Body::Html);
        assert_eq!(body(r#"{"result":{"a""#), Body::Unreadable);
        assert_eq!(body(""), Body::Unreadable);
        assert_eq!(body("[1]"), Body::Unreadable);
    }
}
