//! Looking for what the Python service wrote in a database that refuses triggers.
//!
//! The device does what the triggers would have done: it puts the rows that changed at the end of the feed,
//! in one transaction, so that every device reads them from there. New and deleted rows are found by an
//! index at each look. A change of a row that is there is found by its instant only, which takes a look at all
//! rows, so that is done more rarely. A writer whose clock is behind the database's can be missed; the
//! comparison of the stores finds it.

use super::d1::{D1, Statement, StatementResult};
use super::error::{Product, RemoteError};
use super::push::{JOIN_FEED, LEAVE_FEED, MARK, STAGE, UNSTAGE};

/// Rows that one look puts into the feed.
pub const POLL_MAX: usize = 500;

/// A deletion is announced again until the state says so, at most once a minute: an entry that moves all the
/// time would never settle. Every statement does nothing in a database that doesn't call itself as the device knows it.
const NEW_AND_DELETED: &str = "INSERT OR REPLACE INTO mt_stage(rowid, j) SELECT 2, json_group_array(c.id) FROM (SELECT m.content_hash AS id FROM memories m LEFT JOIN mt_feed f ON f.id = m.content_hash WHERE m.id > CAST(?1 AS INTEGER) AND (f.seq IS NULL OR m.updated_at > f.at + 1) UNION SELECT m.content_hash FROM memories m JOIN mt_entry e ON e.id = m.content_hash LEFT JOIN mt_feed f ON f.id = m.content_hash WHERE m.deleted_at > CAST(?2 AS REAL) AND (f.at IS NULL OR f.at < unixepoch() - 60) AND json_valid(e.state) AND json_extract(e.state, '$.life[1]') = 1 LIMIT 500) c WHERE (SELECT v FROM mt_meta WHERE k = 'database') = ?3";
/// Deletions of any age, too: a device may have been away for long, and the service's leave `updated_at` alone.
const CHANGED: &str = "INSERT OR REPLACE INTO mt_stage(rowid, j) SELECT 2, json_group_array(c.id) FROM (SELECT m.content_hash AS id FROM memories m LEFT JOIN mt_feed f ON f.id = m.content_hash WHERE f.seq IS NULL OR (m.updated_at > f.at + 1 AND m.updated_at <= unixepoch() + 60) UNION SELECT m.content_hash FROM memories m JOIN mt_entry e ON e.id = m.content_hash LEFT JOIN mt_feed f ON f.id = m.content_hash WHERE m.deleted_at IS NOT NULL AND (f.at IS NULL OR f.at < unixepoch() - 60) AND json_valid(e.state) AND json_extract(e.state, '$.life[1]') = 1 LIMIT 500) c WHERE (SELECT v FROM mt_meta WHERE k = 'database') = ?1";
const FOUND: &str = "SELECT (SELECT json_array_length(j) FROM mt_stage WHERE rowid = 2) AS n, (SELECT CAST(max(id) AS TEXT) FROM memories) AS newest, CAST(unixepoch() AS TEXT) AS now";

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Rows made after this row id, and rows deleted after this instant in seconds.
    Latest {
        /// The largest row id of the last look.
        after: i64,
        /// When the last look was, by the database's clock.
        since: i64,
    },
    /// Everything.
    All,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Rows that were put into the feed.
    pub announced: usize,
    /// The largest row id.
    pub newest: i64,
    /// When it was looked, in seconds, by the database's clock.
    pub now: i64,
}

/// Puts rows that changed since the last look at the end of the feed, at most [`POLL_MAX`].
///
/// # Errors
/// The request failed.
pub async fn poll(d1: &D1, look: &Look, database: &str) -> Result<Seen, RemoteError> {
    let results = d1.batch(&statements(look, database)).await?;
    let missing = || RemoteError::unreadable(Product::D1, "what was looked for");
    let found = results.get(2).and_then(StatementResult::first).ok_or_else(missing)?;
    let announced = found.integer("n").and_then(|n| usize::try_from(n).ok());
    Ok(Seen {
        announced: announced.unwrap_or(0),
        newest: found.integer("newest").unwrap_or(0),
        now: found.integer("now").ok_or_else(missing)?,
    })
}

