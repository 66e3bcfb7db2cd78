//! Markdown notes: each file one memory. What its front matter says of tags, type and times is taken as
//! that, everything else of it becomes metadata; a title that the text doesn't show is put above it.

use super::super::failure::Failure;
use super::front_matter;
use super::pages::{Pages, written_at};
use crate::clock::{Clock as _, Micros, SystemClock};
use crate::model::draft::{Text, check_metadata, check_tags, check_type};
use crate::model::id::is_python_space;
use crate::model::refusal::Refusal;
use crate::model::shown::Shown;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Who is named as the author of these memories.
const CLIENT: &str = "markdown";
/// Bytes of a front matter that are read beside a text of full length.
const FRONT_MATTER_BYTES: u64 = 1 << 20;

const TAGS: [&str; 4] = ["tags", "tag", "keywords", "categories"];
const TYPE: [&str; 2] = ["type", "memory_type"];
const CREATED: [&str; 5] = ["created", "created_at", "date created", "creation date", "date"];
const UPDATED: [&str; 6] =
    ["updated", "updated_at", "modified", "date modified", "lastmod", "last_modified"];

/// A note as a memory.
#[derive(Debug, PartialEq)]
struct Note {
    text: String,
    kind: Option<String>,
    tags: Vec<String>,
    metadata: Map<String, Value>,
    created: Option<Micros>,
    updated: Option<Micros>,
}

