//! A command that failed: the sentence, what to do next, and the exit code.

use crate::api::client::ClientError;
use crate::api::client::launch::LaunchError;
use crate::daemon::database::DatabaseError;
use crate::daemon::lock::LockError;
use crate::embed::pull::PullError;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Exit codes that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Refused or failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// No daemon.
    NoDaemon = 3,
    /// Not found.
    NotFound = 5,
    /// A defect.
    Internal = 70,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(message: impl ToString) -> Self {
        Self { code: Code::Failed, message: message.to_string(), hint: None }
    }

    pub(super) fn usage(message: impl ToString) -> Self {
        Self { code: Code::Usage, ..Self::new(message) }
    }

    pub(super) fn with_hint(mut self, hint: impl ToString) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(super) fn no_daemon(socket: &Path) -> Self {
        Self {
            code: Code::NoDaemon,
            message: format!("no daemon listens on {}", socket.display()),
            hint: Some("start it with `memtide up`".to_owned()),
        }
    }

    /// Prints the sentence and the hint, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let mut text = format!("error: {}\n", self.message);
        if let Some(hint) = self.hint.as_ref().filter(|hint| !hint.is_empty()) {
            text.push_str(&format!("hint: {hint}\n"));
        }
        // Nothing is left to tell it to when standard error is closed.
        let _closed = std::io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.code as u8)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NoDaemon(socket) => Self::no_daemon(&socket),
            ClientError::Refused { status, body } => {
                let code = match (status, body.error.code.as_str()) {
                    (404, "not_found" | "no_version") => Code::NotFound,
                    (_, "internal") => Code::Internal,
                    _ => Code::Failed,
                };
                Self { code, message, hint: Some(body.error.hint) }
            }
            ClientError::Broken(_) | ClientError::Timeout(_) | ClientError::Protocol(_) => {
                Self::new(message).with_hint("see `memtide status` and the daemon's log")
            }
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let failure = Self::new(&error);
        match error {
            LaunchError::Died { hint: Some(hint), .. } => failure.with_hint(hint),
            LaunchError::Died { said: Some(_), .. } => failure,
            LaunchError::Died { .. } | LaunchError::Spawn(_) | LaunchError::Late(_) => {
                failure.with_hint("run `memtide daemon` to see what it says")
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let failure = Self::new(format!("{error:#}"));
        if let Some(error) = error.downcast_ref::<DatabaseError>() {
            return failure.with_hint(error.hint());
        }
        match error.downcast_ref::<LockError>() {
            Some(LockError::Held(_)) => {
                failure.with_hint("it serves every client; stop it with `memtide down`")
            }
            _ => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

/// What every source said, on a line of its own; several files may have met the same fault.
impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        let PullError::Undelivered { files, reasons, folder } = &error else {
            return Self::new(&error);
        };
        let mut message = format!("no source delivered {files}");
        for reason in reasons {
            message.push_str(&format!("\n  {reason}"));
        }
        Self::new(message).with_hint(format!(
            "get these files on another machine and run `memtide model pull --from DIR`, which puts them into {}",
            folder.display()
        ))
    }
}

macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        }
    )*};
}

failure_from!(
    crate::config::error::ConfigError,
    crate::config::error::PathError,
    crate::embed::assets::FolderError,
    crate::secrets::SecretError,
    serde_json::Error
);
