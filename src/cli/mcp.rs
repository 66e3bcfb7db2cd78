//! `memtide mcp`.

use super::args;
use super::failure::Failure;
use super::session::Session;
use crate::mcp::{McpOptions, ToolSet};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

pub(super) fn run(session: &Session, args: &args::Mcp) -> Result<ExitCode, Failure> {
    // A client shows what comes on standard error; the SDK's diary is for those who ask for it.
    let filter = EnvFilter::try_new(format!("rmcp=warn,{}", session.settings().log.filter))
        .map_err(|error| Failure::new(format!("log.filter is not understood: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let spawn = !session.global.no_spawn;
    if spawn && let Err(error) = session.paths.prepare() {
        // The client shall still learn which tools there are, and each call what is wrong.
        tracing::warn!(%error, "the daemon's folders can't be made");
    }
    let tools = match args.tools {
        args::Tools::Lean => ToolSet::Lean,
    };
    let options = McpOptions { spawn, tools, ..McpOptions::new(session.launch("client")?) };
    session.block_on(crate::mcp::run(options))?;
    Ok(ExitCode::SUCCESS)
}
