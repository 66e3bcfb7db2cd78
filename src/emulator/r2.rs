//! R2: buckets and objects under `/accounts/{a}/r2/buckets`.

use super::call::Call;
use super::chance::Chance;
use super::envelope::{self, Failure};
use super::tokens::Permission;
use crate::clock::Micros;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{Method, Response};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of an object that one call may bring. Documented.
const OBJECT_BYTES: usize = 300_000_000;
/// Bytes of a key. Documented.
const KEY_BYTES: usize = 1_024;
/// How often one key may be written. Documented.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Objects on a page of a list.
const LIST_PAGE: usize = 1_000;

/// The buckets of an account.
pub(super) struct Buckets {
    enabled: bool,
    list: BTreeMap<String, Bucket>,
}

struct Bucket {
    created_at: Micros,
    objects: BTreeMap<String, Object>,
    /// When each key was last written, deletions included.
    written_at: BTreeMap<String, Micros>,
}

/// A stored object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) body: Bytes,
    etag: String,
    version: String,
    content_type: String,
    uploaded_at: Micros,
}

#[derive(Deserialize)]
struct Creation {
    name: String,
}

impl Buckets {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, list: BTreeMap::new() }
    }

    /// The objects of a bucket, by key.
    pub(super) fn objects(&self, bucket: &str) -> Option<&BTreeMap<String, Object>> {
        self.list.get(bucket).map(|bucket| &bucket.objects)
    }

    pub(super) fn create(&mut self, name: &str, now: Micros) -> Result<Value, Failure> {
        let is_good = (3..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !is_good {
            return Err(Failure::new(400, 10005, "The specified bucket name is not valid."));
        }
        if self.list.contains_key(name) {
            let text = "The bucket you tried to create already exists, and you own it.";
            return Err(Failure::new(409, 10004, text));
        }
        let bucket =
            Bucket { created_at: now, objects: BTreeMap::new(), written_at: BTreeMap::new() };
        let described = bucket.describe(name);
        self.list.insert(name.to_owned(), bucket);
        Ok(described)
    }

    pub(super) fn route(
        &mut self,
        call: &Call<'_>,
        rest: &[&str],
        chance: &mut Chance,
    ) -> Result<Response<Bytes>, Failure> {
        let reads = *call.method == Method::GET;
        call.need(if reads { Permission::R2Read } else { Permission::R2Write })?;
        if !self.enabled {
            return Err(Failure::new(403, 10042, "Please enable R2 through the dashboard."));
        }
        match (call.method.as_str(), rest) {
            ("GET", []) => {
                let all: Vec<Value> = self.list.iter().map(|(name, b)| b.describe(name)).collect();
                Ok(envelope::success(json!({"buckets": all})))
            }
            ("POST", []) => {
                let ask: Creation = call.json().map_err(|error| {
                    Failure::new(
                        400,
                        10040,
                        format!("The JSON you provided was not valid: {error}"),
                    )
                })?;
                self.create(&ask.name, call.now).map(envelope::success)
            }
            ("GET", [name]) => Ok(envelope::success(self.known(name)?.describe(name))),
            ("DELETE", [name]) => {
                if !self.known(name)?.objects.is_empty() {
                    let text = "The bucket you tried to delete is not empty.";
                    return Err(Failure::new(409, 10008, text));
                }
                self.list.remove(*name);
                Ok(envelope::success(json!({})))
            }
            ("GET", [name, "objects"]) => Ok(self.known(name)?.listed(call)),
            (method, [name, "objects", key @ ..]) => {
                let key = key.join("/");
                if key.is_empty() || key.len() > KEY_BYTES {
                    return Err(Failure::new(
                        400,
                        10020,
                        "The specified object name is not valid.",
                    ));
                }
                let bucket = self.known(name)?;
                match method {
                    "GET" => bucket.get(&key, call),
                    "PUT" => bucket.put(key, call, chance),
                    "DELETE" => Ok(bucket.delete(&key, call.now)),
                    _ => Err(call.no_method()),
                }
            }
            (_, [] | [_]) => Err(call.no_method()),
            _ => Err(call.no_route()),
        }
    }

    fn known(&mut self, name: &str) -> Result<&mut Bucket, Failure> {
        let text = "The specified bucket does not exist.";
        self.list.get_mut(name).ok_or_else(|| Failure::new(404, 10006, text))
    }
}

