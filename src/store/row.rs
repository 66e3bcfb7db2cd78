//! One memory's row: read with its registers, written back with every table that follows from them.

use super::error::StoreError;
use super::facets::{self, Facet};
use super::writer::Write;
use super::{history, keyword, outbox, vector};
use crate::model::id::MemoryId;
use crate::model::state::State;
use crate::model::state_text;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow};

/// A stored memory, as the writer sees it before a change.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) state: State,
    pub(super) content: Option<String>,
}

impl Row {
    /// Loads the row of `id`, dead or alive.
    pub(super) fn load(write: &Write<'_>, id: &MemoryId) -> Result<Option<Self>, StoreError> {
        Self::find(write.conn, id)
    }

    /// The same on any connection.
    pub(super) fn find(conn: &Connection, id: &MemoryId) -> Result<Option<Self>, StoreError> {
        let found = conn
            .prepare_cached("SELECT key, state, content FROM memory WHERE id = ?1")?
            .query_row([id.to_string()], |row: &SqlRow<'_>| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((key, state, content)) = found else { return Ok(None) };
        Ok(Some(Self { key, state: state_text::read(&state)?, content }))
    }
}

/// What a change of a memory was, for its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Store,
    Update,
    Delete,
    Restore,
    Import,
    Follow,
    Pull,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Restore => "restore",
            Self::Import => "import",
            Self::Follow => "follow",
            Self::Pull => "pull",
        }
    }
}

/// Writes a memory's new state and all that follows from it: projections, tags, keyword row, history,
/// the duty to embed, the duties to the cloud. `before` is what stood there. Returns the generation.
///
/// Everything happens in the caller's transaction.
pub(super) fn save(
    write: &mut Write<'_>,
    id: &MemoryId,
    before: Option<&Row>,
    state: &State,
    content: Option<&str>,
    cause: Cause,
    client: &str,
) -> Result<i64, StoreError> {
    let generation = write.generation();
    let key = write_projection(write, id, before, state, content, generation)?;
    if let Some(before) = before {
        history::record(write, before, state, cause, client)?;
    }
    write_tags(write, key, before, state)?;
    let (before_it, after) = (before.and_then(|row| facet(&row.state)), facet(state));
    if before_it != after {
        write.facet(facets::Change { key, before: before_it, after });
    }
    let was_findable = before.is_some_and(|row| row.state.is_findable());
    let is_findable = state.is_findable();
    let is_new_text = before.is_none_or(|row| row.state.text.value != state.text.value);
    let needs_index = is_findable && (!was_findable || is_new_text);
    if was_findable && (!is_findable || needs_index) {
        keyword::remove(write, key)?;
    }
    if needs_index {
        keyword::insert(write, key, content.unwrap_or_default())?;
        vector::await_embedding(write, key)?;
    } else if !is_findable {
        vector::forget(write, key)?;
    }
    let is_vector_moved = is_findable != was_findable
        || needs_index
        || before.is_some_and(|row| {
            row.state.live_tags() != state.live_tags() || row.state.kind != state.kind
        });
    if cause == Cause::Pull {
        // What is owed then depends on what the cloud holds.
        return Ok(generation);
    }
    let change = outbox::Change {
        key,
        generation,
        is_vector_moved: is_vector_moved && (is_findable || before.is_some()),
        is_findable,
        is_text_new: is_new_text || before.is_some_and(|row| !row.state.is_alive()),
        content: content.filter(|_| state.is_alive()),
        lane: i64::from(cause == Cause::Import),
    };
    outbox::raise(write, &change)?;
    Ok(generation)
}

/// What filters ask of a memory that is alive.
fn facet(state: &State) -> Option<Facet> {
    state.is_alive().then(|| Facet {
        tags: state.live_tags().into_iter().map(str::to_owned).collect(),
        kind: state.kind.value.clone(),
        created_at: state.birth.value.at.0,
    })
}

fn write_projection(
    write: &Write<'_>,
    id: &MemoryId,
    before: Option<&Row>,
    state: &State,
    content: Option<&str>,
    generation: i64,
) -> Result<i64, StoreError> {
    let deleted_at =
        (!state.is_alive()).then(|| i64::try_from(state.life.stamp.ms).unwrap_or(i64::MAX) * 1000);
    let values = rusqlite::named_params! {
        ":id": id.to_string(),
        ":body": state.text.value.to_string(),
        ":kind": state.kind.value,
        ":created_at": state.birth.value.at.0,
        ":updated_at": state.updated_at.0,
        ":deleted_at": deleted_at,
        ":superseded_by": state.superseded_by.value.map(|id| id.to_string()),
        ":device": state.birth.value.device.0,
        ":client": state.birth.value.client,
        ":generation": generation,
        ":metadata": metadata_json(state),
        ":state": state_text::write(state),
        ":content": content,
    };
    if let Some(before) = before {
        write
            .conn
            .prepare_cached(
                "UPDATE memory SET body = :body, kind = :kind, created_at = :created_at,
                   updated_at = :updated_at, deleted_at = :deleted_at,
                   superseded_by = :superseded_by, device = :device, client = :client,
                   generation = :generation, metadata = :metadata, state = :state,
                   content = :content
                 WHERE id = :id",
            )?
            .execute(values)?;
        return Ok(before.key);
    }
    write
        .conn
        .prepare_cached(
            "INSERT INTO memory(id, body, kind, created_at, updated_at, deleted_at, superseded_by,
               device, client, generation, metadata, state, content)
             VALUES (:id, :body, :kind, :created_at, :updated_at, :deleted_at, :superseded_by,
               :device, :client, :generation, :metadata, :state, :content)",
        )?
        .execute(values)?;
    Ok(write.conn.last_insert_rowid())
}

/// The live metadata as one JSON object. The values are compact JSON already.
pub(super) fn metadata_json(state: &State) -> String {
    let mut json = String::from("{");
    for (n, (key, value)) in state.live_metadata().into_iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        json.push_str(&serde_json::Value::from(key).to_string());
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

fn write_tags(
    write: &Write<'_>,
    key: i64,
    before: Option<&Row>,
    state: &State,
) -> Result<(), StoreError> {
    let tags_of = |state: &State| {
        if state.is_alive() {
            state.live_tags().into_iter().map(str::to_owned).collect()
        } else {
            std::collections::BTreeSet::new()
        }
    };
    let had = before.map(|row| tags_of(&row.state)).unwrap_or_default();
    let has = tags_of(state);
    for tag in had.difference(&has) {
        write
            .conn
            .prepare_cached("DELETE FROM tag WHERE name = ?1 AND memory = ?2")?
            .execute((tag, key))?;
    }
    for tag in has.difference(&had) {
        write
            .conn
            .prepare_cached("INSERT INTO tag(name, memory) VALUES (?1, ?2)")?
            .execute((tag, key))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::tests::any_state;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn metadata_projects_to_valid_json(state in any_state()) {
            let json: serde_json::Value = serde_json::from_str(&metadata_json(&state)).unwrap();
            prop_assert_eq!(json.as_object().unwrap().len(), state.live_metadata().len());
        }
    }
}
