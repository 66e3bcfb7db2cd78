//! What must agree within one database, whoever wrote it last.

use crate::laptop::Laptop;
use memtide::model::id::BodyHash;
use memtide::model::stamp::{DeviceId, Stamp};
use memtide::model::state_text;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Rules that a query breaks by finding a row.
const RULES: &[(&str, &str)] = &[
    (
        "a duty's generation was given",
        "SELECT 1 FROM outbox WHERE generation > (SELECT generation FROM device)",
    ),
    (
        "a memory's generation was given",
        "SELECT 1 FROM memory WHERE generation > (SELECT generation FROM device)",
    ),
    (
        "a row's duty is not older than the row",
        "SELECT 1 FROM outbox o JOIN memory m ON m.key = o.memory
         WHERE o.product = 'd1' AND o.generation < m.generation",
    ),
    (
        "duties are owed to a linked account only",
        "SELECT 1 FROM outbox WHERE NOT EXISTS (SELECT 1 FROM link)",
    ),
    (
        "a text that can be found has its vector or waits for it",
        "SELECT 1 FROM memory m WHERE deleted_at IS NULL AND superseded_by IS NULL
         AND NOT EXISTS (SELECT 1 FROM pending_embedding WHERE memory = m.key)
         AND NOT EXISTS
           (SELECT 1 FROM embedding WHERE memory = m.key AND window = 0 AND body = m.body)",
    ),
    (
        "only a text that can be found has a vector or waits for one",
        "SELECT 1 FROM memory m WHERE (deleted_at IS NOT NULL OR superseded_by IS NOT NULL)
         AND (EXISTS (SELECT 1 FROM pending_embedding WHERE memory = m.key)
           OR EXISTS (SELECT 1 FROM embedding WHERE memory = m.key))",
    ),
    (
        "a vector's duty waits as long as the vector does",
        "SELECT 1 FROM outbox o WHERE product = 'vectorize' AND state = 'waiting_for_embedding'
         AND NOT EXISTS (SELECT 1 FROM pending_embedding p WHERE p.memory = o.memory)",
    ),
    (
        "a vector in the index is the vector in the table",
        "SELECT 1 FROM embedding e LEFT JOIN vec_1 v ON v.rowid = e.id WHERE v.vec IS NOT e.vec",
    ),
    (
        "a slot of the index is used or free",
        "SELECT 1 FROM vec_1 v WHERE EXISTS (SELECT 1 FROM embedding WHERE id = v.rowid)
           = EXISTS (SELECT 1 FROM free_slot WHERE id = v.rowid)",
    ),
    (
        "the words of exactly the memories that can be found are indexed",
        "SELECT key FROM memory WHERE deleted_at IS NULL AND superseded_by IS NULL
         EXCEPT SELECT id FROM keyword_docsize
         UNION ALL SELECT id FROM (SELECT id FROM keyword_docsize
         EXCEPT SELECT key FROM memory WHERE deleted_at IS NULL AND superseded_by IS NULL)",
    ),
    (
        "versions are numbered without a gap",
        "SELECT 1 FROM history GROUP BY memory HAVING max(version) - min(version) + 1 <> count(*)",
    ),
    ("a row that is spoken of is there", "SELECT 1 FROM pragma_foreign_key_check"),
];

/// What doesn't agree; `None` if all does.
pub fn disagreement(laptop: &Laptop) -> Option<String> {
    let conn = &laptop.probe;
    let broken = RULES.iter().find(|(_, query)| match conn.prepare_cached(query) {
        Ok(mut statement) => statement.exists([]).unwrap_or(true),
        Err(_) => true,
    });
    match broken {
        Some((rule, _)) => Some(format!("it isn't so that {rule}")),
        None => projections(conn).unwrap_or_else(|error| Some(error.to_string())),
    }
}

/// A row shows what its registers say.
fn projections(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let (own, last_stamp): (u32, String) =
        conn.query_row("SELECT id, last_stamp FROM device", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let last_stamp: Stamp = last_stamp.parse().unwrap_or_default();
    let mut tags = conn.prepare_cached("SELECT name FROM tag WHERE memory = ?1")?;
    let mut statement = conn.prepare_cached(
        "SELECT key, id, state, content, body, kind, deleted_at, superseded_by FROM memory",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, id): (i64, String) = (row.get(0)?, row.get(1)?);
        let Ok(state) = state_text::read(&row.get::<_, String>(2)?) else {
            return Ok(Some(format!("{id} has no state")));
        };
        let content: String = row.get(3)?;
        let body: String = row.get(4)?;
        let found: BTreeSet<String> =
            tags.query_map([key], |tag| tag.get(0))?.collect::<rusqlite::Result<_>>()?;
        let expected: BTreeSet<String> = if state.is_alive() {
            state.live_tags().into_iter().map(str::to_owned).collect()
        } else {
            BTreeSet::new()
        };
        let newest = state.newest();
        let agrees = found == expected
            && state.is_alive() == row.get::<_, Option<i64>>(6)?.is_none()
            && state.text.value.to_string() == body
            && BodyHash::of(&content).to_string() == body
            && state.kind.value == row.get::<_, String>(5)?
            && state.superseded_by.value.map(|id| id.to_string())
                == row.get::<_, Option<String>>(7)?
            && (newest.device != DeviceId(own) || newest <= last_stamp);
        if !agrees {
            return Ok(Some(format!("{id} isn't what its state says: {state:?}")));
        }
    }
    Ok(None)
}

/// What SQLite finds wrong with the file; `None` if nothing.
pub fn damage(laptop: &Laptop) -> Option<String> {
    let check = |sql: &str| laptop.probe.query_row(sql, [], |row| row.get::<_, String>(0));
    let found = check("PRAGMA integrity_check").unwrap_or_else(|error| error.to_string());
    if found != "ok" {
        return Some(found);
    }
    let keywords = "INSERT INTO keyword(keyword) VALUES ('integrity-check')";
    laptop.probe.execute(keywords, []).err().map(|error| error.to_string())
}
