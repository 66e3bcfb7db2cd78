//! Texts that were deleted. Storing one brings it back, unless the caller asks that it does not.

use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use crate::api::client::ClientError;
use crate::api::wire::MemoryJson;
use crate::model::id::MemoryId;
use serde_json::Value;

/// Refuses `content` if its memory was deleted.
pub(super) async fn refuse(daemon: &Daemon, client: &str, content: &str) -> Result<(), Failure> {
    let call = Call::Get(format!("/v1/memories/{}", MemoryId::of(content)));
    match daemon.call::<MemoryJson>(client, &call).await {
        Ok(_) => Ok(()),
        Err(Failure::Call(ClientError::Refused { body, .. })) if body.error.code == "not_found" => {
            match body.error.details.get("deleted_at").and_then(Value::as_str) {
                Some(deleted_at) => Err(Failure::WasDeleted { deleted_at: deleted_at.to_owned() }),
                None => Ok(()),
            }
        }
        Err(failure) => Err(failure),
    }
}
