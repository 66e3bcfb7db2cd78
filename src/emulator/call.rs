//! One request, taken apart.

use super::envelope::Failure;
use super::tokens::Permission;
use crate::clock::Micros;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// A request below `/client/v4`.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    /// The path's segments behind `/client/v4`, percent-decoded.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    pub(super) now: Micros,
    /// What the caller's token may do.
    pub(super) grants: BTreeSet<Permission>,
    path: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn parse(request: &'a Request<Bytes>, now: Micros) -> Result<Self, Failure> {
        let path = request.uri().path();
        let mut call = Self {
            method: request.method(),
            segments: Vec::new(),
            query: pairs(request.uri().query().unwrap_or_default()),
            headers: request.headers(),
            body: request.body(),
            now,
            grants: BTreeSet::new(),
            path,
        };
        let Some(rest) = path.strip_prefix("/client/v4/") else { return Err(call.no_route()) };
        call.segments = rest.split('/').map(decoded).collect();
        Ok(call)
    }

    /// The answer to a path that leads nowhere.
    pub(super) fn no_route(&self) -> Failure {
        let text =
            format!("Could not route to {}, perhaps your object identifier is invalid?", self.path);
        Failure::new(404, 7003, text)
    }

    /// The answer to a known path with a method it doesn't take.
    pub(super) fn no_method(&self) -> Failure {
        Failure::new(405, 7001, format!("Method {} not available for that URI.", self.method))
    }

    /// Refuses the call unless the token grants `permission`.
    pub(super) fn need(&self, permission: Permission) -> Result<(), Failure> {
        if permission.is_granted_by(&self.grants) {
            return Ok(());
        }
        Err(Failure::new(403, 10000, "Authentication error"))
    }

    /// A parameter of the query string.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number of the query string, or `default` if it is missing or no number.
    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.param(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.body)
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Resolves `%41`; a broken escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_once() {
        assert_eq!(decoded("content%2Fa%20b%25"), "content/a b%");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%C3%A4"), "%zzä");
        assert_eq!(
            pairs("a=1%2B1&b=x+y&c"),
            [("a", "1+1"), ("b", "x y"), ("c", "")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }
}
