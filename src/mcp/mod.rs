//! The MCP front-end: a server on standard input and output that an agent's client starts.
//!
//! It holds no memories and no model. Discovery and the lists of tools and prompts it answers by itself,
//! also while the daemon starts; tool calls, prompts and resources become calls of the daemon's API. It speaks the stateless
//! protocol revision and the handshake revisions before it.
//!
//! [`run`] wants a current-thread runtime with time and IO enabled: one thread keeps the process small
//! and quick to start, and a client never has more than a handful of calls in flight. Nothing but MCP
//! goes to standard output; what there is to log goes to `tracing`.

mod arguments;
mod daemon;
mod failure;
mod form;
mod front;
mod newest;
mod prompt;
mod resource;
mod schema;
mod standing;
mod statistics;
mod tool;
mod transport;

use crate::api::client::launch::Launch;
use crate::clock::{SharedClock, SystemClock};
use daemon::Daemon;
use front::Front;
use rmcp::service::{QuitReason, RoleServer, ServerInitializeError, ServiceExt as _};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use std::sync::Arc;
use std::time::Duration;
use transport::Opening;

/// Bytes of one message, as large as a request body of the daemon may be.
const MESSAGE_MAX_BYTES: usize = 64 << 20;

/// Which tools are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolSet {
    /// Store, search, list, update, delete, health.
    #[default]
    Lean,
    /// The lean ones; one memory, sessions, duplicates and numbers; prompts and resources.
    Full,
    /// The eight old names of the Python service, with their old answers.
    Legacy,
}

impl ToolSet {
    /// The names of its tools, in the order in which they are listed.
    pub fn names(self) -> Vec<&'static str> {
        tool::Kind::of(self).iter().map(|kind| kind.name()).collect()
    }

    /// The names of its prompts.
    pub fn prompts(self) -> Vec<&'static str> {
        match self {
            Self::Full => prompt::Prompt::ALL.iter().map(|prompt| prompt.name()).collect(),
            Self::Lean | Self::Legacy => Vec::new(),
        }
    }
}

/// How the front-end runs.
#[derive(Clone)]
pub struct McpOptions {
    /// How the daemon is reached and started.
    pub launch: Launch,
    /// Whether a daemon is started when none runs.
    pub spawn: bool,
    /// Which tools are offered.
    pub tools: ToolSet,
    /// What notes are dated by.
    pub clock: SharedClock,
    /// How long a tool call waits for a daemon that is starting.
    pub start_timeout: Duration,
    /// How long a tool call waits for the daemon's answer.
    pub call_timeout: Duration,
}

impl McpOptions {
    /// The lean tools, starting the daemon when none runs. A start takes a second at most, unless a
    /// migration runs; an answer takes milliseconds, unless the disk is busy: 20 s and 30 s leave room.
    pub fn new(launch: Launch) -> Self {
        Self {
            launch,
            spawn: true,
            tools: ToolSet::Lean,
            clock: SystemClock::shared(),
            start_timeout: Duration::from_secs(20),
            call_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves MCP on standard input and output until the input ends.
///
/// # Errors
/// The client opens with a message that is neither a request nor a notification, or a task of the
/// server dies.
pub async fn run(options: McpOptions) -> anyhow::Result<()> {
    let (reader, writer) = rmcp::transport::stdio_pipes();
    let transport = AsyncRwTransport::new_server(reader, writer);
    let daemon = Arc::new(Daemon::new(&options));
    if options.spawn {
        daemon.start_soon();
    }
    let front = Front::new(daemon, options.tools, options.clock);
    serve(front, transport.with_max_line_length(MESSAGE_MAX_BYTES)).await
}

async fn serve(
    front: Front,
    transport: impl Transport<RoleServer> + 'static,
) -> anyhow::Result<()> {
    match front.serve(Opening::new(transport)).await {
        Ok(running) => match running.waiting().await? {
            QuitReason::JoinError(error) => Err(error.into()),
            _ => Ok(()),
        },
        // A client that only asks what there is, and one that has gone before it read the answer.
        Err(
            error @ (ServerInitializeError::ConnectionClosed(_)
            | ServerInitializeError::TransportError { .. }),
        ) => {
            tracing::debug!(%error, "the client left before it called anything");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
