//! R2: the texts that are too long for a row.

use super::cloudflare::{Cloudflare, DEADLINE, bare, json, key_path, request, segment};
use super::error::{Product, RemoteError};
use crate::clock::Micros;
use bytes::Bytes;
use http::Method;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use std::time::Duration;

/// The code of a key that isn't there.
const NO_SUCH_KEY: i64 = 10007;
/// The code of an account on which R2 is not enabled.
pub const NOT_ENABLED: i64 = 10042;
/// The code of a bucket that exists already.
const BUCKET_EXISTS: i64 = 10004;
/// The code of a bucket that isn't there.
const NO_SUCH_BUCKET: i64 = 10006;
/// Objects on one page of a list.
pub const LIST_MAX: usize = 1000;
/// How long a body of up to 25 MB may take.
const BODY_DEADLINE: Duration = Duration::from_mins(2);

/// One bucket.
#[derive(Debug, Clone)]
pub struct R2 {
    remote: Cloudflare,
    name: String,
    path: String,
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its bytes, if the list tells.
    pub size: Option<usize>,
    /// When it was stored, if the list tells.
    pub stored_at: Option<Micros>,
}

/// A page of a list of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectsPage {
    /// The objects, in the order of their keys.
    pub objects: Vec<Listed>,
    /// What to ask on with; `None` at the end.
    pub cursor: Option<String>,
}

impl R2 {
    /// The bucket of this name.
    pub fn new(remote: Cloudflare, bucket: &str) -> Self {
        let path = remote.path(&format!("/r2/buckets/{}", segment(bucket)));
        Self { remote, name: bucket.to_owned(), path }
    }

    /// Whether the bucket exists.
    ///
    /// # Errors
    /// R2 is not enabled on the account, or the request failed.
    pub async fn exists(&self) -> Result<bool, RemoteError> {
        let request = bare(Product::R2, Method::GET, &self.path)?;
        match self.remote.call(Product::R2, request, DEADLINE).await {
            Ok(_) => Ok(true),
            Err(error) if error.has_code(NO_SUCH_BUCKET) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the bucket; one that exists is left as it is.
    ///
    /// # Errors
    /// R2 is not enabled on the account, or the request failed.
    pub async fn create(&self) -> Result<(), RemoteError> {
        let path = self.remote.path("/r2/buckets");
        let request = json(Product::R2, Method::POST, &path, &json!({ "name": self.name }))?;
        match self.remote.call(Product::R2, request, DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) if error.has_code(BUCKET_EXISTS) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores a text under `key`, replacing what is there.
    ///
    /// # Errors
    /// It was not stored, the bucket holds other bytes, or the answer was lost.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), RemoteError> {
        let size = body.len();
        let sent_md5 = hex::encode(Md5::digest(&body));
        let kind = Some("text/plain; charset=utf-8");
        let request = request(Product::R2, Method::PUT, &self.object(key), kind, body)?;
        let answer = self.remote.call(Product::R2, request, BODY_DEADLINE).await?;
        if let Some(stored) = stored_size(&answer.result).filter(|stored| *stored != size) {
            let what = format!("{stored} bytes were stored of {size}");
            return Err(RemoteError::unreadable(Product::R2, &what));
        }
        if stored_md5(&answer.result).is_some_and(|stored| stored != sent_md5) {
            return Err(RemoteError::unreadable(Product::R2, "other bytes were stored than sent"));
        }
        Ok(())
    }

    /// The bytes under `key`; `None` if there are none.
    ///
    /// # Errors
    /// The bucket doesn't exist, or the request failed.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, RemoteError> {
        let request = bare(Product::R2, Method::GET, &self.object(key))?;
        let answer = self.remote.exchange(Product::R2, request, BODY_DEADLINE).await?;
        if answer.is_success() {
            let is_whole = answer
                .header("etag")
                .and_then(md5_of)
                .is_none_or(|stored| stored == hex::encode(Md5::digest(&answer.bytes)));
            if !is_whole {
                let what = "other bytes arrived than are stored";
                return Err(RemoteError::unreadable(Product::R2, what));
            }
            return Ok(Some(answer.bytes));
        }
        match self.remote.refusal(Product::R2, &answer) {
            error if error.has_code(NO_SUCH_KEY) => Ok(None),
            error => Err(error),
        }
    }

    /// A page of the objects whose keys begin with `prefix`; the first one without a `cursor`.
    ///
    /// # Errors
    /// The bucket doesn't exist, or the request failed.
    pub async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
    ) -> Result<ObjectsPage, RemoteError> {
        let on = cursor.map(|cursor| format!("&cursor={}", segment(cursor))).unwrap_or_default();
        let path =
            format!("{}/objects?prefix={}&per_page={LIST_MAX}{on}", self.path, segment(prefix));
        let request = bare(Product::R2, Method::GET, &path)?;
        let answer = self.remote.call(Product::R2, request, DEADLINE).await?;
        let Value::Array(objects) = answer.result else {
            return Err(RemoteError::unreadable(Product::R2, "the list of objects"));
        };
        let listed = |object: &Value| {
            let stored_at = object.get("last_modified").and_then(Value::as_str);
            Some(Listed {
                key: object.get("key")?.as_str()?.to_owned(),
                size: stored_size(object),
                stored_at: stored_at.and_then(Micros::parse_rfc3339),
            })
        };
        let next =
            answer.info.get("cursor").and_then(Value::as_str).filter(|next| !next.is_empty());
        // Some lists have a cursor on their last page too, and then say that it is the last.
        let is_end = answer.info.get("is_truncated").and_then(Value::as_bool) == Some(false);
        Ok(ObjectsPage {
            objects: objects.iter().filter_map(listed).collect(),
            cursor: next.filter(|_| !is_end).map(str::to_owned),
        })
    }

