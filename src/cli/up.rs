//! `memtide up` and `memtide down`.

use super::failure::Failure;
use super::session::Session;
use super::{args, model, output, status};
use crate::api::client::Client;
use crate::api::status::StatusJson;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Time a loading model is waited for; loading takes a tenth of a second.
const MODEL_WAIT: Duration = Duration::from_secs(15);
/// Time a stopping daemon is waited for; it stops in under two seconds.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(30);

pub(super) fn run(session: &Session, args: &args::Up) -> Result<ExitCode, Failure> {
    session.paths.prepare()?;
    if let Err(failure) = model::pull_missing(session, None) {
        // Without the model memtide still stores, and finds words.
        output::note(&format!("the model could not be fetched: {}", failure.message));
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
    output::line("Connect a client:")?;
    output::line(&format!("  Claude Code  claude mcp add --scope user memtide -- {}", program()))?;
    output::line(&format!("  Codex        codex mcp add memtide -- {}", program()))?;
    output::line("  Cursor       ~/.cursor/mcp.json")?;
    output::line("  VS Code      .vscode/mcp.json, under \"servers\" instead of \"mcpServers\"")?;
    let config = serde_json::to_string_pretty(&connect())?;
    output::line(&format!("\n{config}"))?;
    Ok(ExitCode::SUCCESS)
}

fn program() -> String {
    format!("{} mcp", executable())
}

fn executable() -> String {
    std::env::current_exe().map_or_else(|_| "memtide".to_owned(), |path| path.display().to_string())
}

fn connect() -> Value {
    json!({"mcpServers": {"memtide": {"command": executable(), "args": ["mcp"]}}})
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
    let launch = session.launch("user")?;
    let Some(socket) = launch.running() else {
        output::note("no daemon runs");
        return Ok(ExitCode::SUCCESS);
    };
    let client = Client::new(socket, "cli", STOP_WAIT);
    session.block_on(async {
        let _stopping: Value = client.post("/v1/daemon/stop", &json!({})).await?;
        let looks = STOP_WAIT.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks {
            if crate::daemon::lock::Lock::take(&session.paths.lock_file).is_ok() {
                output::note("memtide is down");
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Failure::new("the daemon is still there; see its log"))
    })
}
