//! What SQL can ask of the world around it: the time and chance. Both come from the account, not from
//! the machine, so that a database lives in the account's time and repeats with its seed.

use crate::clock::SharedClock;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// Functions of time, and at which argument their first instant stands.
const OF_TIME: [(&str, usize); 6] = [
    ("date", 0),
    ("time", 0),
    ("datetime", 0),
    ("julianday", 0),
    ("unixepoch", 0),
    ("strftime", 1),
];
/// Bytes beyond which a value is too long anyway.
const BLOB_MAX: i64 = 2_000_001;

/// Gives a connection the account's time, and chance that depends on `name` alone.
pub(super) fn place(
    connection: &Connection,
    clock: &SharedClock,
    name: &str,
) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    let constant = flags | FunctionFlags::SQLITE_DETERMINISTIC;
    // SQLite's own functions, on a connection where they are not replaced.
    let own = Arc::new(Mutex::new(Connection::open_in_memory()?));
    for (function, first) in OF_TIME {
        let (own, clock) = (Arc::clone(&own), Arc::clone(clock));
        connection.create_scalar_function(function, -1, constant, move |context| {
            asked(function, first, context, &own, &clock)
        })?;
    }
    for (function, asked) in
        [("current_timestamp", "datetime"), ("current_date", "date"), ("current_time", "time")]
    {
        let (own, clock) = (Arc::clone(&own), Arc::clone(clock));
        connection.create_scalar_function(function, 0, constant, move |_| {
            answer(asked, &[now(&clock)], &own)
        })?;
    }
    let digest: [u8; 32] = Sha256::digest(name).into();
    let chance = Arc::new(Mutex::new(ChaCha8Rng::from_seed(digest)));
    let same = Arc::clone(&chance);
    connection.create_scalar_function("random", 0, flags, move |_| {
        Ok(chance.lock().unwrap_or_else(PoisonError::into_inner).next_u64().cast_signed())
    })?;
    connection.create_scalar_function("randomblob", 1, flags, move |context| {
        let length = context.get::<Option<i64>>(0)?.unwrap_or(1).clamp(1, BLOB_MAX);
        let mut blob = vec![0; usize::try_from(length).unwrap_or(1)];
        same.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut blob);
        Ok(blob)
    })
}

fn asked(
    function: &str,
    first: usize,
    context: &Context<'_>,
    own: &Mutex<Connection>,
    clock: &SharedClock,
) -> rusqlite::Result<Value> {
    let mut arguments: Vec<Value> =
        (0..context.len()).map(|n| context.get(n)).collect::<rusqlite::Result<_>>()?;
    match arguments.get(first) {
        None if arguments.len() == first => arguments.push(now(clock)),
        Some(Value::Text(text)) if text.eq_ignore_ascii_case("now") => {
            if let Some(instant) = arguments.get_mut(first) {
                *instant = now(clock);
            }
        }
        Some(Value::Text(text))
            if ["subsec", "subsecond"].iter().any(|word| text.eq_ignore_ascii_case(word)) =>
        {
            arguments.insert(first, now(clock));
        }
        _ => {}
    }
    answer(function, &arguments, own)
}

fn now(clock: &SharedClock) -> Value {
    // Milliseconds, as SQLite's own clock has them.
    let text = clock.now().to_rfc3339();
    Value::Text(text.get(..23).unwrap_or(&text).to_owned())
}

fn answer(function: &str, arguments: &[Value], own: &Mutex<Connection>) -> rusqlite::Result<Value> {
    let marks = vec!["?"; arguments.len()].join(",");
    let own = own.lock().unwrap_or_else(PoisonError::into_inner);
    let mut statement = own.prepare_cached(&format!("SELECT {function}({marks})"))?;
    statement.query_row(params_from_iter(arguments), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Micros};
    use std::time::Duration;

    fn text(connection: &Connection, sql: &str) -> String {
        let sql = format!("SELECT CAST(({sql}) AS TEXT)");
        connection.query_row(&sql, [], |row| row.get(0)).expect(&sql)
    }

    #[test]
    fn sql_lives_in_the_accounts_time() {
        let clock = ManualClock::at(Micros(1_700_000_000_123_456));
        let connection = Connection::open_in_memory().unwrap();
        place(&connection, &(Arc::new(clock.clone()) as SharedClock), "a").unwrap();
        for (sql, wanted) in [
            ("unixepoch()", "1700000000"),
            ("unixepoch('now')", "1700000000"),
            ("unixepoch('subsec')", "1700000000.123"),
            ("unixepoch('2000-01-01')", "946684800"),
            ("unixepoch('now', '+1 day')", "1700086400"),
            ("strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "2023-11-14T22:13:20.123Z"),
            ("strftime('%s')", "1700000000"),
            ("CURRENT_TIMESTAMP", "2023-11-14 22:13:20"),
            ("date()", "2023-11-14"),
            ("julianday(2451545)", "2451545.0"),
        ] {
            assert_eq!(text(&connection, sql), wanted, "{sql}");
        }
        connection
            .execute_batch(
                "CREATE TABLE t(a, at INTEGER DEFAULT (unixepoch())); INSERT INTO t(a) VALUES (1)",
            )
            .unwrap();
        clock.advance(Duration::from_secs(5));
        connection.execute_batch("INSERT INTO t(a) VALUES (2)").unwrap();
        assert_eq!(text(&connection, "SELECT max(at) - min(at) FROM t"), "5");
    }

    #[test]
    fn chance_repeats_with_the_name() {
        let drawn = |name: &str| {
            let connection = Connection::open_in_memory().unwrap();
            let clock: SharedClock = Arc::new(ManualClock::at(Micros(0)));
            place(&connection, &clock, name).unwrap();
            text(&connection, "hex(randomblob(8)) || random()")
        };
        assert_eq!(drawn("a"), drawn("a"));
        assert_ne!(drawn("a"), drawn("b"));
    }
}
