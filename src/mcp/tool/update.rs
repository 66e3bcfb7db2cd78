//! `memory_update`.

use super::super::arguments::{Arguments, object_of, tags_of, text_of};
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::Output;
use crate::api::percent;
use crate::api::wire::{MemoryJson, UpdateRequest};
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::{Value, json};

/// Keys that a memory has by itself; they can't become metadata without confusion.
const OWN_KEYS: [&str; 6] =
    ["content_hash", "created_at", "created_at_iso", "updated_at", "updated_at_iso", "embedding"];

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let change = Change::read(arguments)?;
    let path = format!("/v1/memories/{}", percent::encode(&change.hash));
    let memory = daemon.call(client, &Call::Patch(path, json!(change.request))).await?;
    Ok(change.answer(&memory))
}

/// The structured content.
#[derive(Serialize)]
struct Done<'a> {
    content_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_hash: Option<&'a String>,
    updated_fields: &'a [String],
}

/// A change in checked form.
#[derive(Debug)]
struct Change {
    hash: String,
    request: UpdateRequest,
    /// As the Python service names them.
    fields: Vec<String>,
}

impl Change {
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        let hash = arguments.needed_text("content_hash")?.trim().to_ascii_lowercase();
        if hash.is_empty() {
            return Err(Failure::Senseless {
                sentence: "content_hash is empty",
                hint: "give the hash that memory_search or memory_list shows",
            });
        }
        let wants_version = arguments.flag("versioned")?;
        let updates = arguments.needed_object("updates")?;
        let (request, fields) = understand(updates)?;
        if wants_version && request.content.is_none() {
            return Err(Failure::Senseless {
                sentence: "versioned update requires 'content' in updates",
                hint: "give the new text, or leave versioned out",
            });
        }
        Ok(Self { hash, request, fields })
    }

    fn answer(&self, memory: &MemoryJson) -> Output {
        let mut fields = self.fields.clone();
        fields.push("updated_at".to_owned());
        let is_successor = self.request.content.is_some() && !memory.id.starts_with(&self.hash);
        let structured = json!(Done {
            content_hash: &memory.id,
            parent_hash: is_successor.then_some(&self.hash),
            updated_fields: &fields,
        });
        let text = if is_successor {
            format!(
                "Versioned update successful. New hash: {}, parent hash: {}. Updated fields: {}",
                memory.id,
                self.hash,
                fields.join(", ")
            )
        } else {
            format!("Successfully updated memory metadata. Updated fields: {}", fields.join(", "))
        };
        Output { text, structured }
    }
}

/// The request, and the names of what it changes.
fn understand(mut updates: JsonObject) -> Result<(UpdateRequest, Vec<String>), Failure> {
    let mut request = UpdateRequest::default();
    let mut fields = Vec::new();
    let mut take = |name: &str| updates.remove(name).filter(|value| !value.is_null());
    if let Some(value) = take("tags") {
        request.tags = Some(tags_of("updates.tags", value)?);
        fields.push("tags".to_owned());
    }
    if let Some(value) = take("memory_type") {
        request.memory_type = Some(text_of("updates.memory_type", value)?);
        fields.push("memory_type".to_owned());
    }
    let mut metadata = JsonObject::new();
    if let Some(value) = take("metadata") {
        metadata = object_of("updates.metadata", value)?;
        fields.push("custom_metadata".to_owned());
    }
    if let Some(value) = take("content") {
        request.content = Some(text_of("updates.content", value)?);
        fields.push("content".to_owned());
    }
    for (key, value) in updates {
        if OWN_KEYS.contains(&key.as_str()) {
            return Err(Failure::Senseless {
                sentence: "updates names a key that every memory has by itself and that can't be set",
                hint: "leave out content_hash, embedding and the times",
            });
        }
        fields.push(key.clone());
        metadata.insert(key, value);
    }
    if fields.is_empty() {
        return Err(Failure::Senseless {
            sentence: "updates names nothing to change",
            hint: "give tags, memory_type, metadata or content",
        });
    }
    request.metadata = (!metadata.is_empty()).then_some(Value::Object(metadata));
    Ok((request, fields))
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, given, given_in};
    use super::*;
    use crate::mcp::ToolSet;
    use crate::mcp::form::sample;

    fn change(updates: Value) -> Result<Change, Failure> {
        let hash = "AB".repeat(32);
        Change::read(given(Kind::Update, json!({"content_hash": hash, "updates": updates})))
    }

    #[test]
    fn other_keys_are_merged_into_the_metadata() {
        let change = change(json!({
            "tags": "a,b", "memory_type": "fact", "metadata": {"x": 1, "gone": null}, "reason": "why",
        }))
        .unwrap();
        assert_eq!(change.hash, "ab".repeat(32));
        assert_eq!(
            json!(change.request),
            json!({"tags": ["a", "b"], "memory_type": "fact",
                "metadata": {"x": 1, "gone": null, "reason": "why"}})
        );
        assert_eq!(
            change.answer(&sample("x", &[])).text,
            "Successfully updated memory metadata. Updated fields: tags, memory_type, \
             custom_metadata, reason, updated_at"
        );
    }

    #[test]
    fn an_empty_list_removes_all_tags() {
        let change = change(json!({"tags": []})).unwrap();
        assert_eq!(json!(change.request), json!({"tags": []}));
    }

    #[test]
    fn a_new_text_names_both_hashes() {
        let mut successor = sample("other", &[]);
        successor.id = "cd".repeat(32);
        let change = change(json!({"content": "other"})).unwrap();
        let output = change.answer(&successor);
        let (new, old) = ("cd".repeat(32), "ab".repeat(32));
        assert!(output.text.starts_with(&format!(
            "Versioned update successful. New hash: {new}, parent hash: {old}."
        )));
        assert_eq!(output.structured["content_hash"], new);
        assert_eq!(output.structured["parent_hash"], old);
        let same = change.answer(&sample("Other", &[]));
        assert!(same.text.starts_with("Successfully updated memory metadata."));
        assert_eq!(same.structured.get("parent_hash"), None);
    }

    #[test]
    fn a_versioned_update_needs_a_text() {
        let read = |value: Value| Change::read(given_in(ToolSet::Full, Kind::Update, value));
        let value = json!({"content_hash": "ab", "updates": {"tags": []}, "versioned": true});
        let text = read(value).unwrap_err().to_string();
        assert_eq!(text, "versioned update requires 'content' in updates");
        for versioned in [true, false] {
            let updates = json!({"content": "other"});
            let value = json!({"content_hash": "ab", "updates": updates, "versioned": versioned});
            assert_eq!(read(value).unwrap().request.content.as_deref(), Some("other"));
        }
    }

    #[test]
    fn what_can_not_be_changed_is_refused() {
        assert!(change(json!({})).is_err());
        assert!(change(json!({"tags": null})).is_err());
        assert!(change(json!({"created_at": 1})).is_err());
        assert!(change(json!("tags")).is_err());
        let text = change(json!({"metadata": "x"})).unwrap_err().to_string();
        assert_eq!(text, "updates.metadata is a JSON string, it must be an object");
    }
}