impl Bucket {
    fn describe(&self, name: &str) -> Value {
        json!({
            "name": name,
            "creation_date": self.created_at.to_rfc3339(),
            "location": "WEUR",
            "storage_class": "Standard",
        })
    }

    fn put(
        &mut self,
        key: String,
        call: &Call<'_>,
        chance: &mut Chance,
    ) -> Result<Response<Bytes>, Failure> {
        if call.body.len() > OBJECT_BYTES {
            return Err(Failure::new(413, 100_100, "The object is too large."));
        }
        let is_hasty =
            self.written_at.get(&key).is_some_and(|at| call.now.since(*at) < WRITE_EVERY);
        if is_hasty {
            let text = "Reduce your concurrent request rate for the same object.";
            return Err(Failure::new(429, 10058, text));
        }
        let content_type = call.header("content-type").unwrap_or("application/octet-stream");
        let object = Object {
            body: call.body.clone(),
            etag: hex::encode(Md5::digest(call.body)),
            version: chance.hex32(),
            content_type: content_type.to_owned(),
            uploaded_at: call.now,
        };
        let answer = envelope::success(json!({
            "key": key,
            "etag": object.etag,
            "size": object.body.len().to_string(),
            "version": object.version,
            "uploaded": object.uploaded_at.to_rfc3339(),
            "storage_class": "Standard",
        }));
        self.written_at.insert(key.clone(), call.now);
        self.objects.insert(key, object);
        Ok(answer)
    }

    fn get(&self, key: &str, call: &Call<'_>) -> Result<Response<Bytes>, Failure> {
        let object = self
            .objects
            .get(key)
            .ok_or_else(|| Failure::new(404, 10007, "The specified key does not exist."))?;
        let etag = format!("\"{}\"", object.etag);
        let is_same = call.header("if-none-match").is_some_and(|wanted| wanted == etag);
        let mut response = if is_same {
            envelope::with_body(304, &object.content_type, Bytes::new())
        } else {
            envelope::with_body(200, &object.content_type, object.body.clone())
        };
        if is_same {
            response.headers_mut().remove(CONTENT_TYPE);
        }
        envelope::insert(&mut response, ETAG, &etag);
        envelope::insert(&mut response, LAST_MODIFIED, &envelope::http_date(object.uploaded_at));
        Ok(response)
    }

    fn delete(&mut self, key: &str, now: Micros) -> Response<Bytes> {
        // Deleting what isn't there succeeds too, as in every object store of this kind.
        if self.objects.remove(key).is_some() {
            self.written_at.insert(key.to_owned(), now);
        }
        envelope::success(json!({"key": key}))
    }

    fn listed(&self, call: &Call<'_>) -> Response<Bytes> {
        let prefix = call.param("prefix").unwrap_or_default();
        let after = call.param("cursor").or_else(|| call.param("start_after"));
        let count = call.number("per_page", LIST_PAGE).clamp(1, LIST_PAGE);
        let mut found = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|a| key.as_str() > a));
        let page: Vec<(&String, &Object)> = found.by_ref().take(count).collect();
        let is_cut = found.next().is_some();
        let shown = page.iter().map(|(key, object)| {
            json!({
                "key": key,
                "size": object.body.len().to_string(),
                "etag": object.etag,
                "last_modified": object.uploaded_at.to_rfc3339(),
                "http_metadata": {"contentType": object.content_type},
                "custom_metadata": {},
                "ssec": false,
                "storage_class": "Standard",
            })
        });
        let cursor = page.last().filter(|_| is_cut).map(|(key, _)| key.as_str());
        envelope::success_list(
            Value::Array(shown.collect()),
            json!({"per_page": count, "is_truncated": is_cut, "cursor": cursor}),
        )
    }
}
