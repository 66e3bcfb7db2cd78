//! Changes one key of `config.toml` and nothing else in it: comments, order and spacing stay.

use super::error::ConfigError;
use super::keys::{self, Raw, Rule};
use super::origin::Origin;
use super::settings::Settings;
use super::{Config, layer, read};
use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value};

/// Sets `key` to `value` in the file at `path`, which is created if it isn't there.
///
/// The file is replaced as a whole, with mode 0600, and only if the new one is valid throughout.
///
/// # Errors
/// An unknown key, a value that is not allowed, a file with another fault in it, or one that can't
/// be written. The file is then unchanged.
pub fn set(path: &Path, key: &str, value: &str) -> Result<(), ConfigError> {
    let key = keys::find(key).ok_or_else(|| layer::unknown_key(key, None))?;
    let raw = Raw::Untyped(value);
    let text = key.apply(&raw, &mut Settings::blank()).ok_or_else(|| ConfigError::BadValue {
        origin: None,
        key: key.name,
        value: raw.shown(),
        expected: key.expected(),
    })?;
    let new = match (&key.rule, text.parse::<i64>()) {
        (Rule::Whole { .. }, Ok(number)) => Value::from(number),
        _ => Value::from(text),
    };

    let old = read(path)?.unwrap_or_default();
    check(&old, path)?;
    let mut document: DocumentMut = layer::parse(&old, path)?.into_mut();
    let (section, name) = key.name.split_once('.').unwrap_or((key.name, ""));
    let table = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
    if let Some(table) = table.as_table_like_mut() {
        replace(table, name, new);
    }
    let text = document.to_string();
    check(&text, path)?;
    write(path, &text).map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

/// Puts a value in the place of the old one, with the comment behind it.
fn replace(table: &mut dyn toml_edit::TableLike, name: &str, mut new: Value) {
    match table.get_mut(name) {
        Some(Item::Value(present)) => {
            *new.decor_mut() = present.decor().clone();
            *present = new;
        }
        _ => {
            table.insert(name, Item::Value(new));
        }
    }
}

fn check(text: &str, path: &Path) -> Result<(), ConfigError> {
    let origin = |line| Origin::File { path: path.to_owned(), line };
    Config::defaults()?.apply_toml(text, path, origin)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // Dotfile managers make config.toml a link: the file it points to is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.toml");
        fs::write(&path, text).expect("written");
        (folder, path)
    }

    #[test]
    fn only_the_value_changes() {
        let before =
            "# mine\n\n[search]\ndefault_limit = 5   # few\n\n  [log] # noisy\nfilter = \"warn\"\n";
        let (_folder, path) = file(before);
        set(&path, "search.default_limit", "20").expect("set");
        assert_eq!(fs::read_to_string(&path).expect("file"), before.replace('5', "20"));
        set(&path, "search.default_mode", "exact").expect("set");
        set(&path, "cloudflare.account_id", "abc").expect("set");
        let after = "# mine\n\n[search]\ndefault_limit = 20   # few\ndefault_mode = \"exact\"\n\n  [log] # noisy\nfilter = \"warn\"\n\n[cloudflare]\naccount_id = \"abc\"\n";
        assert_eq!(fs::read_to_string(&path).expect("file"), after);
    }

    #[test]
    fn dotted_and_inline_sections_are_edited_in_place() {
        let (_folder, path) = file("search.default_limit = 5\nlog = { filter = \"warn\" }\n");
        set(&path, "search.default_limit", "6").expect("set");
        set(&path, "log.filter", "debug").expect("set");
        let text = fs::read_to_string(&path).expect("file");
        assert_eq!(text, "search.default_limit = 6\nlog = { filter = \"debug\" }\n");
    }

    #[test]
    fn a_new_file_is_private_and_so_is_its_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new/config.toml");
        set(&path, "limits.text_bytes", "2048").expect("set");
        assert_eq!(fs::read_to_string(&path).expect("file"), "[limits]\ntext_bytes = 2048\n");
        let mode = |p: &Path| fs::metadata(p).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("new")), 0o700);
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("listed").count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let (folder, path) = file("");
        let link = folder.path().join("link.toml");
        symlink(&path, &link).expect("linked");
        set(&link, "search.default_limit", "7").expect("set");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("file"), "[search]\ndefault_limit = 7\n");
    }

    #[test]
    fn what_is_not_valid_is_not_written() {
        let before = "[search]\ndefault_limit = 5\ndefault_moode = \"exact\"\n";
        let (_folder, path) = file(before);
        for (key, value, expected) in [
            (
                "search.default_limit",
                "101",
                "`search.default_limit` is \"101\", it must be a whole number from 1 to 100",
            ),
            ("search.limit", "10", "unknown key `search.limit`"),
            (
                "search.default_limit",
                "10",
                "config.toml:3: unknown key `search.default_moode`; did you mean `search.default_mode`?",
            ),
        ] {
            let error = set(&path, key, value).expect_err(value).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("file"), before);
        }
    }
}
