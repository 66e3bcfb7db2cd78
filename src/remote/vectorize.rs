//! Vectorize: what is accepted becomes visible later, up to minutes.

use super::cloudflare::{Cloudflare, DEADLINE, Success, bare, json, request, segment};
use super::envelope::part;
use super::error::{Product, RemoteError};
use super::vector_row::{VectorRow, encode};
use crate::clock::Micros;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Ids in one request for vectors; Vectorize takes no more.
pub const GET_MAX: usize = 20;
/// Ids on one page of a list; Vectorize gives no more.
pub const LIST_MAX: usize = 1000;
/// Ids in one request to delete; Vectorize takes no more.
pub const DELETE_MAX: usize = 100;
/// The code of an index name that is taken.
const DUPLICATE_NAME: i64 = 3002;
/// How long an upload of up to 30 MB may take.
const UPLOAD_DEADLINE: Duration = Duration::from_mins(2);

/// One index.
#[derive(Debug, Clone)]
pub struct Vectorize {
    remote: Cloudflare,
    name: String,
    path: String,
}

/// An index as the account describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub config: IndexConfig,
}

/// What an index holds; it can't be changed later.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IndexConfig {
    /// Components of each vector.
    pub dimensions: usize,
    /// How they are compared.
    pub metric: String,
}

/// How far an index has come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexInfo {
    /// Components of each vector.
    #[serde(default)]
    pub dimensions: usize,
    /// Vectors that can be found.
    #[serde(default)]
    pub vector_count: u64,
    /// The last mutation that can be seen.
    #[serde(default)]
    pub processed_up_to_mutation: Option<String>,
    /// Up to when mutations can be seen, RFC 3339.
    #[serde(default)]
    pub processed_up_to_datetime: Option<String>,
}

impl IndexInfo {
    /// Up to when mutations can be seen.
    pub fn processed_up_to(&self) -> Option<Micros> {
        Micros::parse_rfc3339(self.processed_up_to_datetime.as_deref()?)
    }
}

/// An accepted change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Cloudflare's name for it.
    pub id: Option<String>,
    /// When it was accepted, by the server's clock.
    pub at: Option<Micros>,
}

/// A vector as the index holds it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StoredVector {
    /// Its id.
    pub id: String,
    /// Its components.
    #[serde(default)]
    pub values: Vec<f32>,
    /// What is stored with it.
    #[serde(default)]
    pub metadata: Value,
}

