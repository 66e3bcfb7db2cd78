//! Settings with provenance: defaults, then `config.toml`, then the environment, then options.
//!
//! Every value knows which layer it was taken from. A key that memtide does not have is a fault, as
//! is a value out of range, so that no setting is ignored in silence. One exception is deliberate:
//! variables that belong to other programs (`CLOUDFLARE_…`, `MCP_…`, `HF_ENDPOINT`) may hold
//! anything in anybody's shell, so a bad one does not stop a command that never needs it. It is set
//! aside, `doctor` shows it, and a command that does need it asks with [`Config::demand`].
//!
//! This module, the command line and `main` are the only ones that know the environment, and here
//! it comes in as an argument.

pub mod edit;
pub mod error;
mod folder;
mod form;
mod keys;
mod layer;
pub mod origin;
pub mod paths;
pub mod settings;

use error::ConfigError;
use keys::{KEYS, Key, Raw};
use origin::Origin;
use settings::Settings;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The built-in defaults with a comment on every key.
pub const DEFAULTS: &str = include_str!("default.toml");

/// Where variables of the environment are looked up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Looks up a variable of the process.
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// An option of a command that stands for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key, `section.name`.
    pub key: &'static str,
    /// The option as the person types it, with its dashes.
    pub name: &'static str,
    /// The value given.
    pub value: String,
}

/// One setting as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, `section.name`.
    pub key: &'static str,
    /// The value; empty where nothing is set.
    pub value: String,
    /// The layer it was taken from.
    pub origin: Origin,
}

/// The settings and where each comes from.
#[derive(Debug)]
pub struct Config {
    settings: Settings,
    entries: Vec<Entry>,
    ignored: Vec<ConfigError>,
}

impl Config {
    /// Reads all layers; a file that isn't there is an empty one.
    ///
    /// # Errors
    /// The first fault: a file that can't be read or parsed, an unknown key, a value that is not
    /// allowed.
    pub fn load(file: &Path, env: Env<'_>, flags: &[Flag]) -> Result<Self, ConfigError> {
        let mut config = Self::defaults()?;
        if let Some(text) = read(file)? {
            let origin = |line| Origin::File { path: file.to_owned(), line };
            config.apply_toml(&text, file, origin)?;
        }
        config.apply_environment(env)?;
        for flag in flags {
            let origin = Origin::Flag(flag.name);
            let key = keys::find(flag.key)
                .ok_or_else(|| layer::unknown_key(flag.key, Some(origin.clone())))?;
            config.apply(key, &Raw::Untyped(&flag.value), origin)?;
        }
        Ok(config)
    }

    /// The built-in defaults alone.
    ///
    /// # Errors
    /// None, unless the built-in file itself is at fault, which a test excludes.
    pub fn defaults() -> Result<Self, ConfigError> {
        let mut config =
            Self { settings: Settings::blank(), entries: Vec::new(), ignored: Vec::new() };
        config.apply_toml(DEFAULTS, Path::new("default.toml"), |_| Origin::Default)?;
        Ok(config)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every setting with its origin, in the order of the file of defaults.
    pub fn origins(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// One setting with its origin.
    ///
    /// # Errors
    /// A key that memtide does not have, with the nearest one that it has.
    pub fn entry(&self, key: &str) -> Result<&Entry, ConfigError> {
        self.entries.iter().find(|e| e.key == key).ok_or_else(|| layer::unknown_key(key, None))
    }

    /// Values of other programs' variables that were set aside because they can't be used.
    pub fn ignored(&self) -> &[ConfigError] {
        &self.ignored
    }

    /// Makes sure that no value of `section` was set aside: for a command that depends on it.
    ///
    /// # Errors
    /// Why the value can't be used.
    pub fn demand(&self, section: &str) -> Result<(), &ConfigError> {
        let is_inside = |key: &str| {
            key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match self.ignored.iter().find(|fault| fault.key().is_some_and(is_inside)) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn apply_toml(
        &mut self,
        text: &str,
        path: &Path,
        origin: impl Fn(usize) -> Origin,
    ) -> Result<(), ConfigError> {
        let document = layer::parse(text, path)?;
        for given in layer::values(&document, path)? {
            self.apply(given.key, &given.raw, origin(given.line))?;
        }
        Ok(())
    }

    fn apply_environment(&mut self, env: Env<'_>) -> Result<(), ConfigError> {
        for key in KEYS {
            let given = key.variables.iter().find_map(|variable| {
                let value = env(variable).filter(|value| !value.is_empty())?;
                Some((*variable, value))
            });
            let Some((variable, value)) = given else { continue };
            let result = match value.to_str() {
                Some(text) => self.apply(key, &Raw::Untyped(text), Origin::Environment(variable)),
                None => Err(ConfigError::VariableNotUtf8 { variable, key: key.name }),
            };
            match result {
                Err(fault) if variable.starts_with("MEMTIDE_") => return Err(fault),
                Err(fault) => self.ignored.push(fault),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        key: &'static Key,
        raw: &Raw<'_>,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let Some(value) = key.apply(raw, &mut self.settings) else {
            return Err(ConfigError::BadValue {
                origin: Some(origin),
                key: key.name,
                value: raw.shown(),
                expected: key.expected(),
            });
        };
        let entry = Entry { key: key.name, value, origin };
        match self.entries.iter_mut().find(|e| e.key == key.name) {
            Some(present) => *present = entry,
            None => self.entries.push(entry),
        }
        Ok(())
    }
}

/// Reads the file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    String::from_utf8(bytes).map(Some).map_err(|error| ConfigError::NotUtf8 {
        path: PathBuf::from(path),
        at: error.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests;
