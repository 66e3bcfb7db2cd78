//! `memtide mcp`.

use super::failure::Failure;
use super::session::Session;
use super::{args, diary};
use crate::mcp::{McpOptions, ToolSet};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Mcp) -> Result<ExitCode, Failure> {
    // A client shows what comes on standard error; the SDK's diary is for those who ask for it.
    diary::start(&format!("rmcp=warn,{}", session.settings().log.filter))?;
    let spawn = !session.global.no_spawn;
    if spawn && let Err(error) = session.paths.prepare() {
        // The client shall still learn which tools there are, and each call what is wrong.
        tracing::warn!(%error, "the daemon's folders can't be made");
    }
    let tools = match args.tools {
        args::Tools::Lean => ToolSet::Lean,
        args::Tools::Full => ToolSet::Full,
        args::Tools::Legacy => ToolSet::Legacy,
    };
    let options = McpOptions { spawn, tools, ..McpOptions::new(session.launch("client")?) };
    session.block_on(crate::mcp::run(options))?;
    Ok(ExitCode::SUCCESS)
}
