//! `memory_cleanup`.

use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::Output;
use crate::api::wire::{DeleteAnswer, DeleteRequest, DuplicatesAnswer, MemoryJson, UpdateRequest};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

pub(super) async fn run(daemon: &Daemon, client: &str) -> Result<Output, Failure> {
    let call = Call::Get("/v1/duplicates".to_owned());
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    loop {
        // An answer holds some; when those are gone, there may be more.
        let found: DuplicatesAnswer = daemon.call(client, &call).await?;
        if found.groups.is_empty() {
            return Ok(answer(&deleted, &kept));
        }
        for group in &found.groups {
            let [keep, others @ ..] = group.as_slice() else { continue };
            deleted.extend(merge(daemon, client, keep, others).await?);
            kept.push(keep.id.clone());
        }
    }
}

/// Deletes `others`. What they have besides goes to `keep` before they go.
async fn merge(
    daemon: &Daemon,
    client: &str,
    keep: &MemoryJson,
    others: &[MemoryJson],
) -> Result<Vec<String>, Failure> {
    if let Some(request) = moved(keep, others) {
        let call = Call::Patch(format!("/v1/memories/{}", keep.id), json!(request));
        let _kept: MemoryJson = daemon.call(client, &call).await?;
    }
    let ids = others.iter().map(|memory| memory.id.clone()).collect();
    let request = DeleteRequest { ids, ..DeleteRequest::default() };
    let call = Call::Post("/v1/memories/delete", json!(request));
    Ok(daemon.call::<DeleteAnswer>(client, &call).await?.ids)
}

/// What `keep` lacks of the tags and metadata of `others`, if anything.
fn moved(keep: &MemoryJson, others: &[MemoryJson]) -> Option<UpdateRequest> {
    let mut tags = keep.tags.clone();
    let mut metadata = JsonObject::new();
    for other in others {
        tags.extend(other.tags.iter().filter(|tag| !keep.tags.contains(tag)).cloned());
        for (key, value) in &other.metadata {
            if !keep.metadata.contains_key(key) {
                metadata.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
    }
    tags.sort_unstable();
    tags.dedup();
    let has_more_tags = tags.len() > keep.tags.len();
    let request = UpdateRequest {
        tags: has_more_tags.then_some(tags),
        metadata: (!metadata.is_empty()).then_some(Value::Object(metadata)),
        ..UpdateRequest::default()
    };
    (request.tags.is_some() || request.metadata.is_some()).then_some(request)
}

fn answer(deleted: &[String], kept: &[String]) -> Output {
    let text = if deleted.is_empty() {
        "No duplicate memories found".to_owned()
    } else {
        format!("Successfully soft-deleted {} duplicate memories", deleted.len())
    };
    Output { text, structured: json!({"deleted": deleted.len(), "hashes": deleted, "kept": kept}) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn what_the_others_have_besides_moves() {
        let mut keep = sample("x", &["a"]);
        keep.metadata.insert("n".to_owned(), json!(1));
        let mut other = sample("x", &["a", "b"]);
        other.metadata.insert("n".to_owned(), json!(2));
        other.metadata.insert("m".to_owned(), json!(3));
        let request = moved(&keep, &[other, sample("x", &["c"])]).unwrap();
        assert_eq!(json!(request), json!({"tags": ["a", "b", "c"], "metadata": {"m": 3}}));
        assert!(moved(&keep, &[sample("x", &["a"])]).is_none());
    }

    #[test]
    fn the_words_are_the_python_services() {
        assert_eq!(answer(&[], &[]).text, "No duplicate memories found");
        let deleted = ["h1".to_owned(), "h2".to_owned()];
        assert_eq!(
            answer(&deleted, &["h0".to_owned()]).text,
            "Successfully soft-deleted 2 duplicate memories"
        );
    }
}
