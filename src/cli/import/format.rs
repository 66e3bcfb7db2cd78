//! Which program wrote a file, told by its first bytes.

use std::path::Path;

/// Bytes that are looked at. The keys that tell stand before the first long text, or come after it in a
/// form whose other keys tell as well.
pub(super) const PREFIX_BYTES: usize = 64 << 10;

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines of `memtide export`.
    Memtide,
    /// The JSON of mcp-memory-service.
    Service,
    /// Markdown files.
    Markdown,
    /// The JSON lines of the official MCP memory server.
    Graph,
}

impl Format {
    /// The name on the command line.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Memtide => "memtide",
            Self::Service => "mcp-memory-service",
            Self::Markdown => "markdown",
            Self::Graph => "mcp-memory-server",
        }
    }
}

/// What a file is that can't be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strange {
    /// A database.
    Database,
    /// Something packed.
    Packed,
    /// Anything else.
    Unknown,
}

/// Tells by the first bytes of a file; the name only where the content may be any text.
pub(super) fn detect(prefix: &[u8], path: &Path) -> Result<Format, Strange> {
    if prefix.starts_with(b"SQLite format 3\0") {
        return Err(Strange::Database);
    }
    if prefix.starts_with(&[0x1f, 0x8b]) || prefix.starts_with(b"PK\x03\x04") {
        return Err(Strange::Packed);
    }
    match prefix.iter().find(|byte| !byte.is_ascii_whitespace()) {
        // The export of a store that holds nothing.
        None => return Ok(Format::Memtide),
        Some(b'{' | b'[') => return by_keys(&keys(prefix)),
        Some(_) => {}
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_named_so =
        ["md", "markdown", "mdx"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    if is_named_so || prefix.starts_with(b"---\n") || prefix.starts_with(b"---\r\n") {
        return Ok(Format::Markdown);
    }
    Err(Strange::Unknown)
}

fn by_keys(keys: &[String]) -> Result<Format, Strange> {
    let has = |names: &[&str]| keys.iter().any(|key| names.contains(&key.as_str()));
    if has(&["memtide", "state"]) {
        Ok(Format::Memtide)
    } else if has(&["memories", "export_metadata", "content_hash"]) {
        Ok(Format::Service)
    } else if has(&["entityType", "observations", "relationType"]) {
        Ok(Format::Graph)
    } else {
        Err(Strange::Unknown)
    }
}

/// The keys of the first object of a JSON text, which may be cut off.
fn keys(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut depth, mut is_key, mut is_escaped) = (0_usize, false, false);
    let mut string: Option<Vec<u8>> = None;
    let list = usize::from(text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['));
    for byte in text {
        if let Some(read) = &mut string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    if is_key {
                        found.push(String::from_utf8_lossy(read).into_owned());
                        is_key = false;
                    }
                    string = None;
                    continue;
                }
                _ => {}
            }
            read.push(*byte);
            continue;
        }
        match byte {
            b'"' => string = Some(Vec::new()),
            b'{' | b'[' => {
                depth += 1;
                is_key = depth == 1 + list && *byte == b'{';
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth <= list {
                    break;
                }
            }
            b',' => is_key = depth == 1 + list,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<Format, Strange> {
        detect(text.as_bytes(), Path::new("file"))
    }

    #[test]
    fn the_content_tells() {
        assert_eq!(told(""), Ok(Format::Memtide));
        assert_eq!(told(r#"{"memtide":1,"id":"x"}"#), Ok(Format::Memtide));
        let sorted = r#"{"content":"a \"memories\": b","history":[{"x":1}],"id":"y","memtide":1"#;
        assert_eq!(told(sorted), Ok(Format::Memtide));
        assert_eq!(told("{\n  \"export_metadata\": {\"a\": 1},"), Ok(Format::Service));
        assert_eq!(told(" {\"source_backend\": \"x\", \"memories\": ["), Ok(Format::Service));
        assert_eq!(told(r#"[ {"content": "x", "content_hash": "y"}]"#), Ok(Format::Service));
        let entity = r#"{"type":"entity","name":"A","entityType":"p","observations":["memories"]}"#;
        assert_eq!(told(entity), Ok(Format::Graph));
        let relation = r#"{"type":"relation","from":"A","to":"B","relationType":"r"}"#;
        assert_eq!(told(&format!("\n{relation}\n{entity}")), Ok(Format::Graph));
        assert_eq!(told("---\ntags: [a]\n---\ntext"), Ok(Format::Markdown));
        assert_eq!(detect(b"# Title", Path::new("a.MD")), Ok(Format::Markdown));
    }

    #[test]
    fn what_is_nothing_of_these_is_not_guessed() {
        assert_eq!(told("SQLite format 3\0..."), Err(Strange::Database));
        assert_eq!(detect(&[0x1f, 0x8b, 8], Path::new("x.md")), Err(Strange::Packed));
        for text in ["some words", "{", "{}", "[]", "[1, 2]", r#"{"a":{"memories":[]}}"#, "{\"a"] {
            assert_eq!(told(text), Err(Strange::Unknown), "{text}");
        }
    }
}
