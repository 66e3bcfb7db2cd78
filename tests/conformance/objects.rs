//! R2: objects by key.

use crate::case::{Case, case};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "an object's etag is its MD5",
            |subject| subject.r2_put("content/ab/one.txt", b"hello"),
            json!({"key": "content/ab/one.txt", "size": 5, "etag": "5d41402abc4b2a76b9719d911017c592"}),
        ),
        case(
            "an empty object is an object",
            |subject| {
                subject.r2_put("empty", b"");
                let (etag, bytes) = subject.r2_get("empty").expect("an object");
                json!([etag, bytes.len()])
            },
            json!(["d41d8cd98f00b204e9800998ecf8427e", 0]),
        ),
        case(
            "bytes come back as they went",
            |subject| {
                let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
                subject.r2_put("binary", &bytes);
                let (_, back) = subject.r2_get("binary").expect("an object");
                Value::from(bytes == back)
            },
            json!(true),
        ),
        case(
            "a second write of a key replaces the first",
            |subject| {
                subject.r2_put("twice", b"one");
                subject.pass_time();
                subject.r2_put("twice", b"two");
                let (etag, bytes) = subject.r2_get("twice").expect("an object");
                json!([etag, String::from_utf8_lossy(&bytes)])
            },
            json!(["b8a9f715dbb64fd5c56e7783c6820a61", "two"]),
        ),
        case(
            "a missing key is missing, also for deletion",
            |subject| {
                let before = subject.r2_get("never").is_none();
                subject.r2_delete("never");
                subject.r2_put("gone", b"x");
                subject.r2_delete("gone");
                json!([before, subject.r2_get("gone").is_none()])
            },
            json!([true, true]),
        ),
        case(
            "a list has the keys of its prefix in order",
            |subject| {
                for key in ["list/b", "list/a", "listless", "list/a/c"] {
                    subject.r2_put(key, b"x");
                }
                let list = subject.r2_list("list/");
                list.as_array()
                    .expect("a list")
                    .iter()
                    .map(|object| object["key"].clone())
                    .collect()
            },
            json!(["list/a", "list/a/c", "list/b"]),
        ),
    ]
}
