//! Folders that only their owner may enter.

use super::error::PathError;
use std::fs::{DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// The bit by which only the owner of a file may remove it from a folder open to all.
const STICKY: u32 = 0o1000;

/// Creates `path` with mode 0700 if it isn't there, and makes sure that it is a folder of user
/// `uid` that nobody else may enter. Never changes a folder that was there before.
pub(super) fn ensure_private(path: &Path, uid: u32) -> Result<(), PathError> {
    if look(path, std::fs::symlink_metadata(path))?.is_none() {
        create(path)?;
    }
    let found = std::fs::symlink_metadata(path)
        .map_err(|source| PathError::Look { path: path.to_owned(), source })?;
    if found.is_symlink() {
        return Err(PathError::Link { path: path.to_owned() });
    }
    if !found.is_dir() {
        return Err(PathError::NotAFolder { path: path.to_owned() });
    }
    if found.uid() != uid {
        return Err(PathError::Owner { path: path.to_owned(), owner: found.uid(), uid });
    }
    let mode = found.mode() & 0o777;
    if mode != 0o700 {
        return Err(PathError::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Creates the folder for a socket that was placed by hand, or makes sure that nobody else could
/// put another socket in its place: it belongs to `uid` or root, and others may write into it only
/// under the sticky bit, as in `/tmp`.
pub(super) fn ensure_guarded(path: &Path, uid: u32) -> Result<(), PathError> {
    let Some(found) = look(path, std::fs::metadata(path))? else { return create(path) };
    if !found.is_dir() {
        return Err(PathError::NotAFolder { path: path.to_owned() });
    }
    if found.uid() != uid && found.uid() != 0 {
        return Err(PathError::Owner { path: path.to_owned(), owner: found.uid(), uid });
    }
    let mode = found.mode();
    if mode & 0o022 != 0 && mode & STICKY == 0 {
        return Err(PathError::SocketFolderOpen { path: path.to_owned(), mode: mode & 0o777 });
    }
    Ok(())
}

/// Whether `path` is a folder of user `uid`.
pub(super) fn is_own(path: &Path, uid: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == uid)
}

/// What was found at `path`; `None` for nothing.
fn look(path: &Path, found: std::io::Result<Metadata>) -> Result<Option<Metadata>, PathError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(PathError::NotAFolder { path: path.parent().unwrap_or(path).to_owned() })
        }
        Err(source) => Err(PathError::Look { path: path.to_owned(), source }),
    }
}

fn create(path: &Path) -> Result<(), PathError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PathError::Create { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("a/b/memtide");
        ensure_private(&path, own_uid()).expect("made");
        for made in ["a", "a/b", "a/b/memtide"] {
            let mode = fs::metadata(root.path().join(made)).expect("there").mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
        ensure_private(&path, own_uid()).expect("still fine");
    }

    #[test]
    fn each_fault_of_a_folder_has_its_sentence() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("my data");
        let shown = path.display().to_string();
        fs::create_dir(&path).expect("made");
        let sentence =
            |path: &Path, uid| ensure_private(path, uid).expect_err("refused").to_string();

        for (mode, text) in [(0o755, "0755"), (0o770, "0770"), (0o701, "0701"), (0o500, "0500")] {
            with_mode(&path, mode);
            assert_eq!(
                sentence(&path, own_uid()),
                format!(
                    "folder {shown} has mode {text}, it must be open to its owner alone; type: \
                     chmod 700 '{shown}'"
                )
            );
        }
        with_mode(&path, 0o700);
        let other = own_uid() + 1;
        assert_eq!(
            sentence(&path, other),
            format!(
                "folder {shown} belongs to user {}, memtide runs as user {other}; run memtide as \
                 that user or choose another folder with MEMTIDE_DATA_DIR or MEMTIDE_SOCKET",
                own_uid()
            )
        );
        let link = root.path().join("link");
        symlink(&path, &link).expect("linked");
        assert_eq!(
            sentence(&link, own_uid()),
            format!(
                "folder {} is a symbolic link; set MEMTIDE_DATA_DIR to the folder it points to",
                link.display()
            )
        );
        let file = root.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(
            sentence(&file, own_uid()),
            format!("{} is not a folder; move it away or choose another folder", file.display())
        );
        assert!(sentence(&file.join("below"), own_uid()).contains("file is not a folder"));
    }

    #[test]
    fn a_socket_may_lie_under_the_sticky_bit_but_not_in_an_open_folder() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("shared");
        ensure_guarded(&path, own_uid()).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        for mode in [0o755, 0o1777] {
            with_mode(&path, mode);
            ensure_guarded(&path, own_uid()).expect("guarded");
        }
        for mode in [0o777, 0o770, 0o702] {
            with_mode(&path, mode);
            let error = ensure_guarded(&path, own_uid()).expect_err("open");
            assert!(matches!(error, PathError::SocketFolderOpen { .. }), "{error}");
        }
    }
}
