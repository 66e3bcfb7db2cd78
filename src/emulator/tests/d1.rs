//! D1 beyond what the conformance suite asks: names, quotas, time travel.

use super::{code, desk};
use crate::emulator::options::{Limits, Options};
use serde_json::{Value, json};

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
fn a_database_may_lie_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let d1_folder = Some(folder.path().join("d1"));
    let desk = desk(Options { d1_folder, ..Options::default() });
    let file = folder.path().join("d1").join(format!("{}.sqlite", desk.database));
    desk.sql(&json!({"sql": "CREATE TABLE t(a); INSERT INTO t VALUES(1)"}));
    let count = |sql: &str| {
        rusqlite::Connection::open(&file).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(count("SELECT count(*) FROM t"), Ok(1));
    desk.core.reset();
    assert_eq!(desk.core.create_database("memories").unwrap(), desk.database);
    assert!(count("SELECT count(*) FROM t").is_err(), "a reset account starts empty");
}
