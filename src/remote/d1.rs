//! D1: statements in, rows out. One call is one transaction.

use super::cloudflare::{Cloudflare, DEADLINE, bare, json, segment};
use super::envelope::part;
use super::error::{Product, RemoteError};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// Bytes of one text parameter that D1 takes.
pub const PARAM_MAX_BYTES: usize = 2_000_000;

/// One statement. Parameters are texts and nulls only: a JSON number would be bound as a floating
/// point number, so integers travel as text and are cast by the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The SQL, with `?1`… for the parameters.
    pub sql: Cow<'static, str>,
    /// The parameters in order.
    pub params: Vec<Option<String>>,
}

impl Statement {
    /// A statement with parameters.
    pub fn new(sql: impl Into<Cow<'static, str>>, params: Vec<Option<String>>) -> Self {
        Self { sql: sql.into(), params }
    }

    /// A statement without parameters.
    pub fn plain(sql: impl Into<Cow<'static, str>>) -> Self {
        Self::new(sql, Vec::new())
    }
}

/// What one statement did and found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatementResult {
    columns: HashMap<String, usize>,
    rows: Vec<Vec<Value>>,
    /// Rows that were inserted, changed or deleted.
    pub changes: u64,
    /// Rows that count against the plan, indexes included.
    pub rows_written: u64,
    /// Rows that were looked at.
    pub rows_read: u64,
    /// Bytes of the database afterwards, if D1 says so.
    pub size_after: Option<u64>,
}

/// One row of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    columns: &'a HashMap<String, usize>,
    values: &'a [Value],
}

impl StatementResult {
    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.rows().next()
    }
}

impl<'a> Row<'a> {
    /// Whether the answer has such a column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// A value; `None` if there is no such column or it is null.
    pub fn value(&self, column: &str) -> Option<&'a Value> {
        self.values.get(*self.columns.get(column)?).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        self.value(column)?.as_str()
    }

    /// An integer, also one that came as text or as a whole floating point number.
    pub fn integer(&self, column: &str) -> Option<i64> {
        integer(self.value(column)?)
    }

    /// A number.
    pub fn real(&self, column: &str) -> Option<f64> {
        let value = self.value(column)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let real = number.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and exact")]
            let whole = real as i64;
            (real.fract() == 0.0 && real.abs() < 9_007_199_254_740_992.0).then_some(whole)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A database as the interface lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Its id.
    pub uuid: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Bytes it takes.
    #[serde(default)]
    pub file_size: Option<u64>,
}

#[derive(Deserialize)]
struct RawResult {
    #[serde(default)]
    results: RawRows,
    #[serde(default)]
    meta: RawMeta,
}

#[derive(Deserialize, Default)]
struct RawRows {
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    rows: Vec<Vec<Value>>,
}

#[derive(Deserialize, Default)]
struct RawMeta {
    changes: Option<Value>,
    rows_written: Option<Value>,
    rows_read: Option<Value>,
    size_after: Option<Value>,
}

#[derive(Serialize)]
struct Batch<'a> {
    batch: &'a [Statement],
}

/// One database.
#[derive(Debug, Clone)]
pub struct D1 {
    remote: Cloudflare,
    path: String,
}

impl D1 {
    /// The database with this id.
    pub fn new(remote: Cloudflare, database: &str) -> Self {
        let path = remote.path(&format!("/d1/database/{}", segment(database)));
        Self { remote, path }
    }

