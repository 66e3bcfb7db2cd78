//! The REST API, emulated or real.

use crate::subject::Subject;
use memtide::clock::{Clock, Micros, Sleep};
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Database and bucket of the suite in a real account; both are deleted at the end.
const NAME: &str = "memtide-conformance";

/// A clock that the subject moves, so that the emulator's write-once-a-second rule costs no time.
struct Stepping(AtomicI64);

impl Clock for Stepping {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

/// An account behind the REST API.
pub struct Account {
    name: &'static str,
    runtime: tokio::runtime::Runtime,
    client: Client,
    base: String,
    token: String,
    database: String,
    emulated: Option<(Running, Arc<Stepping>)>,
}

impl Account {
    /// A fresh emulated account.
    pub fn emulated() -> Self {
        let clock = Arc::new(Stepping(AtomicI64::new(1_780_000_000_000_000)));
        let mut options = Options::default();
        options.limits.requests_per_5min = None;
        let running = server::start(clock.clone(), 1, options).expect("a loopback port");
        let base = format!("{}/accounts/{}", running.base_url(), running.account_id());
        let token = running.token().to_owned();
        Self::open("emulator", base, token, Some((running, clock)))
    }

    /// The account that the environment names, if it asks for that.
    pub fn real() -> Option<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        read("MEMTIDE_CONFORMANCE_LIVE").filter(|value| value == "1")?;
        let api = read("CLOUDFLARE_API_BASE_URL")
            .unwrap_or_else(|| "https://api.cloudflare.com/client/v4".to_owned());
        let account = read("CLOUDFLARE_ACCOUNT_ID").expect("CLOUDFLARE_ACCOUNT_ID is set");
        let token = read("CLOUDFLARE_API_TOKEN").expect("CLOUDFLARE_API_TOKEN is set");
        Some(Self::open("live", format!("{api}/accounts/{account}"), token, None))
    }

    fn open(
        name: &'static str,
        base: String,
        token: String,
        emulated: Option<(Running, Arc<Stepping>)>,
    ) -> Self {
        // Another test of this process may have been first.
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut client = Client::builder();
        if emulated.is_some() {
            client = client.no_proxy();
        }
        let client = client.build().expect("a client");
        let mut account =
            Self { name, runtime, client, base, token, database: String::new(), emulated };
        let made = account.json("POST", "d1/database", Some(json!({"name": NAME})));
        made["result"]["uuid"].as_str().expect("a database's id").clone_into(&mut account.database);
        let made = account.json("POST", "r2/buckets", Some(json!({"name": NAME})));
        assert_eq!(made["success"], true, "{made}");
        account
    }

    fn send(&self, method: &str, path: &str, body: Vec<u8>, kind: &str) -> (u16, Vec<u8>, String) {
        // Short names for what the account made for the suite.
        let path = path
            .replace("d1/query", &format!("d1/database/{}/query", self.database))
            .replace("d1/raw", &format!("d1/database/{}/raw", self.database))
            .replace("r2/object", &format!("r2/buckets/{NAME}/objects"));
        let request = self
            .client
            .request(method.parse::<Method>().expect("a method"), format!("{}/{path}", self.base))
            .bearer_auth(&self.token)
            .header("content-type", kind)
            .body(body);
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
            let etag = etag.unwrap_or_default().to_owned();
            let status = response.status().as_u16();
            (status, response.bytes().await.expect("a whole answer").to_vec(), etag)
        })
    }

    fn json(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let (_, answer, _) = self.send(method, path, body, "application/json");
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// HTTP status and Cloudflare's code (0 if there is none) of one call.
    pub fn status_and_code(&self, method: &str, path: &str, body: Option<Value>) -> (u16, u64) {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let (status, answer, _) = self.send(method, path, body, "application/json");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["success"], status < 300);
        (status, answer["errors"][0]["code"].as_u64().unwrap_or(0))
    }

    fn result(&self, path: &str, body: Value) -> Result<Value, String> {
        let answer = self.json("POST", path, Some(body));
        if answer["success"] == true {
            return Ok(answer["result"].clone());
        }
        Err(answer["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.emulated.is_none() {
            let list = self.json("GET", "r2/object?per_page=1000", None);
            for object in list["result"].as_array().into_iter().flatten() {
                let key = object["key"].as_str().unwrap_or_default();
                self.json("DELETE", &format!("r2/object/{key}"), None);
            }
            self.json("DELETE", &format!("r2/buckets/{NAME}"), None);
            self.json("DELETE", &format!("d1/database/{}", self.database), None);
        }
    }
}

fn described(object: &Value) -> Value {
    // REST tells sizes as strings, bindings as numbers.
    let size: u64 = object["size"].as_str().and_then(|size| size.parse().ok()).expect("a size");
    let etag = object["etag"].as_str().expect("an etag").trim_matches('"');
    json!({"key": object["key"], "size": size, "etag": etag})
}

impl Subject for Account {
    fn name(&self) -> &'static str {
        self.name
    }

    fn d1(&mut self, batch: &[Value]) -> Result<Vec<Value>, String> {
        let result = self.result("d1/query", json!({"batch": batch}))?;
        Ok(result.as_array().expect("a list").clone())
    }

    fn d1_raw(&mut self, sql: &str) -> Result<Value, String> {
        Ok(self.result("d1/raw", json!({"sql": sql}))?[0]["results"].clone())
    }

    fn r2_put(&mut self, key: &str, bytes: &[u8]) -> Value {
        let (_, answer, _) =
            self.send("PUT", &format!("r2/object/{key}"), bytes.to_vec(), "text/plain");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["success"], true, "{answer}");
        described(&answer["result"])
    }

    fn r2_get(&mut self, key: &str) -> Option<(String, Vec<u8>)> {
        let (status, bytes, etag) =
            self.send("GET", &format!("r2/object/{key}"), Vec::new(), "text/plain");
        (status != 404).then(|| (etag.trim_matches('"').to_owned(), bytes))
    }

    fn r2_list(&mut self, prefix: &str) -> Value {
        let answer = self.json("GET", &format!("r2/object?prefix={prefix}"), None);
        answer["result"].as_array().expect("a list").iter().map(described).collect()
    }

    fn r2_delete(&mut self, key: &str) {
        let answer = self.json("DELETE", &format!("r2/object/{key}"), None);
        assert_eq!(answer["success"], true, "{answer}");
    }

    fn pass_time(&mut self) {
        match &self.emulated {
            Some((_, clock)) => {
                clock.0.fetch_add(1_000_000, Ordering::SeqCst);
            }
            // The real service takes one write a second for each key.
            None => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}
