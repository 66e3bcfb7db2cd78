//! The core as a caller meets it, in virtual time.

use super::faults::{Effect, Reply, RetryAfter, Rule};
use super::options::{Limits, Options};
use super::outcome::Outcome;
use super::product::Product;
use super::tokens::{Permission, Status, Token};
use super::{Cloudflare, server};
use crate::clock::{Clock, Micros, Sleep};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Time that passes when the test says so.
struct Hand(AtomicI64);

impl Hand {
    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

struct Desk {
    core: Cloudflare,
    clock: Arc<Hand>,
    database: String,
}

fn desk(options: Options) -> Desk {
    let clock = Arc::new(Hand(AtomicI64::new(1_700_000_000_000_000)));
    let core = Cloudflare::new(clock.clone(), 1, options);
    let database = core.create_database("memories").unwrap();
    core.create_index("vectors", 3).unwrap();
    core.create_bucket("bodies").unwrap();
    Desk { core, clock, database }
}

impl Desk {
    fn request(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let account = &self.core.options().account_id;
        Request::builder()
            .method(method)
            .uri(format!("/client/v4/accounts/{account}/{path}"))
            .header("authorization", format!("Bearer {}", Options::TOKEN))
            .body(body.into())
            .unwrap()
    }

    fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        self.core.handle(&self.request(method, path, body)).answer().expect("an answer")
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(method, path, body);
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    fn sql(&self, body: &Value) -> (u16, Value) {
        self.ask("POST", &format!("d1/database/{}/query", self.database), body)
    }

