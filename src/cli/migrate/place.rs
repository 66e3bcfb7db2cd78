//! Which database is meant: the one that was typed, else the one that the service's own settings name.

use super::super::failure::Failure;
use super::super::session::Session;
use crate::config::process_env;
use crate::migrate::locate::{Places, locate};
use crate::migrate::source::SourceError;
use std::path::{Path, PathBuf};

/// The absolute path of the database.
pub(super) fn database(session: &Session, typed: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = typed {
        return Ok(std::path::absolute(path)?);
    }
    session.config.demand("migrate").map_err(Failure::new)?;
    let settings = &session.settings().migrate;
    let home = process_env("HOME").map(PathBuf::from);
    let places = Places {
        database: settings.database.as_deref(),
        base_dir: settings.base_dir.as_deref(),
        home: home.as_deref(),
        is_mac: cfg!(target_os = "macos"),
    };
    locate(places).map_err(|error| Failure::new(&error).with_hint(error.hint()))
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::new(&error).with_hint(error.hint())
    }
}
