//! The way to the daemon: found or started when it is needed, found again when it was restarted.

use super::McpOptions;
use super::failure::Failure;
use crate::api::client::Client;
use crate::api::client::launch::{self, Launch};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often a call is made while the daemon goes away under it. Twice is a restart; the others are for
/// a daemon that is met on its way down, which may accept a connection and then close it.
const TRIES: usize = 5;
/// Stack of the thread that starts the daemon; it reads one line.
const STARTER_STACK_BYTES: usize = 256 << 10;
/// Characters of a client's name that the daemon keeps.
const NAME_MAX_CHARS: usize = 64;

/// One call of the daemon's API.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// `GET`.
    Get(String),
    /// `POST`.
    Post(&'static str, Value),
    /// `PATCH`.
    Patch(String, Value),
}

/// The daemon as the front-end sees it.
pub(super) struct Daemon {
    launch: Arc<Launch>,
    may_spawn: bool,
    start_timeout: Duration,
    call_timeout: Duration,
    /// Held while the daemon is being found, so that one start serves every call that waits.
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    socket: Option<PathBuf>,
    client: Option<(String, Arc<Client>)>,
}

impl Daemon {
    /// Nothing is connected yet.
    pub(super) fn new(options: &McpOptions) -> Self {
        Self {
            launch: Arc::new(options.launch.clone()),
            may_spawn: options.spawn,
            start_timeout: options.start_timeout,
            call_timeout: options.call_timeout,
            link: Mutex::default(),
        }
    }

    /// Finds or starts the daemon in the background. A call that comes meanwhile waits for it.
    pub(super) fn start_soon(self: &Arc<Self>) {
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            let mut link = daemon.link.lock().await;
            match daemon.find().await {
                Ok(socket) => link.socket = Some(socket),
                Err(error) => tracing::warn!(%error, "no daemon yet; the next call tries again"),
            }
        });
    }

    /// Makes `call` in the name of the MCP client `name`. When the daemon went away, it is found or
    /// started again and the call is repeated.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        call: &Call,
    ) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            match self.attempt(name, call).await {
                Err(failure) if failure.is_lost_daemon() && tries < TRIES => {
                    tracing::info!(%failure, "the daemon went away; looking for it again");
                    *self.link.lock().await = Link::default();
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, name: &str, call: &Call) -> Result<T, Failure> {
        let client = tokio::time::timeout(self.start_timeout, self.client(name))
            .await
            .unwrap_or(Err(Failure::Starting(self.start_timeout)))?;
        let answer = match call {
            Call::Get(path) => client.get(path).await,
            Call::Post(path, body) => client.post(path, body).await,
            Call::Patch(path, body) => client.patch(path, body).await,
        };
        Ok(answer?)
    }

    /// The connection that speaks in `name`; a new one is checked for the protocol.
    async fn client(&self, name: &str) -> Result<Arc<Client>, Failure> {
        let name = header_text(name);
        let mut link = self.link.lock().await;
        if let Some((held, client)) = &link.client
            && *held == name
        {
            return Ok(Arc::clone(client));
        }
        let socket = match link.socket.clone() {
            Some(socket) => socket,
            None => self.find().await?,
        };
        link.socket = Some(socket.clone());
        let client = Arc::new(Client::new(socket, &name, self.call_timeout));
        launch::hello(&client).await?;
        link.client = Some((name, Arc::clone(&client)));
        Ok(client)
    }

    /// Finds or starts the daemon. This blocks, so it runs on a thread, and on one that the runtime
    /// doesn't know: when the input ends, nobody waits for a daemon that is still starting.
    async fn find(&self) -> Result<PathBuf, Failure> {
        let launch = Arc::clone(&self.launch);
        let may_spawn = self.may_spawn;
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("daemon-start".to_owned())
            .stack_size(STARTER_STACK_BYTES)
            .spawn(move || {
                let found = if may_spawn {
                    launch.ensure().map(|(socket, _)| socket).map_err(Failure::from)
                } else {
                    launch.running().ok_or(Failure::NotRunning)
                };
                // Whoever asked may have stopped waiting.
                let _unheard = tell.send(found);
            })?;
        told.await.map_err(|_| std::io::Error::other("the thread that starts the daemon died"))?
    }
}

/// What of a client's name can stand in a header.
fn header_text(name: &str) -> String {
    let shown: String =
        name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(NAME_MAX_CHARS).collect();
    let shown = shown.trim();
    if shown.is_empty() { "mcp".to_owned() } else { shown.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_fit_a_header() {
        assert_eq!(header_text("claude-code"), "claude-code");
        assert_eq!(header_text(" Größe\r\nx-evil: 1 "), "Grex-evil: 1");
        assert_eq!(header_text("…"), "mcp");
        assert_eq!(header_text(&"x".repeat(100)).len(), NAME_MAX_CHARS);
    }
}
