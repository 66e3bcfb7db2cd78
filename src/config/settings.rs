//! The settings as the program uses them: checked, typed, in small parts that travel on their own.

use std::path::PathBuf;
use std::time::Duration;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is logged.
    pub log: Log,
    /// Bounds of what may be stored.
    pub limits: Limits,
    /// The embedder.
    pub embedding: Embedding,
    /// What a search does unless told otherwise.
    pub search: Search,
    /// The replicator.
    pub replication: Replication,
    /// How long replaced texts are kept.
    pub history: History,
    /// What the cloud commands start from.
    pub cloudflare: Cloudflare,
    /// Where the Python service keeps its memories.
    pub migrate: Migrate,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter in the syntax of `tracing`.
    pub filter: String,
}

/// Bounds of what may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one text.
    pub text_bytes: usize,
}

/// The embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// The model's name.
    pub model: String,
    /// Threads that embed.
    pub threads: usize,
    /// Whether the daemon fetches a missing model by itself.
    pub is_fetched: bool,
    /// Where models are fetched from instead of the public hub, without a slash at the end.
    pub hub_url: Option<String>,
    /// The runtime library to load instead of the fetched one.
    pub runtime_library: Option<PathBuf>,
}

/// What a search does unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `hybrid`, `semantic`, `keyword` or `exact`.
    pub default_mode: String,
    /// How many memories are found.
    pub default_limit: usize,
    /// Bytes of memory that the daemon may use for vectors.
    pub mirror_max_bytes: usize,
}

/// The replicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// How long a duty may wait before it is a fault.
    pub alarm_age: Duration,
    /// Requests in five minutes.
    pub request_budget: u32,
}

/// How long replaced texts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Replaced texts of one memory; `None` for all.
    pub keep_versions: Option<usize>,
    /// How long a deleted memory can be restored; `None` for ever.
    pub keep_for: Option<Duration>,
}

/// What the cloud commands start from. A linked device keeps what it was linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloudflare {
    /// Where the API is reached, without a slash at the end.
    pub api_base_url: String,
    /// The account.
    pub account_id: Option<String>,
    /// The D1 database's id.
    pub d1_database_id: Option<String>,
    /// The Vectorize index's name.
    pub vectorize_index: Option<String>,
    /// The R2 bucket's name.
    pub r2_bucket: Option<String>,
    /// The Workers AI model of an index that the Python service shares.
    pub embedding_model: String,
    /// Bytes of text above which the body goes to the bucket.
    pub large_content_threshold: usize,
}

/// Where the Python service keeps its memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrate {
    /// Its database file.
    pub database: Option<PathBuf>,
    /// Its folder, where the file isn't named.
    pub base_dir: Option<PathBuf>,
    /// Its storage backend.
    pub backend: Option<String>,
}

impl Settings {
    /// Settings before any layer was read; the layer of the defaults fills every one of them.
    pub(super) fn blank() -> Self {
        Self {
            log: Log { filter: String::new() },
            limits: Limits { text_bytes: 0 },
            embedding: Embedding {
                model: String::new(),
                threads: 0,
                is_fetched: false,
                hub_url: None,
                runtime_library: None,
            },
            search: Search { default_mode: String::new(), default_limit: 0, mirror_max_bytes: 0 },
            replication: Replication { alarm_age: Duration::ZERO, request_budget: 0 },
            history: History { keep_versions: None, keep_for: None },
            cloudflare: Cloudflare {
                api_base_url: String::new(),
                account_id: None,
                d1_database_id: None,
                vectorize_index: None,
                r2_bucket: None,
                embedding_model: String::new(),
                large_content_threshold: 0,
            },
            migrate: Migrate { database: None, base_dir: None, backend: None },
        }
    }
}
