//! A status without what differs from run to run. Null stays null, and 0 stays 0.

use crate::device::Device;
use serde_json::Value;

/// Numbers that nobody can foretell.
const NUMBERS: [&str; 6] =
    ["pid", "rss_bytes", "cursor", "requests_5min", "d1_rows_written_today", "d1_rows_read_today"];

/// The status as text, with placeholders.
pub fn masked(device: &Device, status: &Value) -> String {
    let mut status = status.clone();
    let root = device.home.root().display().to_string();
    let texts = [(root, "<home>"), (device.database.clone(), "<database>")];
    mask("", &mut status, &texts);
    serde_json::to_string_pretty(&status).unwrap()
}

fn mask(key: &str, value: &mut Value, texts: &[(String, &str)]) {
    let placeholder = match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                mask(key, value, texts);
            }
            // How a network fails is the system's affair.
            if fields.get("state").is_some_and(|state| state == "offline")
                && let Some(Value::String(error)) = fields.get_mut("last_error")
            {
                *error = how_it_failed(error);
            }
            return;
        }
        Value::Array(values) => {
            for value in values {
                mask(key, value, texts);
            }
            return;
        }
        Value::String(_) if key.ends_with("_at") => "<instant>",
        Value::String(_) if key == "version" => "<version>",
        Value::String(text) => {
            for (what, placeholder) in texts {
                *text = text.replace(what, placeholder);
            }
            *text = without_ray(text);
            if key == "blocked_by" && text.contains("offline: ") {
                *text = how_it_failed(text);
            }
            return;
        }
        Value::Number(_) if key.ends_with("age_s") => "<seconds>",
        Value::Number(_) if key == "uptime_s" || key == "bytes" => "<number>",
        Value::Number(number) if NUMBERS.contains(&key) && number.as_u64() != Some(0) => "<number>",
        Value::Number(_) | Value::Null | Value::Bool(_) => return,
    };
    *value = Value::from(placeholder);
}

fn how_it_failed(text: &str) -> String {
    let (product, _) = text.split_once("D1: ").expect("the database's error");
    format!("{product}D1: <how the network failed>")
}

/// Each answer has a name of its own.
fn without_ray(text: &str) -> String {
    const RAY: &str = "cf-ray ";
    text.split_once(RAY).map_or_else(
        || text.to_owned(),
        |(before, after)| {
            let rest = after.split_once(')').map_or("", |(_, rest)| rest);
            format!("{before}{RAY}<ray>){rest}")
        },
    )
}
