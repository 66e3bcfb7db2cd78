//! D1's engine: values, errors, transactions, the authorizer, counts.

use crate::case::{Case, case};
use crate::subject::{ask, ask_with, counts, prepare, row, rows, verdicts};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    [values(), forms(), transactions(), errors(), permitted(), refused(), counted(), triggers()]
        .concat()
}

fn values() -> Vec<Case> {
    vec![
        case(
            "JSON numbers bind as REAL",
            |subject| {
                prepare(subject, &["CREATE TABLE t(i INTEGER, x TEXT, n)"]);
                subject.d1(&[ask_with("INSERT INTO t VALUES(?1, ?1, ?1)", json!([7]))]).unwrap();
                row(
                    subject,
                    "SELECT typeof(?1) p, 'k' || ?1 k, typeof(i) i, x, typeof(n) n FROM t",
                    json!([7]),
                )
            },
            json!({"p": "real", "k": "k7.0", "i": "integer", "x": "7.0", "n": "real"}),
        ),
        case(
            "integers above 2^53 are rounded both ways, and kept as strings",
            |subject| {
                prepare(subject, &["CREATE TABLE t(i INTEGER)"]);
                let insert = |value: Value| ask_with("INSERT INTO t VALUES(?1)", json!([value]));
                subject
                    .d1(&[
                        insert(json!(9_007_199_254_740_993_i64)),
                        insert(json!("9007199254740993")),
                    ])
                    .unwrap();
                rows(subject, "SELECT i, CAST(i AS TEXT) AS s FROM t", json!([]))
            },
            json!([
                {"i": 9_007_199_254_740_992_i64, "s": "9007199254740992"},
                {"i": 9_007_199_254_740_992_i64, "s": "9007199254740993"},
            ]),
        ),
        case(
            "integers inside a JSON document stay whole",
            |subject| {
                row(
                    subject,
                    "SELECT typeof(value) t, CAST(value AS TEXT) s FROM json_each(?1)",
                    json!(["[9007199254740993]"]),
                )
            },
            json!({"t": "integer", "s": "9007199254740993"}),
        ),
        case(
            "an array of bytes is a blob, and comes back as one",
            |subject| row(subject, "SELECT typeof(?1) t, hex(?1) h, ?1 b", json!([[1, 2, 255]])),
            json!({"t": "blob", "h": "0102FF", "b": [1, 2, 255]}),
        ),
        case(
            "null, text, booleans and numbers come back",
            |subject| {
                row(
                    subject,
                    "SELECT ?1 n, ?2 t, ?3 b, ?4 x, ?5 w",
                    json!([null, "ä\u{0}z", true, 1.5, -3]),
                )
            },
            json!({"n": null, "t": "ä\u{0}z", "b": 1, "x": 1.5, "w": -3}),
        ),
        case(
            "infinities are null",
            |subject| row(subject, "SELECT 1e400 p, -1e400 m", json!([])),
            json!({"p": null, "m": null}),
        ),
        case(
            "text that looks like a number is stored by the column's type",
            |subject| {
                prepare(subject, &["CREATE TABLE t(i INTEGER, r REAL, x TEXT, n)"]);
                subject
                    .d1(&[ask_with("INSERT INTO t VALUES(?1, ?1, ?1, ?1)", json!(["12"]))])
                    .unwrap();
                row(
                    subject,
                    "SELECT typeof(i) i, typeof(r) r, typeof(x) x, typeof(n) n FROM t",
                    json!([]),
                )
            },
            json!({"i": "integer", "r": "real", "x": "text", "n": "text"}),
        ),
    ]
}

