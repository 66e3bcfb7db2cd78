//! What the tests of this module share: a clock that stands still, a transport that answers by
//! rule, and a database that runs D1's statements.

use super::budget::Budget;
use super::cloudflare::Cloudflare;
use super::d1::{D1, Statement};
use super::transport::{Transport, TransportError};
use crate::clock::{Clock, Micros, Sleep};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use rusqlite::Connection;
use rusqlite::types::{Value as Sql, ValueRef};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// 2023-11-14T22:13:20Z.
pub(super) const NOW: Micros = Micros(1_700_000_000_000_000);

/// A clock that moves only when told.
pub(super) struct Standing(pub(super) AtomicI64);

impl Clock for Standing {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

pub(super) type Reply = Result<http::Response<Bytes>, TransportError>;
type Rule = Box<dyn Fn(&http::Request<Bytes>) -> Reply + Send + Sync>;

/// Answers by a rule and keeps what was asked.
pub(super) struct Ruled {
    rule: Rule,
    pub(super) seen: Mutex<Vec<(String, Bytes)>>,
}

impl Transport for Ruled {
    fn send(&self, request: http::Request<Bytes>, _: Duration) -> BoxFuture<'_, Reply> {
        let line = format!("{} {}", request.method(), request.uri());
        self.seen.lock().expect("a lock").push((line, request.body().clone()));
        std::future::ready((self.rule)(&request)).boxed()
    }

    fn redact(&self, text: &str) -> String {
        text.replace("canary", "[hidden]")
    }
}

/// A handle whose requests are answered by `rule`.
pub(super) fn ruled(
    rule: impl Fn(&http::Request<Bytes>) -> Reply + Send + Sync + 'static,
) -> (Cloudflare, Arc<Ruled>, Arc<Standing>) {
    let transport = Arc::new(Ruled { rule: Box::new(rule), seen: Mutex::default() });
    let clock = Arc::new(Standing(AtomicI64::new(NOW.0)));
    let remote = Cloudflare::new(
        Arc::clone(&transport) as _,
        "acc",
        Arc::clone(&clock) as _,
        Budget::default(),
    );
    (remote, transport, clock)
}

/// An answer with an envelope.
#[expect(clippy::unnecessary_wraps, reason = "it is what a rule answers")]
pub(super) fn reply(status: u16, body: &Value) -> Reply {
    Ok(http::Response::builder()
        .status(status)
        .body(Bytes::from(body.to_string()))
        .expect("a response"))
}

/// A success.
#[expect(clippy::needless_pass_by_value, reason = "the tests write the value in the call")]
pub(super) fn success(result: Value) -> Reply {
    reply(200, &json!({"result": result, "success": true, "errors": [], "messages": []}))
}

/// A failure with one code.
pub(super) fn failure(status: u16, code: i64, message: &str) -> Reply {
    let errors = [json!({"code": code, "message": message})];
    reply(status, &json!({"result": null, "success": false, "errors": errors, "messages": []}))
}

/// A D1 client on an in-memory `SQLite`, and the connection behind it. Statements that `refuse` names
/// are refused by the authorizer.
pub(super) fn sqlite(refuse: &'static str) -> (D1, Arc<Mutex<Connection>>) {
    let connection = Connection::open_in_memory().expect("a database");
    connection.execute_batch("PRAGMA foreign_keys = ON").expect("foreign keys");
    let connection = Arc::new(Mutex::new(connection));
    let behind = Arc::clone(&connection);
    let (remote, _, _) = ruled(move |request| {
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        let statements = match body.get("batch") {
            Some(batch) => batch.as_array().expect("a list").clone(),
            None => vec![body],
        };
        let mut connection = behind.lock().expect("a lock");
        match run_batch(&mut connection, &statements, refuse) {
            Ok(results) => success(results.into()),
            Err(message) => failure(400, 7500, &message),
        }
    });
    (D1::new(remote, "db"), connection)
}

fn run_batch(
    connection: &mut Connection,
    statements: &[Value],
    refuse: &str,
) -> Result<Vec<Value>, String> {
    let transaction = connection.transaction().map_err(|error| error.to_string())?;
    let mut results = Vec::new();
    for statement in statements {
        let sql = statement["sql"].as_str().expect("a statement");
        if !refuse.is_empty() && sql.contains(refuse) {
            return Err("not authorized: SQLITE_AUTH".to_owned());
        }
        results.push(run(&transaction, sql, &statement["params"]).map_err(|e| e.to_string())?);
    }
    transaction.commit().map_err(|error| error.to_string())?;
    Ok(results)
}

fn run(connection: &Connection, sql: &str, params: &Value) -> Result<Value, rusqlite::Error> {
    let mut prepared = connection.prepare(sql)?;
    let columns: Vec<String> = prepared.column_names().into_iter().map(str::to_owned).collect();
    let params = params.as_array().into_iter().flatten().map(|param| match param {
        Value::Null => Sql::Null,
        Value::String(text) => Sql::Text(text.clone()),
        other => panic!("a parameter must be text or null, this is {other}"),
    });
    let mut found = prepared.query(rusqlite::params_from_iter(params))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values = (0..columns.len()).map(|at| row.get_ref(at).map(to_json));
        rows.push(values.collect::<Result<Vec<Value>, _>>()?);
    }
    drop(found);
    let changes = if prepared.readonly() { 0 } else { connection.changes() };
    let meta = json!({
        "changes": changes, "rows_written": changes, "rows_read": rows.len(),
        "last_row_id": connection.last_insert_rowid(),
    });
    Ok(json!({"results": {"columns": columns, "rows": rows}, "success": true, "meta": meta}))
}

fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => bytes.to_vec().into(),
    }
}

/// Runs statements as another writer would, in one transaction.
pub(super) async fn execute(d1: &D1, sql: &'static str, params: &[&str]) {
    let params = params.iter().map(|param| Some((*param).to_owned())).collect();
    d1.batch(&[Statement::new(sql, params)]).await.expect(sql);
}
