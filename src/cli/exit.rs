//! The exit code of wrong usage, and of asking for help.

use std::process::ExitCode;

/// Prints what clap has to say: help and version are no errors.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell it to when the stream is closed.
    let _closed = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
