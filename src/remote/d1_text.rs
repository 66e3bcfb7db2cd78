//! The only place where the text of a message decides anything. D1 answers 400 with code 7500 to SQL
//! errors, broken constraints, a used-up plan and its own resets alike; only the words differ.

/// What D1 means by a 7500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The database was reset, moved or is overloaded: the write may have been applied.
    Transient,
    /// The plan's rows of the day are used up; renewed at midnight UTC.
    DailyRows,
    /// The database or the account has no space left.
    Full,
    /// The tables are not those that memtide made.
    Schema,
    /// This statement can't succeed.
    Permanent,
}

/// What to look for, in lower case; the first row that occurs in the message decides.
pub const TABLE: &[(&str, Meaning)] = &[
    ("network connection lost", Meaning::Transient),
    ("reset because its code was updated", Meaning::Transient),
    ("caused object to be reset", Meaning::Transient),
    ("due to transient issue", Meaning::Transient),
    ("overloaded", Meaning::Transient),
    ("internal error; reference =", Meaning::Transient),
    ("free tier daily", Meaning::DailyRows),
    ("maximum db size", Meaning::Full),
    ("maximum account storage limit", Meaning::Full),
    ("database or disk is full", Meaning::Full),
    ("no such table", Meaning::Schema),
    ("no such column", Meaning::Schema),
    ("has no column named", Meaning::Schema),
    ("sqlite_constraint", Meaning::Permanent),
    ("constraint failed", Meaning::Permanent),
    ("sqlite_auth", Meaning::Permanent),
    ("too many sql variables", Meaning::Permanent),
    ("sqlite_toobig", Meaning::Permanent),
    ("wrong number of parameter bindings", Meaning::Permanent),
    ("syntax error", Meaning::Permanent),
    ("incomplete input", Meaning::Permanent),
    ("exceeded its cpu time limit", Meaning::Permanent),
    ("exceeded its memory limit", Meaning::Permanent),
];

/// What the message means; `None` for one that the table doesn't know.
pub fn meaning(message: &str) -> Option<Meaning> {
    let message = message.to_ascii_lowercase();
    TABLE.iter().find(|(words, _)| message.contains(words)).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as D1 words them, one for each row of the table at least.
    const SEEN: &[(&str, Meaning)] = &[
        ("D1_ERROR: Network connection lost.", Meaning::Transient),
        ("D1 DB reset because its code was updated.", Meaning::Transient),
        (
            "Internal error while starting up D1 DB storage caused object to be reset.",
            Meaning::Transient,
        ),
        (
            "D1 DB storage operation exceeded timeout which caused object to be reset.",
            Meaning::Transient,
        ),
        ("Cannot resolve D1 DB due to transient issue on remote node.", Meaning::Transient),
        ("D1 DB is overloaded. Requests queued for too long.", Meaning::Transient),
        ("internal error; reference = 8fk2", Meaning::Transient),
        ("exceeded D1's free tier daily row write limit", Meaning::DailyRows),
        ("exceeded D1's free tier daily row read limit", Meaning::DailyRows),
        ("Exceeded maximum DB size.", Meaning::Full),
        ("Your account has exceeded D1's maximum account storage limit", Meaning::Full),
        ("database or disk is full: SQLITE_FULL", Meaning::Full),
        ("no such table: mt_stage: SQLITE_ERROR", Meaning::Schema),
        ("no such column: deleted_at at offset 7: SQLITE_ERROR", Meaning::Schema),
        ("table memories has no column named tags: SQLITE_ERROR", Meaning::Schema),
        (
            "UNIQUE constraint failed: memories.vector_id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
            Meaning::Permanent,
        ),
        ("FOREIGN KEY constraint failed", Meaning::Permanent),
        ("not authorized: SQLITE_AUTH", Meaning::Permanent),
        ("too many SQL variables at offset 310: SQLITE_ERROR", Meaning::Permanent),
        ("string or blob too big: SQLITE_TOOBIG", Meaning::Permanent),
        ("Wrong number of parameter bindings for SQL query.", Meaning::Permanent),
        ("near \"SELEC\": syntax error at offset 0: SQLITE_ERROR", Meaning::Permanent),
        ("incomplete input: SQLITE_ERROR [7500]", Meaning::Permanent),
        ("D1 DB exceeded its CPU time limit and was reset.", Meaning::Permanent),
        ("D1 DB's isolate exceeded its memory limit and was reset.", Meaning::Permanent),
    ];

    #[test]
    fn every_message_is_understood() {
        for (message, expected) in SEEN {
            assert_eq!(meaning(message), Some(*expected), "{message}");
        }
        assert_eq!(meaning("something new"), None);
    }

    #[test]
    fn every_row_of_the_table_has_a_message_that_needs_it() {
        for (words, _) in TABLE {
            let seen = SEEN.iter().any(|(message, _)| {
                let message = message.to_ascii_lowercase();
                TABLE.iter().find(|(w, _)| message.contains(w)).is_some_and(|(w, _)| w == words)
            });
            assert!(seen, "no message for {words:?}");
        }
    }
}
