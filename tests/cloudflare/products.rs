//! The vector index, the bucket and the model.

use super::World;
use bytes::Bytes;
use memtide::clock::Micros;
use memtide::emulator::options::Options;
use memtide::model::id::MemoryId;
use memtide::model::space::UnitVector;
use memtide::model::stamp::Stamp;
use memtide::remote::ai;
use memtide::remote::contract::Contract;
use memtide::remote::error::Disposition;
use memtide::remote::r2::R2;
use memtide::remote::vector_row::VectorRow;
use memtide::remote::vectorize::Vectorize;
use std::time::Duration;

fn vector(text: &str, dims: usize) -> VectorRow {
    let values = UnitVector::normalise(vec![1.0; dims]).expect("a direction");
    let tags: Vec<String> = (0..100).map(|n| format!("{n:02}{}", "é".repeat(98))).collect();
    let tags = tags.iter().map(String::as_str);
    VectorRow::new(&MemoryId::of(text), values, "note", tags, Micros(0), Stamp::default())
}

#[tokio::test]
async fn vectors_become_visible_and_go_again() {
    let world = World::new(Options::default());
    world.init().await;
    let index = Vectorize::new(world.remote.clone(), "memories");
    let rows: Vec<_> = (0..120).map(|n| vector(&n.to_string(), 384)).collect();
    let (taken, mutation) = index.upsert(&rows).await.expect("accepted");
    assert_eq!(taken, 120);
    let accepted_at = mutation.at.expect("the server's time");
    world.pass(Duration::from_mins(2));
    let info = index.info().await.expect("info");
    assert_eq!(info.vector_count, 120);
    assert!(info.processed_up_to().is_some_and(|at| at >= accepted_at), "{info:?}");

    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let found = index.get_by_ids(&ids).await.expect("vectors");
    assert_eq!(found.len(), 120);
    assert_eq!(found[0].values, rows[0].values.as_slice());
    assert_eq!(found[0].metadata["content_hash"], ids[0].as_str());
    assert!(index.delete(&ids).await.expect("accepted").is_some());
    world.pass(Duration::from_mins(2));
    assert!(index.get_by_ids(&ids).await.expect("none").is_empty());
    index.create_metadata_index("memory_type", "string").await.expect("accepted");
}

#[tokio::test]
async fn a_vector_of_another_length_is_parked_with_its_request() {
    let world = World::new(Options::default());
    world.init().await;
    let index = Vectorize::new(world.remote.clone(), "memories");
    let error = index.upsert(&[vector("a", 384), vector("b", 3)]).await.expect_err("3 components");
    assert_eq!((error.disposition, error.code), (Disposition::Park, Some(40012)), "{error}");
}

#[tokio::test]
async fn a_body_goes_into_the_bucket_and_out() {
    let world = World::new(Options::default());
    world.init().await;
    let bucket = R2::new(world.remote.clone(), "memories");
    let key = "content/00ff-000000000001000200000003.txt";
    let body = Bytes::from("\"é\" ".repeat(400_000));
    bucket.put(key, body.clone()).await.expect("stored");
    assert_eq!(world.account.core().object_keys("memories").expect("a bucket"), [key]);
    assert_eq!(bucket.get(key).await.expect("an answer"), Some(body));
    bucket.delete(key).await.expect("deleted");
    assert_eq!(bucket.get(key).await.expect("an answer"), None);
    bucket.delete(key).await.expect("nothing to delete");
}

#[tokio::test]
async fn texts_are_embedded_in_the_python_services_space() {
    let world = World::new(Options::default());
    let contract = Contract::python();
    let model = contract.ai.expect("a model");
    let vectors = ai::embed(&world.remote, &model, contract.dims, &["one", "two", "one"]).await;
    let vectors = vectors.expect("vectors");
    assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [768, 768, 768]);
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    assert!(world.remote.usage().neurons() > 0);
}