/// The statements of a look.
pub fn statements(look: &Look, database: &str) -> Vec<Statement> {
    let database = Some(database.to_owned());
    let find = match look {
        Look::Latest { after, since } => {
            let params = vec![Some(after.to_string()), Some(since.to_string()), database];
            Statement::new(NEW_AND_DELETED, params)
        }
        Look::All => Statement::new(CHANGED, vec![database]),
    };
    vec![
        Statement::new(STAGE, vec![Some("[]".to_owned())]),
        find,
        Statement::plain(FOUND),
        Statement::plain(LEAVE_FEED),
        Statement::plain(JOIN_FEED),
        Statement::plain(MARK),
        Statement::plain(UNSTAGE),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{execute, sqlite};
    use super::super::{meta, schema};
    use super::*;
    use crate::remote::contract::Contract;
    use crate::remote::error::Disposition;
    use crate::remote::feed;

    const ROW: &str = "INSERT INTO memories(content_hash, content, created_at, created_at_iso, updated_at) VALUES (?1, 'x', 1, '', 1)";

    async fn without_triggers() -> D1 {
        let (d1, _) = sqlite("CREATE TRIGGER");
        let report = schema::create(&d1).await.expect("created");
        assert!(matches!(
            report.triggers,
            schema::Triggers::Refused(ref error) if error.disposition == Disposition::Park
        ));
        meta::write(&d1, "uuid-1", &Contract::python()).await.expect("written");
        d1
    }

    async fn keys(d1: &D1) -> Vec<String> {
        let page = feed::page(d1, 0, 500, None).await.expect("a page");
        assert!(!page.has_triggers);
        page.entries.into_iter().map(|entry| entry.key).collect()
    }

    #[tokio::test]
    async fn new_deleted_and_changed_rows_move_to_the_end_of_the_feed() {
        let d1 = without_triggers().await;
        for id in ["a", "b", "c"] {
            execute(&d1, ROW, &[id]).await;
        }
        let first = Look::Latest { after: 0, since: 0 };
        let other = poll(&d1, &first, "another").await.expect("an answer");
        assert_eq!((other.announced, keys(&d1).await.len()), (0, 0), "another database");
        let seen = poll(&d1, &first, "uuid-1").await.expect("an answer");
        assert_eq!((seen.announced, seen.newest), (3, 3));
        assert_eq!(keys(&d1).await, ["a", "b", "c"]);
        let next = Look::Latest { after: seen.newest, since: seen.now - 60 };
        let again = poll(&d1, &next, "uuid-1").await.expect("an answer");
        assert_eq!(again.announced, 0);

        execute(&d1, "INSERT INTO mt_entry(id, state, dg) SELECT content_hash, '{\"life\":[\"0\",true]}', 1 FROM memories", &[]).await;
        execute(&d1, "UPDATE memories SET deleted_at = unixepoch() WHERE content_hash = 'a'", &[])
            .await;
        assert_eq!(poll(&d1, &next, "uuid-1").await.expect("an answer").announced, 0, "just moved");
        execute(&d1, "UPDATE mt_feed SET at = at - 100 WHERE id = 'a'", &[]).await;
        assert_eq!(poll(&d1, &next, "uuid-1").await.expect("an answer").announced, 1);
        assert_eq!(keys(&d1).await, ["b", "c", "a"]);

        execute(&d1, "UPDATE mt_feed SET at = at - 100", &[]).await;
        execute(&d1, "UPDATE memories SET updated_at = unixepoch() WHERE content_hash = 'b'", &[])
            .await;
        execute(&d1, "UPDATE memories SET updated_at = 4e9 WHERE content_hash = 'c'", &[]).await;
        let all = poll(&d1, &Look::All, "uuid-1").await.expect("an answer");
        assert_eq!(all.announced, 2, "a clock far ahead says nothing, a deletion is still untold");
        assert_eq!(keys(&d1).await, ["c", "a", "b"]);
        assert_eq!(poll(&d1, &Look::All, "uuid-1").await.expect("an answer").announced, 0);
        let dead = "UPDATE mt_entry SET state = '{\"life\":[\"1\",false]}' WHERE id = 'a'";
        execute(&d1, dead, &[]).await;
        execute(&d1, "UPDATE mt_feed SET at = at - 100 WHERE id = 'a'", &[]).await;
        assert_eq!(poll(&d1, &Look::All, "uuid-1").await.expect("an answer").announced, 0, "told");
        let left = d1.run(Statement::plain("SELECT count(*) AS n FROM mt_stage")).await;
        assert_eq!(left.expect("a count").first().and_then(|row| row.integer("n")), Some(0));
    }
}
