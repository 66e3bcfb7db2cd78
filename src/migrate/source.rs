//! The service's database, open for reading.

use super::layout::Layout;
use super::row::{self, RefusedRow, SourceMemory};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time that a locked database is waited for.
pub const WAIT: Duration = Duration::from_secs(10);

/// Bytes at the beginning of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// SQLite's application id of memtide's own databases, `MTD1`.
const OWN_APPLICATION_ID: i64 = 0x4d54_4431;
/// Bytes from which a file is judged.
const SAMPLE_BYTES: u64 = 4096;
/// How many different byte values a page of 4096 random bytes has at least; texts have far fewer.
const RANDOM_VALUES_MIN: usize = 240;

/// Why the service's database can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is there.
    #[error("there is no file {0}")]
    Missing(PathBuf),
    /// A folder, a socket…
    #[error("{0} is no file")]
    NotAFile(PathBuf),
    /// Not readable by this user.
    #[error("{path} can't be opened: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system or SQLite said.
        reason: String,
    },
    /// Another kind of file.
    #[error("{0} is no SQLite database")]
    NotSqlite(PathBuf),
    /// A file without any order that could be read.
    #[error("{0} looks encrypted: nothing in it can be read without a key")]
    Encrypted(PathBuf),
    /// A part of the file is missing.
    #[error("{path} is cut off: it has {found} bytes of {expected}")]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size that its header tells.
        expected: u64,
    },
    /// SQLite can't make sense of a page.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Somebody holds a lock for longer than one waits.
    #[error("another program has kept {path} locked for more than {waited_s} s")]
    Locked {
        /// Which file.
        path: PathBuf,
        /// How long was waited, in seconds.
        waited_s: u64,
    },
    /// A release of the service that this memtide doesn't know has changed the schema.
    #[error(
        "the database has schema version {found}, this memtide knows the service's up to {known}"
    )]
    Newer {
        /// The version that it names.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// No memories are in it.
    #[error(
        "the database has no table of memories{}",
        if tables.is_empty() { ": it is empty".to_owned() }
        else { format!(", only {}", listed(tables)) }
    )]
    NoMemories {
        /// The tables that it has.
        tables: Vec<String>,
    },
    /// memtide's own database.
    #[error("{0} is a database of memtide, not of the Python service")]
    Own(PathBuf),
    /// A memory can't be told without it.
    #[error("the table of memories has no column {column}")]
    NoColumn {
        /// Which one.
        column: &'static str,
    },
    /// Any other answer of SQLite.
    #[error("the database can't be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

fn listed(tables: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = tables.iter().take(SHOWN).map(String::as_str).collect();
    let more = tables.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

impl SourceError {
    /// What the person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::NotAFile(_) => {
                "name the database: `memtide migrate inspect PATH`, or set MCP_MEMORY_SQLITE_PATH"
            }
            Self::Unreadable { .. } => {
                "memtide must be able to read the file and, if a -wal file lies beside it, to write to its folder"
            }
            Self::NotSqlite(_) | Self::NoMemories { .. } | Self::Own(_) => {
                "the Python service's database is usually named sqlite_vec.db; name it"
            }
            Self::Encrypted(_) => {
                "decrypt it with the program that encrypted it, and name the result"
            }
            Self::Truncated { .. } | Self::Damaged { .. } => {
                "take a backup of it, or make what can be saved into a new file: sqlite3 FILE .recover | sqlite3 NEW"
            }
            Self::Locked { .. } => {
                "a long-running write, a backup or a stopped program may hold it: try again, or stop that program"
            }
            Self::Newer { .. } => "update memtide; nothing was read",
            Self::NoColumn { .. } => {
                "it was not made by mcp-memory-service, or was changed by hand"
            }
            Self::Sqlite(_) => {
                "try again; if it stays, it is a defect of memtide: please report it"
            }
        }
    }

    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Missing(_))
    }
}

