//! `SQLite`'s errors as the service shows them: the text, where it is, and the name of the code.

use rusqlite::{Error, ffi};

/// The service's text for `error`.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::SqliteFailure(code, message) => {
            ended(message.as_deref().unwrap_or(described(code.extended_code)), code.extended_code)
        }
        Error::SqlInputError { error, msg, offset, .. } => {
            ended(&format!("{msg} at offset {offset}"), error.extended_code)
        }
        other => other.to_string(),
    }
}

fn ended(message: &str, extended: i32) -> String {
    let primary = extended & 0xFF;
    if primary == ffi::SQLITE_FULL {
        return "Exceeded maximum DB size".to_owned();
    }
    let name = primary_name(primary);
    match extended_name(extended) {
        Some(longer) => format!("{message}: {name} (extended: {longer})"),
        None => format!("{message}: {name}"),
    }
}

/// `SQLite`'s own words where an error comes without any.
fn described(extended: i32) -> &'static str {
    match extended & 0xFF {
        ffi::SQLITE_TOOBIG => "string or blob too big",
        ffi::SQLITE_RANGE => "column index out of range",
        ffi::SQLITE_AUTH => "not authorized",
        _ => "SQL logic error",
    }
}

fn primary_name(code: i32) -> &'static str {
    match code {
        ffi::SQLITE_AUTH => "SQLITE_AUTH",
        ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
        ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
        ffi::SQLITE_RANGE => "SQLITE_RANGE",
        ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
        ffi::SQLITE_CORRUPT => "SQLITE_CORRUPT",
        ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
        ffi::SQLITE_IOERR => "SQLITE_IOERR",
        _ => "SQLITE_ERROR",
    }
}

fn extended_name(code: i32) -> Option<&'static str> {
    Some(match code {
        ffi::SQLITE_CONSTRAINT_CHECK => "SQLITE_CONSTRAINT_CHECK",
        ffi::SQLITE_CONSTRAINT_DATATYPE => "SQLITE_CONSTRAINT_DATATYPE",
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => "SQLITE_CONSTRAINT_FOREIGNKEY",
        ffi::SQLITE_CONSTRAINT_NOTNULL => "SQLITE_CONSTRAINT_NOTNULL",
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => "SQLITE_CONSTRAINT_PRIMARYKEY",
        ffi::SQLITE_CONSTRAINT_ROWID => "SQLITE_CONSTRAINT_ROWID",
        ffi::SQLITE_CONSTRAINT_TRIGGER => "SQLITE_CONSTRAINT_TRIGGER",
        ffi::SQLITE_CONSTRAINT_UNIQUE => "SQLITE_CONSTRAINT_UNIQUE",
        _ => return None,
    })
}
