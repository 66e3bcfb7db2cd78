//! `memory_store`.

use super::super::arguments::{Arguments, tags_of, text_of};
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::{Output, revival};
use crate::api::wire::{StoreAnswer, StoreRequest};
use serde_json::{Value, json};

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    Ok(answer(&stored(daemon, client, arguments).await?))
}

/// Stores what the arguments of `memory_store` or `store_memory` say.
pub(super) async fn stored(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<StoreAnswer, Failure> {
    let ask = Ask::read(arguments)?;
    if ask.restore_deleted == Some(false) {
        revival::refuse(daemon, client, &ask.request.content).await?;
    }
    let call = Call::Post("/v1/memories", json!(ask.request));
    daemon.call(client, &call).await
}

/// A store in checked form.
struct Ask {
    request: StoreRequest,
    restore_deleted: Option<bool>,
}

impl Ask {
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        let restore_deleted = arguments.switch("restore_deleted")?;
        Ok(Self { request: request(arguments)?, restore_deleted })
    }
}

/// The Python service takes tags and type inside the metadata; models also give them beside it.
fn request(mut arguments: Arguments) -> Result<StoreRequest, Failure> {
    let content = arguments.needed_text("content")?;
    let mut tags = arguments.tags("tags")?.unwrap_or_default();
    let mut memory_type = arguments.words("memory_type")?;
    let mut metadata = arguments.object("metadata")?.unwrap_or_default();
    metadata.retain(|_, value| !value.is_null());
    if let Some(more) = metadata.remove("tags") {
        tags.extend(tags_of("metadata.tags", more)?);
    }
    if let Some(kind) = metadata.remove("type") {
        let kind = Some(text_of("metadata.type", kind)?).filter(|kind| !kind.trim().is_empty());
        if memory_type.is_some() && kind.is_some() && memory_type != kind {
            return Err(Failure::Senseless {
                sentence: "memory_type and metadata.type name different types",
                hint: "give the type once",
            });
        }
        memory_type = memory_type.or(kind);
    }
    if let Some(hostname) = arguments.words("client_hostname")? {
        tags.push(format!("source:{}", hostname.trim()));
        metadata.insert("hostname".to_owned(), json!(hostname.trim()));
    }
    for key in ["conversation_id", "agent_id"] {
        if let Some(words) = arguments.words(key)? {
            metadata.insert(key.to_owned(), Value::String(words));
        }
    }
    let metadata = (!metadata.is_empty()).then_some(Value::Object(metadata));
    Ok(StoreRequest { content, tags, memory_type, metadata })
}

fn answer(stored: &StoreAnswer) -> Output {
    Output {
        text: format!("Memory stored successfully (hash: {})", stored.id),
        structured: json!({
            "content_hash": stored.id,
            "created": stored.created,
            "updated": stored.updated,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Legacy, given, given_in};
    use super::*;
    use crate::mcp::ToolSet;

    #[test]
    fn tags_and_type_come_from_the_metadata_or_from_beside_it() {
        let request = request(given(
            Kind::Store,
            json!({
                "content": " Exact text\n",
                "tags": "a, b",
                "metadata": {"tags": ["c"], "type": "decision", "source": "chat", "n": 3, "x": null},
            }),
        ))
        .unwrap();
        assert_eq!(request.content, " Exact text\n");
        assert_eq!(request.tags, ["a", "b", "c"]);
        assert_eq!(request.memory_type.as_deref(), Some("decision"));
        assert_eq!(request.metadata, Some(json!({"source": "chat", "n": 3})));
        let plain =
            super::request(given(Kind::Store, json!({"content": "x", "metadata": {"tags": ""}})))
                .unwrap();
        assert_eq!((plain.tags.len(), plain.memory_type, plain.metadata), (0, None, None));
    }

    #[test]
    fn who_and_where_become_metadata() {
        let value = json!({"content": "x", "conversation_id": "c1", "agent_id": "a", "metadata":
            {"agent_id": "b", "n": 1}, "restore_deleted": true});
        let ask = Ask::read(given_in(ToolSet::Full, Kind::Store, value)).unwrap();
        let expected = json!({"conversation_id": "c1", "agent_id": "a", "n": 1});
        assert_eq!(ask.request.metadata, Some(expected));
        assert_eq!(ask.restore_deleted, Some(true));
    }

    #[test]
    fn a_hostname_becomes_a_tag_and_metadata() {
        let value = json!({"content": "x", "tags": "a", "client_hostname": "box",
            "metadata": {"tags": "b", "type": "decision", "n": 1}});
        let request = request(given(Kind::Legacy(Legacy::StoreMemory), value)).unwrap();
        let expected = json!({"content": "x", "tags": ["a", "b", "source:box"],
            "memory_type": "decision", "metadata": {"n": 1, "hostname": "box"}});
        assert_eq!(json!(request), expected);
    }

    #[test]
    fn two_different_types_are_refused() {
        let value = json!({"content": "x", "memory_type": "a", "metadata": {"type": "b"}});
        let text = request(given(Kind::Store, value)).unwrap_err().to_string();
        assert_eq!(text, "memory_type and metadata.type name different types");
    }

    #[test]
    fn the_text_must_be_given() {
        let text = request(given(Kind::Store, json!({"tags": ["a"]}))).unwrap_err().to_string();
        assert_eq!(text, "memory_store needs the argument \"content\"");
    }

    #[test]
    fn the_answer_has_the_python_services_words() {
        let id = "0f".repeat(32);
        let stored = StoreAnswer { id: id.clone(), created: false, updated: true, generation: 7 };
        let output = answer(&stored);
        assert_eq!(output.text, format!("Memory stored successfully (hash: {id})"));
        let expected = json!({"content_hash": id, "created": false, "updated": true});
        assert_eq!(output.structured, expected);
    }
}
