//! Where a subject is known to answer otherwise, and how we know.

use serde_json::{Value, json};

/// A known difference.
pub struct Difference {
    /// Who answers otherwise.
    pub subject: &'static str,
    /// In which case.
    pub case: &'static str,
    /// What it answers instead.
    pub instead: Value,
    /// Where that is written or was seen.
    pub source: &'static str,
}

/// What `subject` answers in `case`, if that is known to be otherwise.
pub fn of(subject: &str, case: &str) -> Option<Value> {
    let known = all().into_iter().find(|d| d.subject == subject && d.case == case);
    known.map(|difference| difference.instead)
}

/// Every known difference.
pub fn all() -> Vec<Difference> {
    let local = |case, instead, source| Difference { subject: "workerd", case, instead, source };
    vec![
        local(
            "a string takes 2,000,000 bytes",
            json!([{"n": 2_000_000}, {"n": 2_000_001}]),
            "D1's documentation says 2 MB; the local engine enforces 4 MiB",
        ),
        local(
            "a value made by SQL is bound by the same limit",
            json!(["ok", "ok"]),
            "D1's documentation says 2 MB; the local engine enforces 4 MiB",
        ),
        local(
            "a row takes 2,000,000 bytes over all columns",
            json!(["ok", "ok"]),
            "D1's documentation says 2 MB; the local engine enforces 4 MiB",
        ),
        local(
            "a function takes 32 arguments",
            json!([
                "ok",
                "ok",
                "ok",
                "too many arguments on function max at offset 7: SQLITE_ERROR",
            ]),
            "D1's documentation says 32; the local engine enforces 127",
        ),
        local(
            "a trigger's text needs upper-case BEGIN, line feeds and no CASE … END",
            json!(["ok", "ok", "ok", "ok", "ok"]),
            "the REST API cuts the text before SQLite sees it (cloudflare/workers-sdk 15314, \
             14991, 4727); the binding doesn't",
        ),
        local(
            "several statements in one text answer one by one",
            json!([{"b": 2}]),
            "the REST API answers each statement; the binding answers the last one only",
        ),
    ]
}