/// A page of the ids that an index holds. The pages of one list are of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// The ids.
    pub ids: Vec<String>,
    /// What to ask on with; `None` at the end.
    pub cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedPage {
    #[serde(default)]
    vectors: Vec<ListedVector>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct ListedVector {
    id: String,
}

impl Vectorize {
    /// The index of this name.
    pub fn new(remote: Cloudflare, name: &str) -> Self {
        let path = remote.path(&format!("/vectorize/v2/indexes/{}", segment(name)));
        Self { remote, name: name.to_owned(), path }
    }

    /// What the account says about this index.
    ///
    /// # Errors
    /// It doesn't exist, or the request failed.
    pub async fn describe(&self) -> Result<Index, RemoteError> {
        part(Product::Vectorize, self.get("").await?)
    }

    /// How far the index has come.
    ///
    /// # Errors
    /// It doesn't exist, or the request failed.
    pub async fn info(&self) -> Result<IndexInfo, RemoteError> {
        part(Product::Vectorize, self.get("/info").await?)
    }

    /// Creates the index for unit vectors, compared by cosine. Gives the existing one where the name
    /// is taken, whatever it holds.
    ///
    /// # Errors
    /// The request failed.
    pub async fn create(&self, dimensions: usize) -> Result<Index, RemoteError> {
        let path = self.remote.path("/vectorize/v2/indexes");
        let config = json!({ "dimensions": dimensions, "metric": "cosine" });
        let body = json!({ "name": self.name, "config": config });
        let request = json(Product::Vectorize, Method::POST, &path, &body)?;
        match self.remote.call(Product::Vectorize, request, DEADLINE).await {
            Ok(answer) => part(Product::Vectorize, answer.result),
            Err(error) if error.has_code(DUPLICATE_NAME) => self.describe().await,
            Err(error) => Err(error),
        }
    }

    /// Sends as many of `rows` as one request takes, replacing what the index holds for their ids;
    /// gives how many that were. One bad vector fails the whole request.
    ///
    /// # Errors
    /// None of them was accepted, or the answer was lost.
    pub async fn upsert(&self, rows: &[VectorRow]) -> Result<(usize, Mutation), RemoteError> {
        let (taken, body) = encode(rows);
        let path = format!("{}/upsert", self.path);
        let kind = Some("application/x-ndjson");
        let request = request(Product::Vectorize, Method::POST, &path, kind, body)?;
        let answer = self.remote.call(Product::Vectorize, request, UPLOAD_DEADLINE).await?;
        Ok((taken, mutation(&answer)))
    }

    /// Deletes vectors by id, in as many requests as it takes. Ids that are not there are no error.
    /// Gives the last mutation, `None` if there was nothing to delete.
    ///
    /// # Errors
    /// A request failed; those before it were accepted.
    pub async fn delete(&self, ids: &[String]) -> Result<Option<Mutation>, RemoteError> {
        let mut last = None;
        for ids in ids.chunks(DELETE_MAX) {
            last = Some(mutation(&self.post("/delete_by_ids", &json!({ "ids": ids })).await?));
        }
        Ok(last)
    }

    /// Vectors by id, in as many requests as it takes; those that are not there are left out.
    ///
    /// # Errors
    /// A request failed.
    pub async fn get_by_ids(&self, ids: &[String]) -> Result<Vec<StoredVector>, RemoteError> {
        let mut found = Vec::new();
        for ids in ids.chunks(GET_MAX) {
            let answer = self.post("/get_by_ids", &json!({ "ids": ids })).await?;
            let page: Vec<StoredVector> = part(Product::Vectorize, answer.result)?;
            found.extend(page);
        }
        Ok(found)
    }

    /// A page of the ids that can be found; the first one without a `cursor`.
    ///
    /// # Errors
    /// The request failed, or the cursor is too old.
    pub async fn list(&self, cursor: Option<&str>) -> Result<ListPage, RemoteError> {
        let on = cursor.map(|cursor| format!("&cursor={}", segment(cursor))).unwrap_or_default();
        let answer = self.get(&format!("/list?count={LIST_MAX}{on}")).await?;
        let page: ListedPage = part(Product::Vectorize, answer)?;
        let cursor = page.next_cursor.filter(|_| page.is_truncated);
        Ok(ListPage { ids: page.vectors.into_iter().map(|one| one.id).collect(), cursor })
    }

    /// Makes a metadata field usable in filters, for vectors that come after it. `kind` is `string`,
    /// `number` or `boolean`.
    ///
    /// # Errors
    /// The request failed.
    pub async fn create_metadata_index(
        &self,
        property: &str,
        kind: &str,
    ) -> Result<Mutation, RemoteError> {
        let body = json!({ "propertyName": property, "indexType": kind });
        Ok(mutation(&self.post("/metadata_index/create", &body).await?))
    }

    async fn get(&self, rest: &str) -> Result<Value, RemoteError> {
        let path = format!("{}{rest}", self.path);
        let request = bare(Product::Vectorize, Method::GET, &path)?;
        Ok(self.remote.call(Product::Vectorize, request, DEADLINE).await?.result)
    }

    async fn post(&self, rest: &str, body: &Value) -> Result<Success, RemoteError> {
        let path = format!("{}{rest}", self.path);
        let request = json(Product::Vectorize, Method::POST, &path, body)?;
        self.remote.call(Product::Vectorize, request, DEADLINE).await
    }
}

fn mutation(answer: &Success) -> Mutation {
    let id = answer.result.get("mutationId").and_then(Value::as_str).map(str::to_owned);
    Mutation { id, at: answer.at }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failure, reply, ruled, success};
    use super::*;
    use crate::model::space::UnitVector;

    fn probe() -> VectorRow {
        let values = UnitVector::normalise(vec![1.0, 0.0]).expect("a direction");
        VectorRow { id: "p".to_owned(), values, metadata: None }
    }

    #[tokio::test]
    async fn an_upsert_is_ndjson_and_gives_its_mutation() {
        let (remote, transport, _) = ruled(|request| {
            assert_eq!(request.headers()["content-type"], "application/x-ndjson");
            success(json!({"mutationId": "m-1"}))
        });
        let index = Vectorize::new(remote, "memories");
        let (taken, mutation) = index.upsert(&[probe(), probe()]).await.expect("accepted");
        assert_eq!((taken, mutation.id.as_deref()), (2, Some("m-1")));
        let seen = transport.seen.lock().expect("a lock").clone();
        assert_eq!(seen[0].0, "POST /accounts/acc/vectorize/v2/indexes/memories/upsert");
        assert_eq!(seen[0].1.split(|byte| *byte == b'\n').count(), 3, "two lines, both ended");
    }

    #[tokio::test]
    async fn ids_go_in_the_portions_that_vectorize_takes() {
        let (remote, transport, _) = ruled(|request| {
            if request.uri().path().ends_with("/get_by_ids") {
                success(json!([{"id": "1", "values": [0.5]}]))
            } else {
                success(json!({"mutationId": "m"}))
            }
        });
        let index = Vectorize::new(remote, "memories");
        let ids: Vec<String> = (0..201).map(|n| n.to_string()).collect();
        index.delete(&ids).await.expect("accepted");
        let found = index.get_by_ids(&ids[..41]).await.expect("vectors");
        assert_eq!((found.len(), found[0].values.as_slice()), (3, [0.5].as_slice()));
        let sizes: Vec<usize> = transport
            .seen
            .lock()
            .expect("a lock")
            .iter()
            .map(|(_, body)| {
                let body: Value = serde_json::from_slice(body).expect("JSON");
                body["ids"].as_array().map_or(0, Vec::len)
            })
            .collect();
        assert_eq!(sizes, [100, 100, 1, 20, 20, 1]);
        assert_eq!(index.delete(&[]).await.expect("nothing to do"), None);
    }

    #[tokio::test]
    async fn a_taken_name_gives_the_index_that_has_it() {
        let (remote, ..) = ruled(|request| {
            if request.method() == Method::POST {
                failure(409, 3002, "vectorize.index.duplicate_name")
            } else {
                success(json!({"name": "m", "config": {"dimensions": 768, "metric": "cosine"}}))
            }
        });
        let index = Vectorize::new(remote, "m").create(384).await.expect("the existing one");
        assert_eq!(index.config.dimensions, 768);
    }

    #[tokio::test]
    async fn a_new_index_may_be_answered_with_201() {
        let (remote, transport, _) = ruled(|_| {
            let config = json!({"dimensions": 384, "metric": "cosine"});
            reply(201, &json!({"result": {"name": "m", "config": config}, "success": true}))
        });
        Vectorize::new(remote, "m").create(384).await.expect("created");
        let body = transport.seen.lock().expect("a lock")[0].1.clone();
        assert_eq!(body, r#"{"config":{"dimensions":384,"metric":"cosine"},"name":"m"}"#);
    }

    #[tokio::test]
    async fn a_list_goes_on_where_its_cursor_says() {
        let (remote, transport, _) = ruled(|request| {
            if request.uri().query().is_some_and(|query| query.contains("cursor")) {
                success(json!({"isTruncated": false, "nextCursor": "x", "vectors": []}))
            } else {
                let vectors = json!([{"id": "a"}, {"id": "b"}]);
                success(json!({"isTruncated": true, "nextCursor": "c/1", "vectors": vectors}))
            }
        });
        let index = Vectorize::new(remote, "memories");
        let first = index.list(None).await.expect("a page");
        assert_eq!((first.ids.len(), first.cursor.as_deref()), (2, Some("c/1")));
        let last = index.list(first.cursor.as_deref()).await.expect("a page");
        assert_eq!(last, ListPage::default());
        let seen = transport.seen.lock().expect("a lock").clone();
        assert!(seen[1].0.ends_with("/list?count=1000&cursor=c%2F1"), "{}", seen[1].0);
    }

    #[tokio::test]
    async fn progress_may_be_unknown() {
        let (remote, ..) = ruled(|_| {
            success(json!({"dimensions": 2, "vectorCount": 5, "processedUpToMutation": null,
                "processedUpToDatetime": "2023-11-14T22:13:20Z"}))
        });
        let info = Vectorize::new(remote, "m").info().await.expect("info");
        assert_eq!((info.vector_count, info.processed_up_to_mutation.clone()), (5, None));
        assert_eq!(info.processed_up_to(), Some(super::super::testing::NOW));
    }
}