fn forms() -> Vec<Case> {
    vec![
        case(
            "columns of one name merge into the last",
            |subject| rows(subject, "SELECT 1 AS a, 2 AS a", json!([])),
            json!([{"a": 2}]),
        ),
        case(
            "raw rows keep every column",
            |subject| subject.d1_raw("SELECT 1 AS a, 2 AS a, x'01ff' AS b, NULL AS c").unwrap(),
            json!({"columns": ["a", "a", "b", "c"], "rows": [[1, 2, [1, 255], null]]}),
        ),
        case(
            "a parameter may be used twice",
            |subject| row(subject, "SELECT ?1 || ?2 || ?1 AS s", json!(["a", "b"])),
            json!({"s": "aba"}),
        ),
        case(
            "a wrong number of parameters is refused",
            |subject| {
                json!([
                    rows(subject, "SELECT ?1, ?2", json!(["x"])),
                    rows(subject, "SELECT ?1", json!(["x", "y"])),
                    rows(subject, "SELECT ?1", json!([])),
                    rows(subject, "SELECT ?2", json!(["x"])),
                ])
            },
            json!([
                "Wrong number of parameter bindings for SQL query.",
                "Wrong number of parameter bindings for SQL query.",
                "Wrong number of parameter bindings for SQL query.",
                "Wrong number of parameter bindings for SQL query.",
            ]),
        ),
        case(
            "RETURNING returns",
            |subject| {
                prepare(subject, &["CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER)"]);
                rows(
                    subject,
                    "INSERT INTO t VALUES('a', 1), ('b', 2) RETURNING id, n * 2 AS d",
                    json!([]),
                )
            },
            json!([{"id": "a", "d": 2}, {"id": "b", "d": 4}]),
        ),
        case(
            "text without a statement is refused",
            |subject| verdicts(subject, &["", "  \n", "-- only a comment"]),
            json!([
                "No SQL statements detected.",
                "No SQL statements detected.",
                "SQL code did not contain a statement.",
            ]),
        ),
        case(
            "several statements in one text answer one by one",
            |subject| {
                let answers = subject.d1(&[ask("SELECT 1 AS a; SELECT 2 AS b")]).unwrap();
                answers.iter().map(|answer| answer["results"][0].clone()).collect()
            },
            json!([{"a": 1}, {"b": 2}]),
        ),
    ]
}

