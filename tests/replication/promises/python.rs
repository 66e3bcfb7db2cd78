//! The Python service on another machine, as it writes to the account: its own statements, each a request
//! of its own, nothing around them.

use crate::World;
use memtide::clock::Clock as _;
use memtide::model::id::MemoryId;
use serde_json::Value;

pub(super) struct Python<'a>(pub(super) &'a World);

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Python<'_> {
    /// The instant that its clock shows, in seconds.
    pub(super) fn now(&self) -> i64 {
        self.0.clock.now().0 / 1_000_000
    }

    /// Stores a memory that it calls new.
    pub(super) fn store(&self, text: &str, tags: &[&str]) -> MemoryId {
        self.store_as_of(text, tags, self.now())
    }

    /// Stores a memory as a hybrid client sends it up: with the instants of its local copy.
    pub(super) fn store_as_of(&self, text: &str, tags: &[&str], at: i64) -> MemoryId {
        let id = MemoryId::of(text);
        let body = quoted(text);
        self.0.rows(&format!(
            "DELETE FROM memories WHERE content_hash = '{id}' AND deleted_at IS NOT NULL"
        ));
        self.0.rows(&format!(
            "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso,
               updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key, tags)
             VALUES ('{id}', {body}, 'note', {at}.0, 'iso', {at}.0, 'iso', '{{}}', '{id}', {}, NULL, {})",
            text.len(),
            quoted(&tags.join(",")),
        ));
        self.link_tags(id, tags);
        id
    }

    fn link_tags(&self, id: MemoryId, tags: &[&str]) {
        for tag in tags {
            let tag = quoted(tag);
            self.0.rows(&format!("INSERT OR IGNORE INTO tags (name) VALUES ({tag})"));
            self.0.rows(&format!(
                "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id)
                 SELECT (SELECT id FROM memories WHERE content_hash = '{id}'), id FROM tags
                 WHERE name = {tag}"
            ));
        }
    }

    /// Replaces the metadata as a whole by what its caller changed.
    pub(super) fn annotate(&self, id: MemoryId, metadata: &Value) {
        self.0.rows(&format!(
            "UPDATE memories SET metadata_json = {}, updated_at = {}.0, updated_at_iso = 'iso'
             WHERE content_hash = '{id}' AND deleted_at IS NULL",
            quoted(&metadata.to_string()),
            self.now(),
        ));
    }

    /// Replaces the tags; its own column for them stays as it was.
    pub(super) fn retag(&self, id: MemoryId, tags: &[&str]) {
        self.0.rows(&format!(
            "UPDATE memories SET updated_at = {}.0, updated_at_iso = 'iso'
             WHERE content_hash = '{id}' AND deleted_at IS NULL",
            self.now(),
        ));
        self.0.rows(&format!(
            "DELETE FROM memory_tags WHERE memory_id =
               (SELECT id FROM memories WHERE content_hash = '{id}' AND deleted_at IS NULL)"
        ));
        if !self
            .0
            .rows(&format!(
                "SELECT 1 FROM memories WHERE content_hash = '{id}' AND deleted_at IS NULL"
            ))
            .is_empty()
        {
            self.link_tags(id, tags);
        }
    }

    /// Deletes a memory, its vector left aside.
    pub(super) fn forget(&self, id: MemoryId) {
        self.0.rows(&format!(
            "UPDATE memories SET deleted_at = {}.0 WHERE content_hash = '{id}' AND deleted_at IS NULL",
            self.now(),
        ));
    }

    /// Removes the tombstones that are older than `before`.
    pub(super) fn purge(&self, before: i64) {
        self.0.rows(&format!(
            "DELETE FROM memories WHERE deleted_at IS NOT NULL AND deleted_at < {before}"
        ));
    }

    /// What its hourly check for changes of others finds: texts, newest first.
    pub(super) fn changed_since(&self, instant: i64) -> Vec<String> {
        self.0.rows(&format!(
            "SELECT content FROM memories WHERE updated_at > {instant} AND deleted_at IS NULL
             ORDER BY updated_at DESC LIMIT 100"
        ))
    }
}
