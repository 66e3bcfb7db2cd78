//! `delete_memory`.

use super::super::get;
use super::{Output, dictionary};
use crate::api::wire::{DeleteAnswer, DeleteRequest};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use serde_json::json;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<Output, Failure> {
    let hash = get::hash(&mut arguments)?;
    let request = DeleteRequest { ids: vec![hash.clone()], ..DeleteRequest::default() };
    let call = Call::Post("/v1/memories/delete", json!(request));
    let deleted: DeleteAnswer = daemon.call(client, &call).await?;
    let hash = deleted.ids.first().unwrap_or(&hash);
    Ok(dictionary(json!({"success": true, "content_hash": hash})))
}
