//! `store_memory`.

use super::super::store;
use super::{Output, dictionary};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use serde_json::json;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let stored = store::stored(daemon, client, arguments).await?;
    Ok(dictionary(json!({
        "success": true,
        "message": "Memory stored successfully",
        "content_hash": stored.id,
    })))
}
