//! `memtide store`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::wire::{StoreAnswer, StoreRequest};
use crate::model::draft::TEXT_MAX_BYTES;
use serde_json::{Map, Value};
use std::io::Read as _;
use std::process::ExitCode;

/// Bytes read from standard input at most; the daemon's own limit is tighter.
const INPUT_MAX_BYTES: u64 = 32 << 20;

pub(super) fn run(session: &Session, args: args::Store) -> Result<ExitCode, Failure> {
    let content = match args.text.as_deref() {
        Some(text) if text != "-" => text.to_owned(),
        _ => read_input()?,
    };
    let metadata = entries(&args.metadata, false)?;
    let request = StoreRequest {
        content,
        tags: args.tags,
        memory_type: args.memory_type,
        metadata: (!metadata.is_empty()).then_some(Value::Object(metadata)),
    };
    let client = session.client()?;
    let answer: StoreAnswer = session.block_on(client.post("/v1/memories", &request))?;
    if args.json {
        output::json(&answer)?;
    } else {
        output::line(&answer.id)?;
        match (answer.created, answer.updated) {
            (true, _) => {}
            (false, true) => output::note("it was there already and has been updated"),
            (false, false) => output::note("it was there already"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A trailing line end belongs to the shell, not to the text.
fn read_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(INPUT_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_MAX_BYTES {
        return Err(Failure::new(format!("the text has more than {INPUT_MAX_BYTES} bytes"))
            .with_hint(format!("store it in parts of at most {TEXT_MAX_BYTES} bytes")));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(format!("the text is not valid UTF-8 at byte {at}"))
            .with_hint("convert it, for example with `iconv -t UTF-8`")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// `KEY=VALUE` entries as an object. A value that reads as JSON is taken as such; where `null_removes`,
/// an empty one is null.
pub(super) fn entries(given: &[String], null_removes: bool) -> Result<Map<String, Value>, Failure> {
    given
        .iter()
        .map(|entry| {
            let (key, value) =
                entry.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                    Failure::usage(format!("--meta {entry:?} is no KEY=VALUE"))
                        .with_hint("write it as in `--meta env=staging`")
                })?;
            let value = if value.is_empty() && null_removes {
                Value::Null
            } else {
                serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))
            };
            Ok((key.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_values_are_json_or_text() {
        let given = ["a=1", "b=x y", "c={\"d\":[]}", "e=", "f=a=b"].map(str::to_owned);
        let object = entries(&given, false).unwrap();
        assert_eq!(
            Value::Object(object),
            json!({"a": 1, "b": "x y", "c": {"d": []}, "e": "", "f": "a=b"})
        );
        assert_eq!(entries(&given, true).unwrap()["e"], Value::Null);
        assert!(entries(&["novalue".to_owned()], false).is_err());
        assert!(entries(&["=v".to_owned()], false).is_err());
    }
}
