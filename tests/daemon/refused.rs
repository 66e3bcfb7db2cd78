//! Requests that the daemon refuses: the status, the code, the sentence and the hint of each, and that
//! nothing was changed.

use crate::home::Home;
use memtide::model::id::MemoryId;
use serde_json::{Value, json};
use std::collections::HashMap;

const TOO_LARGE: &str =
    "store it in parts, or raise `limits.text_bytes` in config.toml (up to 26214400)";
const KEYS: &str = "send a JSON object with the documented keys";
const SHORT: &str = "use a short word; longer notes belong in the text or the metadata";
const INTO_TEXT: &str = "put large or nested data into the text";
const RANGE: &str = "choose a value in this range";
const COPY: &str = "copy the id from `memtide list` or from a search";
const LOOK: &str = "look it up with `memtide list` or `memtide search`";
const TIMES: &str = "try `yesterday`, `last week`, `3 days ago`, `in March`, `between 2026-01-01 and \
                     2026-02-01` or a date";

/// Asks each and compares the answer with `status code: sentence | hint`.
fn refuse(home: &Home, method: &str, path: &str, cases: &[(Vec<u8>, String)]) {
    for (body, expected) in cases {
        let before = home.counts();
        let answer = home.ask(method, path, body);
        let start: String = String::from_utf8_lossy(body).chars().take(80).collect();
        assert_eq!(answer.line(), *expected, "{method} {path} {start}");
        assert_eq!(home.counts(), before, "{method} {path} {start} changed something");
    }
}

fn case(body: &Value, expected: impl Into<String>) -> (Vec<u8>, String) {
    (body.to_string().into_bytes(), expected.into())
}

fn bytes(body: &[u8], expected: impl Into<String>) -> (Vec<u8>, String) {
    (body.to_vec(), expected.into())
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "k": inner }))
}

