//! Why the configuration or a folder can't be used: one sentence with the place, the value and what is allowed.

use super::origin::Origin;
use std::path::{Path, PathBuf};

/// A fault in one of the layers.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and can't be read.
    #[error("config file {path} can't be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no UTF-8.
    #[error("config file {path} is not valid UTF-8 at byte {at}; save it as UTF-8", path = path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset in bytes.
        at: usize,
    },
    /// The file is no TOML.
    #[error("{path}:{line}: not valid TOML: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that memtide does not have.
    #[error("{place}unknown key `{key}`; {advice}", place = place_of(origin.as_ref()))]
    UnknownKey {
        /// Where it stands; `None` for a key asked for by name.
        origin: Option<Origin>,
        /// The key.
        key: String,
        /// The key that is meant, or where to look.
        advice: String,
    },
    /// A value where a section belongs.
    #[error("{origin}: `{section}` is a section, not a value; its keys are {keys}")]
    SectionExpected {
        /// Where it stands.
        origin: Origin,
        /// The section.
        section: String,
        /// Names of its keys.
        keys: String,
    },
    /// A value of the wrong type or out of range.
    #[error("{place}`{key}` is {value}, it must be {expected}", place = place_of(origin.as_ref()))]
    BadValue {
        /// Where it stands; `None` for a value that was to be set.
        origin: Option<Origin>,
        /// The key.
        key: &'static str,
        /// The start of the value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A variable of the environment that is no UTF-8.
    #[error("environment variable {variable} is not valid UTF-8; set it again or unset it")]
    VariableNotUtf8 {
        /// Its name.
        variable: &'static str,
        /// The key it would set.
        key: &'static str,
    },
    /// The file could not be written; the old one is unchanged.
    #[error("config file {path} can't be written: {source}; it is unchanged", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ConfigError {
    /// The key that the fault is about, where it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. } => Some(key),
            Self::BadValue { key, .. } | Self::VariableNotUtf8 { key, .. } => Some(key),
            Self::SectionExpected { section, .. } => Some(section),
            Self::Read { .. } | Self::NotUtf8 { .. } | Self::Syntax { .. } | Self::Write { .. } => {
                None
            }
        }
    }
}

fn place_of(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!("{origin}: ")).unwrap_or_default()
}

/// Why a file or folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// There is no home folder to start from.
    #[error(
        "HOME is not set to an absolute path, so there is no place for the {what}; set HOME or {variable}"
    )]
    NoHome {
        /// Which folder.
        what: &'static str,
        /// The variable that places it.
        variable: &'static str,
    },
    /// A path relative to a working folder that isn't there any more.
    #[error("{path} is relative and there is no working folder: {source}; give an absolute path", path = path.display())]
    Relative {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system can't bind a socket there.
    #[error(
        "the path of the socket has {actual} bytes, this system allows {limit}: {path}; set MEMTIDE_SOCKET to a shorter path, as in MEMTIDE_SOCKET=/tmp/memtide-{uid}/memtide.sock",
        path = path.display()
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
        /// The user, for the example.
        uid: u32,
    },
    /// A folder could not be created.
    #[error("folder {path} can't be created: {source}", path = path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder could not be looked at.
    #[error("folder {path} can't be looked at: {source}", path = path.display())]
    Look {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something else lies where a folder belongs.
    #[error("{path} is not a folder; move it away or choose another folder", path = path.display())]
    NotAFolder {
        /// What lies there.
        path: PathBuf,
    },
    /// A link lies where a folder belongs.
    #[error("folder {path} is a symbolic link; set MEMTIDE_DATA_DIR to the folder it points to", path = path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The folder belongs to somebody else.
    #[error(
        "folder {path} belongs to user {owner}, memtide runs as user {uid}; run memtide as that user or choose another folder with MEMTIDE_DATA_DIR or MEMTIDE_SOCKET",
        path = path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Others may enter the folder, or its owner may not.
    #[error(
        "folder {path} has mode {mode:04o}, it must be open to its owner alone; type: chmod 700 {quoted}",
        path = path.display(),
        quoted = quoted(path)
    )]
    Mode {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others could put their own socket into the folder.
    #[error(
        "folder {path} has mode {mode:04o}, others could replace the socket in it; type: chmod go-w {quoted}, or set MEMTIDE_SOCKET to another folder",
        path = path.display(),
        quoted = quoted(path)
    )]
    SocketFolderOpen {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// `path` as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_type_survives_spaces_and_quotes() {
        assert_eq!(quoted(Path::new("/home/ann/.x-y_1")), "/home/ann/.x-y_1");
        assert_eq!(quoted(Path::new("/Users/ann/It's here")), "'/Users/ann/It'\\''s here'");
    }
}
