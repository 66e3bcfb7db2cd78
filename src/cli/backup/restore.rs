//! `memtide backup restore`: a checked copy of the backup takes the place of the database, while no daemon
//! has it open. Whatever is refused is refused before the daemon is stopped.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{output, up};
use super::args::BackupRestore;
use crate::api::client::Client;
use crate::clock::{Clock as _, Micros, SystemClock};
use crate::service::backup::{self, Kind};
use crate::store::backup::{BackupError, Contents, Copying, GoesOn, copy, disown};
use crate::store::replace::{self, Replacement};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempPath;

/// Time that the running daemon's status may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn run(session: &Session, args: &BackupRestore) -> Result<ExitCode, Failure> {
    let file = named(session, &args.file)?;
    session.paths.prepare()?;
    let (new, contents) = stage(session, &file)?;
    refuse_a_managed_daemon(session)?;
    let memories = output::counted(contents.memories, "memory", "memories");
    let question = format!("put back {memories} of {}, in the place of all", file.display());
    if !args.yes && !output::confirm(&question)? {
        return Err(Failure::new("nothing was changed"));
    }
    let (lock, was_running) = up::stop_and_hold(session)?;
    let aside = aside(session, SystemClock.now())?;
    let replacement = Replacement {
        database: session.paths.database.clone(),
        new: new.to_path_buf(),
        aside: aside.clone(),
        note: file.display().to_string(),
    };
    replacement.run().map_err(|error| unfinished(&replacement, &file, &error))?;
    // Its name is the database's now.
    new.keep().map_err(|error| Failure::new(error.error))?;
    drop(lock);
    let is_kept = aside.exists();
    if args.json {
        output::json(&json!({
            "restored": file.display().to_string(),
            "memories": contents.memories,
            "tombstones": contents.tombstones,
            "replaced": is_kept.then(|| aside.display().to_string()),
            "linked": contents.account.is_some(),
        }))?;
    } else {
        output::line(&format!("{memories} of {} are back", file.display()))?;
        if is_kept {
            output::note(&format!("what was there is {}", aside.display()));
        }
        if contents.account.is_some() {
            output::note("what the cloud knows better is fetched now: see `memtide cloud sync`");
        }
    }
    if was_running && !session.global.no_spawn {
        session.launch("client")?.ensure()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The file of this path, or else the backup of this name.
fn named(session: &Session, file: &Path) -> Result<PathBuf, Failure> {
    let listed = session.paths.backup_dir.join(file);
    let is_name = file.components().count() == 1;
    let chosen = if is_name && !file.exists() && listed.exists() { &listed } else { file };
    let chosen = std::path::absolute(chosen)?;
    if chosen.canonicalize().ok() == session.paths.database.canonicalize().ok() && chosen.exists() {
        return Err(BackupError::InUse(chosen).into());
    }
    Ok(chosen)
}

/// A checked copy beside the database; it goes away with the handle.
fn stage(session: &Session, file: &Path) -> Result<(TempPath, Contents), Failure> {
    let folder = &session.paths.data_dir;
    let new = tempfile::Builder::new()
        .prefix("restore-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(|error| Failure::from(BackupError::io(folder, error)))?
        .into_temp_path();
    let goes_on: GoesOn = Arc::new(|| true);
    let free = &backup::free_bytes;
    let contents = copy(&Copying { from: file, to: &new, free, goes_on: &goes_on })?;
    disown(&new)?;
    Ok((new, contents))
}

/// Who keeps a daemon running would start it again at once.
fn refuse_a_managed_daemon(session: &Session) -> Result<(), Failure> {
    let Some(socket) = session.launch("client")?.running() else { return Ok(()) };
    let client = Client::new(socket, "cli", ANSWER_TIMEOUT);
    let status: Value = session.block_on(client.get("/v1/status"))?;
    let stop = match status.pointer("/daemon/started_by").and_then(Value::as_str) {
        Some("systemd") => "stop its unit with `systemctl --user stop` first",
        Some("launchd") => "stop its agent with `launchctl bootout` first",
        _ => return Ok(()),
    };
    let manager = status.pointer("/daemon/started_by").and_then(Value::as_str);
    let manager = manager.unwrap_or_default();
    Err(Failure::new(format!("{manager} runs the daemon, and would start it again at once"))
        .with_hint(format!("{stop}, then repeat this; nothing was changed")))
}

/// The name that the present database gets. One that was moved already keeps its name, so that the log that
/// may still be there finds it.
fn aside(session: &Session, now: Micros) -> Result<PathBuf, Failure> {
    let folder = &session.paths.backup_dir;
    backup::prepare(folder)?;
    let is_half_moved =
        replace::interrupted(&session.paths.database).is_some() && !session.paths.database.exists();
    let last = backup::list(folder)?.into_iter().find(|found| found.kind == Kind::Replaced);
    Ok(match last {
        Some(last) if is_half_moved => last.path,
        _ => backup::free_name(folder, Kind::Replaced, now),
    })
}

fn unfinished(replacement: &Replacement, file: &Path, error: &std::io::Error) -> Failure {
    let file = file.display().to_string();
    let failure = Failure::new(format!("the database was not replaced: {error}"));
    match replace::interrupted(&replacement.database) {
        None => failure.with_hint("everything is as it was"),
        Some(_) => failure.with_hint(format!(
            "mend the cause and repeat `memtide backup restore {file:?}`; what was there is {}",
            replacement.aside.display()
        )),
    }
}
