//! Vectorize: visibility and limits.

use super::{code, desk};
use crate::emulator::options::Options;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn vectors_become_visible_later_and_in_order() {
    let desk = desk(Options::default());
    let vector =
        |id: &str, values: [f64; 3]| json!({"id": id, "values": values, "metadata": {"rev": 1}});
    let (status, accepted) =
        desk.upsert(&[vector("a", [1.0, 0.0, 0.0]), vector("b", [0.0, 1.0, 0.0])]);
    assert_eq!(status, 200);
    let query = json!({"vector": [1.0, 0.1, 0.0], "returnMetadata": "all"});
    assert_eq!(desk.index("query", &query).1["result"]["count"], 0);
    assert_eq!(desk.core.n_waiting_mutations("vectors").unwrap(), 1);
    desk.clock.advance(20);
    let (_, found) = desk.index("query", &query);
    assert_eq!(found["result"]["matches"][0]["id"], "a");
    assert_eq!(found["result"]["matches"][0]["metadata"]["rev"], 1);
    let (_, info) = desk.ask("GET", "vectorize/v2/indexes/vectors/info", &Value::Null);
    assert_eq!(info["result"]["processedUpToMutation"], accepted["result"]["mutationId"]);
    assert_eq!(info["result"]["processedUpToDatetime"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(info["result"]["vectorCount"], 2);

    desk.index("delete_by_ids", &json!({"ids": ["a"]}));
    let insert = "{\"id\":\"b\",\"values\":[9,9,9]}\n".to_owned();
    desk.send("POST", "vectorize/v2/indexes/vectors/insert", insert);
    desk.clock.advance(20);
    let (_, got) = desk.index("get_by_ids", &json!({"ids": ["a", "b", "zz"]}));
    assert_eq!(
        got["result"],
        json!([{"id": "b", "values": [0.0, 1.0, 0.0], "metadata": {"rev": 1}}])
    );
    let (_, list) = desk.ask("GET", "vectorize/v2/indexes/vectors/list?count=1", &Value::Null);
    assert_eq!(list["result"]["vectors"], json!([{"id": "b"}]));
    assert_eq!(list["result"]["isTruncated"], false);
}

#[test]
fn vectorize_refuses_beyond_its_limits() {
    let desk = desk(Options { vectorize_delay: Duration::ZERO, ..Options::default() });
    let good = json!({"id": "good", "values": [1, 2, 3]});
    let with = |extra: Value| {
        let mut line = good.clone();
        line.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        line
    };
    // One bad line refuses the whole batch.
    let bad = desk.upsert(&[good.clone(), with(json!({"id": "bad", "values": [1, 2]}))]);
    assert_eq!(code(&bad), (400, 40012));
    assert_eq!(
        bad.1["errors"][0]["message"],
        "invalid vector for id=\"bad\", expected 3 dimensions, and got 2 dimensions"
    );
    assert!(desk.core.visible_vectors("vectors").unwrap().is_empty());
    assert_eq!(code(&desk.upsert(&[with(json!({"id": "x".repeat(65)}))])), (400, 40008));
    assert_eq!(desk.upsert(&[with(json!({"id": "x".repeat(64)}))]).0, 200);
    assert_eq!(code(&desk.upsert(&[with(json!({"namespace": "n".repeat(65)}))])), (400, 40009));
    // {"k":"…"} has 8 bytes around its text.
    assert_eq!(desk.upsert(&[with(json!({"metadata": {"k": "m".repeat(10_232)}}))]).0, 200);
    assert_eq!(
        code(&desk.upsert(&[with(json!({"metadata": {"k": "m".repeat(10_233)}}))])),
        (400, 40016)
    );
    let many: Vec<Value> = (0..5_001).map(|n| with(json!({"id": n.to_string()}))).collect();
    assert_eq!(code(&desk.upsert(&many)), (400, 40006));
    assert_eq!(desk.upsert(&many[..5_000]).0, 200);
    assert_eq!(code(&desk.upsert(&[json!("no vector")])), (400, 40023));

    let ids = |n: usize| json!({"ids": (0..n).map(|n| n.to_string()).collect::<Vec<_>>()});
    assert_eq!(desk.index("get_by_ids", &ids(20)).1["result"].as_array().unwrap().len(), 20);
    assert_eq!(code(&desk.index("get_by_ids", &ids(21))), (400, 40007));
    assert_eq!(desk.index("delete_by_ids", &ids(100)).0, 200);
    assert_eq!(code(&desk.index("delete_by_ids", &ids(101))), (400, 40007));

    let query = |extra: Value| {
        let mut body = json!({"vector": [1, 2, 3]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        desk.index("query", &body)
    };
    assert_eq!(query(json!({"topK": 100})).1["result"]["count"], 100);
    assert_eq!(code(&query(json!({"topK": 101}))), (400, 40025));
    assert_eq!(code(&query(json!({"topK": 51, "returnValues": true}))), (400, 40025));
    assert_eq!(query(json!({"topK": 50, "returnMetadata": "all"})).0, 200);
    assert_eq!(code(&query(json!({"returnMetadata": true}))), (400, 40026));
    assert_eq!(code(&query(json!({"vector": [1, 2]}))), (400, 40006));
    let unknown = desk.ask("GET", "vectorize/v2/indexes/nope/info", &Value::Null);
    assert_eq!(code(&unknown), (404, 3000));
}

#[test]
fn an_index_name_is_never_used_twice() {
    let desk = desk(Options::default());
    let same = json!({"name": "vectors", "config": {"dimensions": 3, "metric": "cosine"}});
    assert_eq!(code(&desk.ask("POST", "vectorize/v2/indexes", &same)), (409, 3002));
    assert_eq!(desk.ask("DELETE", "vectorize/v2/indexes/vectors", &Value::Null).0, 200);
    assert_eq!(code(&desk.ask("POST", "vectorize/v2/indexes", &same)), (409, 3002));
    let preset = json!({"name": "other", "config": {"preset": "@cf/baai/bge-base-en-v1.5"}});
    let (_, made) = desk.ask("POST", "vectorize/v2/indexes", &preset);
    assert_eq!(made["result"]["config"]["dimensions"], 768);
}

#[test]
fn only_vectors_written_after_a_metadata_index_can_be_filtered() {
    let desk = desk(Options { vectorize_delay: Duration::ZERO, ..Options::default() });
    let line = |id: &str| json!({"id": id, "values": [1, 2, 3], "metadata": {"type": "note"}, "namespace": "n"});
    desk.upsert(&[line("before")]);
    let make = json!({"propertyName": "type", "indexType": "string"});
    assert_eq!(desk.index("metadata_index/create", &make).0, 200);
    desk.upsert(&[line("after")]);
    let (_, found) = desk.index(
        "query",
        &json!({"vectorId": "after", "filter": {"type": "note"}, "namespace": "n"}),
    );
    assert_eq!(found["result"]["count"], 1);
    assert_eq!(found["result"]["matches"][0]["id"], "after");
    let (_, list) =
        desk.ask("GET", "vectorize/v2/indexes/vectors/metadata_index/list", &Value::Null);
    assert_eq!(list["result"]["metadataIndexes"][0]["propertyName"], "type");
    desk.index("metadata_index/delete", &json!({"propertyName": "type"}));
    let (_, list) =
        desk.ask("GET", "vectorize/v2/indexes/vectors/metadata_index/list", &Value::Null);
    assert_eq!(list["result"]["metadataIndexes"], json!([]));
}

#[test]
fn vectors_may_come_as_a_form() {
    let desk = desk(Options { vectorize_delay: Duration::ZERO, ..Options::default() });
    let body = "--XX\r\nContent-Disposition: form-data; name=\"vectors\"; filename=\"v\"\r\n\r\n{\"id\":\"a\",\"values\":[1,2,3]}\n\r\n--XX--\r\n";
    let mut request = desk.request("POST", "vectorize/v2/indexes/vectors/upsert", body);
    request
        .headers_mut()
        .insert("content-type", "multipart/form-data; boundary=XX".parse().unwrap());
    assert_eq!(desk.core.handle(&request).answer().unwrap().status(), 200);
    assert_eq!(desk.core.visible_vectors("vectors").unwrap()[0].values, [1.0, 2.0, 3.0]);
}