    /// Deletes what is under `key`; nothing there is no error.
    ///
    /// # Errors
    /// The bucket doesn't exist, or the request failed.
    pub async fn delete(&self, key: &str) -> Result<(), RemoteError> {
        let request = bare(Product::R2, Method::DELETE, &self.object(key))?;
        match self.remote.call(Product::R2, request, DEADLINE).await {
            Err(error) if !error.has_code(NO_SUCH_KEY) => Err(error),
            _ => Ok(()),
        }
    }

    fn object(&self, key: &str) -> String {
        format!("{}/objects/{}", self.path, key_path(key))
    }
}

/// The MD5 of a stored object, which its etag is for an object that came in one piece.
fn stored_md5(result: &Value) -> Option<String> {
    md5_of(result.get("etag")?.as_str()?)
}

fn md5_of(etag: &str) -> Option<String> {
    let etag = etag.trim_matches('"').to_ascii_lowercase();
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then_some(etag)
}

/// The size that a stored object's description tells, as text or as number.
fn stored_size(result: &Value) -> Option<usize> {
    match result.get("size")? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|size| usize::try_from(size).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{Disposition, Pause};
    use super::super::testing::{failure, reply, ruled, success};
    use super::*;

    fn bucket(
        rule: impl Fn(&http::Request<Bytes>) -> super::super::testing::Reply + Send + Sync + 'static,
    ) -> R2 {
        R2::new(ruled(rule).0, "texts")
    }

    #[tokio::test]
    async fn a_body_travels_as_it_is() {
        let path = "/accounts/acc/r2/buckets/texts/objects/content/ab-1.txt";
        let r2 = bucket(move |request| {
            assert_eq!(request.uri().path(), path);
            if request.method() == Method::PUT {
                assert_eq!(request.body(), "{\"no\":\"envelope\"}");
                success(json!({"key": "content/ab-1.txt", "size": "17", "etag": "x"}))
            } else {
                Ok(http::Response::new(request.body().clone()))
            }
        });
        r2.put("content/ab-1.txt", Bytes::from("{\"no\":\"envelope\"}")).await.expect("stored");
        assert_eq!(r2.get("content/ab-1.txt").await.expect("an answer"), Some(Bytes::new()));
    }

    #[tokio::test]
    async fn a_body_that_was_stored_in_part_is_sent_again() {
        let r2 = bucket(|_| success(json!({"size": "3"})));
        let error = r2.put("k", Bytes::from("four")).await.expect_err("one byte is missing");
        assert_eq!(error.disposition, Disposition::Retry);
        bucket(|_| success(json!({}))).put("k", Bytes::from("four")).await.expect("no size told");
        let stored = |etag: &'static str| bucket(move |_| success(json!({"etag": etag})));
        // Of "fort", which has as many bytes.
        let error = stored("7e7eebd7ebf5d6ed4f9e0cd1d1a1ae4e").put("k", Bytes::from("four")).await;
        assert_eq!(error.expect_err("other bytes").disposition, Disposition::Retry);
        for etag in ["\"8CBAD96ACED40B3838DD9F07F6EF5772\"", "an-etag-of-parts-2"] {
            stored(etag).put("k", Bytes::from("four")).await.expect(etag);
        }
    }

    #[tokio::test]
    async fn an_absent_key_is_an_answer_and_an_absent_bucket_an_error() {
        let r2 = bucket(|_| failure(404, 10007, "The specified key does not exist."));
        assert_eq!(r2.get("k").await.expect("an answer"), None);
        r2.delete("k").await.expect("nothing to delete");
        let r2 = bucket(|_| failure(404, 10006, "The specified bucket does not exist."));
        assert!(!r2.exists().await.expect("an answer"));
        for error in [r2.get("k").await.map(|_| ()), r2.delete("k").await] {
            let disposition = error.expect_err("no bucket").disposition;
            assert_eq!(disposition, Disposition::Pause(Pause::Misconfigured));
        }
    }

    #[tokio::test]
    async fn creating_twice_is_creating_once() {
        bucket(|_| reply(200, &json!({"result": {"name": "texts"}, "success": true})))
            .create()
            .await
            .expect("created");
        bucket(|_| failure(409, 10004, "already exists")).create().await.expect("it exists");
        let error = bucket(|_| failure(403, 10042, "enable R2")).create().await.expect_err("no R2");
        assert!(error.has_code(NOT_ENABLED));
    }

    #[tokio::test]
    async fn a_list_goes_on_where_its_cursor_says() {
        let r2 = bucket(|request| {
            let query = request.uri().query().expect("a query");
            let (result, info) = if query.contains("cursor=") {
                assert_eq!(query, "prefix=content%2F&per_page=1000&cursor=n%3D");
                (json!([]), json!({"cursor": "", "is_truncated": false}))
            } else {
                let object = json!({"key": "content/a", "size": "7",
                    "last_modified": "2023-11-14T22:13:20Z"});
                (json!([object, {"size": 1}]), json!({"cursor": "n=", "is_truncated": true}))
            };
            reply(200, &json!({"result": result, "result_info": info, "success": true}))
        });
        let first = r2.list("content/", None).await.expect("a page");
        let [object] = first.objects.as_slice() else { panic!("{first:?}") };
        assert_eq!((object.key.as_str(), object.size), ("content/a", Some(7)));
        assert_eq!(object.stored_at, Some(super::super::testing::NOW));
        let last = r2.list("content/", first.cursor.as_deref()).await.expect("a page");
        assert_eq!(last, ObjectsPage::default());
    }

    #[tokio::test]
    async fn a_key_that_climbs_is_never_sent() {
        let r2 = bucket(|_| panic!("nothing may be sent"));
        for key in ["../../../user/tokens", "a/../b", "", "a//b"] {
            let error = r2.get(key).await.expect_err(key);
            assert_eq!(error.disposition, Disposition::Park);
        }
    }
}
