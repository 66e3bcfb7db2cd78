//! Where memtide's files are.
//!
//! With `MEMTIDE_DATA_DIR` (or `--data-dir`) set, the config file, the socket and the log live in
//! that folder too, so that two daemons with two data folders never meet; a variable of its own
//! still places each of them elsewhere. A client may lack the variables that the daemon was started
//! with: the lock file, which always lies in the data folder, names the socket in use.

use super::Env;
use super::error::PathError;
use super::folder::{ensure_guarded, ensure_private, is_own};
use super::origin::Origin;
use std::path::{Path, PathBuf};

/// Bytes that the system has room for in the path of a socket, with the zero at its end.
pub const SOCKET_PATH_MAX_BYTES: usize = if cfg!(target_os = "macos") { 104 } else { 108 };

/// The files and folders of one memtide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Holds everything that must not be lost.
    pub data_dir: PathBuf,
    /// `config.toml`.
    pub config_file: PathBuf,
    /// Models and the runtime library, which can be fetched again.
    pub model_dir: PathBuf,
    /// The daemon's socket, short enough to be bound.
    pub socket: PathBuf,
    /// The log of a daemon that a client started.
    pub log_file: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// Held by the one daemon of this data folder.
    pub lock_file: PathBuf,
    /// Backups.
    pub backup_dir: PathBuf,
    origins: Vec<(&'static str, PathBuf, Origin)>,
}

/// The custom of the system about where files belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Xdg,
    Mac,
}

impl Layout {
    const NATIVE: Self = if cfg!(target_os = "macos") { Self::Mac } else { Self::Xdg };
}

impl Paths {
    /// Finds the place of every file; `data_dir` is the option `--data-dir`. Creates nothing.
    ///
    /// # Errors
    /// No home folder where one is needed, or a socket path that the system can't bind.
    pub fn locate(env: Env<'_>, data_dir: Option<&Path>) -> Result<Self, PathError> {
        Self::locate_in(Layout::NATIVE, env, data_dir, own_uid())
    }

    /// Every place that was chosen, with its name and why it was chosen.
    pub fn origins(&self) -> impl Iterator<Item = (&'static str, &Path, &Origin)> {
        self.origins.iter().map(|(name, path, origin)| (*name, path.as_path(), origin))
    }

    /// Creates the data folder and the socket's folder with mode 0700, or makes sure that they are
    /// the owner's alone.
    ///
    /// # Errors
    /// What is wrong with the folder and what to type.
    pub fn prepare(&self) -> Result<(), PathError> {
        let uid = own_uid();
        ensure_private(&self.data_dir, uid)?;
        let is_placed_by_hand =
            self.origins().any(|(name, _, origin)| name == "socket" && *origin == SOCKET_BY_HAND);
        match self.socket.parent() {
            Some(folder) if folder == self.data_dir => Ok(()),
            Some(folder) if is_placed_by_hand => ensure_guarded(folder, uid),
            Some(folder) => ensure_private(folder, uid),
            None => Ok(()),
        }
    }

