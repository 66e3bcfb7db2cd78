//! `memtide migrate`: moving in from the Python service.

pub mod args;

mod inspect;
mod place;

use super::failure::Failure;
use super::session::Session;
use std::process::ExitCode;

pub(super) fn run(session: &Session, command: args::Migrate) -> Result<ExitCode, Failure> {
    match command {
        args::Migrate::Inspect(args) => inspect::run(session, &args),
    }
}
