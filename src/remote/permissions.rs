//! Proves each permission of the token by using it, and leaves nothing behind.

use super::account::verify_token;
use super::ai::{self, Model};
use super::cloudflare::Cloudflare;
use super::contract::Contract;
use super::d1::{D1, Statement};
use super::error::{Product, RemoteError};
use super::r2::{NOT_ENABLED, R2};
use super::vector_row::VectorRow;
use super::vectorize::Vectorize;
use crate::model::space::UnitVector;
use bytes::Bytes;

/// The id of the vector and the key of the object that are made and deleted.
pub const PROBE: &str = "memtide-probe";

/// What is linked, or to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// The database's id.
    pub database: Option<String>,
    /// The vector index.
    pub index: Option<String>,
    /// The bucket.
    pub bucket: Option<String>,
    /// Who makes the index's vectors; devices where there is none.
    pub model: Option<Model>,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// There is nothing to try it on.
    NotConfigured,
    /// R2 is not enabled on the account; memtide works without.
    NotEnabled(RemoteError),
    /// It was refused, or failed.
    Failed(RemoteError),
}

/// One permission and whether the token has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionCheck {
    /// Where.
    pub product: Product,
    /// What the dashboard calls it.
    pub permission: &'static str,
    /// What was tried.
    pub tried: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

impl PermissionCheck {
    /// Whether nothing stands in the way of replication.
    pub fn is_ok(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed(_))
    }
}

/// Tries everything that replication needs.
pub async fn check(remote: &Cloudflare, resources: &Resources) -> Vec<PermissionCheck> {
    let token = verify_token(remote).await.map(|_| ());
    let mut checks = vec![PermissionCheck {
        product: Product::Account,
        permission: "a valid API token",
        tried: "verify the token",
        outcome: outcome(token),
    }];
    let d1 = match &resources.database {
        Some(database) => outcome(write_d1(remote, database).await),
        None => Outcome::NotConfigured,
    };
    let vectorize = match &resources.index {
        Some(index) => outcome(write_vectorize(remote, index).await),
        None => Outcome::NotConfigured,
    };
    let r2 = match &resources.bucket {
        Some(bucket) => match write_r2(remote, bucket).await {
            Err(error) if error.has_code(NOT_ENABLED) => Outcome::NotEnabled(error),
            answer => outcome(answer),
        },
        None => Outcome::NotConfigured,
    };
    let ai = outcome(run_ai(remote, resources).await);
    let tried = [
        (Product::D1, "write a row into a new table and drop it", d1),
        (Product::Vectorize, "write a vector and delete it", vectorize),
        (Product::R2, "write an object, read it and delete it", r2),
        (Product::Ai, "embed two words", ai),
    ];
    checks.extend(tried.map(|(product, tried, outcome)| PermissionCheck {
        product,
        permission: product.permission().unwrap_or_default(),
        tried,
        outcome,
    }));
    checks
}

fn outcome(answer: Result<(), RemoteError>) -> Outcome {
    answer.map_or_else(Outcome::Failed, |()| Outcome::Ok)
}

/// The three statements are one transaction: the table is never seen by anybody else.
async fn write_d1(remote: &Cloudflare, database: &str) -> Result<(), RemoteError> {
    let statements = [
        "CREATE TABLE IF NOT EXISTS mt_probe (x TEXT NOT NULL)",
        "INSERT INTO mt_probe VALUES ('probe')",
        "DROP TABLE mt_probe",
    ];
    D1::new(remote.clone(), database).batch(&statements.map(Statement::plain)).await?;
    Ok(())
}

/// One writer's mutations of one id are applied in order, so the probe doesn't stay.
async fn write_vectorize(remote: &Cloudflare, index: &str) -> Result<(), RemoteError> {
    let index = Vectorize::new(remote.clone(), index);
    let dims = index.describe().await?.config.dimensions;
    let mut values = vec![0.0; dims];
    if let Some(first) = values.first_mut() {
        *first = 1.0;
    }
    let values = UnitVector::normalise(values).ok_or_else(|| {
        RemoteError::unreadable(Product::Vectorize, "the index has no dimensions")
    })?;
    let probe = VectorRow { id: PROBE.to_owned(), values, metadata: None };
    index.upsert(&[probe]).await?;
    index.delete(&[PROBE.to_owned()]).await?;
    Ok(())
}

