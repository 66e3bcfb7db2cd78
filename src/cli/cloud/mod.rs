//! `memtide cloud`: the copy in the owner's Cloudflare account. `init`, `check`, `plan` and `link` speak to the
//! account themselves, with the token of whoever types; syncing is the daemon's.

mod account;
mod check;
mod init;
mod link;
mod plan;
mod sync;
mod token;
pub(super) mod verify;

use super::args;
use super::failure::Failure;
use super::session::Session;
use std::process::ExitCode;

pub(super) fn run(session: &Session, command: args::Cloud) -> Result<ExitCode, Failure> {
    match command {
        args::Cloud::Init(args) => init::run(session, &args),
        args::Cloud::Check(args) => check::run(session, &args),
        args::Cloud::Plan(args) => plan::run(session, &args),
        args::Cloud::Link(args) => link::run(session, &args),
        args::Cloud::Unlink(args) => link::unlink(session, &args),
        args::Cloud::Pause => sync::pause(session, true),
        args::Cloud::Resume => sync::pause(session, false),
        args::Cloud::Sync(args) => sync::run(session, &args),
        args::Cloud::Verify(args) => verify::run(session, &args),
        args::Cloud::Usage(args) => sync::usage(session, &args),
    }
}
