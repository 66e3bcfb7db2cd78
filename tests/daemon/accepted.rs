//! Inputs at their limits and of unusual form: taken, and given back as they were.

use crate::home::{Home, PROGRAM};
use serde_json::{Value, json};

fn stored(home: &Home, body: &Value) -> Value {
    let answer = home.ask("POST", "/v1/memories", body.to_string().as_bytes());
    let start: String = body.to_string().chars().take(80).collect();
    assert_eq!(answer.status, 200, "{start}: {:?}", answer.json);
    let id = answer.json["id"].as_str().unwrap();
    home.ask("GET", &format!("/v1/memories/{id}"), b"").json
}

#[test]
fn texts_come_back_byte_for_byte() {
    let home = Home::new();
    let _daemon = home.daemon();
    let texts = [
        "x".to_owned(),
        "y".repeat(1_048_576),
        "é".repeat(524_288),
        "\"\\\u{1}\u{7f}".repeat(1000),
        "  outer space \r\n".to_owned(),
        "👩‍👩‍👧‍👦 ünï\u{301}cödé \u{202e}rtl \u{feff}bom".to_owned(),
        "'; DROP TABLE memory; --".to_owned(),
        "NEAR(a b) OR \"c\" AND -d col:e* ^f".to_owned(),
        "$(rm -rf ~) `id` %s %n {{x}}".to_owned(),
    ];
    for text in &texts {
        let memory = stored(&home, &json!({ "content": text }));
        assert!(
            memory["content"] == text.as_str(),
            "{:?}",
            &text.chars().take(30).collect::<String>()
        );
    }
    assert_eq!(home.counts()[0], texts.len());
    // What reads as syntax elsewhere is only words here.
    for query in ["NEAR(a b)", "\"c\" AND", "col:e*", "DROP TABLE memory", "-d ^f", "'", "\"", "*"]
    {
        for mode in ["keyword", "exact", "hybrid"] {
            let body = json!({"query": query, "mode": mode}).to_string();
            let answer = home.ask("POST", "/v1/search", body.as_bytes());
            assert_eq!(answer.status, 200, "{mode} {query}: {:?}", answer.json);
        }
    }
}

#[test]
fn tags_types_and_metadata_at_their_limits() {
    let home = Home::new();
    let _daemon = home.daemon();
    let tags: Vec<String> = (0..100).map(|n| format!("{n:03}{}", "é".repeat(97))).collect();
    let memory = stored(&home, &json!({"content": "many tags", "tags": tags}));
    assert_eq!(memory["tags"], json!(tags));
    let given = json!([" Rust ", "a,b", "RUST", "", "two  words", "🦀 Crab", "c++/x:y'\"%"]);
    let memory = stored(&home, &json!({"content": "odd tags", "tags": given}));
    assert_eq!(memory["tags"], json!(["a-b", "c++/x:y'\"%", "rust", "two  words", "🦀 crab"]));
    for tag in ["a,b", " RUST", "%F0%9F%A6%80+crab", "c%2B%2B%2Fx%3Ay%27%22%25"] {
        let path = format!("/v1/memories?tag={}", tag.replace(' ', "%20"));
        assert_eq!(home.ask("GET", &path, b"").json["total"], 1, "{tag}");
    }
    let memory = stored(&home, &json!({"content": "a type", "memory_type": "é".repeat(100)}));
    assert_eq!(memory["memory_type"], "é".repeat(100));
    let deep = (1..32).fold(json!({}), |inner, _| json!({ "k": inner }));
    assert_eq!(stored(&home, &json!({"content": "deep", "metadata": deep}))["metadata"], deep);
    let large = json!({ "k": "x".repeat(65_536 - 8) });
    assert_eq!(stored(&home, &json!({"content": "large", "metadata": large}))["metadata"], large);
    let odd =
        json!({"": null, "nul": "\0", "n": 1e300, "i": 9_007_199_254_740_993_i64, "é\"": [true]});
    assert_eq!(stored(&home, &json!({"content": "odd", "metadata": odd}))["metadata"], odd);
}

#[test]
fn searches_and_pages_at_their_limits() {
    let home = Home::new();
    let _daemon = home.daemon();
    for n in 0..101 {
        home.store(&format!("wren number {n}"));
    }
    for (n, found) in [(1, 1), (100, 100)] {
        let body = json!({"query": "wren", "n": n}).to_string();
        let answer = home.ask("POST", "/v1/search", body.as_bytes()).json;
        assert_eq!(answer["hits"].as_array().unwrap().len(), found);
        let page = home.ask("GET", &format!("/v1/memories?page_size={n}"), b"").json;
        assert_eq!(page["memories"].as_array().unwrap().len(), found);
        assert_eq!((&page["total"], &page["has_more"]), (&json!(101), &json!(true)));
    }
    let last = home.ask("GET", "/v1/memories?page_size=100&page=2", b"").json;
    assert_eq!((last["memories"].as_array().unwrap().len(), &last["has_more"]), (1, &json!(false)));
    let beyond = format!("/v1/memories?page_size=100&page={}", i64::MAX);
    assert_eq!(home.ask("GET", &beyond, b"").json["memories"], json!([]));
    for query in [format!("wren {}", "é".repeat(4093)), format!("{}wren", "a ".repeat(4094))] {
        assert!((8190..=8192).contains(&query.len()));
        for mode in ["keyword", "hybrid", "exact"] {
            let body = json!({"query": query, "mode": mode}).to_string();
            assert_eq!(home.ask("POST", "/v1/search", body.as_bytes()).status, 200, "{mode}");
        }
    }
}

#[test]
fn standard_input_holds_what_an_argument_can_not() {
    let home = Home::new();
    let _daemon = home.daemon();
    let text = "z".repeat(1_048_576);
    let said = home.run_with(&["store", "--json"], format!("{text}\r\n").as_bytes());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let id = said.json()["id"].as_str().unwrap().to_owned();
    let found = home.run(&["get", &id, "--json"]).json();
    assert!(found["content"] == text.as_str(), "the line end belongs to the shell");
    let said = home.run_with(&["store", "-"], "-n --help\n".as_bytes());
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = home.run(&["store", "--", "--not-an-option"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(std::path::Path::new(PROGRAM).exists());
}
