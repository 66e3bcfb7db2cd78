//! The prompts of the full set: each becomes one message of the user, in the Python service's words.

mod analysis;
mod cleanup;
mod export;
mod learning;
mod review;

use super::arguments::Arguments;
use super::daemon::Daemon;
use super::failure::Failure;
use crate::clock::Micros;
use rmcp::model::{JsonObject, Prompt as Listed, PromptArgument};
use serde_json::json;

/// Memories that a prompt looks at when nothing narrows it.
const NEWEST: usize = 100;

/// A prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    Analysis,
    Cleanup,
    Export,
    Learning,
    Review,
}

/// An argument: its name, what it is, whether it must be given.
type Parameter = (&'static str, &'static str, bool);

impl Prompt {
    /// All of them, in the order in which they are listed.
    pub(super) const ALL: [Self; 5] =
        [Self::Review, Self::Analysis, Self::Export, Self::Cleanup, Self::Learning];

    /// The name it is asked for by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Analysis => "memory_analysis",
            Self::Cleanup => "memory_cleanup",
            Self::Export => "knowledge_export",
            Self::Learning => "learning_session",
            Self::Review => "memory_review",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Analysis => "Analyse memories",
            Self::Cleanup => "Find duplicates and old memories",
            Self::Export => "Export memories",
            Self::Learning => "Store a learning session",
            Self::Review => "Review memories",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Analysis => {
                "Counts the tags and types of memories, all or those of some tags or a time"
            }
            Self::Cleanup => {
                "Reports memories that look like duplicates, and how many are old; deletes nothing"
            }
            Self::Export => "Shows up to 100 memories as JSON, Markdown or plain text",
            Self::Learning => "Stores the notes of a study session as one memory",
            Self::Review => "Shows the memories of a time",
        }
    }

    fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Analysis => &[
                ("tags", "Tags, separated by commas", false),
                ("time_range", "A time such as 'last month', or 'all time'", false),
            ],
            Self::Cleanup => &[
                ("older_than", "An age such as '6 months' or '1 year'", false),
                ("similarity_threshold", "Share of common words of a duplicate, 0.0 to 1.0", false),
            ],
            Self::Export => &[
                ("format", "json, markdown or text", true),
                ("filter", "Tags separated by commas, or a search", false),
            ],
            Self::Learning => &[
                ("topic", "What was learned about", true),
                ("key_points", "What was learned, separated by commas", true),
                ("questions", "What is still open, separated by commas", false),
            ],
            Self::Review => &[
                ("time_period", "A time such as 'last week', 'yesterday', '2 days ago'", true),
                ("focus_area", "What to look at, such as 'work'", false),
            ],
        }
    }

    /// How it is listed.
    pub(super) fn listed(self) -> Listed {
        let arguments = self.parameters().iter().map(|(name, description, is_required)| {
            PromptArgument::new(*name).with_description(*description).with_required(*is_required)
        });
        Listed::new(self.name(), Some(self.description()), Some(arguments.collect()))
            .with_title(self.title())
    }

    /// The message, asked for in the name of `client`.
    pub(super) async fn text(
        self,
        daemon: &Daemon,
        client: &str,
        now: Micros,
        given: Option<JsonObject>,
    ) -> Result<String, Failure> {
        let arguments = self.check(given)?;
        match self {
            Self::Analysis => analysis::text(daemon, client, arguments).await,
            Self::Cleanup => cleanup::text(daemon, client, arguments).await,
            Self::Export => export::text(daemon, client, arguments).await,
            Self::Learning => learning::text(daemon, client, now, arguments).await,
            Self::Review => review::text(daemon, client, arguments).await,
        }
    }

    fn check(self, given: Option<JsonObject>) -> Result<Arguments, Failure> {
        let names = self.parameters().iter().map(|(name, ..)| ((*name).to_owned(), json!({})));
        let properties: JsonObject = names.collect();
        let mut schema = JsonObject::new();
        schema.insert("properties".to_owned(), json!(properties));
        Arguments::check(self.name(), &schema, given)
    }
}

/// The parts of a text between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// The arguments of `prompt` for its tests.
#[cfg(test)]
fn given(prompt: Prompt, value: serde_json::Value) -> Arguments {
    prompt.check(Some(super::arguments::tests::object(value))).unwrap()
}