fn sized(bytes: usize) -> Value {
    json!({ "k": "x".repeat(bytes - r#"{"k":""}"#.len()) })
}

fn tags(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("t{i}")).collect()
}

#[test]
fn texts() {
    let home = Home::new();
    let _daemon = home.daemon();
    let empty = "give some text to remember";
    let nul = "remove the NUL character; binary data can't be stored";
    let cases = [
        case(&json!({"content": ""}), format!("422 content_empty: the text is empty | {empty}")),
        case(
            &json!({"content": " \n\t\u{a0}\u{1f}"}),
            format!("422 content_empty: the text is empty (only white space) | {empty}"),
        ),
        case(
            &json!({"content": "x".repeat(1_048_577)}),
            format!(
                "413 content_too_large: the text has 1048577 bytes, the limit is 1048576 | {TOO_LARGE}"
            ),
        ),
        case(
            &json!({"content": "é".repeat(524_289)}),
            format!(
                "413 content_too_large: the text has 1048578 bytes, the limit is 1048576 | {TOO_LARGE}"
            ),
        ),
        case(
            &json!({"content": "é\0b"}),
            format!("422 nul_character: the text has a NUL character at byte 2 | {nul}"),
        ),
        bytes(
            b"{\"content\":\"a\xffb\"}",
            "400 invalid_utf8: the request is not valid UTF-8 at byte 13 | send UTF-8 text",
        ),
        bytes(
            br#"{"content":"\ud800"}"#,
            format!(
                "400 bad_request: the request is not understood: unexpected end of hex escape at \
                 line 1 column 19 | {KEYS}"
            ),
        ),
    ];
    refuse(&home, "POST", "/v1/memories", &cases);
    let id = home.store("something to change");
    let update = |body: &Value, expected: String| case(body, expected);
    let cases = [
        update(
            &json!({"content": " "}),
            format!("422 content_empty: the text is empty (only white space) | {empty}"),
        ),
        update(
            &json!({"content": "x".repeat(1_048_577)}),
            format!(
                "413 content_too_large: the text has 1048577 bytes, the limit is 1048576 | {TOO_LARGE}"
            ),
        ),
        update(
            &json!({}),
            "422 nothing_to_change: the update names nothing to change | give a new text, tags, a \
             type or metadata"
                .to_owned(),
        ),
    ];
    refuse(&home, "PATCH", &format!("/v1/memories/{id}"), &cases);
    let found = home.ask("GET", &format!("/v1/memories/{id}"), b"").json;
    assert_eq!(found["content"], "something to change");
}

#[test]
fn a_configured_limit_is_the_one_that_is_named() {
    let home = Home::new();
    let settings = "[embedding]\nfetch = \"never\"\n[limits]\ntext_bytes = 10\n";
    std::fs::write(home.root().join("config.toml"), settings).unwrap();
    let _daemon = home.daemon();
    let expected =
        format!("413 content_too_large: the text has 11 bytes, the limit is 10 | {TOO_LARGE}");
    let cases = [case(&json!({"content": "01234567890"}), expected)];
    refuse(&home, "POST", "/v1/memories", &cases);
    home.store("0123456789");
}

#[test]
fn tags_types_and_metadata() {
    let home = Home::new();
    let _daemon = home.daemon();
    let keep = "keep the tags you search by";
    let with = |name: &str, value: Value, expected: String| {
        let mut body = json!({"content": "a text"});
        body[name] = value;
        case(&body, expected)
    };
    let pairs = "give key-value pairs, as in {\"source\": \"chat\"}";
    let cases = [
        with(
            "tags",
            json!(tags(101)),
            format!("422 too_many_tags: 101 tags, the limit is 100 | {keep}"),
        ),
        with(
            "tags",
            json!(["é".repeat(101)]),
            format!(
                "422 tag_too_long: the tag {:?} has 101 characters, the limit is 100 | {SHORT}",
                "é".repeat(40)
            ),
        ),
        with(
            "tags",
            json!(["a\0"]),
            "422 nul_character: a tag has a NUL character at byte 1 | remove the NUL character; \
             binary data can't be stored"
                .to_owned(),
        ),
        with(
            "tags",
            json!("a,b"),
            format!(
                "400 bad_request: the request is not understood: invalid type: string \"a,b\", \
                 expected a sequence at line 1 column 32 | {KEYS}"
            ),
        ),
        with(
            "memory_type",
            json!("t".repeat(101)),
            format!(
                "422 type_too_long: the memory type has 101 characters, the limit is 100 | {SHORT}"
            ),
        ),
        with(
            "metadata",
            json!([1]),
            format!(
                "422 metadata_not_object: metadata is a JSON array, it must be an object | {pairs}"
            ),
        ),
        with(
            "metadata",
            json!("k=v"),
            format!(
                "422 metadata_not_object: metadata is a JSON string, it must be an object | {pairs}"
            ),
        ),
        with(
            "metadata",
            sized(65_537),
            format!(
                "413 metadata_too_large: the metadata has 65537 bytes as JSON, the limit is 65536 | \
                 {INTO_TEXT}"
            ),
        ),
        with(
            "metadata",
            nested(33),
            format!(
                "422 metadata_too_deep: the metadata is nested 33 levels deep, the limit is 32 | \
                 {INTO_TEXT}"
            ),
        ),
        with(
            "metadata",
            nested(126),
            format!(
                "422 metadata_too_deep: the metadata is nested 126 levels deep, the limit is 32 | \
                 {INTO_TEXT}"
            ),
        ),
        bytes(
            format!(
                "{{\"content\":\"a text\",\"metadata\":{}{{}}{}}}",
                "{\"k\":".repeat(9999),
                "}".repeat(9999)
            )
            .as_bytes(),
            "400 bad_request: the request is nested 10001 levels deep, the limit is 127 | put \
             nested data into the text",
        ),
    ];
    refuse(&home, "POST", "/v1/memories", &cases);
}

#[test]
fn what_only_both_stores_of_a_text_exceed() {
    let home = Home::new();
    let _daemon = home.daemon();
    let first = json!({"content": "twice", "tags": tags(60), "metadata": sized(40_000)});
    assert_eq!(home.ask("POST", "/v1/memories", first.to_string().as_bytes()).status, 200);
    let before = home.ask("GET", "/v1/memories", b"").json;
    let more: Vec<String> = (0..60).map(|i| format!("u{i}")).collect();
    let other = json!({ "other": "x".repeat(40_000) });
    let cases = [
        case(
            &json!({"content": "twice", "tags": more}),
            "422 too_many_tags: 120 tags, the limit is 100 | keep the tags you search by",
        ),
        case(
            &json!({"content": "twice", "metadata": other}),
            format!(
                "413 metadata_too_large: the metadata has 80011 bytes as JSON, the limit is 65536 | \
                 {INTO_TEXT}"
            ),
        ),
    ];
    refuse(&home, "POST", "/v1/memories", &cases);
    assert_eq!(home.ask("GET", "/v1/memories", b"").json, before);
}

#[test]
fn bodies_of_another_shape() {
    let home = Home::new();
    let _daemon = home.daemon();
    let bad = |what: &str| format!("400 bad_request: {what} | {KEYS}");
    let not = |what: &str| bad(&format!("the request is not understood: {what}"));
    let cases = [
        bytes(b"", not("missing field `content` at line 1 column 2")),
        bytes(b"{\"content\":", not("EOF while parsing a value at line 1 column 11")),
        bytes(b"content=a", not("expected value at line 1 column 1")),
        bytes(b" [\"a\"]", bad("the request is a JSON array, it must be an object")),
        bytes(
            b"\"a\"",
            not("invalid type: string \"a\", expected struct StoreRequest at line 1 column 3"),
        ),
        case(
            &json!({"content": "a", "colour": "red"}),
            not(
                "unknown field `colour`, expected one of `content`, `tags`, `memory_type`, `type`, \
                 `metadata` at line 1 column 9",
            ),
        ),
        bytes(
            br#"{"content":"a","content":"b"}"#,
            not("duplicate field `content` at line 1 column 24"),
        ),
        case(
            &json!({"content": 1}),
            not("invalid type: integer `1`, expected a string at line 1 column 12"),
        ),
    ];
    refuse(&home, "POST", "/v1/memories", &cases);
    let cases = [case(&json!({"query": "a", "colour": 1}), bad("the key \"colour\" is not known"))];
    refuse(&home, "POST", "/v1/search", &cases);
    let cases = [case(&json!({"tags": ["a"], "all": true}), bad("the key \"all\" is not known"))];
    refuse(&home, "POST", "/v1/memories/delete", &cases);
}

#[test]
fn routes_methods_and_parameters() {
    let home = Home::new();
    let _daemon = home.daemon();
    let listed = "the routes are listed in the README";
    let correct = "correct the address; the README lists the parameters";
    let bad = |what: &str| format!("400 bad_request: {what} | {correct}");
    let cases = [
        ("GET", "/", format!("404 unknown_route: there is no GET / | {listed}")),
        ("GET", "/v2/status", format!("404 unknown_route: there is no GET /v2/status | {listed}")),
        ("PUT", "/v1/status", format!("404 unknown_route: there is no PUT /v1/status | {listed}")),
        (
            "DELETE",
            "/v1/memories",
            format!("404 unknown_route: there is no DELETE /v1/memories | {listed}"),
        ),
        ("GET", "/v1/memories?colour=red", bad("the parameter \"colour\" is not known")),
        ("GET", "/v1/memories?tag=%FF", bad("the parameter \"%FF\" is not valid UTF-8")),
        (
            "GET",
            "/v1/memories?tags_all=maybe",
            bad("tags_all is \"maybe\", it must be true or false"),
        ),
        ("GET", "/v1/memories?page=two", bad("page is \"two\", not a number")),
        (
            "GET",
            "/v1/memories?page=0",
            format!("422 out_of_range: page is 0, it must be between 1 and {} | {RANGE}", i64::MAX),
        ),
        (
            "GET",
            "/v1/memories?page_size=0",
            format!("422 out_of_range: page_size is 0, it must be between 1 and 100 | {RANGE}"),
        ),
        (
            "GET",
            "/v1/memories?page_size=101",
            format!("422 out_of_range: page_size is 101, it must be between 1 and 100 | {RANGE}"),
        ),
        (
            "GET",
            "/v1/memories?after=soonish",
            format!("422 time_unknown: the time \"soonish\" is not understood | {TIMES}"),
        ),
        ("GET", "/v1/outbox?all=1", bad("the parameter \"all\" is not known")),
    ];
    for (method, path, expected) in cases {
        refuse(&home, method, path, &[(Vec::new(), expected)]);
    }
}

#[test]
fn searches() {
    let home = Home::new();
    let _daemon = home.daemon();
    let with = |name: &str, value: Value, expected: String| {
        let mut body = json!({"query": "a"});
        body[name] = value;
        case(&body, expected)
    };
    let words = "give a few words to search for";
    let range =
        |n: i64| format!("422 out_of_range: n is {n}, it must be between 1 and 100 | {RANGE}");
    let time =
        |text: &str| format!("422 time_unknown: the time {text:?} is not understood | {TIMES}");
    let cases = [
        with("query", json!(""), format!("422 query_empty: the query is empty | {words}")),
        with("query", json!(" \n"), format!("422 query_empty: the query is empty | {words}")),
        with(
            "query",
            json!("q".repeat(8193)),
            "422 query_too_large: the query has 8193 bytes, the limit is 8192 | search with a \
             sentence or two"
                .to_owned(),
        ),
        with("n", json!(0), range(0)),
        with("n", json!(-1), range(-1)),
        with("n", json!(101), range(101)),
        with(
            "n",
            json!("ten"),
            format!(
                "400 bad_request: the request is not understood: invalid type: string \"ten\", \
                 expected i64 at line 1 column 10 | {KEYS}"
            ),
        ),
        with(
            "mode",
            json!("fuzzy"),
            "400 bad_request: the mode \"fuzzy\" is not known | choose hybrid, semantic, keyword or \
             exact"
                .to_owned(),
        ),
        with("time", json!("gibberish"), time("gibberish")),
        with("time", json!(""), time("")),
        with("time", json!("last 9999999 years"), time("last 9999999 years")),
        with("after", json!("2026-02-30"), time("2026-02-30")),
        with(
            "before",
            json!("99999999999999999999 days ago"),
            time("99999999999999999999 days ago"),
        ),
        with(
            "time",
            json!("between 2026-02-01 and 2026-01-01"),
            "422 time_reversed: the time \"between 2026-02-01 and 2026-01-01\" ends before it \
             begins | name the earlier time first"
                .to_owned(),
        ),
        with(
            "tags",
            json!(tags(101)),
            "422 too_many_tags: 101 tags, the limit is 100 | keep the tags you search by"
                .to_owned(),
        ),
    ];
    refuse(&home, "POST", "/v1/search", &cases);
}

/// Two texts whose ids have the first four digits in common.
fn twins() -> (String, String, String) {
    let mut seen = HashMap::new();
    for n in 0.. {
        let text = format!("twin {n}");
        let prefix = MemoryId::of(&text).to_string()[..4].to_owned();
        if let Some(other) = seen.insert(prefix.clone(), text.clone()) {
            return (other, text, prefix);
        }
    }
    unreachable!("65,536 prefixes are soon used up")
}

#[test]
fn ids() {
    let home = Home::new();
    let _daemon = home.daemon();
    let (one, other, prefix) = twins();
    let (one, other) = (home.store(&one), home.store(&other));
    assert_eq!((&one[..4], &other[..4]), (prefix.as_str(), prefix.as_str()));
    let bad = |id: &str| {
        format!(
            "422 bad_id: {id:?} is not an id: an id, or the start of one, is 4 to 64 hex digits | {COPY}"
        )
    };
    let long = "a".repeat(65);
    let unknown = if prefix == "0000" { "1111" } else { "0000" };
    let cases = [
        (
            prefix.as_str(),
            format!(
                "409 ambiguous_id: {prefix} is the start of 2 ids | give more digits of the id"
            ),
        ),
        (unknown, format!("404 not_found: there is no memory {unknown} | {LOOK}")),
        ("zzzz", bad("zzzz")),
        ("abc", bad("abc")),
        (long.as_str(), bad(&long)),
        ("%FF", bad("%FF")),
        ("..%2Fstatus", bad("../status")),
    ];
    for (id, expected) in cases {
        let path = format!("/v1/memories/{id}");
        let change = json!({"tags": []}).to_string().into_bytes();
        refuse(&home, "GET", &path, &[(Vec::new(), expected.clone())]);
        refuse(&home, "PATCH", &path, &[(change, expected.clone())]);
        refuse(&home, "DELETE", &path, &[(Vec::new(), expected.clone())]);
        refuse(&home, "GET", &format!("{path}/history"), &[(Vec::new(), expected.clone())]);
        refuse(&home, "POST", &format!("{path}/restore"), &[(b"{}".to_vec(), expected)]);
    }
    // Enough digits tell them apart.
    let shared = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let found = home.ask("GET", &format!("/v1/memories/{}", &one[..=shared]), b"");
    assert_eq!(found.json["id"], one.as_str());
    let expected = format!(
        "404 no_version: memory {one} has no version 7 | list the versions with `memtide history`"
    );
    let cases = [case(&json!({"version": 7}), expected)];
    refuse(&home, "POST", &format!("/v1/memories/{one}/restore"), &cases);
}

#[test]
fn deletions_that_say_too_little_or_too_much() {
    let home = Home::new();
    let _daemon = home.daemon();
    let id = home.store("stays");
    let name = "name it, or leave it out";
    let cases = [
        case(
            &json!({}),
            "422 no_filter: a deletion by filter needs a tag, a type or a time | name the ids, or \
             give a tag, a type, `after` or `before`",
        ),
        case(
            &json!({"tags": [" "], "memory_type": "note"}),
            format!("422 blank_condition: the tag to delete by is empty | {name}"),
        ),
        case(
            &json!({"memory_type": "", "after": "yesterday"}),
            format!("422 blank_condition: the type to delete by is empty | {name}"),
        ),
        case(
            &json!({"ids": [id], "tags": ["a"]}),
            "400 bad_request: there are ids and a filter, only one of them counts | leave out the ids or \
             the filter",
        ),
        case(
            &json!({"ids": [id, MemoryId::of("never stored").to_string()]}),
            format!("404 not_found: there is no memory {} | {LOOK}", MemoryId::of("never stored")),
        ),
    ];
    refuse(&home, "POST", "/v1/memories/delete", &cases);
    assert_eq!(home.ask("DELETE", &format!("/v1/memories/{id}"), b"").status, 200);
    let again = home.ask("DELETE", &format!("/v1/memories/{id}"), b"").line();
    let gone = home.ask("GET", &format!("/v1/memories/{id}"), b"").line();
    assert_eq!(again, gone);
    assert!(gone.starts_with(&format!("404 not_found: memory {id} was deleted at 2")), "{gone}");
    assert!(gone.ends_with(" | bring it back with `memtide restore`"), "{gone}");
}

#[test]
fn the_rest() {
    let home = Home::new();
    let _daemon = home.daemon();
    let bad = |what: &str, hint: &str| format!("400 bad_request: {what} | {hint}");
    let retry = bad("the retry names nothing", "give the ids of memories, or `all`");
    refuse(&home, "POST", "/v1/outbox/retry", &[bytes(b"{}", retry)]);
    let model = bad(
        "there is no model gpt; choose one of all-MiniLM-L6-v2, bge-small-en-v1.5, bge-base-en-v1.5",
        "`memtide model list` shows them",
    );
    refuse(&home, "POST", "/v1/embedder/reload", &[case(&json!({"model": "gpt"}), model)]);
    let record = |form: u32, id: &str| json!({"records": [{"memtide": form, "id": id, "content": "a", "state": {}, "history": []}]});
    let anew = "export it anew; nothing of this page was taken";
    let cases = [
        case(&record(9, "ab"), bad("the record \"ab\" has form 9, this memtide reads 1", anew)),
        case(&record(1, "ab"), bad("the record \"ab\" has no valid id", anew)),
    ];
    refuse(&home, "POST", "/v1/import", &cases);
}

#[test]
fn a_text_for_a_bucket_that_is_not_there() {
    let home = Home::new();
    crate::kill::link(&home);
    let _daemon = home.daemon();
    let parts = "store it in parts, or create a bucket with `memtide cloud init` and link again";
    let refused = |actual: usize, limit: usize| {
        format!(
            "413 needs_bucket: the text takes {actual} bytes in the cloud database, which holds at \
             most {limit} bytes of it, and no R2 bucket is linked | {parts}"
        )
    };
    let cases = [
        case(&json!({"content": "\"".repeat(600_000)}), refused(1_200_000, 1_000_000)),
        case(&json!({"content": "x".repeat(1_000_001)}), refused(1_000_001, 1_000_000)),
    ];
    refuse(&home, "POST", "/v1/memories", &cases);
    home.store(&"x".repeat(1_000_000));
    assert_eq!(home.counts(), json!([1, 0, 1]));
}
