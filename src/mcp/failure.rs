//! Why a tool call failed: a sentence with the value and the limit, and what to do next.

use crate::api::client::ClientError;
use crate::api::client::launch::LaunchError;
use std::time::Duration;

/// A tool call that was not carried out, or whose outcome is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An argument that the tool does not have.
    #[error("{tool} has no argument {name:?}")]
    Unknown {
        /// The tool.
        tool: &'static str,
        /// The argument.
        name: String,
        /// What it has.
        known: Vec<String>,
    },
    /// An argument that must be given.
    #[error("{tool} needs the argument {name:?}")]
    Missing {
        /// The tool.
        tool: &'static str,
        /// The argument.
        name: &'static str,
    },
    /// A value of another type.
    #[error("{name} is a JSON {actual}, it must be {expected}")]
    WrongType {
        /// The argument.
        name: String,
        /// What was given.
        actual: &'static str,
        /// What is understood.
        expected: &'static str,
    },
    /// A word that is none of those understood.
    #[error("{name} is {actual:?}, it must be one of {}", .choices.join(", "))]
    NoChoice {
        /// The argument.
        name: &'static str,
        /// What was given.
        actual: String,
        /// What is understood.
        choices: &'static [&'static str],
    },
    /// A number outside its range.
    #[error("{name} is {actual}, it must be between {min} and {max}")]
    OutOfRange {
        /// The argument.
        name: &'static str,
        /// What was given.
        actual: serde_json::Number,
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Arguments that say nothing together, or contradict each other.
    #[error("{sentence}")]
    Senseless {
        /// What is wrong.
        sentence: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A text that was deleted, and that shall not come back by being stored.
    #[error(
        "Not stored: this content was deleted on {deleted_at}; pass restore_deleted=true to bring it back"
    )]
    WasDeleted {
        /// When, RFC 3339.
        deleted_at: String,
    },
    /// A conversation of which only the first memories are stored.
    #[error("session chunk {}/{n_chunks} is not stored: {source}", n_stored + 1)]
    HalfStored {
        /// The conversation.
        session_id: String,
        /// How many of its memories are stored.
        n_stored: usize,
        /// How many there should be.
        n_chunks: usize,
        /// Why the next one is not.
        source: Box<Failure>,
    },
    /// No daemon, and none may be started.
    #[error("no memtide daemon is running")]
    NotRunning,
    /// The daemon is still on its way.
    #[error("the memtide daemon isn't ready after {} s", .0.as_secs())]
    Starting(Duration),
    /// It could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not answer, or it refused.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// The front-end can't get what it needs from the operating system.
    #[error("the memtide front-end can't go on: {0}")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// What the caller can do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                "call it without arguments".to_owned()
            }
            Self::Unknown { known, .. } => {
                format!("leave it out; the arguments are {}", known.join(", "))
            }
            Self::Missing { .. }
            | Self::WrongType { .. }
            | Self::NoChoice { .. }
            | Self::OutOfRange { .. } => "correct the argument and call again".to_owned(),
            Self::Senseless { hint, .. } => (*hint).to_owned(),
            Self::WasDeleted { .. } => {
                "leave restore_deleted out or set it to true, if the user wants the memory back"
                    .to_owned()
            }
            Self::HalfStored { session_id, n_stored, source, .. } => format!(
                "{}; then call again with session_id {session_id:?}: the {n_stored} that are stored \
                 stay as they are",
                source.hint()
            ),
            Self::NotRunning => "ask the user to start it with `memtide up`".to_owned(),
            Self::Starting(_) => {
                "call again in a moment; `memtide status` tells what it is doing".to_owned()
            }
            Self::Launch(_) => "ask the user to run `memtide up`, which tells more".to_owned(),
            Self::Call(error) => call_hint(error),
            Self::System(_) => "free some memory or processes and call again".to_owned(),
        }
    }

    /// The sentence and the hint, as a model reads them.
    pub(super) fn text(&self) -> String {
        format!("Error: {self}\nNext step: {}", self.hint())
    }

    /// Whether the caller gave something that can't be used.
    pub(super) fn is_callers(&self) -> bool {
        match self {
            Self::Call(ClientError::Refused { status, .. }) => (400..500).contains(status),
            Self::NotRunning
            | Self::Starting(_)
            | Self::Launch(_)
            | Self::Call(_)
            | Self::System(_)
            | Self::HalfStored { .. } => false,
            Self::Unknown { .. }
            | Self::Missing { .. }
            | Self::WrongType { .. }
            | Self::NoChoice { .. }
            | Self::OutOfRange { .. }
            | Self::Senseless { .. }
            | Self::WasDeleted { .. } => true,
        }
    }

    /// Whether the daemon went away, so that the call may be made again on a new connection. Every
    /// call is idempotent: by content hash, or because it names a state and not a change.
    pub(super) fn is_lost_daemon(&self) -> bool {
        match self {
            Self::Call(ClientError::NoDaemon(_) | ClientError::Broken(_)) => true,
            Self::Call(ClientError::Refused { body, .. }) => body.error.code == "stopping",
            _ => false,
        }
    }
}

fn call_hint(error: &ClientError) -> String {
    match error {
        ClientError::Refused { body, .. } => body.error.hint.clone(),
        ClientError::NoDaemon(_) | ClientError::Broken(_) => {
            "call again; if it stays like this, ask the user to run `memtide status`".to_owned()
        }
        ClientError::Timeout(_) => {
            "call again; what was sent may have been done, and doing it twice changes nothing"
                .to_owned()
        }
        ClientError::Protocol(_) => {
            "ask the user to run `memtide down` and `memtide up`, so that both are of one version"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::{ErrorBody, ErrorJson};

    fn refused(code: &str) -> Failure {
        let error = ErrorJson {
            code: code.to_owned(),
            message: "the text is empty".to_owned(),
            hint: "give some text to remember".to_owned(),
            details: serde_json::Value::Null,
        };
        ClientError::Refused { status: 422, body: Box::new(ErrorBody { error }) }.into()
    }

    #[test]
    fn a_refusal_keeps_the_daemons_sentence_and_hint() {
        assert_eq!(
            refused("content_empty").text(),
            "Error: the text is empty\nNext step: give some text to remember"
        );
    }

    #[test]
    fn only_a_daemon_that_went_away_is_asked_again() {
        assert!(refused("stopping").is_lost_daemon());
        assert!(!refused("busy").is_lost_daemon());
        assert!(Failure::from(ClientError::Broken("reset".to_owned())).is_lost_daemon());
        assert!(!Failure::from(ClientError::Timeout(Duration::from_secs(1))).is_lost_daemon());
        assert!(!Failure::NotRunning.is_lost_daemon());
    }
}
