//! D1's limits, given to `SQLite` itself. Where the documentation and Cloudflare's local engine
//! differ, the documented, smaller number counts.

use rusqlite::Connection;
use rusqlite::limits::Limit;

/// Bytes of a string, a blob or a row. Documented; the local engine takes 4 MiB.
const VALUE_BYTES: i32 = 2_000_000;
/// Bytes of one statement. Documented.
const STATEMENT_BYTES: i32 = 100_000;
/// Bound parameters of one statement. Documented.
const PARAMETERS: i32 = 100;
/// Columns of a table. Documented.
const COLUMNS: i32 = 100;
/// Arguments of a function. Documented; the local engine takes 127.
const FUNCTION_ARGUMENTS: i32 = 32;
/// Bytes of a LIKE or GLOB pattern. Documented.
const PATTERN_BYTES: i32 = 50;
/// Terms of a UNION and its like. Measured on the local engine.
const COMPOUND_TERMS: i32 = 5;
/// Depth of an expression. Measured on the local engine.
const EXPRESSION_DEPTH: i32 = 100;
/// Levels of triggers that set off triggers. The local engine's source.
const TRIGGER_DEPTH: i32 = 10;
/// Bytes of a page, `SQLite`'s default.
const PAGE_BYTES: u64 = 4096;

/// Sets every limit on a fresh connection; the database may hold `database_bytes`.
pub(super) fn apply(connection: &Connection, database_bytes: u64) -> rusqlite::Result<()> {
    let limits = [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, PARAMETERS),
        (Limit::SQLITE_LIMIT_COLUMN, COLUMNS),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, FUNCTION_ARGUMENTS),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, COMPOUND_TERMS),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, TRIGGER_DEPTH),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ];
    for (limit, value) in limits {
        connection.set_limit(limit, value)?;
    }
    let pages = (database_bytes / PAGE_BYTES).max(1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}
