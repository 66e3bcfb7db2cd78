//! An input that has passed every limit and may be stored.

use super::id::{BodyHash, MemoryId, is_python_space};
use super::refusal::Refusal;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of text that are accepted unless configured otherwise.
pub const TEXT_DEFAULT_BYTES: usize = 1 << 20;
/// Bytes of text that a configuration may allow.
pub const TEXT_MAX_BYTES: usize = 25 << 20;
/// Tags on one memory, as in the Python service.
pub const TAGS_MAX: usize = 100;
/// Characters of one tag, as in the Python service.
pub const TAG_MAX_CHARS: usize = 100;
/// Characters of a memory type.
pub const TYPE_MAX_CHARS: usize = 100;
/// Bytes of the metadata as compact JSON.
pub const METADATA_MAX_BYTES: usize = 64 << 10;
/// Tags that a memory may come to have when edits of several devices are merged. A list of the database's
/// ends with one more, which shows that there are too many.
pub const MERGED_TAGS_MAX: usize = 299;
/// Bytes of the metadata that may come together in the same way: what a row of 2 MB holds beside a text.
pub const MERGED_METADATA_MAX_BYTES: usize = 1 << 20;
/// Levels of nesting of the metadata, the object itself being the first.
pub const METADATA_MAX_DEPTH: usize = 32;
/// The type of a memory for which none was given.
pub const DEFAULT_TYPE: &str = "note";

/// Which device and which program wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The program, as it names itself: `cli`, `claude-code`…
    pub client: String,
}

/// A checked text: within the limit, not blank, without NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The exact text.
    pub content: String,
    /// What names the memory.
    pub id: MemoryId,
    /// What names this version of the text.
    pub body: BodyHash,
}

impl Text {
    /// Checks `content` against `limit` bytes.
    ///
    /// # Errors
    /// Refuses an empty, blank or too long text, and one with a NUL character.
    pub fn check(content: String, limit: usize) -> Result<Self, Refusal> {
        if content.len() > limit {
            return Err(Refusal::ContentTooLarge { actual: content.len(), limit });
        }
        if content.chars().all(is_python_space) {
            return Err(Refusal::ContentEmpty { is_blank: !content.is_empty() });
        }
        refuse_nul("the text", &content)?;
        Ok(Self { id: MemoryId::of(&content), body: BodyHash::of(&content), content })
    }
}

/// A checked new memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text with its hashes.
    pub text: Text,
    /// Normalised tags.
    pub tags: BTreeSet<String>,
    /// The type, if one was given.
    pub memory_type: Option<String>,
    /// Metadata values as compact JSON, by key.
    pub metadata: BTreeMap<String, String>,
    /// Who writes.
    pub author: Author,
}

impl Draft {
    /// Checks every part of a new memory against its limit; `text_limit` is in bytes.
    ///
    /// # Errors
    /// The first limit that is broken.
    pub fn check(
        content: String,
        tags: &[String],
        memory_type: Option<&str>,
        metadata: Option<&Value>,
        author: Author,
        text_limit: usize,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            text: Text::check(content, text_limit)?,
            tags: check_tags(tags)?,
            memory_type: memory_type.map(check_type).transpose()?.flatten(),
            metadata: metadata.map_or_else(|| Ok(BTreeMap::new()), check_metadata)?,
            author,
        })
    }
}

/// A checked change of a memory; `None` leaves a part as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// A new text: makes the memory that supersedes this one, unless it has the same id.
    pub text: Option<Text>,
    /// All tags the memory shall have.
    pub tags: Option<BTreeSet<String>>,
    /// The new type.
    pub memory_type: Option<String>,
    /// Metadata values as compact JSON by key; `None` removes the key.
    pub metadata: BTreeMap<String, Option<String>>,
    /// Who writes.
    pub author: Author,
}

impl Patch {
    /// Checks every part of a change against its limit; `text_limit` is in bytes.
    ///
    /// # Errors
    /// The first limit that is broken, or that nothing is to be changed.
    pub fn check(
        content: Option<String>,
        tags: Option<&[String]>,
        memory_type: Option<&str>,
        metadata: Option<&Value>,
        author: Author,
        text_limit: usize,
    ) -> Result<Self, Refusal> {
        let patch = Self {
            text: content.map(|c| Text::check(c, text_limit)).transpose()?,
            tags: tags.map(check_tags).transpose()?,
            memory_type: memory_type.map(check_type).transpose()?.flatten(),
            metadata: metadata.map_or_else(|| Ok(BTreeMap::new()), check_metadata_patch)?,
            author,
        };
        let changes_nothing = patch.text.is_none()
            && patch.tags.is_none()
            && patch.memory_type.is_none()
            && patch.metadata.is_empty();
        if changes_nothing { Err(Refusal::NothingToChange) } else { Ok(patch) }
    }
}

/// Normalises tags as the Python service does: strip, lower-case, a comma becomes a dash, empty ones
/// and duplicates are dropped.
///
/// # Errors
/// Refuses more than [`TAGS_MAX`] tags, one longer than [`TAG_MAX_CHARS`], and a NUL character.
pub fn check_tags(tags: &[String]) -> Result<BTreeSet<String>, Refusal> {
    check_tags_within(tags, TAGS_MAX)
}

/// The same with another limit of their number.
///
/// # Errors
/// As [`check_tags`].
pub fn check_tags_within(tags: &[String], limit: usize) -> Result<BTreeSet<String>, Refusal> {
    let mut normalised = BTreeSet::new();
    for tag in tags {
        let Some(tag) = normalise_tag(tag) else { continue };
        refuse_nul("a tag", &tag)?;
        let actual = tag.chars().count();
        if actual > TAG_MAX_CHARS {
            let start = tag.chars().take(40).collect();
            return Err(Refusal::TagTooLong { tag: start, actual, limit: TAG_MAX_CHARS });
        }
        normalised.insert(tag);
    }
    if normalised.len() > limit {
        return Err(Refusal::TooManyTags { actual: normalised.len(), limit });
    }
    Ok(normalised)
}