    fn upsert(&self, lines: &[Value]) -> (u16, Value) {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let response = self.send("POST", "vectorize/v2/indexes/vectors/upsert", body);
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    fn index(&self, action: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", &format!("vectorize/v2/indexes/vectors/{action}"), body)
    }
}

fn code(answer: &(u16, Value)) -> (u16, u64) {
    (answer.0, answer.1["errors"][0]["code"].as_u64().unwrap_or(0))
}

#[test]
fn every_answer_has_a_ray_and_a_date() {
    let desk = desk(Options::default());
    for path in ["d1/database", "nothing/here"] {
        let response = desk.send("GET", path, "");
        assert_eq!(response.headers()["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(response.headers()["cf-ray"].len(), 20);
    }
    assert_eq!(code(&desk.ask("GET", "nothing/here", &Value::Null)), (404, 7003));
}

#[test]
fn a_database_is_found_by_name_and_deleted() {
    let desk = desk(Options::default());
    let (status, made) = desk.ask("POST", "d1/database", &json!({"name": "memories-2"}));
    assert_eq!(status, 200);
    let again = desk.ask("POST", "d1/database", &json!({"name": "memories-2"}));
    assert_eq!(code(&again), (400, 7502));
    let (_, list) = desk.ask("GET", "d1/database?name=memories&per_page=1&page=2", &Value::Null);
    assert_eq!(list["result"][0]["uuid"], made["result"]["uuid"]);
    assert_eq!(list["result_info"]["total_count"], 2);
    let path = format!("d1/database/{}", made["result"]["uuid"].as_str().unwrap());
    assert_eq!(desk.ask("GET", &path, &Value::Null).0, 200);
    assert_eq!(desk.ask("DELETE", &path, &Value::Null).0, 200);
    assert_eq!(code(&desk.ask("GET", &path, &Value::Null)), (404, 7404));
}

#[test]
fn several_statements_run_and_take_no_params() {
    let desk = desk(Options::default());
    let (status, ran) = desk.sql(&json!({"sql": "SELECT 1 a; SELECT 2 b;"}));
    assert_eq!((status, ran["result"].as_array().unwrap().len()), (200, 2));
    let refused = desk.sql(&json!({"sql": "SELECT ?1; SELECT ?1", "params": ["x"]}));
    assert_eq!(code(&refused), (400, 7400));
    assert_eq!(code(&desk.sql(&json!({"sql": "SELECT ?1", "params": [{}]}))), (400, 7400));
    assert_eq!(code(&desk.sql(&json!({"params": []}))), (400, 7400));
    assert_eq!(code(&desk.sql(&json!({"sql": " ; "}))), (400, 7500));
}

#[test]
fn what_a_transaction_would_change_stays_unchanged() {
    let desk = desk(Options::default());
    desk.sql(&json!({"sql": "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)"}));
    // The foreign key fails at the commit, after every statement succeeded.
    let late = desk.sql(&json!({"batch": [{"sql": "INSERT INTO c VALUES(9)"}]}));
    assert_eq!(code(&late), (400, 7500));
    let rows = desk.core.d1_rows("memories", "SELECT count(*) n FROM c").unwrap();
    assert_eq!(rows[0]["n"], rusqlite::types::Value::Integer(0));
}

#[test]
fn switches_last_one_call() {
    let desk = desk(Options::default());
    let same = |ran: &Value, at: usize| ran["result"][at]["results"][0]["same"].clone();
    let like = "SELECT 'A' LIKE 'a' AS same";
    let (_, within) = desk.sql(&json!({"sql": format!("PRAGMA case_sensitive_like = ON; {like}")}));
    assert_eq!(same(&within, 1), 0);
    let (_, after) = desk.sql(&json!({"sql": like}));
    assert_eq!(same(&after, 0), 1);
}

#[test]
fn a_restored_database_has_forgotten() {
    let desk = desk(Options::default());
    let base = format!("d1/database/{}/time_travel", desk.database);
    desk.sql(&json!({"sql": "CREATE TABLE t(a); INSERT INTO t VALUES(1)"}));
    let (_, marked) = desk.ask("GET", &format!("{base}/bookmark"), &Value::Null);
    let bookmark = marked["result"]["bookmark"].as_str().unwrap().to_owned();
    desk.clock.advance(60);
    desk.sql(&json!({"sql": "INSERT INTO t VALUES(2)"}));
    let count = || {
        desk.sql(&json!({"sql": "SELECT count(*) n FROM t"})).1["result"][0]["results"][0]["n"]
            .clone()
    };
    assert_eq!(count(), 2);
    let path = format!("{base}/restore?bookmark={bookmark}");
    let (status, restored) = desk.ask("POST", &path, &Value::Null);
    assert_eq!((status, count()), (200, json!(1)));
    let back = restored["result"]["previous_bookmark"].as_str().unwrap();
    desk.ask("POST", &format!("{base}/restore?bookmark={back}"), &Value::Null);
    assert_eq!(count(), 2);
    let path = format!("{base}/restore?timestamp=2023-11-14T22:13:50Z");
    assert_eq!(desk.ask("POST", &path, &Value::Null).0, 200);
    assert_eq!(count(), 1);
    let unknown = desk.ask("POST", &format!("{base}/restore?bookmark=x"), &Value::Null);
    assert_eq!(code(&unknown), (400, 7400));
}

#[test]
fn the_free_plan_writes_so_many_rows_a_day() {
    let mut limits = Limits::free();
    limits.d1_rows_written_per_day = Some(3);
    let desk = desk(Options { limits, ..Options::default() });
    desk.sql(&json!({"sql": "CREATE TABLE t(a)"}));
    let insert = json!({"sql": "INSERT INTO t VALUES(1),(2),(3)"});
    assert_eq!(desk.sql(&insert).0, 200);
    assert_eq!(desk.core.rows_written_today(), 3);
    let (status, refused) = desk.sql(&insert);
    let text = refused["errors"][0]["message"].as_str().unwrap();
    assert!(text.contains("exceeded D1's free tier daily row write limit"), "{text}");
    assert_eq!(status, 400);
    assert_eq!(desk.sql(&json!({"sql": "SELECT * FROM t"})).0, 200, "reading goes on");
    desk.clock.advance(86_400);
    assert_eq!(desk.sql(&insert).0, 200, "a new day");
}

#[test]
fn a_full_database_says_so() {
    let mut limits = Limits::paid();
    limits.d1_database_bytes = 200_000;
    let desk = desk(Options { limits, ..Options::default() });
    desk.sql(&json!({"sql": "CREATE TABLE t(a)"}));
    let (status, refused) = desk.sql(&json!({"sql": "INSERT INTO t VALUES(zeroblob(300000))"}));
    assert_eq!(refused["errors"][0]["message"], "Exceeded maximum DB size");
    assert_eq!(status, 400);
}

#[test]
fn tokens_are_of_a_kind_and_grant_what_they_grant() {
    let desk = desk(Options {
        tokens: vec![
            Token::user(Options::TOKEN).without(&[
                Permission::D1Write,
                Permission::R2Read,
                Permission::R2Write,
            ]),
            Token::account("of-the-account"),
            Token::user("switched-off").with_status(Status::Disabled),
            Token::user("too-old").with_status(Status::Expired),
        ],
        ..Options::default()
    });
    let verify = |path: &str, header: &str| {
        let request = Request::builder()
            .uri(format!("/client/v4/{path}/tokens/verify"))
            .header("authorization", header)
            .body(Bytes::new())
            .unwrap();
        let response = desk.core.handle(&request).answer().unwrap();
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        (response.status().as_u16(), body)
    };
    let account = format!("accounts/{}", Options::ACCOUNT_ID);
    let user = format!("Bearer {}", Options::TOKEN);
    let (status, body) = verify("user", &user);
    assert_eq!((status, &body["result"]["status"]), (200, &json!("active")));
    assert_eq!(body["messages"][0]["code"], 10000);
    assert_eq!(code(&verify("user", "Bearer of-the-account")), (401, 1000));
    assert_eq!(verify(&account, "Bearer of-the-account").0, 200);
    assert_eq!(verify("user", "Bearer switched-off").1["result"]["status"], "disabled");
    assert_eq!(code(&verify("user", "Bearer too-old")), (401, 1000));
    assert_eq!(code(&verify("user", "Basic eA==")), (400, 6003));

    assert_eq!(desk.ask("GET", "d1/database", &Value::Null).0, 200);
    assert_eq!(code(&desk.sql(&json!({"sql": "SELECT 1"}))), (403, 10000));
    assert_eq!(code(&desk.ask("GET", "r2/buckets", &Value::Null)), (403, 10000));
    assert_eq!(desk.ask("GET", "vectorize/v2/indexes", &Value::Null).0, 200);
    desk.core.set_tokens(Vec::new());
    assert_eq!(code(&desk.ask("GET", "d1/database", &Value::Null)), (401, 10000));
}

#[test]
fn another_account_is_not_served() {
    let desk = desk(Options::default());
    let mut request = desk.request("GET", "d1/database", "");
    *request.uri_mut() = "/client/v4/accounts/ffff/d1/database".parse().unwrap();
    let response = desk.core.handle(&request).answer().unwrap();
    assert_eq!(response.status(), 403);
}

#[test]
fn too_many_calls_close_the_api_for_five_minutes() {
    let mut limits = Limits::paid();
    limits.requests_per_5min = Some(5);
    let desk = desk(Options { limits, ..Options::default() });
    for _ in 0..5 {
        assert_eq!(desk.ask("GET", "d1/database", &Value::Null).0, 200);
    }
    let refused = desk.send("GET", "r2/buckets", "");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"300".parse().unwrap())
    );
    desk.clock.advance(299);
    assert_eq!(code(&desk.ask("GET", "d1/database", &Value::Null)), (429, 971));
    desk.clock.advance(1);
    assert_eq!(desk.ask("GET", "d1/database", &Value::Null).0, 200);
}

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
    let make = json!({"name": "vectors", "config": {"dimensions": 3, "metric": "cosine"}});
    assert_eq!(code(&desk.ask("POST", "vectorize/v2/indexes", &make)), (409, 3002));
    assert_eq!(desk.ask("DELETE", "vectorize/v2/indexes/vectors", &Value::Null).0, 200);
    assert_eq!(code(&desk.ask("POST", "vectorize/v2/indexes", &make)), (409, 3002));
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

#[test]
fn objects_are_bytes_with_an_md5() {
    let desk = desk(Options::default());
    let put = desk.send("PUT", "r2/buckets/bodies/objects/content%2Fa.txt", "hello");
    let put: Value = serde_json::from_slice(put.body()).unwrap();
    assert_eq!(put["result"]["key"], "content/a.txt");
    assert_eq!(put["result"]["etag"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(put["result"]["size"], "5");
    let got = desk.send("GET", "r2/buckets/bodies/objects/content/a.txt", "");
    assert_eq!(got.headers()["etag"], "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_eq!(got.body(), "hello");
    // One write a second for each key.
    let hasty = desk.send("PUT", "r2/buckets/bodies/objects/content/a.txt", "hello again");
    assert_eq!(hasty.status(), 429);
    desk.clock.advance(1);
    assert_eq!(desk.send("PUT", "r2/buckets/bodies/objects/content/a.txt", "x").status(), 200);
    let (_, list) = desk.ask("GET", "r2/buckets/bodies/objects?prefix=content/", &Value::Null);
    assert_eq!(list["result"][0]["size"], "1");
    assert_eq!(code(&desk.ask("DELETE", "r2/buckets/bodies", &Value::Null)), (409, 10008));
    desk.send("DELETE", "r2/buckets/bodies/objects/content/a.txt", "");
    assert_eq!(
        code(&desk.ask("GET", "r2/buckets/bodies/objects/content/a.txt", &Value::Null)),
        (404, 10007)
    );
    assert_eq!(code(&desk.ask("GET", "r2/buckets/none/objects/a", &Value::Null)), (404, 10006));
    let long = format!("r2/buckets/bodies/objects/{}", "k".repeat(1_025));
    assert_eq!(code(&desk.ask("PUT", &long, &json!(1))), (400, 10020));
    assert_eq!(code(&desk.ask("POST", "r2/buckets", &json!({"name": "bodies"}))), (409, 10004));
    let off = self::desk(Options::default());
    let off = Cloudflare::new(off.clock, 1, Options { r2_enabled: false, ..Options::default() });
    let response = off.handle(&desk.request("GET", "r2/buckets", "")).answer().unwrap();
    assert_eq!(response.status(), 403);
}

#[test]
fn models_take_texts_within_limits() {
    let mut limits = Limits::free();
    limits.neurons_per_day = Some(1);
    let desk = desk(Options { limits, ..Options::default() });
    let run = |body: Value| desk.ask("POST", "ai/run/@cf/baai/bge-base-en-v1.5", &body);
    let (status, ran) = run(json!({"text": ["one", "two"]}));
    assert_eq!((status, &ran["result"]["shape"]), (200, &json!([2, 768])));
    assert_eq!(ran["result"]["pooling"], "mean");
    let cls = run(json!({"text": "one", "pooling": "cls"})).1;
    assert_ne!(cls["result"]["data"][0], ran["result"]["data"][0]);
    assert_eq!(run(json!({"text": vec!["x"; 100]})).0, 200);
    assert_eq!(code(&run(json!({"text": vec!["x"; 101]}))), (400, 5006));
    assert_eq!(code(&run(json!({"text": ["x", ""]}))), (400, 5006));
    assert_eq!(code(&run(json!({"text": []}))), (400, 5006));
    assert_eq!(code(&run(json!({"text": "x", "pooling": "max"}))), (400, 5006));
    let other = desk.ask("POST", "ai/run/%40cf/nobody/nothing", &json!({"text": "x"}));
    assert_eq!(code(&other), (400, 5007));
    assert_eq!(run(json!({"text": "word ".repeat(200)})).0, 200);
    assert_eq!(desk.core.neurons_today(), 1);
    assert_eq!(code(&run(json!({"text": "x"}))), (429, 3036));
    desk.clock.advance(86_400);
    assert_eq!(run(json!({"text": "x"})).0, 200);
}

#[test]
fn faults_say_whether_the_request_was_executed() {
    let desk = desk(Options::default());
    desk.sql(&json!({"sql": "CREATE TABLE t(a)"}));
    let insert = |n: u32| {
        let path = format!("d1/database/{}/query", desk.database);
        let body = json!({"sql": format!("INSERT INTO t VALUES({n})")}).to_string();
        desk.core.handle(&desk.request("POST", &path, body))
    };
    let once = |effect: Effect| desk.core.inject(Rule::new(effect).on(Product::D1).times(1));
    let rules = [
        (once(Effect::Drop), false),
        (once(Effect::LoseAnswer), true),
        (once(Effect::CutAnswer { keep: 10 }), true),
        (once(Effect::reply(Reply::html(502))), false),
        (once(Effect::reply_after_execution(Reply::html(500))), true),
        (once(Effect::reply_after_execution(Reply::not_json())), true),
        (once(Effect::reply(Reply::throttled(971, RetryAfter::Seconds(3)))), false),
        (once(Effect::reply(Reply::error(413, 3006, "too large"))), false),
    ];
    let mut executed = 0;
    for (n, (rule, is_executed)) in rules.iter().enumerate() {
        let outcome = insert(u32::try_from(n).unwrap());
        executed += i64::from(*is_executed);
        let rows = desk.core.d1_rows("memories", "SELECT count(*) n FROM t").unwrap();
        assert_eq!(rows[0]["n"], rusqlite::types::Value::Integer(executed), "{rule:?} {outcome:?}");
        assert_eq!(desk.core.fired(*rule), 1);
        assert_eq!(desk.core.requests().last().unwrap().fault, Some(*rule));
    }
    assert!(matches!(insert(99), Outcome::Answer(response) if response.status() == 200));
    let statuses: Vec<Option<u16>> =
        desk.core.requests().iter().skip(1).map(|entry| entry.status).collect();
    assert_eq!(
        statuses,
        [None, None, Some(200), Some(502), Some(500), Some(200), Some(429), Some(413), Some(200)]
    );
}

#[test]
fn a_dead_network_executes_nothing() {
    let desk = desk(Options::default());
    desk.core.set_network(false);
    let outcome = desk.core.handle(&desk.request("POST", "r2/buckets", r#"{"name":"other"}"#));
    assert!(matches!(outcome, Outcome::NoAnswer));
    assert_eq!((desk.core.n_refused(), desk.core.n_requests(Product::R2)), (1, 0));
    desk.core.set_network(true);
    assert!(desk.core.object_keys("other").is_err());
    desk.core.reset();
    assert!(desk.core.object_keys("bodies").is_err(), "a reset account is empty");
}

/// Sends one request over TCP and reads until the connection ends.
fn over_tcp(running: &server::Running, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", running.port())).unwrap();
    let request = format!(
        "GET /client/v4/accounts/{}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        running.account_id(),
        running.token()
    );
    // A connection that ends before or while we talk is an answer too: none.
    stream.write_all(request.as_bytes()).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_server_answers_cuts_and_comes_back_on_its_port() {
    let clock = Arc::new(Hand(AtomicI64::new(0)));
    let running = server::start(clock, 1, Options::default()).unwrap();
    running.core().create_bucket("bodies").unwrap();
    let whole = over_tcp(&running, "r2/buckets");
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    assert!(whole.contains("\"bodies\""));

    let cut = running.core().inject(Rule::new(Effect::CutAnswer { keep: 5 }).times(1));
    let part = over_tcp(&running, "r2/buckets");
    let (head, body) = part.split_once("\r\n\r\n").expect("a head");
    let promised: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!((body.len(), running.core().fired(cut)), (5, 1));
    assert!(promised > 5);

    running.core().inject(Rule::new(Effect::LoseAnswer).times(1));
    assert_eq!(over_tcp(&running, "r2/buckets"), "");
    running.core().inject(Rule::new(Effect::Delay(Duration::from_secs(30))).times(1));
    assert!(over_tcp(&running, "r2/buckets").starts_with("HTTP/1.1 200"), "late, in virtual time");

    running.core().set_network(false);
    assert_eq!(over_tcp(&running, "r2/buckets"), "");
    running.core().set_network(true);

    let port = running.port();
    let core = running.stop();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is closed");
    let again = server::serve(core, port).unwrap();
    assert_eq!(again.port(), port);
    assert!(over_tcp(&again, "r2/buckets").contains("\"bodies\""), "the account lives on");
}