    /// Runs statements in one transaction; gives one result each.
    ///
    /// # Errors
    /// D1 refused the whole batch and changed nothing, or the answer was lost.
    pub async fn batch(
        &self,
        statements: &[Statement],
    ) -> Result<Vec<StatementResult>, RemoteError> {
        let path = format!("{}/raw", self.path);
        let request = match statements {
            [] => return Ok(Vec::new()),
            // Trigger bodies go through the form that takes one statement only.
            [one] => json(Product::D1, Method::POST, &path, one)?,
            batch => json(Product::D1, Method::POST, &path, &Batch { batch })?,
        };
        let answer = self.remote.call(Product::D1, request, DEADLINE).await?;
        let raw: Vec<RawResult> = part(Product::D1, answer.result)?;
        let results: Vec<StatementResult> = raw.into_iter().map(read_result).collect();
        let written = results.iter().map(|result| result.rows_written).sum();
        let read = results.iter().map(|result| result.rows_read).sum();
        self.remote.count_rows(written, read);
        if results.len() != statements.len() {
            let what = format!("{} results for {} statements", results.len(), statements.len());
            return Err(RemoteError::unreadable(Product::D1, &what));
        }
        Ok(results)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As [`D1::batch`].
    pub async fn run(&self, statement: Statement) -> Result<StatementResult, RemoteError> {
        let results = self.batch(&[statement]).await?;
        Ok(results.into_iter().next().unwrap_or_default())
    }

    /// What the account says about this database.
    ///
    /// # Errors
    /// It doesn't exist, or the request failed.
    pub async fn describe(&self) -> Result<Database, RemoteError> {
        let request = bare(Product::D1, Method::GET, &self.path)?;
        part(Product::D1, self.remote.call(Product::D1, request, DEADLINE).await?.result)
    }
}

fn read_result(raw: RawResult) -> StatementResult {
    let count =
        |value: Option<Value>| value.as_ref().and_then(integer).and_then(|n| u64::try_from(n).ok());
    let columns = raw.results.columns.into_iter().enumerate().map(|(at, name)| (name, at));
    StatementResult {
        columns: columns.collect(),
        rows: raw.results.rows,
        changes: count(raw.meta.changes).unwrap_or(0),
        rows_written: count(raw.meta.rows_written).unwrap_or(0),
        rows_read: count(raw.meta.rows_read).unwrap_or(0),
        size_after: count(raw.meta.size_after),
    }
}

/// Finds the database of exactly this name.
///
/// # Errors
/// The request failed.
pub async fn find(remote: &Cloudflare, name: &str) -> Result<Option<Database>, RemoteError> {
    let path = remote.path(&format!("/d1/database?name={}&per_page=100", segment(name)));
    let request = bare(Product::D1, Method::GET, &path)?;
    let answer = remote.call(Product::D1, request, DEADLINE).await?;
    let list: Vec<Database> = part(Product::D1, answer.result)?;
    Ok(list.into_iter().find(|database| database.name == name))
}

/// Creates a database.
///
/// # Errors
/// The name is taken (code 7502), the plan's number of databases is used up, or the request failed.
pub async fn create(remote: &Cloudflare, name: &str) -> Result<Database, RemoteError> {
    let body = serde_json::json!({ "name": name });
    let request = json(Product::D1, Method::POST, &remote.path("/d1/database"), &body)?;
    part(Product::D1, remote.call(Product::D1, request, DEADLINE).await?.result)
}

#[cfg(test)]
mod tests {
    use super::super::error::Disposition;
    use super::super::testing::{failure, ruled, sqlite, success};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn rows_are_read_by_column() {
        let (d1, _) = sqlite("");
        let sql = "SELECT CAST(?1 AS INTEGER) AS i, ?1 AS t, ?2 AS n, 7.0 AS f, 1 AS \"odd name\"";
        let params = vec![Some("9223372036854775807".to_owned()), None];
        let result = d1.run(Statement::new(sql, params)).await.expect("a result");
        let row = result.first().expect("a row");
        assert_eq!(row.integer("i"), Some(i64::MAX));
        assert_eq!(row.text("t"), Some("9223372036854775807"));
        assert_eq!(row.integer("t"), Some(i64::MAX));
        assert_eq!((row.value("n"), row.value("absent")), (None, None));
        assert_eq!((row.integer("f"), row.real("f")), (Some(7), Some(7.0)));
        assert_eq!(row.integer("odd name"), Some(1));
    }

    #[tokio::test]
    async fn a_batch_is_one_transaction_and_its_rows_are_counted() {
        let (d1, connection) = sqlite("");
        let create = Statement::plain("CREATE TABLE t(x TEXT UNIQUE)");
        let insert = Statement::new("INSERT INTO t VALUES (?1)", vec![Some("a".to_owned())]);
        let results = d1.batch(&[create, insert.clone()]).await.expect("both");
        assert_eq!(results[1].changes, 1);
        assert!(d1.remote.usage().rows_written >= 1);
        let other = Statement::new("INSERT INTO t VALUES (?1)", vec![Some("b".to_owned())]);
        let error = d1.batch(&[other, insert]).await.expect_err("the second breaks UNIQUE");
        assert_eq!(error.disposition, Disposition::Park);
        let n: i64 = connection
            .lock()
            .expect("a lock")
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .expect("a count");
        assert_eq!(n, 1, "nothing of the failed batch stays");
    }

    #[tokio::test]
    async fn one_statement_goes_alone_and_several_as_a_batch() {
        let (remote, transport, _) = ruled(|request| {
            let body: Value = serde_json::from_slice(request.body()).expect("JSON");
            let n = body.get("batch").map_or(1, |batch| batch.as_array().map_or(0, Vec::len));
            success(json!(vec![json!({"results": {}, "meta": {}}); n]))
        });
        let d1 = D1::new(remote, "id/1");
        let one = Statement::new("A", vec![None]);
        d1.batch(std::slice::from_ref(&one)).await.expect("a result");
        d1.batch(&[one, Statement::plain("B")]).await.expect("two results");
        assert!(d1.batch(&[]).await.expect("nothing to do").is_empty());
        let seen = transport.seen.lock().expect("a lock").clone();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].0, "POST /accounts/acc/d1/database/id%2F1/raw");
        assert_eq!(seen[0].1, r#"{"sql":"A","params":[null]}"#);
        let batch = r#"{"batch":[{"sql":"A","params":[null]},{"sql":"B","params":[]}]}"#;
        assert_eq!(seen[1].1, batch);
    }

    #[tokio::test]
    async fn an_answer_without_a_result_for_each_statement_is_asked_again() {
        let (remote, ..) = ruled(|_| success(json!([{"results": {"columns": [], "rows": []}}])));
        let two = [Statement::plain("A"), Statement::plain("B")];
        let error = D1::new(remote, "x").batch(&two).await.expect_err("one is missing");
        assert_eq!(error.disposition, Disposition::Retry);
    }

    #[tokio::test]
    async fn a_database_is_found_by_its_exact_name() {
        let (remote, transport, _) = ruled(|_| {
            success(json!([{"uuid": "1", "name": "mem-2"}, {"uuid": "2", "name": "mem", "new": 1}]))
        });
        assert_eq!(find(&remote, "mem").await.expect("a list").expect("a database").uuid, "2");
        assert_eq!(find(&remote, "me").await.expect("a list"), None);
        let line = transport.seen.lock().expect("a lock")[0].0.clone();
        assert_eq!(line, "GET /accounts/acc/d1/database?name=mem&per_page=100");
        let (remote, ..) = ruled(|_| failure(400, 7502, "exists"));
        assert!(create(&remote, "mem").await.expect_err("taken").has_code(7502));
    }
}
