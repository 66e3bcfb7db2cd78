//! `memory_store`.

use super::super::arguments::{Arguments, tags_of, text_of};
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::Output;
use crate::api::wire::{StoreAnswer, StoreRequest};
use serde_json::{Value, json};

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let call = Call::Post("/v1/memories", json!(ask(arguments)?));
    Ok(answer(&daemon.call(client, &call).await?))
}

/// The Python service takes tags and type inside the metadata; models also give them beside it.
fn ask(mut arguments: Arguments) -> Result<StoreRequest, Failure> {
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
    use super::super::{Kind, given};
    use super::*;

    #[test]
    fn tags_and_type_come_from_the_metadata_or_from_beside_it() {
        let request = ask(given(
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
            ask(given(Kind::Store, json!({"content": "x", "metadata": {"tags": ""}}))).unwrap();
        assert_eq!((plain.tags.len(), plain.memory_type, plain.metadata), (0, None, None));
    }

    #[test]
    fn two_different_types_are_refused() {
        let value = json!({"content": "x", "memory_type": "a", "metadata": {"type": "b"}});
        let text = ask(given(Kind::Store, value)).unwrap_err().to_string();
        assert_eq!(text, "memory_type and metadata.type name different types");
    }

    #[test]
    fn the_text_must_be_given() {
        let text = ask(given(Kind::Store, json!({"tags": ["a"]}))).unwrap_err().to_string();
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