async fn write_r2(remote: &Cloudflare, bucket: &str) -> Result<(), RemoteError> {
    let bucket = R2::new(remote.clone(), bucket);
    let body = Bytes::from_static(b"probe");
    bucket.put(PROBE, body.clone()).await?;
    let found = bucket.get(PROBE).await;
    bucket.delete(PROBE).await?;
    if found?.as_ref() == Some(&body) {
        Ok(())
    } else {
        Err(RemoteError::unreadable(Product::R2, "the object that was just written"))
    }
}

async fn run_ai(remote: &Cloudflare, resources: &Resources) -> Result<(), RemoteError> {
    let python = Contract::python();
    let model = resources.model.as_ref().or(python.ai.as_ref());
    let Some(model) = model else { return Ok(()) };
    ai::embed_any(remote, model, &["memtide probe"]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failure, ruled, success};
    use super::*;
    use http::Method;
    use serde_json::json;

    fn resources() -> Resources {
        let name = || Some("mem".to_owned());
        Resources { database: name(), index: name(), bucket: name(), model: None }
    }

    fn answer(request: &http::Request<Bytes>) -> super::super::testing::Reply {
        let path = request.uri().path();
        match path.rsplit('/').next().unwrap_or_default() {
            "verify" => success(json!({"id": "t", "status": "active"})),
            "raw" => success(json!([{"results": {}}, {"results": {}}, {"results": {}}])),
            "mem" => {
                success(json!({"name": "mem", "config": {"dimensions": 3, "metric": "cosine"}}))
            }
            PROBE if request.method() == Method::GET => Ok(http::Response::new("probe".into())),
            PROBE | "upsert" | "delete_by_ids" => success(json!({"mutationId": "m"})),
            _ => success(json!({"shape": [1, 3], "data": [[1, 2, 3]]})),
        }
    }

    #[tokio::test]
    async fn each_permission_is_used_and_nothing_stays() {
        let (remote, transport, _) = ruled(answer);
        let checks = check(&remote, &resources()).await;
        assert!(checks.iter().all(|check| check.outcome == Outcome::Ok), "{checks:?}");
        let permissions: Vec<_> = checks.iter().map(|check| check.permission).collect();
        assert_eq!(
            permissions,
            [
                "a valid API token",
                "D1 Write",
                "Vectorize Write",
                "Workers R2 Storage Write",
                "Workers AI Read",
            ]
        );
        let seen: Vec<String> = transport
            .seen
            .lock()
            .expect("a lock")
            .iter()
            .map(|(line, _)| line.replace("/accounts/acc", ""))
            .collect();
        assert_eq!(
            seen,
            [
                "GET /user/tokens/verify",
                "POST /d1/database/mem/raw",
                "GET /vectorize/v2/indexes/mem",
                "POST /vectorize/v2/indexes/mem/upsert",
                "POST /vectorize/v2/indexes/mem/delete_by_ids",
                "PUT /r2/buckets/mem/objects/memtide-probe",
                "GET /r2/buckets/mem/objects/memtide-probe",
                "DELETE /r2/buckets/mem/objects/memtide-probe",
                "POST /ai/run/@cf/baai/bge-base-en-v1.5",
            ]
        );
    }

    #[tokio::test]
    async fn one_missing_permission_does_not_hide_the_others() {
        let (remote, ..) = ruled(|request| {
            let path = request.uri().path();
            if path.contains("/vectorize/") && request.method() == Method::POST {
                failure(403, 10000, "Authentication error")
            } else if path.contains("/r2/") {
                failure(403, 10042, "enable R2")
            } else {
                answer(request)
            }
        });
        let checks = check(&remote, &Resources { database: None, ..resources() }).await;
        let ok: Vec<bool> = checks.iter().map(PermissionCheck::is_ok).collect();
        assert_eq!(ok, [true, true, false, true, true]);
        assert_eq!(checks[1].outcome, Outcome::NotConfigured);
        let Outcome::Failed(error) = &checks[2].outcome else { panic!("{checks:?}") };
        assert!(error.hint.contains("`Vectorize Write`"), "{}", error.hint);
        assert!(matches!(checks[3].outcome, Outcome::NotEnabled(_)), "{checks:?}");
    }
}
