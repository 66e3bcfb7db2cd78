//! Where the service keeps its database: as it looks for it itself.

use std::path::{Path, PathBuf};

/// The name that the service gives its database.
const FILE: &str = "sqlite_vec.db";

/// What says where to look.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The file, as a setting or the service's environment names it.
    pub database: Option<&'a Path>,
    /// The service's folder, likewise.
    pub base_dir: Option<&'a Path>,
    /// The home folder.
    pub home: Option<&'a Path>,
    /// Whether folders follow the custom of macOS.
    pub is_mac: bool,
}

/// None of the usual places has a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no database of mcp-memory-service was found{}", tried(.0))]
pub struct NotFound(pub Vec<PathBuf>);

fn tried(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() { String::new() } else { format!("; looked for {}", paths.join(" and ")) }
}

impl NotFound {
    /// What the person can do next.
    pub fn hint(&self) -> &'static str {
        "name it: `memtide migrate inspect PATH`, or set MCP_MEMORY_SQLITE_PATH or MCP_MEMORY_BASE_DIR"
    }
}

/// The files at which to look, the first first. Who names a file or a folder means no other.
pub fn candidates(places: Places<'_>) -> Vec<PathBuf> {
    if let Some(database) = places.database {
        return vec![database.to_owned()];
    }
    if let Some(base) = places.base_dir {
        return vec![base.join(FILE)];
    }
    let Some(home) = places.home else { return Vec::new() };
    let linux = home.join(".local/share/mcp-memory").join(FILE);
    let mac = home.join("Library/Application Support/mcp-memory").join(FILE);
    if places.is_mac { vec![mac, linux] } else { vec![linux] }
}

/// The first of the candidates that is there.
///
/// # Errors
/// None is, with the places that were looked at.
pub fn locate(places: Places<'_>) -> Result<PathBuf, NotFound> {
    let candidates = candidates(places);
    candidates.iter().find(|path| path.exists()).cloned().ok_or(NotFound(candidates))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Places<'_> = Places { database: None, base_dir: None, home: None, is_mac: false };

    #[test]
    fn the_service_s_own_order_is_kept() {
        let home = Some(Path::new("/home/ann"));
        let linux = PathBuf::from("/home/ann/.local/share/mcp-memory/sqlite_vec.db");
        assert_eq!(candidates(Places { home, ..NONE }), [linux.clone()]);
        let mac = PathBuf::from("/home/ann/Library/Application Support/mcp-memory/sqlite_vec.db");
        assert_eq!(candidates(Places { home, is_mac: true, ..NONE }), [mac, linux]);
        let base_dir = Some(Path::new("/b"));
        assert_eq!(
            candidates(Places { home, base_dir, ..NONE }),
            [PathBuf::from("/b/sqlite_vec.db")]
        );
        let database = Some(Path::new("/d/x.db"));
        let named = candidates(Places { home, base_dir, database, ..NONE });
        assert_eq!(named, [PathBuf::from("/d/x.db")]);
    }

    #[test]
    fn what_is_found_is_there_and_what_isn_t_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let base_dir = Some(folder.path());
        let missing = locate(Places { base_dir, ..NONE }).unwrap_err();
        assert!(missing.to_string().contains("sqlite_vec.db"), "{missing}");
        std::fs::write(folder.path().join(FILE), "").unwrap();
        assert_eq!(locate(Places { base_dir, ..NONE }), Ok(folder.path().join(FILE)));
        assert_eq!(locate(NONE), Err(NotFound(Vec::new())));
    }
}
