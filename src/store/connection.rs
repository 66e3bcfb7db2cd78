//! Opening the database file: one kind of connection that writes, one that can only read.

use super::error::StoreError;
use crate::mutant::{self, Mutant};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use rusqlite_migration::{M, Migrations};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Once;

/// `MTD1`, SQLite's application id of the file.
const APPLICATION_ID: i32 = 0x4d54_4431;

/// What is flushed to the disk before it counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Each commit.
    Commits,
    /// Only a checkpoint.
    Checkpoints,
}

/// Position in the list is the version of the schema.
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("schema.sql")),
    M::up(include_str!("schema_2.sql")),
    M::up(include_str!("schema_3.sql")),
];

/// The newest schema version this memtide knows.
fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Lets every connection that this process opens from now on know tables of vectors.
pub(super) fn register_sqlite_vec() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        type Entry = unsafe extern "C" fn(
            *mut rusqlite::ffi::sqlite3,
            *mut *mut std::ffi::c_char,
            *const rusqlite::ffi::sqlite3_api_routines,
        ) -> std::ffi::c_int;
        #[expect(unsafe_code, reason = "SQLite takes an extension's entry point as a C function")]
        // SAFETY: sqlite3_vec_init has the signature of an extension entry point; the crate declares
        // it without arguments.
        unsafe {
            let entry =
                std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
            rusqlite::ffi::sqlite3_auto_extension(Some(entry));
        }
    });
}

/// Opens the file for writing, creates or migrates it.
///
/// # Errors
/// The file is newer, foreign, damaged or can't be opened.
pub(super) fn open_writer(path: &Path, vfs: Option<&str>) -> Result<Connection, StoreError> {
    register_sqlite_vec();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = open(path, flags, vfs)?;
    refuse_unknown(&conn, path)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // NORMAL loses acknowledged commits on power loss; FULL is the promise.
    let synchronous = if mutant::is(Mutant::SynchronousNormal) { "NORMAL" } else { "FULL" };
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.execute_batch(
        "PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA busy_timeout = 5000;",
    )?;
    conn.set_prepared_statement_cache_capacity(128);
    // Before the tables: a kill in between would make the file look like somebody else's. Only once: a full
    // disk can still be read from.
    if application_id(&conn)? != APPLICATION_ID {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Migrations::from_slice(MIGRATIONS).to_latest(&mut conn).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => StoreError::from(err),
        other => StoreError::Corrupt(other.to_string()),
    })?;
    if mutant::is(Mutant::VolatileOutbox) {
        conn.execute_batch("DELETE FROM outbox")?;
    }
    Ok(conn)
}

/// Opens the file for reading only. The writer must have opened it before.
///
/// # Errors
/// The file can't be opened.
pub(super) fn open_reader(path: &Path, vfs: Option<&str>) -> Result<Connection, StoreError> {
    register_sqlite_vec();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = open(path, flags, vfs)?;
    conn.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -4096;
         PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 5000;",
    )?;
    // SQLite unmaps a mapped file at the first read after each commit: that read alone took 1.1 ms beside a
    // writer, and takes 0.1 ms now (10,000 memories). Only scans of all vectors in the file gained by mapping.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Opens a database that may be anybody's, for reading only. One that nobody writes is read without a
/// trace beside it.
///
/// # Errors
/// The file can't be opened.
pub(super) fn open_apart(path: &Path, is_still: bool) -> Result<Connection, StoreError> {
    register_sqlite_vec();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let query = if is_still { "?immutable=1" } else { "" };
    let conn = Connection::open_with_flags(format!("{}{query}", uri(path)), flags)?;
    conn.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA busy_timeout = 5000;",
    )?;
    Ok(conn)
}

/// Opens a copy that nobody uses yet, for writing.
///
/// # Errors
/// The file can't be opened.
pub(super) fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    register_sqlite_vec();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(conn)
}

/// The name of a file as SQLite takes it with parameters.
fn uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn open(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> rusqlite::Result<Connection> {
    let conn = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
        None => Connection::open_with_flags(path, flags)?,
    };
    // Else a statement with a bounded list is planned anew at every use.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

/// Refuses a file that no memtide wrote, or a newer one.
///
/// # Errors
/// It is one of these, or can't be read.
pub(super) fn refuse_unknown(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = known_version();
    let application = application_id(conn)?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

fn application_id(conn: &Connection) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "application_id", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_valid() {
        register_sqlite_vec();
        assert_eq!(Migrations::from_slice(MIGRATIONS).validate(), Ok(()));
    }

    #[test]
    fn a_database_of_the_first_version_is_upgraded_with_its_memories() {
        register_sqlite_vec();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.db");
        let mut conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        Migrations::from_slice(&MIGRATIONS[..1]).to_latest(&mut conn).unwrap();
        let fill = "INSERT INTO memory(id, body, kind, created_at, updated_at, device, client,
              generation, metadata, state, content)
            VALUES ('i', 'b', 'note', 1, 2, 3, 'c', 4, '{}', '{}', 'kept')";
        conn.execute(fill, []).unwrap();
        drop(conn);
        for _ in 0..2 {
            let conn = open_writer(&path, None).unwrap();
            let version: i64 =
                conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, known_version());
            let kept: String =
                conn.query_row("SELECT content FROM memory", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, "kept");
            let n: i64 =
                conn.query_row("SELECT count(*) FROM source", [], |row| row.get(0)).unwrap();
            assert_eq!(n, 0);
        }
    }

    #[test]
    fn a_newer_and_a_foreign_file_are_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.db");
        drop(open_writer(&path, None).unwrap());
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "user_version", 999).unwrap();
        drop(conn);
        let before = std::fs::read(&path).unwrap();
        let error = open_writer(&path, None).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let other = dir.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
        assert!(matches!(open_writer(&other, None), Err(StoreError::Foreign(_))));

        let text = dir.path().join("text.db");
        std::fs::write(&text, "this is no database, only some words in a file".repeat(100))
            .unwrap();
        assert!(matches!(open_writer(&text, None), Err(StoreError::Corrupt(_))));
    }
}
