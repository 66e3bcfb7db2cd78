//! `memory_store_session`.

use super::super::arguments::{Arguments, text_of};
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::Output;
use crate::api::wire::{StoreAnswer, StoreRequest};
use crate::model::id::MemoryId;
use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// Characters of one memory of a conversation, as in the Python service: about what its model reads.
const CHUNK_CHARS: usize = 1500;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let session = Session::read(arguments)?;
    let requests = session.requests();
    let mut hashes = Vec::with_capacity(requests.len());
    for request in &requests {
        let call = Call::Post("/v1/memories", json!(request));
        match daemon.call::<StoreAnswer>(client, &call).await {
            Ok(stored) => hashes.push(stored.id),
            Err(failure) if hashes.is_empty() => return Err(failure),
            Err(failure) => {
                return Err(Failure::HalfStored {
                    session_id: session.id,
                    n_stored: hashes.len(),
                    n_chunks: requests.len(),
                    source: Box::new(failure),
                });
            }
        }
    }
    Ok(session.answer(&hashes))
}

/// A conversation in checked form.
#[derive(Debug)]
struct Session {
    id: String,
    /// One for each turn that says something.
    lines: Vec<String>,
    tags: Vec<String>,
    metadata: JsonObject,
}

impl Session {
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        let turns = arguments.needed_objects("turns")?;
        let mut lines = Vec::with_capacity(turns.len());
        for mut turn in turns {
            let mut take = |name: &str| {
                let value = turn.remove(name).unwrap_or_default();
                text_of(&format!("{name} of a turn"), value)
            };
            let (role, content) = (take("role")?, take("content")?);
            if let Some(name) = turn.keys().next() {
                return Err(Failure::Unknown {
                    tool: "a turn of memory_store_session",
                    name: name.clone(),
                    known: vec!["role".to_owned(), "content".to_owned()],
                });
            }
            if !content.trim().is_empty() {
                lines.push(format!("[{}] {}", role.trim(), content.trim()));
            }
        }
        if lines.is_empty() {
            return Err(Failure::Senseless {
                sentence: "all turns have empty content",
                hint: "give at least one turn that says something",
            });
        }
        let id = arguments.words("session_id")?.unwrap_or_else(|| made_from(&lines));
        let mut metadata = arguments.object("metadata")?.unwrap_or_default();
        metadata.retain(|_, value| !value.is_null());
        if let Some(agent) = arguments.words("agent_id")? {
            metadata.insert("agent_id".to_owned(), Value::String(agent));
        }
        let tags = arguments.tags("tags")?.unwrap_or_default();
        Ok(Self { id: id.trim().to_owned(), lines, tags, metadata })
    }

    /// One memory, or several of whole turns.
    fn requests(&self) -> Vec<StoreRequest> {
        let chunks = chunks(&self.lines);
        let n_chunks = chunks.len();
        let numbered = chunks.into_iter().enumerate();
        numbered
            .map(|(at, content)| {
                let mut tags = vec![format!("session:{}", self.id)];
                tags.extend(self.tags.iter().cloned());
                if n_chunks > 1 {
                    tags.push(format!("chunk:{}/{n_chunks}", at + 1));
                }
                StoreRequest {
                    content,
                    tags,
                    memory_type: Some("session".to_owned()),
                    metadata: (!self.metadata.is_empty())
                        .then(|| Value::Object(self.metadata.clone())),
                }
            })
            .collect()
    }

    fn answer(&self, hashes: &[String]) -> Output {
        let (id, n_turns) = (&self.id, self.lines.len());
        let stored = match hashes {
            [hash] => format!("hash: {hash}"),
            several => format!("chunks: {n}/{n}", n = several.len()),
        };
        Output {
            text: format!(
                "Session stored successfully (session_id: {id}, {stored}, turns: {n_turns})"
            ),
            structured: json!({
                "session_id": id,
                "content_hashes": hashes,
                "chunks": hashes.len(),
                "turns": n_turns,
            }),
        }
    }
}