/// The Markdown files of a folder and of those in it, in the order of their names. What is hidden is left
/// alone, and links are not followed.
pub(super) fn find(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::new(format!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if kind.is_dir() {
            found.extend(find(&path)?);
        } else if kind.is_file()
            && ["md", "markdown", "mdx"].contains(&ending.to_lowercase().as_str())
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file of a folder. Tells whether there was something in it.
pub(super) fn read_file(
    pages: &mut Pages<'_>,
    folder: &Path,
    path: &Path,
) -> Result<bool, Failure> {
    let place = path.display().to_string();
    let file = fs::File::open(path).map_err(|error| pages.refuse(&place, error))?;
    let at = file.metadata().ok().as_ref().and_then(written_at);
    let name = path.strip_prefix(folder).unwrap_or(path);
    read(pages, file, &place, Some(name), at.unwrap_or_else(|| SystemClock.now()))
}

/// Reads a single file, or what stands on standard input.
pub(super) fn read_one(
    pages: &mut Pages<'_>,
    input: impl Read,
    path: &Path,
    at: Micros,
) -> Result<bool, Failure> {
    let name = path.file_name().map(Path::new).filter(|_| path != Path::new("-"));
    read(pages, input, &path.display().to_string(), name, at)
}

fn read(
    pages: &mut Pages<'_>,
    input: impl Read,
    place: &str,
    name: Option<&Path>,
    at: Micros,
) -> Result<bool, Failure> {
    let limit = pages.text_limit();
    let mut bytes = Vec::new();
    let longest = FRONT_MATTER_BYTES.saturating_add(limit as u64);
    input.take(longest + 1).read_to_end(&mut bytes).map_err(|error| pages.refuse(place, error))?;
    if bytes.len() as u64 > longest {
        let refusal = Refusal::ContentTooLarge { actual: bytes.len(), limit };
        return Err(pages.refuse_limit(place, &refusal));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        pages.refuse(place, format!("not valid UTF-8 at byte {at}"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let note = note(text, name, &TimeZone::system())
        .map_err(|bad| pages.refuse(&format!("{place}, line {}", bad.line), bad.why))?;
    if note.text.chars().all(is_python_space) {
        return Ok(false);
    }
    let (text, shown) =
        check(note, limit, at).map_err(|refusal| pages.refuse_limit(place, &refusal))?;
    pages.add_foreign(place.to_owned(), text.id, text.content, &shown, CLIENT, None)?;
    Ok(true)
}

fn check(note: Note, limit: usize, at: Micros) -> Result<(Text, Shown), Refusal> {
    let text = Text::check(note.text, limit)?;
    let created =
        note.created.unwrap_or_else(|| note.updated.map_or(at, |updated| updated.min(at)));
    let mut shown = Shown::new(created, note.updated.unwrap_or(created));
    if let Some(kind) = note.kind.as_deref().map(check_type).transpose()?.flatten() {
        shown.kind = kind;
    }
    shown.tags = check_tags(&note.tags)?;
    shown.metadata = check_metadata(&Value::Object(note.metadata))?;
    Ok((text, shown))
}

fn note(
    text: &str,
    name: Option<&Path>,
    zone: &TimeZone,
) -> Result<Note, front_matter::BadFrontMatter> {
    let (matter, body) = front_matter::split(text);
    let mut fields = matter.map(front_matter::read).transpose()?.unwrap_or_default();
    let created = instant(&mut fields, &CREATED, zone);
    let updated = instant(&mut fields, &UPDATED, zone);
    let mut tags = Vec::new();
    for key in keys(&fields, &TAGS) {
        let listed = fields.get(&key).and_then(tags_of);
        if let Some(listed) = listed {
            tags.extend(listed);
            fields.remove(&key);
        }
    }
    let kind = keys(&fields, &TYPE).into_iter().next();
    let kind = kind.filter(|key| fields.get(key).is_some_and(Value::is_string));
    let kind = kind.and_then(|key| Some(fields.remove(&key)?.as_str()?.to_owned()));
    let body = body.trim_start_matches(['\r', '\n']);
    let title = fields.get("title").and_then(Value::as_str).unwrap_or_default();
    let text = if title.is_empty() || body.contains(title) {
        body.to_owned()
    } else if body.trim().is_empty() {
        title.to_owned()
    } else {
        format!("# {title}\n\n{body}")
    };
    if let Some(name) = name.and_then(Path::to_str)
        && !fields.contains_key("file")
    {
        fields.insert("file".to_owned(), name.into());
    }
    Ok(Note { text, kind, tags, metadata: fields, created, updated })
}

/// Those of the fields that have one of these names, in whatever case of letters, in this order.
fn keys(fields: &Map<String, Value>, names: &[&str]) -> Vec<String> {
    let named = |name: &&str| fields.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    names.iter().filter_map(named).collect()
}

/// A list, or words with commas between them, or else with spaces; each with or without `#`.
fn tags_of(value: &Value) -> Option<Vec<String>> {
    let plain = |tag: &str| tag.trim().trim_start_matches('#').to_owned();
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.contains(',') => Some(text.split(',').map(plain).collect()),
        Value::String(text) => Some(text.split_whitespace().map(plain).collect()),
        Value::Number(_) | Value::Bool(_) => Some(vec![value.to_string()]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Some(plain(text)),
                Value::Number(_) | Value::Bool(_) => Some(item.to_string()),
                _ => None,
            })
            .collect(),
        Value::Object(_) => None,
    }
}

/// Takes the first of these fields that tells an instant; others stay what they are.
fn instant(fields: &mut Map<String, Value>, names: &[&str], zone: &TimeZone) -> Option<Micros> {
    keys(fields, names).into_iter().find_map(|key| {
        let at = read_instant(fields.get(&key)?, zone)?;
        fields.remove(&key);
        Some(at)
    })
}

fn read_instant(value: &Value, zone: &TimeZone) -> Option<Micros> {
    if let Some(seconds) = value.as_i64() {
        // Seconds or milliseconds since the epoch; a year or a day in digits is neither.
        return match seconds {
            100_000_000..100_000_000_000 => Some(Micros(seconds * 1_000_000)),
            100_000_000_000..100_000_000_000_000 => Some(Micros(seconds * 1000)),
            _ => None,
        };
    }
    let text = value.as_str()?.trim();
    if let Some(at) = Micros::parse_rfc3339(text) {
        return Some(at);
    }
    let civil =
        text.parse::<DateTime>().or_else(|_| Date::strptime("%Y-%m-%d", text).map(DateTime::from));
    let at = civil.ok()?.to_zoned(zone.clone()).ok()?;
    Some(Micros(at.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_note(text: &str) -> Note {
        note(text, Some(Path::new("a/b.md")), &TimeZone::UTC).unwrap()
    }

    #[test]
    fn the_fields_that_are_known_become_parts_and_the_rest_metadata() {
        let found = read_note(
            "---\ntitle: Deploy rules\nTags: [Work, '#on-call']\nkeywords: a, b c\ntype: decision\n\
             created: 2024-01-05T10:20:30+01:00\nmodified: 2024-02-01 08:00\nrating: 4\n\
             aliases: [dr]\n---\n\nOnly after the smoke tests.\n",
        );
        assert_eq!(found.text, "# Deploy rules\n\nOnly after the smoke tests.\n");
        assert_eq!(found.kind.as_deref(), Some("decision"));
        assert_eq!(found.tags, ["Work", "on-call", "a", "b c"]);
        assert_eq!(
            Value::Object(found.metadata),
            json!({"title": "Deploy rules", "rating": 4, "aliases": ["dr"], "file": "a/b.md"})
        );
        let at = |at: Option<Micros>| at.unwrap().to_rfc3339();
        assert_eq!(at(found.created), "2024-01-05T09:20:30.000000Z");
        assert_eq!(at(found.updated), "2024-02-01T08:00:00.000000Z");
    }

    #[test]
    fn a_note_without_front_matter_is_its_text() {
        let found = read_note("# A title\n\n---\nrules and `code`\n");
        assert_eq!(found.text, "# A title\n\n---\nrules and `code`\n");
        assert_eq!((found.tags.len(), found.created), (0, None));
        assert_eq!(Value::Object(found.metadata), json!({"file": "a/b.md"}));
    }

    #[test]
    fn a_title_that_the_text_shows_is_not_repeated_and_alone_it_is_the_text() {
        assert_eq!(read_note("---\ntitle: Tea\n---\n# Tea\nis hot").text, "# Tea\nis hot");
        assert_eq!(read_note("---\ntitle: Tea\n---\n\n").text, "Tea");
        assert_eq!(read_note("---\ntags: x\n---\n\n").text, "");
    }

    #[test]
    fn what_tells_no_instant_and_no_tags_stays_metadata() {
        let found = read_note("---\ndate: spring 2020\ncreated: 1704450030\ntags: {a: 1}\n---\nx");
        assert_eq!(found.created.unwrap().to_rfc3339(), "2024-01-05T10:20:30.000000Z");
        let expected = json!({"date": "spring 2020", "tags": {"a": 1}, "file": "a/b.md"});
        assert_eq!(Value::Object(found.metadata), expected);
        assert_eq!(read_note("---\ndate: 2024\n---\nx").created, None);
        let day = read_note("---\ndate: 2024-01-05\n---\nx").created.unwrap();
        assert_eq!(day.to_rfc3339(), "2024-01-05T00:00:00.000000Z");
    }
}
