//! Reads what callers send, and refuses it as the service does.

use super::filter::Filter;
use super::index::{Ask, Stored, WithMetadata};
use super::{NAME_BYTES, unparsable};
use crate::emulator::call::Call;
use crate::emulator::envelope::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Vectors of one batch over HTTP. Documented.
const BATCH: usize = 5_000;
/// Bytes of one batch. Documented.
const BATCH_BYTES: usize = 100_000_000;
/// Bytes of one vector's metadata as compact JSON. Documented.
const METADATA_BYTES: usize = 10_240;
/// Most matches of a query. Documented.
const TOP_K: usize = 100;
/// Most matches of a query that returns values or all metadata. Documented.
const TOP_K_FULL: usize = 50;
/// Matches of a query that doesn't say. Documented.
const TOP_K_DEFAULT: usize = 5;

#[derive(Deserialize)]
struct Line {
    id: String,
    values: Vec<f32>,
    namespace: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// The vectors of an upsert or insert. One bad line refuses all of them.
pub(super) fn vectors(call: &Call<'_>, dimensions: usize) -> Result<Vec<Stored>, Failure> {
    if call.body.len() > BATCH_BYTES {
        return Err(Failure::new(413, 40006, "request body too large; max is 100 MB"));
    }
    let text = String::from_utf8_lossy(payload(call));
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > BATCH {
        let text = format!(
            "too many vectors in payload; max vector count is {BATCH}, got {}",
            lines.len()
        );
        return Err(Failure::new(400, 40006, text));
    }
    let discards = call.param("unparsable-behavior") == Some("discard");
    let mut vectors = Vec::with_capacity(lines.len());
    for line in lines {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => vectors.push(checked(line, dimensions)?),
            Err(_) if discards => {}
            Err(error) => {
                let text =
                    format!("failed to parse upsert vectors request in json format: {error}");
                return Err(Failure::new(400, 40023, text));
            }
        }
    }
    Ok(vectors)
}

fn checked(line: Line, dimensions: usize) -> Result<Stored, Failure> {
    check_id(&line.id)?;
    if let Some(namespace) = line.namespace.as_ref().filter(|n| n.len() > NAME_BYTES) {
        let text =
            format!("namespace too long; max is {NAME_BYTES} bytes, got {} bytes", namespace.len());
        return Err(Failure::new(400, 40009, text));
    }
    if line.values.len() != dimensions || line.values.iter().any(|value| !value.is_finite()) {
        let text = format!(
            "invalid vector for id=\"{}\", expected {dimensions} dimensions, and got {} dimensions",
            line.id,
            line.values.len()
        );
        return Err(Failure::new(400, 40012, text));
    }
    let metadata = line.metadata.unwrap_or_default();
    let bytes = Value::Object(metadata.clone()).to_string().len();
    if bytes > METADATA_BYTES {
        let text = format!(
            "oversized metadata for vector id=\"{}\"; metadata is {bytes} bytes, must not exceed {METADATA_BYTES} bytes",
            line.id
        );
        return Err(Failure::new(400, 40016, text));
    }
    let is_bad = |key: &String| key.is_empty() || key.starts_with('$') || key.contains(['.', '"']);
    if let Some(key) = metadata.keys().find(|key| is_bad(key)) {
        let text = format!("invalid metadata key \"{key}\" for vector id=\"{}\"", line.id);
        return Err(Failure::new(400, 40017, text));
    }
    Ok(Stored { id: line.id, values: line.values, namespace: line.namespace, metadata })
}

/// Refuses an id over 64 bytes.
pub(super) fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() || id.len() > NAME_BYTES {
        let text = format!("id too long; max is {NAME_BYTES} bytes, got {} bytes", id.len());
        return Err(Failure::new(400, 40008, text));
    }
    Ok(())
}

/// The lines themselves: the raw body, or the field `vectors` of a form.
fn payload<'a>(call: &Call<'a>) -> &'a [u8] {
    let body: &'a [u8] = call.body;
    let content_type = call.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = content_type
        .strip_prefix("multipart/form-data")
        .and_then(|rest| rest.split_once("boundary="))
    else {
        return body;
    };
    let find = |from: usize, needle: &[u8]| {
        let tail = body.get(from..).unwrap_or_default();
        tail.windows(needle.len()).position(|w| w == needle).map(|at| from + at)
    };
    let fence = format!("\r\n--{}", boundary.trim_matches('"'));
    find(0, b"name=\"vectors\"")
        .and_then(|at| find(at, b"\r\n\r\n"))
        .map(|head| head + 4)
        .and_then(|start| body.get(start..find(start, fence.as_bytes())?))
        .unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    vector: Option<Vec<f32>>,
    vector_id: Option<String>,
    top_k: Option<usize>,
    namespace: Option<String>,
    filter: Option<Map<String, Value>>,
    #[serde(default)]
    return_values: bool,
    #[serde(default)]
    return_metadata: WithMetadata,
}

/// A query.
pub(super) fn query(call: &Call<'_>) -> Result<Ask, Failure> {
    let body: Body = call.json().map_err(|error| unparsable(&error))?;
    let top_k = body.top_k.unwrap_or(TOP_K_DEFAULT);
    let is_full = body.return_values || body.return_metadata == WithMetadata::All;
    if is_full && top_k > TOP_K_FULL {
        let text = format!(
            "with returnValues=true or returnMetadata=all, max top K is {TOP_K_FULL}, but got {top_k}"
        );
        return Err(Failure::new(400, 40025, text));
    }
    if !(1..=TOP_K).contains(&top_k) {
        let text = format!("max top K is {TOP_K}, but got {top_k}");
        return Err(Failure::new(400, 40025, text));
    }
    if body.vector.is_some() == body.vector_id.is_some() {
        let text = "Failed to parse the request body as JSON: either vector or vectorId";
        return Err(Failure::new(400, 40026, text));
    }
    Ok(Ask {
        vector: body.vector,
        vector_id: body.vector_id,
        top_k,
        namespace: body.namespace,
        filter: Filter::parse(body.filter.unwrap_or_default())?,
        with_values: body.return_values,
        with_metadata: body.return_metadata,
    })
}
