//! The memory in numbers, under the Python service's names.

use super::daemon::{Call, Daemon};
use super::failure::Failure;
use super::newest::Newest;
use super::standing::Standing;
use crate::api::wire::{FilterJson, TagsAnswer};
use crate::clock::Micros;
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

const WEEK: Duration = Duration::from_hours(7 * 24);
const BYTES_PER_MB: f64 = 1_048_576.0;

/// What `memory://stats` shows.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Statistics {
    backend: &'static str,
    pub(super) total_memories: u64,
    unique_tags: usize,
    memories_this_week: u64,
    database_size_bytes: u64,
    database_size_mb: f64,
    embedding_model: String,
    embedding_dimension: u64,
}

impl Statistics {
    /// Asks the daemon, whose `standing` is known.
    pub(super) async fn read(
        daemon: &Daemon,
        client: &str,
        now: Micros,
        standing: &Standing,
    ) -> Result<Self, Failure> {
        let tags: TagsAnswer = daemon.call(client, &Call::Get("/v1/tags".to_owned())).await?;
        let before = Micros(now.0.saturating_sub_unsigned(micros(WEEK)));
        let filter = FilterJson { after: Some(before.to_rfc3339()), ..FilterJson::default() };
        let this_week = Newest::read(daemon, client, &filter, 1).await?;
        Ok(Self::of(standing, tags.tags.len(), this_week.total))
    }

    fn of(standing: &Standing, unique_tags: usize, memories_this_week: u64) -> Self {
        let store = &standing.store;
        Self {
            backend: "memtide",
            total_memories: store.memories,
            unique_tags,
            memories_this_week,
            database_size_bytes: store.bytes,
            database_size_mb: megabytes(store.bytes),
            embedding_model: standing.embedder.model.clone(),
            embedding_dimension: standing.embedder.dims,
        }
    }

    /// As an object.
    pub(super) fn object(&self) -> JsonObject {
        match serde_json::json!(self) {
            Value::Object(object) => object,
            _ => JsonObject::new(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// With two digits after the point.
fn megabytes(bytes: u64) -> f64 {
    // A file of 8 PiB is the first whose size a double can't hold.
    #[expect(clippy::cast_precision_loss, reason = "a database is smaller than that")]
    let bytes = bytes as f64;
    (bytes / BYTES_PER_MB * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::standing::tests::standing;
    use serde_json::json;

    #[test]
    fn the_names_are_the_python_services() {
        let statistics = Statistics::of(&standing(&json!([])), 4, 2);
        let expected = json!({
            "backend": "memtide", "total_memories": 3, "unique_tags": 4, "memories_this_week": 2,
            "database_size_bytes": 4096, "database_size_mb": 0.0, "embedding_model": "m",
            "embedding_dimension": 384,
        });
        assert_eq!(Value::Object(statistics.object()), expected);
        assert!((megabytes(1_600_000) - 1.53).abs() < 1e-9);
    }
}