/// One tag in its stored form; `None` if nothing is left of it.
pub fn normalise_tag(tag: &str) -> Option<String> {
    let tag = tag.trim_matches(is_python_space).to_lowercase().replace(',', "-");
    (!tag.is_empty()).then_some(tag)
}

/// A memory type without outer space; `None` if nothing is left of it.
///
/// # Errors
/// Refuses one longer than [`TYPE_MAX_CHARS`], and a NUL character.
pub fn check_type(memory_type: &str) -> Result<Option<String>, Refusal> {
    let memory_type = memory_type.trim_matches(is_python_space);
    refuse_nul("the memory type", memory_type)?;
    let actual = memory_type.chars().count();
    if actual > TYPE_MAX_CHARS {
        return Err(Refusal::TypeTooLong { actual, limit: TYPE_MAX_CHARS });
    }
    Ok((!memory_type.is_empty()).then(|| memory_type.to_owned()))
}

/// Metadata values as compact JSON, by key.
///
/// # Errors
/// Refuses anything but an object, one that is too large, and one that is too deep.
pub fn check_metadata(value: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    check_metadata_within(value, METADATA_MAX_BYTES)
}

/// The same with another limit of its bytes.
///
/// # Errors
/// As [`check_metadata`].
pub fn check_metadata_within(
    value: &Value,
    limit: usize,
) -> Result<BTreeMap<String, String>, Refusal> {
    let object = check_object(value, limit)?;
    Ok(object.iter().map(|(key, value)| (key.clone(), value.to_string())).collect())
}

fn check_metadata_patch(value: &Value) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    let object = check_object(value, METADATA_MAX_BYTES)?;
    Ok(object
        .iter()
        .map(|(key, value)| (key.clone(), (!value.is_null()).then(|| value.to_string())))
        .collect())
}

fn check_object(value: &Value, limit: usize) -> Result<&Map<String, Value>, Refusal> {
    let actual = match value {
        Value::Object(object) => {
            let depth = depth(value);
            if depth > METADATA_MAX_DEPTH {
                return Err(Refusal::MetadataTooDeep { actual: depth, limit: METADATA_MAX_DEPTH });
            }
            let size = value.to_string().len();
            if size > limit {
                return Err(Refusal::MetadataTooLarge { actual: size, limit });
            }
            return Ok(object);
        }
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(Refusal::MetadataNotObject { actual })
}

/// Levels of nesting; a scalar has none. The parser's own limit of 128 levels bounds the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(array) => 1 + array.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn refuse_nul(what: &'static str, text: &str) -> Result<(), Refusal> {
    text.find('\0').map_or(Ok(()), |at| Err(Refusal::Nul { what, at }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(content: &str) -> Result<Text, Refusal> {
        Text::check(content.to_owned(), 16)
    }

    #[test]
    fn texts_at_and_beyond_their_limits() {
        assert!(text(&"x".repeat(16)).is_ok());
        assert_eq!(text(&"x".repeat(17)), Err(Refusal::ContentTooLarge { actual: 17, limit: 16 }));
        assert_eq!(text(""), Err(Refusal::ContentEmpty { is_blank: false }));
        assert_eq!(text(" \n\u{1f}"), Err(Refusal::ContentEmpty { is_blank: true }));
        assert_eq!(text("ab\0"), Err(Refusal::Nul { what: "the text", at: 2 }));
        assert!(text("x").is_ok());
    }

    #[test]
    fn tags_are_normalised_as_the_python_service_does() {
        let given = [" Rust ", "a,b", "RUST", "", "  ", "🦀 crab"].map(str::to_owned);
        let tags: Vec<String> = check_tags(&given).expect("valid tags").into_iter().collect();
        assert_eq!(tags, ["a-b", "rust", "🦀 crab"]);
    }

    #[test]
    fn tags_at_and_beyond_their_limits() {
        let many = |n: usize| (0..n).map(|i| format!("t{i}")).collect::<Vec<_>>();
        assert_eq!(check_tags(&many(100)).map(|t| t.len()), Ok(100));
        assert_eq!(check_tags(&many(101)), Err(Refusal::TooManyTags { actual: 101, limit: 100 }));
        assert!(check_tags(&["é".repeat(100)]).is_ok());
        assert!(check_tags(&["é".repeat(101)]).is_err());
        assert!(check_tags(&["a\0".to_owned()]).is_err());
    }

    #[test]
    fn metadata_at_and_beyond_its_limits() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "k": inner }));
        assert!(check_metadata(&nested(32)).is_ok());
        assert_eq!(
            check_metadata(&nested(33)),
            Err(Refusal::MetadataTooDeep { actual: 33, limit: 32 })
        );
        let sized = |bytes: usize| json!({ "k": "x".repeat(bytes - r#"{"k":""}"#.len()) });
        assert!(check_metadata(&sized(65_536)).is_ok());
        assert!(check_metadata(&sized(65_537)).is_err());
        assert_eq!(
            check_metadata(&json!([1])),
            Err(Refusal::MetadataNotObject { actual: "array" })
        );
    }

    #[test]
    fn a_patch_that_names_nothing_is_refused() {
        let none = Patch::check(None, None, None, Some(&json!({})), Author::default(), 16);
        assert_eq!(none, Err(Refusal::NothingToChange));
        let null = Patch::check(None, None, None, Some(&json!({"k": null})), Author::default(), 16);
        assert_eq!(null.expect("a removal").metadata.get("k"), Some(&None));
    }
}
