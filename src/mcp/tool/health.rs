//! `memory_health`.

use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::{Output, indented};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn run(daemon: &Daemon, client: &str) -> Result<Output, Failure> {
    let call = Call::Get("/v1/status".to_owned());
    Ok(answer(&daemon.call(client, &call).await?))
}

/// What is told of the daemon's status.
#[derive(Debug, Deserialize)]
struct Status {
    version: String,
    healthy: bool,
    problems: Vec<Problem>,
    daemon: Process,
    store: Store,
    embedder: Embedder,
    replication: Value,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    message: String,
    next_step: String,
}

#[derive(Debug, Deserialize)]
struct Process {
    uptime_s: u64,
    rss_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Store {
    path: String,
    bytes: u64,
    memories: u64,
    tombstones: u64,
    unembedded: u64,
}

#[derive(Debug, Deserialize)]
struct Embedder {
    state: String,
    model: String,
    dims: u64,
}

/// The Python service's sections, filled with what is true here.
fn answer(status: &Status) -> Output {
    let message = if status.healthy {
        "Every promise is being kept".to_owned()
    } else {
        let sentences = status.problems.iter().map(|p| format!("{}: {}", p.message, p.next_step));
        sentences.collect::<Vec<_>>().join("; ")
    };
    let problems: Vec<Value> = status
        .problems
        .iter()
        .map(|p| json!({"code": p.code, "message": p.message, "next_step": p.next_step}))
        .collect();
    let structured = json!({
        "version": status.version,
        "validation": {
            "status": if status.healthy { "healthy" } else { "unhealthy" },
            "message": message,
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
        "integrity": {"problems": problems},
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

    fn status(problems: &Value) -> Status {
        let is_healthy = problems.as_array().unwrap().is_empty();
        serde_json::from_value(json!({
            "version": "1.2.3", "protocol": 1, "healthy": is_healthy, "problems": problems,
            "daemon": {"pid": 1, "uptime_s": 5, "started_by": "user", "rss_bytes": 9, "socket": "s"},
            "store": {"path": "p", "bytes": 4096, "memories": 3, "tombstones": 1, "unembedded": 2,
                "durability": "power-loss"},
            "embedder": {"state": "loading", "model": "m", "dims": 384, "pending": 0, "source": ""},
            "replication": {"mode": "local", "state": "unlinked", "outbox": {"pending": 0}},
            "migration": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_healthy_memory_says_so_with_its_numbers() {
        let output = answer(&status(&json!([])));
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
        let output = answer(&status(&json!([problem])));
        assert_eq!(output.structured["validation"]["status"], "unhealthy");
        assert_eq!(output.structured["validation"]["message"], "the disk is full: free space");
        assert_eq!(output.structured["integrity"]["problems"][0]["code"], "disk_full");
    }
}
