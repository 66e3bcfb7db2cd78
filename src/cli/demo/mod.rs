//! `memtide demo`: the whole story on laptops and an emulated cloud, each step done by real processes
//! over real sockets, and each step checked.

mod laptop;
mod moving_in;
mod story;
mod two_laptops;

use super::failure::Failure;
use super::session::Session;
use super::{model, output};
use std::process::ExitCode;

pub(super) fn run(session: &Session) -> Result<ExitCode, Failure> {
    if let Err(failure) = model::pull_missing(session, None) {
        return Err(Failure::new(format!("the demo searches by meaning: {}", failure.message)));
    }
    let folder = tempfile::tempdir()?;
    let cloud = crate::emulator::server::start(
        crate::clock::SystemClock::shared(),
        DEMO_SEED,
        crate::emulator::options::Options::default(),
    )?;
    output::line(&format!("an emulated Cloudflare account listens on {}", cloud.base_url()))?;
    let n_checks = story::tell(session, folder.path(), &cloud)?;
    output::line(&format!("\nall {n_checks} checks held"))?;
    Ok(ExitCode::SUCCESS)
}

/// Any number: the story doesn't depend on it.
const DEMO_SEED: u64 = 7;
