//! Token files: opened without following a link, checked on the open file, replaced as a whole.

use super::{SecretError, TOKEN_MAX_BYTES, TOKEN_NAME};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Reads a credential of systemd, which sees to its owner and mode; `None` if there is none.
pub(super) fn read_credential(path: &Path) -> Result<Option<SecretString>, SecretError> {
    open(path)?.map(|file| read(file, path)).transpose()
}

/// Reads a file that user `uid` alone can read; `None` if there is none.
pub(super) fn read_private(path: &Path, uid: u32) -> Result<Option<SecretString>, SecretError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let found =
        file.metadata().map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if found.uid() != uid {
        return Err(SecretError::Owner { path: path.to_owned(), owner: found.uid(), uid });
    }
    if found.mode() & 0o077 != 0 {
        return Err(SecretError::Mode { path: path.to_owned(), mode: found.mode() & 0o777 });
    }
    read(file, path).map(Some)
}

/// Replaces the file by one with mode 0600 that holds `token`.
pub(super) fn write(folder: &Path, path: &Path, token: &SecretString) -> io::Result<()> {
    // A temporary file is created with mode 0600, so the token is never open to others.
    let mut file =
        tempfile::Builder::new().prefix(&format!(".{TOKEN_NAME}")).tempfile_in(folder)?;
    file.write_all(token.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Removes the file; whether there was one.
pub(super) fn remove(folder: &Path, path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => File::open(folder)?.sync_all().map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a token out of `bytes`: the white space around it goes, any other oddity is refused.
pub(super) fn check(bytes: &[u8], place: impl Fn() -> String) -> Result<SecretString, SecretError> {
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err(SecretError::Empty { place: place() });
    }
    if token.len() > TOKEN_MAX_BYTES {
        return Err(SecretError::TooLong { place: place() });
    }
    let odd = token.iter().enumerate().find_map(|(at, byte)| {
        let what = match byte {
            b' ' => "a space",
            b'"' | b'\'' | b'`' => "a quote",
            byte if byte.is_ascii_graphic() => return None,
            byte if byte.is_ascii() => "a control character",
            _ => "a character outside ASCII",
        };
        Some((what, at + 1))
    });
    match (odd, std::str::from_utf8(token)) {
        (None, Ok(token)) => Ok(SecretString::from(token)),
        (odd, _) => {
            let (what, at) = odd.unwrap_or(("a character outside ASCII", 1));
            Err(SecretError::BadCharacter { place: place(), what, at })
        }
    }
}

/// Opens a regular file; `None` if there is none. A pipe in its place does not make us wait.
fn open(path: &Path) -> Result<Option<File>, SecretError> {
    let owned = || path.to_owned();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(SecretError::Link { path: owned() });
        }
        // A socket in its place can't be opened at all.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(SecretError::NotAFile { path: owned() });
        }
        Err(source) => return Err(SecretError::Read { path: owned(), source }),
    };
    let found = file.metadata().map_err(|source| SecretError::Read { path: owned(), source })?;
    if !found.is_file() {
        return Err(SecretError::NotAFile { path: owned() });
    }
    Ok(Some(file))
}

fn read(file: File, path: &Path) -> Result<SecretString, SecretError> {
    // White space around the token is allowed, but nothing that fills the memory. The buffer has
    // its full size from the start, since growing it would leave copies of the token behind.
    let limit = 2 * TOKEN_MAX_BYTES;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 64));
    file.take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if bytes.len() == limit {
        return Err(SecretError::TooLong { place: path.display().to_string() });
    }
    check(&bytes, || path.display().to_string())
}