fn transactions() -> Vec<Case> {
    const REFUSAL: &str = "To execute a transaction, please use the state.storage.transaction() or state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. The JavaScript API is safer because it will automatically roll back on exceptions, and because it interacts correctly with Durable Objects' automatic atomic write coalescing.";
    vec![
        case(
            "a failing batch leaves nothing",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a UNIQUE)"]);
                let failed = subject.d1(&[
                    ask("INSERT INTO t VALUES(1)"),
                    ask("CREATE TABLE u(a)"),
                    ask("INSERT INTO t VALUES(1)"),
                ]);
                let left = row(
                    subject,
                    "SELECT (SELECT count(*) FROM t) t, (SELECT count(*) FROM sqlite_schema WHERE name = 'u') u",
                    json!([]),
                );
                json!([failed.unwrap_err(), left])
            },
            json!([
                "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
                {"t": 0, "u": 0},
            ]),
        ),
        case(
            "a later statement of a batch sees the earlier ones",
            |subject| {
                let answers = subject
                    .d1(&[
                        ask("CREATE TABLE t(a)"),
                        ask("INSERT INTO t VALUES(5)"),
                        ask("SELECT a FROM t"),
                    ])
                    .unwrap();
                answers[2]["results"].clone()
            },
            json!([{"a": 5}]),
        ),
        case(
            "transactions of the caller's own are refused",
            |subject| {
                verdicts(
                    subject,
                    &["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "END"],
                )
            },
            json!([REFUSAL, REFUSAL, REFUSAL, REFUSAL, REFUSAL, REFUSAL]),
        ),
        case(
            "a deferred foreign key fails at the end of the batch",
            |subject| {
                prepare(
                    subject,
                    &[
                        "CREATE TABLE p(id INTEGER PRIMARY KEY)",
                        "CREATE TABLE c(p REFERENCES p(id))",
                    ],
                );
                let ran = subject.d1(&[
                    ask("PRAGMA defer_foreign_keys = ON"),
                    ask("INSERT INTO c VALUES(1)"),
                    ask("INSERT INTO p VALUES(1)"),
                ]);
                json!([ran.is_ok(), row(subject, "PRAGMA defer_foreign_keys", json!([]))])
            },
            json!([true, {"defer_foreign_keys": 0}]),
        ),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        case(
            "errors say what, where and which code",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a)"]);
                verdicts(
                    subject,
                    &[
                        "SELEC 1",
                        "SELECT nope FROM t",
                        "SELECT * FROM nope",
                        "SELECT nofunc(1)",
                        "SELECT 'open",
                        "CREATE TABLE t(a)",
                        "SELECT json_extract('{bad', '$.a')",
                        "SELECT abs(-9223372036854775808)",
                        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1;",
                    ],
                )
            },
            json!([
                "near \"SELEC\": syntax error at offset 0: SQLITE_ERROR",
                "no such column: nope at offset 7: SQLITE_ERROR",
                "no such table: nope: SQLITE_ERROR",
                "no such function: nofunc at offset 7: SQLITE_ERROR",
                "unrecognized token: \"'open\" at offset 7: SQLITE_ERROR",
                "table t already exists at offset 13: SQLITE_ERROR",
                "malformed JSON: SQLITE_ERROR",
                "integer overflow: SQLITE_ERROR",
                "incomplete input: SQLITE_ERROR",
            ]),
        ),
        case(
            "constraints say which",
            |subject| {
                prepare(
                    subject,
                    &[
                        "CREATE TABLE p(id TEXT PRIMARY KEY)",
                        "CREATE TABLE t(k INTEGER PRIMARY KEY, a CHECK(a > 1), b NOT NULL, c REFERENCES p(id), d UNIQUE)",
                        "CREATE TABLE s(i INTEGER) STRICT",
                        "CREATE TRIGGER g BEFORE DELETE ON p BEGIN SELECT RAISE(ABORT, 'kept'); END",
                        "INSERT INTO p VALUES('x')",
                        "INSERT INTO t VALUES(1, 2, 2, 'x', 2)",
                    ],
                );
                verdicts(
                    subject,
                    &[
                        "INSERT INTO p VALUES('x')",
                        "INSERT INTO t VALUES(1, 2, 2, 'x', 3)",
                        "INSERT INTO t VALUES(2, 2, 2, 'x', 2)",
                        "INSERT INTO t VALUES(2, 1, 2, 'x', 3)",
                        "INSERT INTO t VALUES(2, 2, NULL, 'x', 3)",
                        "INSERT INTO t VALUES(2, 2, 2, 'y', 3)",
                        "INSERT INTO s VALUES('text')",
                        "DELETE FROM p",
                    ],
                )
            },
            json!([
                "UNIQUE constraint failed: p.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)",
                "UNIQUE constraint failed: t.k: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)",
                "UNIQUE constraint failed: t.d: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
                "CHECK constraint failed: a > 1: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)",
                "NOT NULL constraint failed: t.b: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)",
                "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)",
                "cannot store TEXT value in INTEGER column s.i: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_DATATYPE)",
                "kept: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)",
            ]),
        ),
    ]
}

