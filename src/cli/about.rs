//! `memtide completions` and `memtide man`: made from what can be typed.

use super::args::{self, Args};
use super::failure::Failure;
use super::output;
use clap::CommandFactory as _;
use std::process::ExitCode;

#[expect(clippy::unnecessary_wraps, reason = "every subcommand has this shape")]
pub(super) fn completions(args: &args::Completions) -> Result<ExitCode, Failure> {
    clap_complete::generate(args.shell, &mut Args::command(), "memtide", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page)?;
    output::line(String::from_utf8_lossy(&page).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