    fn locate_in(
        layout: Layout,
        env: Env<'_>,
        flag: Option<&Path>,
        uid: u32,
    ) -> Result<Self, PathError> {
        let places = Places { layout, env };
        let chosen = match flag {
            Some(path) => Some((absolute(path)?, Origin::Flag("--data-dir"))),
            None => places.variable("MEMTIDE_DATA_DIR")?,
        };
        let is_chosen = chosen.is_some();
        let (data_dir, data_origin) = match chosen {
            Some(chosen) => chosen,
            None => places.data()?,
        };
        let beside = |name: &str| (data_dir.join(name), data_origin.clone());
        let (config_file, config_origin) = match places.variable("MEMTIDE_CONFIG")? {
            Some(given) => given,
            None if is_chosen || layout == Layout::Mac => beside("config.toml"),
            None => places.config()?,
        };
        let (model_dir, model_origin) = match places.variable("MEMTIDE_MODEL_DIR")? {
            Some(given) => given,
            None => match places.models() {
                Err(_) if is_chosen => beside("models"),
                found => found?,
            },
        };
        let (socket, socket_origin) = match places.variable("MEMTIDE_SOCKET")? {
            Some(given) => given,
            None => {
                places.runtime(uid).filter(|_| !is_chosen).unwrap_or_else(|| beside("memtide.sock"))
            }
        };
        let actual = socket.as_os_str().len() + 1;
        if actual > SOCKET_PATH_MAX_BYTES {
            let limit = SOCKET_PATH_MAX_BYTES;
            return Err(PathError::SocketTooLong { path: socket, actual, limit, uid });
        }
        Ok(Self {
            log_file: data_dir.join("memtide.log"),
            database: data_dir.join("memtide.db"),
            lock_file: data_dir.join("memtide.lock"),
            backup_dir: data_dir.join("backups"),
            origins: vec![
                ("data", data_dir.clone(), data_origin.clone()),
                ("config", config_file.clone(), config_origin),
                ("models", model_dir.clone(), model_origin),
                ("socket", socket.clone(), socket_origin),
            ],
            data_dir,
            config_file,
            model_dir,
            socket,
        })
    }
}

const SOCKET_BY_HAND: Origin = Origin::Environment("MEMTIDE_SOCKET");

struct Places<'a> {
    layout: Layout,
    env: Env<'a>,
}

type Place = (PathBuf, Origin);

