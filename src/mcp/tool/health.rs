//! `memory_health`.

use super::super::daemon::Daemon;
use super::super::failure::Failure;
use super::super::form::indented;
use super::super::standing::Standing;
use super::Output;
use serde_json::json;

pub(super) async fn run(daemon: &Daemon, client: &str) -> Result<Output, Failure> {
    Ok(answer(&Standing::read(daemon, client).await?))
}

/// The Python service's sections, filled with what is true here.
fn answer(status: &Standing) -> Output {
    let structured = json!({
        "version": status.version,
        "validation": {
            "status": if status.healthy { "healthy" } else { "unhealthy" },
            "message": status.sentence(),
        },
        "statistics": {
            "backend": "memtide",
            "total_memories": status.store.memories,
            "deleted_memories": status.store.tombstones,
            "memories_without_vector": status.store.unembedded,
            "embedding_model": status.embedder.model,
            "embedding_dimension": status.embedder.dims,
            "embedding_state": status.embedder.state,
            "database_path": status.store.path,
            "database_size_bytes": status.store.bytes,
        },
        "integrity": {"problems": status.problems()},
        "performance": {
            "storage": {},
            "server": {
                "uptime_seconds": status.daemon.uptime_s,
                "resident_bytes": status.daemon.rss_bytes,
            },
        },
        "replication": {
            "mode": status.replication.get("mode"),
            "state": status.replication.get("state"),
            "outbox": status.replication.get("outbox"),
        },
    });
    Output {
        text: format!("Database Health Check Results:\n{}", indented(&structured)),
        structured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::standing::tests::standing;
    use serde_json::Value;

    #[test]
    fn a_healthy_memory_says_so_with_its_numbers() {
        let output = answer(&standing(&json!([])));
        let (head, body) = output.text.split_once('\n').unwrap();
        assert_eq!(head, "Database Health Check Results:");
        let read: Value = serde_json::from_str(body).unwrap();
        assert_eq!(read, output.structured);
        assert_eq!(read["version"], "1.2.3");
        assert_eq!(read["validation"]["status"], "healthy");
        assert_eq!(read["statistics"]["total_memories"], 3);
        assert_eq!(read["statistics"]["memories_without_vector"], 2);
        assert_eq!(read["statistics"]["embedding_state"], "loading");
        assert_eq!(read["replication"]["state"], "unlinked");
    }

    #[test]
    fn an_unhealthy_one_names_every_problem_and_step() {
        let problem =
            json!({"code": "disk_full", "message": "the disk is full", "next_step": "free space"});
        let output = answer(&standing(&json!([problem])));
        assert_eq!(output.structured["validation"]["status"], "unhealthy");
        assert_eq!(output.structured["validation"]["message"], "the disk is full: free space");
        assert_eq!(output.structured["integrity"]["problems"][0]["code"], "disk_full");
    }
}
