//! The socket's file: replaced only by the holder of the lock, and only if it is a socket.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tokio::net::UnixListener;

/// Binds `path`, mode 0600, in place of a stale socket. The caller holds the lock.
pub(super) fn bind(path: &Path) -> Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        // The lock keeps out daemons of this data folder only; a socket placed by hand may be another's.
        Ok(meta) if meta.file_type().is_socket() && UnixStream::connect(path).is_ok() => {
            return Err(Error::new(
                ErrorKind::AddrInUse,
                "another daemon serves it; set MEMTIDE_SOCKET to another path",
            ));
        }
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "it exists and is no socket; move it away",
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket's file. A file that is gone already is fine.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, socket = %path.display(), "socket not removed");
    }
}
