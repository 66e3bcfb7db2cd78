//! A layer of TOML: every value in it must be a known key of the right type.

use super::error::ConfigError;
use super::keys::{Key, Raw, find, nearest, of_section};
use super::origin::Origin;
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value};

/// One value of a layer, not yet checked.
#[derive(Debug)]
pub(super) struct Given<'a> {
    /// Which key.
    pub(super) key: &'static Key,
    /// The value as it stands there.
    pub(super) raw: Raw<'a>,
    /// Line, counted from 1.
    pub(super) line: usize,
}

/// Parses `text`, the contents of the file at `path`.
pub(super) fn parse<'a>(text: &'a str, path: &Path) -> Result<Document<&'a str>, ConfigError> {
    Document::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message: error.message().lines().collect::<Vec<_>>().join(", "),
    })
}

/// Lists the values of `document` in the order of the file.
pub(super) fn values<'a>(
    document: &'a Document<&str>,
    path: &Path,
) -> Result<Vec<Given<'a>>, ConfigError> {
    let mut values = Vec::new();
    collect(document.as_table(), "", document.raw(), path, &mut values)?;
    Ok(values)
}

fn collect<'a>(
    table: &'a dyn TableLike,
    prefix: &str,
    text: &str,
    path: &Path,
    values: &mut Vec<Given<'a>>,
) -> Result<(), ConfigError> {
    for (name, item) in table.iter() {
        let at = table.get_key_value(name).and_then(|(key, _)| key.span()).or_else(|| item.span());
        let line = at.map_or(1, |span| line_at(text, span.start));
        let origin = || Origin::File { path: path.to_owned(), line };
        let name = format!("{prefix}{name}");
        if let Some(key) = find(&name) {
            values.push(Given { key, raw: raw(item), line });
            continue;
        }
        let keys = of_section(&name);
        match (item.as_table_like(), keys.is_empty()) {
            (Some(inner), false) => collect(inner, &format!("{name}."), text, path, values)?,
            (Some(inner), true) => {
                let unknown = match inner.iter().next() {
                    Some((first, _)) => format!("{name}.{first}"),
                    None => name,
                };
                return Err(unknown_key(&unknown, Some(origin())));
            }
            (None, false) => {
                return Err(ConfigError::SectionExpected {
                    origin: origin(),
                    section: name,
                    keys: keys.join(", "),
                });
            }
            (None, true) => return Err(unknown_key(&name, Some(origin()))),
        }
    }
    Ok(())
}

/// The fault of naming a key that memtide does not have.
pub(super) fn unknown_key(key: &str, origin: Option<Origin>) -> ConfigError {
    let leaf = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let advice = match nearest(key) {
        _ if leaf.contains("token") => {
            "the API token is kept apart from the settings, `memtide cloud link` asks for it"
                .to_owned()
        }
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`memtide config show` lists the keys".to_owned(),
    };
    let key = key.escape_debug().take(60).collect();
    ConfigError::UnknownKey { origin, key, advice }
}

fn raw(item: &Item) -> Raw<'_> {
    match item {
        Item::Value(Value::Integer(number)) => Raw::Whole(*number.value()),
        Item::Value(Value::String(text)) => Raw::Text(text.value()),
        Item::Value(Value::Float(_) | Value::Boolean(_) | Value::Datetime(_)) => {
            Raw::Other(item.to_string())
        }
        Item::Value(Value::Array(_)) => Raw::Other("a list".to_owned()),
        Item::Value(Value::InlineTable(_)) | Item::Table(_) | Item::ArrayOfTables(_) => {
            Raw::Other("a section".to_owned())
        }
        Item::None => Raw::Other("nothing".to_owned()),
    }
}

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}
