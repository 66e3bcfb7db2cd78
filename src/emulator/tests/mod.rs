//! The core as a caller meets it, in virtual time.

mod d1;
mod network;
mod vectors;

use super::Cloudflare;
use super::options::{Limits, Options};
use super::tokens::{Permission, Status, Token};
use crate::clock::{Clock, Micros, Sleep};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
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
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let body = lines.join("\n");
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
