//! `memory_stats`. In the Python service it tells of the caches of one process. memtide has none: one
//! daemon with one model serves every client. So those figures are 0, and the memory is counted instead.

use super::super::daemon::Daemon;
use super::super::failure::Failure;
use super::super::form::{indented, with};
use super::super::standing::Standing;
use super::super::statistics::Statistics;
use super::Output;
use crate::clock::Micros;
use serde_json::json;

pub(super) async fn run(daemon: &Daemon, client: &str, now: Micros) -> Result<Output, Failure> {
    let standing = Standing::read(daemon, client).await?;
    let statistics = Statistics::read(daemon, client, now, &standing).await?;
    Ok(answer(&standing, &statistics))
}

fn answer(standing: &Standing, statistics: &Statistics) -> Output {
    let cache = json!({"hits": 0, "misses": 0, "hit_rate": 0.0, "size": 0});
    let storage_cache = with(cache.clone(), "keys", json!([]));
    let structured = json!({
        "total_calls": 0,
        "hit_rate": 0.0,
        "storage_cache": storage_cache,
        "service_cache": cache,
        "performance": {
            "avg_init_time_ms": 0.0,
            "min_init_time_ms": 0.0,
            "max_init_time_ms": 0.0,
            "total_inits": 0,
        },
        "message": "MCP server caching is INACTIVE with 0.0% hit rate: memtide has no such caches, one \
                    daemon serves every client",
        "backend_info": {
            "storage_backend": "memtide",
            "sqlite_path": standing.store.path,
            "embedding_model": standing.embedder.model,
        },
        "statistics": statistics.object(),
    });
    Output { text: indented(&structured), structured }
}
