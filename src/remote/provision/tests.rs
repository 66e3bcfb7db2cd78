use super::super::testing::{Reply, failure, ruled, success};
use super::*;
use crate::model::space::Space;
use http::Method;
use serde_json::json;

fn names(bucket: Option<&str>) -> Names {
    Names {
        database: DatabaseName::Name("mem".to_owned()),
        index: "mem".to_owned(),
        bucket: bucket.map(str::to_owned),
    }
}

fn local() -> Contract {
    Contract::local(Space::new("m", "r", "mean", 256, 384)).expect("dimensions")
}

fn inventory(dims: usize, vectors: u64) -> Inventory {
    let config = super::super::vectorize::IndexConfig { dimensions: dims, metric: "cosine".into() };
    Inventory {
        database: None,
        schema: Existing::default(),
        meta: None,
        index: Some(Index { name: "mem".to_owned(), config }),
        vectors,
        bucket: Bucket::NotWanted,
    }
}

#[test]
fn an_index_with_vectors_of_unknown_origin_is_the_python_services() {
    assert_eq!(agreed(&inventory(768, 5), &local()).expect("fits"), Contract::python());
    assert_eq!(agreed(&inventory(384, 0), &local()).expect("fits"), local());
    let error = agreed(&inventory(384, 5), &local()).expect_err("vectors of an unknown space");
    assert!(error.message.contains("768"), "{error}");
    let error = agreed(&inventory(768, 0), &local()).expect_err("another length");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Misconfigured));
    assert!(error.hint.contains("another name"), "{}", error.hint);

    let mut found = inventory(384, 5);
    let contract = Some(local());
    found.meta = Some(Meta { schema: 1, database: "u".to_owned(), contract });
    assert_eq!(agreed(&found, &Contract::python()).expect("what was written holds"), local());
}

fn empty_account(request: &http::Request<bytes::Bytes>) -> Reply {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/accounts/acc/d1/database") => success(json!([])),
        (&Method::GET, "/accounts/acc/d1/database/id-1") => failure(404, 7404, "not found"),
        (&Method::GET, "/accounts/acc/vectorize/v2/indexes/mem") => failure(404, 3000, "not found"),
        (&Method::GET, "/accounts/acc/r2/buckets/mem") => failure(404, 10006, "no bucket"),
        (&Method::GET, "/accounts/acc/r2/buckets/off") => failure(403, 10042, "enable R2"),
        (method, path) => panic!("{method} {path}"),
    }
}

#[tokio::test]
async fn an_empty_account_is_no_error() {
    let (remote, ..) = ruled(empty_account);
    let found = inspect(&remote, &names(Some("mem"))).await.expect("a look");
    assert_eq!((found.database, found.index, found.bucket), (None, None, Bucket::Missing));
    let found = inspect(&remote, &names(Some("off"))).await.expect("a look");
    assert!(matches!(found.bucket, Bucket::NotEnabled(error) if error.hint.contains("enable")));
    assert_eq!(inspect(&remote, &names(None)).await.expect("a look").bucket, Bucket::NotWanted);
}

#[tokio::test]
async fn a_database_is_never_made_in_place_of_one_that_was_named_by_its_id() {
    let (remote, ..) = ruled(empty_account);
    let names = Names { database: DatabaseName::Id("id-1".to_owned()), ..names(None) };
    let error = init(&remote, &names, &local(), "u").await.expect_err("there is none");
    assert_eq!(error.product, Product::D1);
    assert!(error.message.contains("id-1"), "{error}");
}
