//! What the lock file says: who the daemon is and where it listens. Clients read it first, because an
//! MCP client may start the front-end without the variables that the daemon found its socket by.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Content of the lock file while a daemon holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// Process id.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// Number of the protocol it speaks.
    pub protocol: u32,
    /// Its version.
    pub version: String,
}

impl LockInfo {
    /// Reads the lock file; `None` if it is missing, empty or half-written.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
