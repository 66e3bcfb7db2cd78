//! `memtide migrate`: moving in from the Python service.

pub mod args;

mod finish;
mod follow;
mod import;
mod inspect;
mod place;
mod status;
mod verify;
mod wait;

pub(super) use status::told;

use super::failure::Failure;
use super::session::Session;
use std::process::ExitCode;

pub(super) fn run(session: &Session, command: args::Migrate) -> Result<ExitCode, Failure> {
    match command {
        args::Migrate::Inspect(args) => inspect::run(session, &args),
        args::Migrate::Import(args) => import::run(session, &args),
        args::Migrate::Follow(args) => follow::run(session, &args),
        args::Migrate::Status(args) => status::run(session, &args),
        args::Migrate::Verify(args) => verify::run(session, &args),
        args::Migrate::Finish(args) => finish::run(session, &args),
    }
}