/// A page of rows.
#[derive(Debug)]
pub struct Page {
    /// The rows in their own order, those that can't be taken among them.
    pub rows: Vec<Result<SourceMemory, RefusedRow>>,
    /// Where to go on; `None` at the end.
    pub next: Option<i64>,
}

/// Hashes that several rows have, with the row that is read, at one version of the data.
#[derive(Default)]
struct Shared {
    version: Option<i64>,
    rows: HashMap<String, i64>,
}

/// The service's database, open for reading.
pub struct Source {
    conn: Connection,
    path: PathBuf,
    wait: Duration,
    layout: Layout,
    shared: RefCell<Shared>,
}

impl Source {
    /// Opens the database and looks what it consists of.
    ///
    /// # Errors
    /// Why it can't be read, with what to do.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::open_within(path, WAIT)
    }

    /// The same with another time that a locked database is waited for, at each reading.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open_within(path: &Path, wait: Duration) -> Result<Self, SourceError> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SourceError::Missing(path.to_owned()));
            }
            Err(error) => {
                let reason = error.to_string();
                return Err(SourceError::Unreadable { path: path.to_owned(), reason });
            }
            Ok(found) if !found.is_file() => return Err(SourceError::NotAFile(path.to_owned())),
            Ok(_) => {}
        }
        let classify = |error| classified(error, path, wait);
        let conn = connect(path, wait).map_err(|error| classify(error.into()))?;
        // Its first words make SQLite read the header and the log.
        let application_id: i64 = conn
            .query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))
            .map_err(|error| classify(error.into()))?;
        if application_id == OWN_APPLICATION_ID {
            return Err(SourceError::Own(path.to_owned()));
        }
        let layout = Layout::read(&conn).map_err(classify)?;
        Ok(Self { conn, path: path.to_owned(), wait, layout, shared: RefCell::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it consists of, as it was when it was opened.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The number of rows, deleted memories included.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn count(&self) -> Result<u64, SourceError> {
        self.reading(|conn| conn.query_row("SELECT count(*) FROM memories", [], |row| row.get(0)))
    }

    /// A number that changes with every commit of another program.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn data_version(&self) -> Result<i64, SourceError> {
        self.reading(|conn| conn.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// The rows that follow `after` in their own order, at most `limit` of them and about `bytes` of text,
    /// all of one moment.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn page(&self, after: i64, limit: usize, bytes: usize) -> Result<Page, SourceError> {
        let reader = row::Reader::new(&self.layout);
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(reader.sql())?;
            let limit_sql = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut found = statement.query((after, limit_sql))?;
            let (mut rows, mut size, mut last) = (Vec::new(), 0, None);
            while let Some(row) = found.next()? {
                last = Some(row.get(0)?);
                let (read, row_bytes) = reader.read(row, &|hash| self.chosen_for(hash))?;
                rows.push(read);
                size += row_bytes;
                if size >= bytes {
                    return Ok(Page { rows, next: last });
                }
            }
            let is_end = rows.len() < limit;
            Ok(Page { rows, next: last.filter(|_| !is_end) })
        })
    }

    /// Runs `job` on the connection; what SQLite answers becomes a sentence.
    pub(super) fn reading<T>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SourceError> {
        job(&self.conn).map_err(|error| classified(error.into(), &self.path, self.wait))
    }

    /// Runs `job` on one moment of the database. A writer goes on meanwhile; only its log can't be cut
    /// short.
    ///
    /// # Errors
    /// What the job answers, or that the source can't be read.
    pub fn at_one_moment<T>(
        &self,
        job: impl FnOnce(&Self) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.reading(|conn| conn.execute_batch("BEGIN"))?;
        let answer = job(self);
        self.reading(|conn| conn.execute_batch("ROLLBACK"))?;
        answer
    }

    /// The row that is read where several have one hash, upper and lower case taken as one; `None` where
    /// this row is the only one. Databases forbid equal hashes themselves, as a rule: then only one with
    /// an upper-case digit can collide, and no release of the service writes such.
    fn chosen_for(&self, hash: &str) -> rusqlite::Result<Option<i64>> {
        let has_upper_case = hash.bytes().any(|byte| byte.is_ascii_uppercase());
        if self.layout.is_hash_unique && !has_upper_case {
            return Ok(None);
        }
        let version = self.conn.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.shared.borrow().version != Some(version) {
            let rows = self.rows_that_share()?;
            *self.shared.borrow_mut() = Shared { version: Some(version), rows };
        }
        Ok(self.shared.borrow().rows.get(&hash.to_ascii_lowercase()).copied())
    }

    /// Of the rows that share a hash, the one that is read: in lower case before others, alive before
    /// deleted, changed later, stored later.
    fn rows_that_share(&self) -> rusqlite::Result<HashMap<String, i64>> {
        let column = |name: &'static str| if self.layout.has(name) { name } else { "NULL" };
        let sql = format!(
            "SELECT hash, rowid FROM (
               SELECT lower(content_hash) AS hash, rowid,
                 count(*) OVER (PARTITION BY lower(content_hash)) AS n,
                 row_number() OVER (PARTITION BY lower(content_hash)
                   ORDER BY content_hash = lower(content_hash) DESC, {} IS NULL DESC,
                     {} DESC, rowid DESC) AS place
               FROM memories WHERE typeof(content_hash) = 'text')
             WHERE n > 1 AND place = 1",
            column("deleted_at"),
            column("updated_at")
        );
        self.conn
            .prepare_cached(&sql)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }
}