/// An id for a conversation that has none. It is made from the text, so that storing the same
/// conversation again changes nothing.
fn made_from(lines: &[String]) -> String {
    let hash = MemoryId::of(&lines.join("\n"));
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(hash.as_bytes()) {
        *byte = *from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The lines in groups of at most [`CHUNK_CHARS`]. No line is cut.
fn chunks(lines: &[String]) -> Vec<String> {
    let (mut chunks, mut chunk, mut n_chars) = (Vec::new(), String::new(), 0);
    for line in lines {
        // And the end of the line.
        let n_more = line.chars().count() + 1;
        if !chunk.is_empty() && n_chars + n_more > CHUNK_CHARS + 1 {
            chunks.push(std::mem::take(&mut chunk));
            n_chars = 0;
        }
        if !chunk.is_empty() {
            chunk.push('\n');
        }
        chunk.push_str(line);
        n_chars += n_more;
    }
    chunks.push(chunk);
    chunks
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, given};
    use super::*;

    fn session(value: Value) -> Result<Session, Failure> {
        Session::read(given(Kind::StoreSession, value))
    }

    fn turns(contents: &[&str]) -> Value {
        let turn = |content: &&str| json!({"role": "user", "content": content});
        contents.iter().map(turn).collect()
    }

    #[test]
    fn a_short_session_is_one_memory() {
        let session = session(json!({
            "turns": [{"role": "user", "content": " How? "}, {"role": "assistant", "content": "\n"},
                {"role": "assistant", "content": "So."}],
            "session_id": "s1", "tags": "redis, set-up", "metadata": {"n": 1}, "agent_id": "a",
        }))
        .unwrap();
        let expected = json!([{
            "content": "[user] How?\n[assistant] So.", "tags": ["session:s1", "redis", "set-up"],
            "memory_type": "session", "metadata": {"n": 1, "agent_id": "a"},
        }]);
        assert_eq!(json!(session.requests()), expected);
        let output = session.answer(&["ab".repeat(32)]);
        let hash = "ab".repeat(32);
        assert_eq!(
            output.text,
            format!("Session stored successfully (session_id: s1, hash: {hash}, turns: 2)")
        );
        assert_eq!(output.structured["chunks"], 1);
    }

    #[test]
    fn a_long_one_is_cut_between_turns() {
        let (long, longest) = ("ä".repeat(800), "b".repeat(4000));
        let session = session(json!({"turns": turns(&[&long, "short", &long, &longest, "end"]),
            "session_id": "s"}))
        .unwrap();
        let requests = session.requests();
        let sizes: Vec<usize> = requests.iter().map(|r| r.content.chars().count()).collect();
        assert_eq!(sizes, [807 + 1 + 12, 807, 4007, 10]);
        assert_eq!(requests[1].tags, ["session:s", "chunk:2/4"]);
        let hashes: Vec<String> = (0..4).map(|at| format!("h{at}")).collect();
        assert_eq!(
            session.answer(&hashes).text,
            "Session stored successfully (session_id: s, chunks: 4/4, turns: 5)"
        );
    }

    #[test]
    fn the_same_session_has_the_same_id() {
        let id = |text: &str| session(json!({"turns": turns(&[text])})).unwrap().id;
        assert_eq!(id("x"), id("x"));
        assert_ne!(id("x"), id("y"));
        assert_eq!(id("x").parse::<uuid::Uuid>().unwrap().get_version_num(), 8);
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        for (value, sentence) in [
            (json!({}), "memory_store_session needs the argument \"turns\""),
            (json!({"turns": []}), "memory_store_session needs the argument \"turns\""),
            (json!({"turns": turns(&[" "])}), "all turns have empty content"),
            (json!({"turns": ["x"]}), "an item of turns is a JSON string, it must be an object"),
            (
                json!({"turns": [{"role": "user"}]}),
                "content of a turn is a JSON null, it must be a string",
            ),
            (
                json!({"turns": [{"role": "user", "content": "x", "at": 1}]}),
                "a turn of memory_store_session has no argument \"at\"",
            ),
        ] {
            assert_eq!(session(value.clone()).unwrap_err().to_string(), sentence, "{value}");
        }
    }
}
