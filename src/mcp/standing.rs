//! How the daemon stands: what is told of its status.

use super::daemon::{Call, Daemon};
use super::failure::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

/// The part of the daemon's status that the tools tell.
#[derive(Debug, Deserialize)]
pub(super) struct Standing {
    pub(super) version: String,
    pub(super) healthy: bool,
    problems: Vec<Problem>,
    pub(super) daemon: Process,
    pub(super) store: Store,
    pub(super) embedder: Embedder,
    pub(super) replication: Value,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    message: String,
    next_step: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Process {
    pub(super) uptime_s: u64,
    pub(super) rss_bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Store {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) memories: u64,
    pub(super) tombstones: u64,
    pub(super) unembedded: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Embedder {
    pub(super) state: String,
    pub(super) model: String,
    pub(super) dims: u64,
}

impl Standing {
    /// Asks the daemon.
    pub(super) async fn read(daemon: &Daemon, client: &str) -> Result<Self, Failure> {
        daemon.call(client, &Call::Get("/v1/status".to_owned())).await
    }

    /// The problems, each with its next step.
    pub(super) fn problems(&self) -> Vec<Value> {
        let told = self.problems.iter();
        told.map(|p| json!({"code": p.code, "message": p.message, "next_step": p.next_step}))
            .collect()
    }

    /// All problems in one line.
    pub(super) fn sentence(&self) -> String {
        if self.healthy {
            return "Every promise is being kept".to_owned();
        }
        let sentences = self.problems.iter().map(|p| format!("{}: {}", p.message, p.next_step));
        sentences.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The standing of a daemon with these problems.
    pub(in crate::mcp) fn standing(problems: &Value) -> Standing {
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
}