fn connect(path: &Path, wait: Duration) -> rusqlite::Result<Connection> {
    // The flag is what `mode=ro` sets; without an address no name of a file can ask for more.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(wait)?;
    conn.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(conn)
}

/// Makes an answer of SQLite into a sentence.
fn classified(error: SourceError, path: &Path, wait: Duration) -> SourceError {
    let SourceError::Sqlite(sqlite) = &error else { return error };
    let reason = sqlite.to_string();
    let path = path.to_owned();
    match sqlite.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => judged_by_its_bytes(&path),
        Some(ErrorCode::DatabaseCorrupt) => {
            cut_off(&path).unwrap_or(SourceError::Damaged { path, reason })
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            SourceError::Locked { path, waited_s: wait.as_secs() }
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure,
        ) => match std::fs::metadata(&path) {
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => SourceError::Missing(path),
            _ => cut_off(&path).unwrap_or(SourceError::Unreadable { path, reason }),
        },
        _ => error,
    }
}

/// The first bytes of a file that SQLite has refused. Never called while a connection to it is of use:
/// closing a file gives up every lock that the process holds on it.
fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(SAMPLE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn judged_by_its_bytes(path: &Path) -> SourceError {
    let path = path.to_owned();
    let Some(bytes) = first_bytes(&path) else { return SourceError::NotSqlite(path) };
    if bytes.starts_with(MAGIC) {
        let reason = "its header makes no sense".to_owned();
        return cut_off(&path).unwrap_or(SourceError::Damaged { path, reason });
    }
    let values: HashSet<u8> = bytes.iter().copied().collect();
    // Encrypting leaves whole pages.
    let is_paged = std::fs::metadata(&path).is_ok_and(|found| found.len() % 512 == 0);
    if is_paged && values.len() >= RANDOM_VALUES_MIN {
        SourceError::Encrypted(path)
    } else {
        SourceError::NotSqlite(path)
    }
}

/// Whether the file is shorter than its header says.
fn cut_off(path: &Path) -> Option<SourceError> {
    let bytes = first_bytes(path)?;
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let page = u16::from_be_bytes([*bytes.get(16)?, *bytes.get(17)?]);
    let page = if page == 1 { 65536 } else { u64::from(page) };
    let pages: [u8; 4] = bytes.get(28..32)?.try_into().ok()?;
    let expected = page * u64::from(u32::from_be_bytes(pages));
    let found = std::fs::metadata(path).ok()?.len();
    let path = path.to_owned();
    (found < expected).then_some(SourceError::Truncated { path, found, expected })
}
