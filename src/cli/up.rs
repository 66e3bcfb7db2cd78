//! `memtide up` and `memtide down`.

use super::failure::Failure;
use super::session::Session;
use super::{args, model, output, status};
use crate::api::client::Client;
use crate::api::status::StatusJson;
use crate::daemon::lock::{Lock, LockError};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Time a loading model is waited for; loading takes a tenth of a second.
const MODEL_WAIT: Duration = Duration::from_secs(15);
/// Time a stopping daemon is waited for; it stops in under two seconds.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(30);

pub(super) fn run(session: &Session, args: &args::Up) -> Result<ExitCode, Failure> {
    if session.global.no_spawn && session.launch("user")?.running().is_none() {
        return Err(Failure::no_daemon(&session.paths.socket));
    }
    session.paths.prepare()?;
    if !session.settings().embedding.is_fetched {
        // A machine that must not download: what is here is used, and status tells what is missing.
    } else if let Err(failure) = model::pull_missing(session, None) {
        // Without the model memtide still stores, and finds words.
        output::note(&format!("the model could not be fetched: {}", failure.message));
        if let Some(hint) = failure.hint {
            output::note(&format!("hint: {hint}"));
        }
    }
    let (socket, is_new) = session.launch("user")?.ensure()?;
    let client = Client::new(socket, "cli", Duration::from_secs(30));
    let status = session.block_on(settled_status(&client, is_new))?;
    if args.json {
        output::json(&json!({"status": status, "started": is_new, "connect": connect()}))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(if is_new { "memtide is up" } else { "memtide was up already" })?;
    output::line("")?;
    output::line(&status::text(&status))?;
    output::line("")?;
    output::line(&instructions(&executable())?)?;
    Ok(ExitCode::SUCCESS)
}

/// How each client is told of `program`.
fn instructions(program: &str) -> Result<String, Failure> {
    let typed = quoted(program);
    let code = json!({"name": "memtide", "command": program, "args": ["mcp"]}).to_string();
    let config = serde_json::to_string_pretty(&connect_to(program))?;
    Ok(format!(
        "Connect a client:
  Claude Code  claude mcp add --scope user memtide -- {typed} mcp
  Codex        codex mcp add memtide -- {typed} mcp
  VS Code      code --add-mcp {}
  Cursor       put this into ~/.cursor/mcp.json (most other clients take the same):

{config}",
        quoted(&code)
    ))
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn executable() -> String {
    std::env::current_exe().map_or_else(|_| "memtide".to_owned(), |path| path.display().to_string())
}

fn connect() -> Value {
    connect_to(&executable())
}

fn connect_to(program: &str) -> Value {
    json!({"mcpServers": {"memtide": {"command": program, "args": ["mcp"]}}})
}

/// The status once the model has loaded or has said that it can't.
async fn settled_status(client: &Client, is_new: bool) -> Result<StatusJson, Failure> {
    if !is_new {
        // A daemon that ran before doesn't know of files that have come meanwhile.
        let status: StatusJson = client.get("/v1/status").await?;
        if status.embedder.state != "ready" {
            let _loading: Value = client.post("/v1/embedder/reload", &json!({})).await?;
        }
    }
    let looks = MODEL_WAIT.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        let status: StatusJson = client.get("/v1/status").await?;
        if status.embedder.state != "loading" {
            return Ok(status);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(client.get("/v1/status").await?)
}

pub(super) fn down(session: &Session) -> Result<ExitCode, Failure> {
    let Some(socket) = session.launch("user")?.running() else {
        output::note("no daemon runs");
        return Ok(ExitCode::SUCCESS);
    };
    ask_to_stop(session, socket)?;
    for _ in 0..stop_looks() {
        if Lock::take(&session.paths.lock_file).is_ok() {
            output::note("memtide is down");
            return Ok(ExitCode::SUCCESS);
        }
        session.pause(LOOK_EVERY);
    }
    Err(still_there())
}

/// Takes the daemon's lock, so that none starts while it is held. Tells whether one had to be stopped.
pub(super) fn stop_and_hold(session: &Session) -> Result<(Lock, bool), Failure> {
    let launch = session.launch("user")?;
    let mut was_running = false;
    for _ in 0..stop_looks() {
        match Lock::take(&session.paths.lock_file) {
            Ok(lock) => return Ok((lock, was_running)),
            Err(LockError::Held(_)) => {}
            Err(error) => return Err(Failure::new(error)),
        }
        // A client may have started another one meanwhile.
        if let Some(socket) = launch.running() {
            was_running = true;
            if let Err(error) = ask_to_stop(session, socket) {
                tracing::debug!(error = %error.message, "it is on its way down");
            }
        }
        session.pause(LOOK_EVERY);
    }
    Err(still_there())
}

fn ask_to_stop(session: &Session, socket: PathBuf) -> Result<(), Failure> {
    let client = Client::new(socket, "cli", STOP_WAIT);
    let _stopping: Value = session.block_on(client.post("/v1/daemon/stop", &json!({})))?;
    Ok(())
}

fn stop_looks() -> u128 {
    STOP_WAIT.as_millis() / LOOK_EVERY.as_millis()
}

fn still_there() -> Failure {
    Failure::new("the daemon is still there; see its log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_or_quotes_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("/usr/bin/memtide"), "/usr/bin/memtide");
        assert_eq!(quoted("/my apps/it's"), "'/my apps/it'\\''s'");
        let told = instructions("/my apps/memtide").unwrap();
        assert!(told.contains("memtide -- '/my apps/memtide' mcp"), "{told}");
        assert!(told.contains("\"command\": \"/my apps/memtide\""), "{told}");
    }
}
