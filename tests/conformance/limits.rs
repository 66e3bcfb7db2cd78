//! D1's limits, one below and one above.

use crate::case::{Case, case};
use crate::subject::{Subject, prepare, row, rows, verdict, verdicts};
use serde_json::{Value, json};

/// `SELECT` with `count` terms, joined.
fn joined(count: usize, term: &str, joint: &str) -> String {
    format!("SELECT {}", vec![term; count].join(joint))
}

fn lengths(subject: &mut dyn Subject, lengths: &[usize]) -> Value {
    lengths
        .iter()
        .map(|n| row(subject, "SELECT length(?1) AS n", json!(["x".repeat(*n)])))
        .collect()
}

pub fn cases() -> Vec<Case> {
    let mut all = of_statements();
    all.extend(of_values());
    all
}

fn of_statements() -> Vec<Case> {
    vec![
        case(
            "a statement takes 100 parameters",
            |subject| {
                let list = |n: usize| {
                    let names: Vec<String> = (1..=n).map(|n| format!("?{n}")).collect();
                    format!("SELECT 'x' IN ({}) AS n", names.join(","))
                };
                let params = |n: usize| json!(vec!["x"; n]);
                json!([
                    row(subject, &list(100), params(100)),
                    rows(subject, &list(101), params(101)),
                    rows(
                        subject,
                        &vec!["?"; 101].join(",").replacen('?', "SELECT ?", 1),
                        params(101)
                    ),
                ])
            },
            json!([
                {"n": 1},
                "variable number must be between ?1 and ?100 at offset 407: SQLITE_ERROR",
                "too many SQL variables at offset 207: SQLITE_ERROR",
            ]),
        ),
        case(
            "a statement takes 100,000 bytes",
            |subject| {
                let padded = |n: usize| format!("SELECT 1 AS a{}", " ".repeat(n - 13));
                let [exact, over] = [100_000, 100_001].map(padded);
                assert_eq!(exact.len(), 100_000);
                verdicts(subject, &[&exact, &over])
            },
            json!(["ok", "statement too long: SQLITE_TOOBIG"]),
        ),
        case(
            "a compound SELECT takes 5 terms, VALUES any number",
            |subject| {
                let values = format!("VALUES {}", vec!["(1)"; 500].join(","));
                let [five, six] = [5, 6].map(|n| joined(n, "1", " UNION ALL SELECT "));
                verdicts(subject, &[&five, &six, &values])
            },
            json!(["ok", "too many terms in compound SELECT: SQLITE_ERROR", "ok"]),
        ),
        case(
            "an expression is 100 deep",
            |subject| {
                let [or, more_or] = [100, 101].map(|n| joined(n, "1", " OR "));
                let [glued, more_glued] = [100, 101].map(|n| joined(n, "1", " || "));
                let list = format!("SELECT 1 IN ({})", vec!["1"; 1_000].join(","));
                verdicts(subject, &[&or, &more_or, &glued, &more_glued, &list])
            },
            json!([
                "ok",
                "Expression tree is too large (maximum depth 100): SQLITE_ERROR",
                "ok",
                "Expression tree is too large (maximum depth 100): SQLITE_ERROR",
                "ok",
            ]),
        ),
        case(
            "a table takes 100 columns",
            |subject| {
                let table = |n: usize| {
                    let columns: Vec<String> = (0..n).map(|n| format!("c{n}")).collect();
                    format!("CREATE TABLE wide{n}({})", columns.join(","))
                };
                verdicts(subject, &[&table(100), &table(101)])
            },
            json!(["ok", "too many columns on wide101: SQLITE_ERROR"]),
        ),
        case(
            "a function takes 32 arguments",
            |subject| {
                let call = |n: usize| format!("SELECT max({})", vec!["1"; n].join(","));
                verdicts(subject, &[&call(32), &call(33), &call(127), &call(128)])
            },
            json!([
                "ok",
                "too many arguments on function max at offset 7: SQLITE_ERROR",
                "too many arguments on function max at offset 7: SQLITE_ERROR",
                "too many arguments on function max at offset 7: SQLITE_ERROR",
            ]),
        ),
    ]
}

fn of_values() -> Vec<Case> {
    vec![
        case(
            "a LIKE or GLOB pattern takes 50 bytes",
            |subject| {
                let ask =
                    |operator: &str, n: usize| format!("SELECT 'a' {operator} '{}'", "x".repeat(n));
                verdicts(
                    subject,
                    &[&ask("LIKE", 50), &ask("LIKE", 51), &ask("GLOB", 50), &ask("GLOB", 51)],
                )
            },
            json!([
                "ok",
                "LIKE or GLOB pattern too complex: SQLITE_ERROR",
                "ok",
                "LIKE or GLOB pattern too complex: SQLITE_ERROR",
            ]),
        ),
        case(
            "a string takes 2,000,000 bytes",
            |subject| lengths(subject, &[2_000_000, 2_000_001]),
            json!([{"n": 2_000_000}, "string or blob too big: SQLITE_TOOBIG"]),
        ),
        case(
            "no engine takes a string over 4 MiB",
            |subject| lengths(subject, &[4_194_305]),
            json!(["string or blob too big: SQLITE_TOOBIG"]),
        ),
        case(
            "a value made by SQL is bound by the same limit",
            |subject| {
                verdicts(
                    subject,
                    &["SELECT length(zeroblob(2000000))", "SELECT hex(randomblob(1000001))"],
                )
            },
            json!(["ok", "string or blob too big: SQLITE_TOOBIG"]),
        ),
        case(
            "a row takes 2,000,000 bytes over all columns",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a, b)"]);
                let half =
                    |n: usize| format!("INSERT INTO t VALUES(zeroblob({n}), randomblob({n}))");
                verdicts(subject, &[&half(990_000), &half(1_010_000)])
            },
            json!(["ok", "string or blob too big: SQLITE_TOOBIG"]),
        ),
        case(
            "a batch takes 1,000 statements",
            |subject| {
                let statements = vec!["INSERT INTO t VALUES(1)"; 1_000];
                let mut batch = vec!["CREATE TABLE t(a)"];
                batch.extend(statements);
                prepare(subject, &batch);
                row(subject, "SELECT count(*) AS n FROM t", json!([]))
            },
            json!({"n": 1_000}),
        ),
        case(
            "triggers set off triggers 10 levels deep",
            |subject| {
                let mut batch: Vec<String> =
                    (0..13).map(|n| format!("CREATE TABLE l{n}(a)")).collect();
                batch.extend((0..12).map(|n| {
                    format!(
                        "CREATE TRIGGER g{n} AFTER INSERT ON l{n} BEGIN INSERT INTO l{} VALUES(1); END",
                        n + 1
                    )
                }));
                prepare(subject, &batch.iter().map(String::as_str).collect::<Vec<_>>());
                json!([
                    verdict(subject, "INSERT INTO l2 VALUES(1)"),
                    verdict(subject, "INSERT INTO l1 VALUES(1)"),
                ])
            },
            json!(["ok", "too many levels of trigger recursion: SQLITE_ERROR"]),
        ),
    ]
}