fn permitted() -> Vec<Case> {
    vec![
        case(
            "what the authorizer allows works",
            |subject| {
                prepare(
                    subject,
                    &[
                        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, j TEXT, a TEXT GENERATED ALWAYS AS (j ->> 'a') STORED)",
                        "CREATE TABLE s(k TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID",
                        "CREATE INDEX t_a ON t(a) WHERE a IS NOT NULL",
                        "CREATE VIEW v AS SELECT id, a FROM t",
                        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO s VALUES(NEW.id, 1) ON CONFLICT(k) DO UPDATE SET n = n + 1; END",
                        "CREATE VIRTUAL TABLE f USING fts5(body, tokenize = 'porter unicode61')",
                        "CREATE VIRTUAL TABLE tri USING fts5(body, tokenize = 'trigram')",
                        "CREATE VIRTUAL TABLE vocabulary USING fts5vocab(f, 'row')",
                        "INSERT INTO t(j) VALUES('{\"a\":\"x\"}')",
                        "INSERT INTO f VALUES('running dogs'), ('sleeping cats')",
                        "INSERT INTO f(f) VALUES('optimize')",
                        "INSERT INTO f(f) VALUES('rebuild')",
                        "ALTER TABLE s ADD COLUMN extra TEXT DEFAULT 'e'",
                        "ALTER TABLE s RENAME COLUMN extra TO more",
                        "ALTER TABLE s DROP COLUMN more",
                        "ALTER TABLE s RENAME TO z",
                        "ANALYZE",
                        "REINDEX",
                        "EXPLAIN QUERY PLAN SELECT * FROM t",
                        "DROP INDEX t_a",
                    ],
                );
                json!([
                    rows(subject, "SELECT * FROM v", json!([])),
                    rows(
                        subject,
                        "SELECT body, bm25(f) < 0 AS near, snippet(f, 0, '<', '>', '', 2) AS s FROM f WHERE f MATCH ?1",
                        json!(["dog"])
                    ),
                    rows(subject, "SELECT term FROM vocabulary ORDER BY term LIMIT 2", json!([])),
                    rows(
                        subject,
                        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3) SELECT x, sum(x) OVER (ORDER BY x) AS s FROM c",
                        json!([])
                    ),
                    rows(subject, "SELECT key, value FROM json_each('{\"a\":1}')", json!([])),
                    rows(subject, "SELECT k, n FROM z", json!([])),
                    row(
                        subject,
                        "SELECT typeof(unixepoch()) u, length(randomblob(8)) b, unhex('41') = x'41' AS h",
                        json!([])
                    ),
                ])
            },
            json!([
                [{"id": 1, "a": "x"}],
                [{"body": "running dogs", "near": 1, "s": "running <dogs>"}],
                [{"term": "cat"}, {"term": "dog"}],
                [{"x": 1, "s": 1}, {"x": 2, "s": 3}, {"x": 3, "s": 6}],
                [{"key": "a", "value": 1}],
                [{"k": "1", "n": 1}],
                {"u": "integer", "b": 8, "h": 1},
            ]),
        ),
        case(
            "some pragmas are allowed",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a)"]);
                let names = [
                    "table_info(t)",
                    "table_xinfo(t)",
                    "index_list(t)",
                    "index_info(t)",
                    "index_xinfo(t)",
                    "foreign_key_list(t)",
                    "table_list",
                    "foreign_key_check",
                    "quick_check",
                    "optimize",
                    "data_version",
                    "foreign_keys",
                    "defer_foreign_keys",
                    "case_sensitive_like",
                    "ignore_check_constraints",
                    "legacy_alter_table",
                    "recursive_triggers",
                    "reverse_unordered_selects",
                ];
                let refused = names
                    .iter()
                    .filter(|name| subject.d1(&[ask(&format!("PRAGMA {name}"))]).is_err());
                refused.copied().collect()
            },
            json!([]),
        ),
    ]
}

fn refused() -> Vec<Case> {
    const AUTH: &str = "not authorized: SQLITE_AUTH";
    vec![
        case(
            "the other pragmas are refused",
            |subject| {
                let names = [
                    "user_version",
                    "user_version = 3",
                    "journal_mode",
                    "integrity_check",
                    "page_size",
                    "page_count",
                    "table_info",
                    "index_list",
                    "synchronous",
                    "schema_version",
                    "compile_options",
                    "function_list",
                    "writable_schema = ON",
                    "encoding",
                    "wal_checkpoint",
                    "no_such_pragma",
                ];
                let verdicts =
                    names.iter().map(|name| subject.d1(&[ask(&format!("PRAGMA {name}"))]));
                Value::from(
                    verdicts.filter(|v| v.as_ref().err().is_some_and(|text| text == AUTH)).count(),
                )
            },
            json!(16),
        ),
        case(
            "what reaches outside the database is refused",
            |subject| {
                verdicts(
                    subject,
                    &[
                        "ATTACH ':memory:' AS other",
                        "DETACH other",
                        "CREATE TEMP TABLE t(a)",
                        "CREATE TEMP VIEW v AS SELECT 1",
                        "CREATE VIRTUAL TABLE v USING vec0(a float[3])",
                        "CREATE VIRTUAL TABLE v USING rtree(a, b, c)",
                        "CREATE VIRTUAL TABLE v USING dbstat(a)",
                        "CREATE TABLE _cf_own(a)",
                        "VACUUM",
                    ],
                )
            },
            json!([
                AUTH,
                AUTH,
                AUTH,
                AUTH,
                AUTH,
                AUTH,
                AUTH,
                AUTH,
                "cannot VACUUM from within a transaction: SQLITE_ERROR",
            ]),
        ),
        case(
            "some functions are refused",
            |subject| {
                verdicts(
                    subject,
                    &[
                        "SELECT sqlite_version()",
                        "SELECT json_pretty('[]')",
                        "SELECT sqlite_source_id()",
                    ],
                )
            },
            json!([
                "not authorized to use function: sqlite_version at offset 7: SQLITE_ERROR",
                "not authorized to use function: json_pretty at offset 7: SQLITE_ERROR",
                "not authorized to use function: sqlite_source_id at offset 7: SQLITE_ERROR",
            ]),
        ),
        case(
            "a constant default is needed for a new column",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a)", "INSERT INTO t VALUES(1)"]);
                verdicts(
                    subject,
                    &[
                        "ALTER TABLE t ADD COLUMN b DEFAULT (unixepoch())",
                        "ALTER TABLE t ADD COLUMN b DEFAULT 0",
                    ],
                )
            },
            json!(["Cannot add a column with non-constant default: SQLITE_ERROR", "ok"]),
        ),
    ]
}

