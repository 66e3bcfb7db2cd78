//! What goes to the vector index: one line of JSON a vector, with the four metadata fields that the
//! Python service writes and the stamp of the state it was made from.

use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::model::space::UnitVector;
use crate::model::stamp::Stamp;
use crate::priority;
use bytes::Bytes;
use serde::Serialize;

/// Vectors in one request. Vectorize takes 5,000 over HTTP; with 768 components that is 50 MB.
pub const BATCH_MAX: usize = 1000;
/// Bytes of one request's body.
pub const BATCH_MAX_BYTES: usize = 30_000_000;
/// Bytes of one vector's metadata as compact JSON, Vectorize's limit.
pub const METADATA_MAX_BYTES: usize = 10_240;
/// The type that the Python service writes where a memory has none.
const NO_TYPE: &str = "standard";

/// What is stored with a vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The memory's id.
    pub content_hash: String,
    /// Its type.
    pub memory_type: String,
    /// Its tags with commas between them.
    pub tags: String,
    /// When it was first stored, RFC 3339.
    pub created_at: String,
    /// The newest stamp of its state.
    pub rev: String,
}

/// One vector on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorRow {
    /// The vector's id, at most 64 bytes.
    pub id: String,
    /// The components.
    pub values: UnitVector,
    /// What is stored with it.
    pub metadata: Option<Metadata>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    values: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
}

impl VectorRow {
    /// The vector of a memory. Tags are left out from the end where they don't fit into Vectorize's
    /// limit for metadata; the row in D1 keeps all.
    pub fn new<'a>(
        id: &MemoryId,
        values: UnitVector,
        memory_type: &str,
        tags: impl IntoIterator<Item = &'a str>,
        created_at: Micros,
        newest: Stamp,
    ) -> Self {
        let memory_type = if memory_type.is_empty() { NO_TYPE } else { memory_type };
        let mut metadata = Metadata {
            content_hash: id.to_string(),
            memory_type: memory_type.to_owned(),
            tags: String::new(),
            created_at: created_at.to_rfc3339(),
            rev: newest.to_string(),
        };
        let mut size = encoded_len(&metadata);
        for tag in tags {
            let separator = if metadata.tags.is_empty() { "" } else { "," };
            // Two quotes are counted once too often, the comma once too rarely.
            size += encoded_len(&tag) - 2 + separator.len();
            if size > METADATA_MAX_BYTES {
                break;
            }
            metadata.tags.push_str(separator);
            metadata.tags.push_str(tag);
        }
        Self { id: id.to_string(), values, metadata: Some(metadata) }
    }
}

fn encoded_len(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 2, |bytes| bytes.len())
}

/// Encodes as many of `rows` as one request takes; gives their number and the body.
pub fn encode(rows: &[VectorRow]) -> (usize, Bytes) {
    let mut body = Vec::new();
    let mut taken = 0;
    for row in rows.iter().take(BATCH_MAX) {
        priority::give_way();
        let line =
            Line { id: &row.id, values: row.values.as_slice(), metadata: row.metadata.as_ref() };
        let Ok(line) = serde_json::to_vec(&line) else { break };
        if taken > 0 && body.len() + line.len() + 1 > BATCH_MAX_BYTES {
            break;
        }
        body.extend_from_slice(&line);
        body.push(b'\n');
        taken += 1;
    }
    (taken, body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::DeviceId;

    fn unit(values: &[f32]) -> UnitVector {
        UnitVector::normalise(values.to_vec()).expect("a direction")
    }

    fn row(tags: &[&str]) -> VectorRow {
        let newest = Stamp { ms: 1, counter: 2, device: DeviceId(3) };
        let id = MemoryId::of("x");
        VectorRow::new(&id, unit(&[3.0, 4.0]), "", tags.iter().copied(), Micros(0), newest)
    }

    #[test]
    fn a_line_holds_what_the_python_service_reads() {
        let (taken, body) = encode(&[row(&["a", "b c"])]);
        let expected = concat!(
            r#"{"id":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","values":[0.6,0.8],"#,
            r#""metadata":{"content_hash":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","#,
            r#""memory_type":"standard","tags":"a,b c","created_at":"1970-01-01T00:00:00.000000Z","#,
            r#""rev":"000000000001000200000003"}}"#,
            "\n"
        );
        assert_eq!((taken, body), (1, Bytes::from(expected)));
    }

    #[test]
    fn components_are_written_with_the_precision_they_have() {
        let (_, body) =
            encode(&[VectorRow { id: "p".into(), values: unit(&[1.0, 2.0]), metadata: None }]);
        let line = String::from_utf8(body.to_vec()).expect("text");
        assert_eq!(line, "{\"id\":\"p\",\"values\":[0.4472136,0.8944272]}\n");
    }

    #[test]
    fn tags_are_cut_to_the_limit_and_never_through() {
        let tags: Vec<String> = (0..100).map(|n| format!("{n:02}{}", "\"é".repeat(49))).collect();
        let row = row(&tags.iter().map(String::as_str).collect::<Vec<_>>());
        let metadata = row.metadata.expect("metadata");
        let size = serde_json::to_vec(&metadata).expect("JSON").len();
        assert!(size <= METADATA_MAX_BYTES && size > METADATA_MAX_BYTES - 210, "{size}");
        let kept = metadata.tags.split(',').count();
        assert!(kept < 100 && metadata.tags.split(',').zip(&tags).all(|(a, b)| a == b));
    }

    #[test]
    fn requests_are_bounded_by_number_and_by_bytes() {
        let small: Vec<_> = (0..1001).map(|_| row(&[])).collect();
        assert_eq!(encode(&small).0, BATCH_MAX);
        let wide =
            VectorRow { id: "x".into(), values: unit(&vec![1.0 / 3.0; 200_000]), metadata: None };
        let wide = vec![wide; 30];
        let (taken, body) = encode(&wide);
        assert!(taken > 1 && taken < 30, "{taken}");
        assert!(body.len() <= BATCH_MAX_BYTES);
        assert!(
            encode(&wide[..1]).1.len() * (taken + 1) > BATCH_MAX_BYTES,
            "one more would not fit"
        );
    }
}