impl Places<'_> {
    /// A variable of memtide's own; a relative path starts from the working folder.
    fn variable(&self, name: &'static str) -> Result<Option<Place>, PathError> {
        let value = (self.env)(name).filter(|value| !value.is_empty());
        let path = value.map(|value| absolute(Path::new(&value))).transpose()?;
        Ok(path.map(|path| (path, Origin::Environment(name))))
    }

    /// A base folder by the custom of the desktop: a relative one must be ignored.
    fn base(&self, name: &'static str) -> Option<Place> {
        let path = PathBuf::from((self.env)(name)?);
        path.is_absolute().then_some((path, Origin::Environment(name)))
    }

    fn home(&self, what: &'static str, variable: &'static str) -> Result<PathBuf, PathError> {
        let home = (self.env)("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        home.ok_or(PathError::NoHome { what, variable })
    }

    fn data(&self) -> Result<Place, PathError> {
        let home = || self.home("data folder", "MEMTIDE_DATA_DIR");
        if self.layout == Layout::Mac {
            let path = home()?.join("Library/Application Support/memtide");
            return Ok((path, Origin::Default));
        }
        match self.base("XDG_DATA_HOME") {
            Some((path, origin)) => Ok((path.join("memtide"), origin)),
            None => Ok((home()?.join(".local/share/memtide"), Origin::Default)),
        }
    }

    fn config(&self) -> Result<Place, PathError> {
        if let Some((path, origin)) = self.base("XDG_CONFIG_HOME") {
            return Ok((path.join("memtide/config.toml"), origin));
        }
        let home = self.home("config file", "MEMTIDE_CONFIG")?;
        Ok((home.join(".config/memtide/config.toml"), Origin::Default))
    }

    fn models(&self) -> Result<Place, PathError> {
        let home = || self.home("models", "MEMTIDE_MODEL_DIR");
        if self.layout == Layout::Mac {
            return Ok((home()?.join("Library/Caches/memtide/models"), Origin::Default));
        }
        match self.base("XDG_CACHE_HOME") {
            Some((path, origin)) => Ok((path.join("memtide/models"), origin)),
            None => Ok((home()?.join(".cache/memtide/models"), Origin::Default)),
        }
    }

    /// The socket in the session's folder. The variable may be left over from another session or
    /// another user, so the folder must be there and belong to user `uid`.
    fn runtime(&self, uid: u32) -> Option<Place> {
        if self.layout == Layout::Mac {
            return None;
        }
        let (path, origin) = self.base("XDG_RUNTIME_DIR")?;
        is_own(&path, uid).then(|| (path.join("memtide/memtide.sock"), origin))
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn absolute(path: &Path) -> Result<PathBuf, PathError> {
    std::path::absolute(path)
        .map_err(|source| PathError::Relative { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn locate(
        layout: Layout,
        variables: &[(&str, &str)],
        flag: Option<&str>,
    ) -> Result<Paths, PathError> {
        let env = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Paths::locate_in(layout, &env, flag.map(Path::new), own_uid())
    }

    fn shown(paths: &Paths) -> [&str; 4] {
        [&paths.data_dir, &paths.config_file, &paths.model_dir, &paths.socket]
            .map(|path| path.to_str().expect("UTF-8"))
    }

    #[test]
    fn home_alone_is_enough() {
        let paths = locate(Layout::Xdg, &[("HOME", "/home/ann")], None).expect("found");
        let expected = [
            "/home/ann/.local/share/memtide",
            "/home/ann/.config/memtide/config.toml",
            "/home/ann/.cache/memtide/models",
            "/home/ann/.local/share/memtide/memtide.sock",
        ];
        assert_eq!(shown(&paths), expected);
        assert_eq!(paths.database, Path::new("/home/ann/.local/share/memtide/memtide.db"));
        assert_eq!(paths.lock_file, Path::new("/home/ann/.local/share/memtide/memtide.lock"));
        assert_eq!(paths.log_file, Path::new("/home/ann/.local/share/memtide/memtide.log"));

        let paths = locate(Layout::Mac, &[("HOME", "/Users/ann")], None).expect("found");
        let expected = [
            "/Users/ann/Library/Application Support/memtide",
            "/Users/ann/Library/Application Support/memtide/config.toml",
            "/Users/ann/Library/Caches/memtide/models",
            "/Users/ann/Library/Application Support/memtide/memtide.sock",
        ];
        assert_eq!(shown(&paths), expected);
    }

    #[test]
    fn base_folders_of_the_desktop_are_honoured_if_absolute() {
        let runtime = tempfile::tempdir().expect("folder");
        let runtime = runtime.path().to_str().expect("UTF-8");
        let variables = [
            ("HOME", "/home/ann"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_CACHE_HOME", "/k"),
            ("XDG_RUNTIME_DIR", runtime),
        ];
        let paths = locate(Layout::Xdg, &variables, None).expect("found");
        let socket = format!("{runtime}/memtide/memtide.sock");
        let expected = ["/d/memtide", "/c/memtide/config.toml", "/k/memtide/models", &socket];
        assert_eq!(shown(&paths), expected);
        let origins: Vec<String> = paths.origins().map(|(_, _, o)| o.to_string()).collect();
        assert_eq!(origins[3], "environment variable XDG_RUNTIME_DIR");

        let variables = [
            ("HOME", "/home/ann"),
            ("XDG_DATA_HOME", "relative"),
            ("XDG_RUNTIME_DIR", "/nonexistent/1000"),
        ];
        let paths = locate(Layout::Xdg, &variables, None).expect("found");
        let data = "/home/ann/.local/share/memtide";
        assert_eq!(shown(&paths)[0], data);
        assert_eq!(shown(&paths)[3], format!("{data}/memtide.sock"));
    }

    #[test]
    fn a_chosen_data_folder_holds_everything_but_the_models() {
        let runtime = tempfile::tempdir().expect("folder");
        let runtime = runtime.path().to_str().expect("UTF-8");
        let variables = [
            ("HOME", "/home/ann"),
            ("MEMTIDE_DATA_DIR", "/a"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_RUNTIME_DIR", runtime),
        ];
        let models = "/home/ann/.cache/memtide/models";
        for layout in [Layout::Xdg, Layout::Mac] {
            let paths = locate(layout, &variables, None).expect("found");
            assert_eq!(shown(&paths)[0..2], ["/a", "/a/config.toml"]);
            assert_eq!(shown(&paths)[3], "/a/memtide.sock");
        }
        let paths = locate(Layout::Xdg, &variables, Some("/b")).expect("found");
        assert_eq!(shown(&paths), ["/b", "/b/config.toml", models, "/b/memtide.sock"]);

        let placed = [
            ("MEMTIDE_DATA_DIR", "/a"),
            ("MEMTIDE_CONFIG", "/x.toml"),
            ("MEMTIDE_MODEL_DIR", "/m"),
            ("MEMTIDE_SOCKET", "/s.sock"),
        ];
        let paths = locate(Layout::Xdg, &placed, None).expect("found");
        assert_eq!(shown(&paths), ["/a", "/x.toml", "/m", "/s.sock"]);

        let paths = locate(Layout::Xdg, &[("MEMTIDE_DATA_DIR", "/a")], None).expect("no home");
        assert_eq!(shown(&paths)[2], "/a/models");
    }

    #[test]
    fn relative_paths_start_from_the_working_folder() {
        let paths = locate(Layout::Xdg, &[("HOME", "/h")], Some("data")).expect("found");
        assert_eq!(paths.data_dir, std::env::current_dir().expect("there").join("data"));
    }

    #[test]
    fn without_a_home_the_sentence_names_the_variable() {
        let error = locate(Layout::Xdg, &[("HOME", "")], None).expect_err("no home");
        assert_eq!(
            error.to_string(),
            "HOME is not set to an absolute path, so there is no place for the data folder; set \
             HOME or MEMTIDE_DATA_DIR"
        );
    }

    #[test]
    fn a_socket_path_is_as_long_as_the_system_allows_and_no_longer() {
        let fits = format!("/{}", "s".repeat(SOCKET_PATH_MAX_BYTES - 2));
        let paths = locate(Layout::Xdg, &[("HOME", "/h"), ("MEMTIDE_SOCKET", &fits)], None);
        assert_eq!(paths.expect("fits").socket, Path::new(&fits));

        let folder = format!("/{}", "d".repeat(SOCKET_PATH_MAX_BYTES - 14));
        let error = locate(Layout::Xdg, &[("HOME", "/h"), ("MEMTIDE_DATA_DIR", &folder)], None);
        let error = error.expect_err("too long").to_string();
        let expected = format!(
            "the path of the socket has {} bytes, this system allows {SOCKET_PATH_MAX_BYTES}: \
             {folder}/memtide.sock; set MEMTIDE_SOCKET to a shorter path, as in \
             MEMTIDE_SOCKET=/tmp/memtide-",
            SOCKET_PATH_MAX_BYTES + 1
        );
        // The example ends with the number of the user, which differs.
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn the_limit_of_a_socket_path_is_the_systems() {
        let folder = tempfile::tempdir().expect("folder");
        let room = SOCKET_PATH_MAX_BYTES - 2 - folder.path().as_os_str().len();
        let fits = folder.path().join("s".repeat(room));
        std::os::unix::net::UnixListener::bind(&fits).expect("bound");
        let too_long = folder.path().join("s".repeat(room + 1));
        std::os::unix::net::UnixListener::bind(&too_long).expect_err("one byte too many");
    }

    #[test]
    fn both_folders_are_prepared_and_checked() {
        let root = tempfile::tempdir().expect("folder");
        let root = root.path();
        let (home, runtime) = (root.join("home"), root.join("run"));
        std::fs::create_dir(&runtime).expect("made");
        let variables = [
            ("HOME", home.to_str().expect("UTF-8")),
            ("XDG_RUNTIME_DIR", runtime.to_str().expect("UTF-8")),
        ];
        let paths = locate(Layout::Xdg, &variables, None).expect("found");
        paths.prepare().expect("prepared");
        assert!(paths.data_dir.is_dir() && runtime.join("memtide").is_dir());

        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(runtime.join("memtide"), open).expect("chmod");
        let error = paths.prepare().expect_err("open to others").to_string();
        assert!(error.contains("has mode 0755") && error.contains("chmod 700 "), "{error}");
    }
}
