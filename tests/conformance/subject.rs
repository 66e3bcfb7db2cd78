//! Who is asked, and short forms of asking.

use serde_json::{Value, json};

/// Something that claims to be D1 and R2.
pub trait Subject {
    /// The name by which differences are listed.
    fn name(&self) -> &'static str;
    /// Runs `{"sql","params"}` statements as one batch: `{"results","meta"}` for each, or the
    /// error's text.
    fn d1(&mut self, batch: &[Value]) -> Result<Vec<Value>, String>;
    /// Runs one statement: its columns and its rows as arrays.
    fn d1_raw(&mut self, sql: &str) -> Result<Value, String>;
    /// Stores an object: `{"key","size","etag"}`.
    fn r2_put(&mut self, key: &str, bytes: &[u8]) -> Value;
    /// An object's etag and bytes.
    fn r2_get(&mut self, key: &str) -> Option<(String, Vec<u8>)>;
    /// The objects under a prefix: `[{"key","size","etag"}]`.
    fn r2_list(&mut self, prefix: &str) -> Value;
    /// Removes an object.
    fn r2_delete(&mut self, key: &str);
    /// Lets enough time pass for a key to be written again.
    fn pass_time(&mut self);
}

/// A statement.
pub fn ask(sql: &str) -> Value {
    json!({"sql": sql, "params": []})
}

/// A statement with parameters.
#[expect(clippy::needless_pass_by_value, reason = "every caller makes the list for this call")]
pub fn ask_with(sql: &str, params: Value) -> Value {
    json!({"sql": sql, "params": params})
}

/// The rows of one statement, or its error's text.
pub fn rows(subject: &mut dyn Subject, sql: &str, params: Value) -> Value {
    match subject.d1(&[ask_with(sql, params)]) {
        Ok(answers) => answers[0]["results"].clone(),
        Err(text) => Value::from(text),
    }
}

/// The first row of one statement, or its error's text.
pub fn row(subject: &mut dyn Subject, sql: &str, params: Value) -> Value {
    match rows(subject, sql, params) {
        Value::Array(rows) => rows.into_iter().next().unwrap_or_default(),
        other => other,
    }
}

/// `ok`, or the error's text, of one statement.
pub fn verdict(subject: &mut dyn Subject, sql: &str) -> Value {
    Value::from(subject.d1(&[ask(sql)]).map_or_else(|text| text, |_| "ok".to_owned()))
}

/// The verdict of each statement, each in a batch of its own.
pub fn verdicts(subject: &mut dyn Subject, statements: &[&str]) -> Value {
    statements.iter().map(|sql| verdict(subject, sql)).collect()
}

/// Runs statements as one batch that must succeed.
pub fn prepare(subject: &mut dyn Subject, statements: &[&str]) {
    let batch: Vec<Value> = statements.iter().map(|sql| ask(sql)).collect();
    subject.d1(&batch).unwrap_or_else(|text| panic!("{}: {text}", subject.name()));
}

/// One number of the `meta` of each statement, or the error's text.
pub fn counts(subject: &mut dyn Subject, count: &str, statements: &[&str]) -> Value {
    let batch: Vec<Value> = statements.iter().map(|sql| ask(sql)).collect();
    match subject.d1(&batch) {
        Ok(answers) => answers.iter().map(|answer| answer["meta"][count].clone()).collect(),
        Err(text) => Value::from(text),
    }
}

/// Drops everything that a case may have made.
pub fn clean(subject: &mut dyn Subject) {
    // Virtual tables first, as they take their shadow tables with them; the newest first, as
    // foreign keys point to older tables.
    let list = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') \
        AND substr(name, 1, 7) <> 'sqlite_' AND substr(name, 1, 4) <> '_cf_' \
        ORDER BY type <> 'trigger', sql NOT LIKE 'CREATE VIRTUAL%', \
        rowid DESC";
    let Value::Array(found) = rows(subject, list, json!([])) else { panic!("no schema to read") };
    let mut drops = vec![ask("PRAGMA defer_foreign_keys = ON")];
    drops.extend(found.iter().map(|object| {
        let (kind, name) = (object["type"].as_str(), object["name"].as_str());
        ask(&format!("DROP {} IF EXISTS \"{}\"", kind.unwrap(), name.unwrap()))
    }));
    if let Err(text) = subject.d1(&drops) {
        panic!("{}: cleaning up: {text}", subject.name());
    }
}

/// Tells the person who runs the tests something that is no failure.
#[expect(clippy::print_stderr, reason = "a skipped subject is said, not hidden")]
pub fn say(text: &str) {
    eprintln!("{text}");
}
