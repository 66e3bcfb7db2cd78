//! `learning_session`: the one prompt that stores something.

use super::parts;
use crate::api::wire::{StoreAnswer, StoreRequest};
use crate::clock::Micros;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use serde_json::json;

pub(super) async fn text(
    daemon: &Daemon,
    client: &str,
    now: Micros,
    arguments: Arguments,
) -> Result<String, Failure> {
    let session = Session::read(arguments)?;
    let note = session.note(now);
    let places = session.places();
    if !places.is_empty() {
        return Ok(format!(
            "Preview only — not persisted. Unresolved CLI placeholder argument(s): {}. Provide real \
             values for those fields to save this learning session.\n\n{note}",
            places.join(", ")
        ));
    }
    let request = StoreRequest {
        content: note.clone(),
        tags: vec!["learning".to_owned(), session.topic.to_lowercase().replace(' ', "_")],
        memory_type: Some("learning".to_owned()),
        metadata: None,
    };
    let _stored: StoreAnswer =
        daemon.call(client, &Call::Post("/v1/memories", json!(request))).await?;
    Ok(format!("Learning session stored successfully!\n\n{note}"))
}

/// What was learned.
struct Session {
    topic: String,
    key_points: String,
    questions: String,
}

impl Session {
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        Ok(Self {
            topic: arguments.needed_text("topic")?,
            key_points: arguments.needed_text("key_points")?,
            questions: arguments.text("questions")?.unwrap_or_default(),
        })
    }

    fn note(&self, now: Micros) -> String {
        let mut note = format!(
            "# Learning Session: {}\n\nDate: {}\n\n## Key Points:\n",
            self.topic,
            now.to_rfc3339()
        );
        let mut list = |heading: &str, text: &str| {
            for (at, part) in parts(text).enumerate() {
                if at == 0 {
                    note.push_str(heading);
                }
                note.push_str(&format!("- {part}\n"));
            }
        };
        list("", &self.key_points);
        list("\n## Questions for Further Study:\n", &self.questions);
        note
    }

    /// The arguments that hold a command line's `$1` instead of a value: a client that previews a prompt
    /// fills them in like this.
    fn places(&self) -> Vec<&'static str> {
        let given = [
            ("topic", &self.topic),
            ("key_points", &self.key_points),
            ("questions", &self.questions),
        ];
        given.into_iter().filter(|(_, text)| is_place(text)).map(|(name, _)| name).collect()
    }
}

fn is_place(text: &str) -> bool {
    text.trim().strip_prefix('$').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Prompt, given};
    use super::*;
    use serde_json::Value;

    fn session(value: Value) -> Session {
        Session::read(given(Prompt::Learning, value)).unwrap()
    }

    #[test]
    fn a_note_has_the_python_services_words() {
        let now = Micros::parse_rfc3339("2026-05-04T03:02:01Z").unwrap();
        let value =
            json!({"topic": "Rust", "key_points": "moves, borrows,, ", "questions": "pins?"});
        assert_eq!(
            session(value).note(now),
            "# Learning Session: Rust\n\nDate: 2026-05-04T03:02:01.000000Z\n\n\
             ## Key Points:\n- moves\n- borrows\n\n## Questions for Further Study:\n- pins?\n"
        );
        let plain = session(json!({"topic": "Rust", "key_points": "moves"})).note(now);
        assert!(plain.ends_with("## Key Points:\n- moves\n"), "{plain}");
    }

    #[test]
    fn places_of_a_command_line_are_told_from_values() {
        let places =
            session(json!({"topic": "$1", "key_points": " $10 ", "questions": "$1 more"})).places();
        assert_eq!(places, ["topic", "key_points"]);
        assert!(!is_place("$") && !is_place("$abc") && !is_place("General"));
    }
}