fn counted() -> Vec<Case> {
    const TABLES: [&str; 3] = [
        "CREATE TABLE t(id TEXT PRIMARY KEY, rev INTEGER, body TEXT)",
        "CREATE INDEX t_rev ON t(rev)",
        "CREATE TABLE w(id TEXT PRIMARY KEY, v) WITHOUT ROWID",
    ];
    const CHANGES: [&str; 9] = [
        "INSERT INTO t VALUES('a', 1, 'x')",
        "INSERT INTO t VALUES('b', 1, 'x'), ('c', 1, 'x')",
        "INSERT INTO w VALUES('a', 1)",
        "INSERT INTO t VALUES('a', 2, 'y') ON CONFLICT(id) DO UPDATE SET rev = excluded.rev, body = excluded.body WHERE excluded.rev > t.rev",
        "INSERT INTO t VALUES('a', 2, 'y') ON CONFLICT(id) DO UPDATE SET rev = excluded.rev, body = excluded.body WHERE excluded.rev > t.rev",
        "UPDATE t SET body = 'z' WHERE id = 'a'",
        "UPDATE t SET rev = 9",
        "DELETE FROM t WHERE id = 'a'",
        "DELETE FROM w WHERE id = 'nobody'",
    ];
    vec![
        case(
            "rows written count indexes too",
            |subject| {
                prepare(subject, &TABLES);
                counts(subject, "rows_written", &CHANGES)
            },
            json!([3, 6, 1, 2, 0, 1, 6, 1, 0]),
        ),
        case(
            "changes count rows",
            |subject| {
                prepare(subject, &TABLES);
                counts(subject, "changes", &CHANGES)
            },
            json!([1, 2, 1, 1, 0, 1, 3, 1, 0]),
        ),
        case(
            "a statement tells whether it changed the database",
            |subject| {
                prepare(subject, &["CREATE TABLE t(a)"]);
                counts(
                    subject,
                    "changed_db",
                    &["INSERT INTO t VALUES(1)", "SELECT * FROM t", "DELETE FROM t WHERE a = 2"],
                )
            },
            json!([true, false, false]),
        ),
    ]
}

fn triggers() -> Vec<Case> {
    const SPLIT: &str = "incomplete input: SQLITE_ERROR";
    vec![case(
        "a trigger's text needs upper-case BEGIN, line feeds and no CASE … END",
        |subject| {
            prepare(subject, &["CREATE TABLE t(a)"]);
            verdicts(
                subject,
                &[
                    "CREATE TRIGGER a AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = 1; DELETE FROM t WHERE a = 2; END",
                    "CREATE TRIGGER b AFTER INSERT ON t\nBEGIN\nDELETE FROM t WHERE a = 1;\nEND",
                    "CREATE TRIGGER c AFTER INSERT ON t begin DELETE FROM t WHERE a = 1; end",
                    "CREATE TRIGGER d AFTER INSERT ON t\r\nBEGIN\r\nDELETE FROM t WHERE a = 1;\r\nEND",
                    "CREATE TRIGGER e AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = CASE WHEN 1 THEN 2 END; DELETE FROM t WHERE a = 3; END",
                ],
            )
        },
        json!(["ok", "ok", SPLIT, SPLIT, SPLIT]),
    )]
}
