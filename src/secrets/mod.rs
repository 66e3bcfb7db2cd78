//! Where the Cloudflare API token comes from, and where it is kept.
//!
//! In order: a systemd credential, a file in the data folder, the environment. The file is used
//! only if nobody but its owner could have read or placed it. The token is held in memory that is
//! wiped, prints as `[REDACTED]`, and appears in no error.

mod file;

use file::check;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the credential, and of the file in the data folder.
pub const TOKEN_NAME: &str = "cloudflare-token";
/// The variable of the environment.
pub const TOKEN_VARIABLE: &str = "CLOUDFLARE_API_TOKEN";
/// Bytes of a token; Cloudflare's have 40 to 60.
pub const TOKEN_MAX_BYTES: usize = 4096;

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A credential that systemd passed to this service.
    Credential(PathBuf),
    /// The file in the data folder.
    File(PathBuf),
    /// The environment, where other processes of the user can read it.
    Environment,
}

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The value of `CREDENTIALS_DIRECTORY`.
    pub credentials_dir: Option<&'a Path>,
    /// The data folder.
    pub data_dir: &'a Path,
    /// The value of `CLOUDFLARE_API_TOKEN`.
    pub environment: Option<&'a OsStr>,
    /// Whether the environment is asked first: for the daemon, whose owner gave it the variable for
    /// this run. Elsewhere the variable may belong to any project that uses Cloudflare's tools.
    pub environment_first: bool,
}

/// Why a token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file that can't be read.
    #[error("token file {path} can't be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A link lies where the file belongs.
    #[error("token file {path} is a symbolic link; remove it and store the token again with `memtide cloud link --token-file -`", path = path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Something else lies where the file belongs.
    #[error("token file {path} is not a regular file; move it away", path = path.display())]
    NotAFile {
        /// What lies there.
        path: PathBuf,
    },
    /// The file belongs to somebody else.
    #[error("token file {path} belongs to user {owner}, memtide runs as user {uid}; remove it and store the token again with `memtide cloud link --token-file -`", path = path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Others may read or change the file.
    #[error("token file {path} has mode {mode:04o}, others may have read it; make a new token at Cloudflare, or, if you are sure, type: chmod 600 {quoted}", path = path.display(), quoted = quoted(path))]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing but white space.
    #[error("the token in {place} is empty")]
    Empty {
        /// Where it was found.
        place: String,
    },
    /// Too long to be a token.
    #[error("the token in {place} has more than {TOKEN_MAX_BYTES} bytes; give the token alone")]
    TooLong {
        /// Where it was found.
        place: String,
    },
    /// A character that no token has.
    #[error(
        "the token in {place} has {what} as character {at}; give the token alone, on one line, without `Bearer` or quotes"
    )]
    BadCharacter {
        /// Where it was found.
        place: String,
        /// What kind of character; never the character itself.
        what: &'static str,
        /// Its position, counted from 1.
        at: usize,
    },
    /// The file can't be written; the old one is unchanged.
    #[error("token file {path} can't be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can't be removed.
    #[error("token file {path} can't be removed: {source}", path = path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Takes the token from the first source that has one; `None` if none has.
///
/// # Errors
/// A source that has one which can't be used: the next source is then not asked, since a token
/// other than the intended one may belong to another account.
pub fn load(sources: &Sources<'_>) -> Result<Option<(SecretString, TokenSource)>, SecretError> {
    let environment = || from_environment(sources.environment);
    if sources.environment_first
        && let Some(found) = environment()?
    {
        return Ok(Some(found));
    }
    if let Some(folder) = sources.credentials_dir {
        let path = folder.join(TOKEN_NAME);
        if let Some(token) = file::read_credential(&path)? {
            return Ok(Some((token, TokenSource::Credential(path))));
        }
    }
    let path = sources.data_dir.join(TOKEN_NAME);
    if let Some(token) = file::read_private(&path, own_uid())? {
        return Ok(Some((token, TokenSource::File(path))));
    }
    environment()
}

/// Checks what a person gave as a token, from a prompt or standard input.
///
/// # Errors
/// Why it can't be one.
pub fn accept(given: &SecretString) -> Result<SecretString, SecretError> {
    use secrecy::ExposeSecret as _;
    check(given.expose_secret().as_bytes(), || "the input".to_owned())
}

/// Stores a token in the data folder with mode 0600; after success it survives a loss of power.
///
/// # Errors
/// A token that can't be one, or a file that can't be written; an older file is then unchanged.
pub fn save(data_dir: &Path, token: &SecretString) -> Result<(), SecretError> {
    let path = data_dir.join(TOKEN_NAME);
    let token = accept(token)?;
    file::write(data_dir, &path, &token).map_err(|source| SecretError::Write { path, source })
}

/// Removes the stored token. Returns whether there was one.
///
/// # Errors
/// A file that can't be removed.
pub fn remove(data_dir: &Path) -> Result<bool, SecretError> {
    let path = data_dir.join(TOKEN_NAME);
    file::remove(data_dir, &path).map_err(|source| SecretError::Remove { path, source })
}

fn from_environment(
    value: Option<&OsStr>,
) -> Result<Option<(SecretString, TokenSource)>, SecretError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let bytes = Zeroizing::new(value.as_encoded_bytes().to_vec());
    let token = check(&bytes, || format!("environment variable {TOKEN_VARIABLE}"))?;
    Ok(Some((token, TokenSource::Environment)))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `path` as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
