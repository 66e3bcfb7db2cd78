//! `memtide backup`, `backup list` and `backup restore`.

pub mod args;

mod restore;

use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::backup::{BackupAnswer, BackupRequest};
use crate::api::client::Client;
use crate::service::backup;
use crate::store::backup::BackupError;
use args::{Backup, BackupCommand, BackupList, BackupMake};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Time that a copy may take; one of 10 GB on a slow disk takes a quarter of it.
const TIMEOUT: Duration = Duration::from_hours(1);

pub(super) fn run(session: &Session, args: &Backup) -> Result<ExitCode, Failure> {
    match &args.command {
        None => make(session, &args.make),
        Some(BackupCommand::List(args)) => list(session, args),
        Some(BackupCommand::Restore(args)) => restore::run(session, args),
    }
}

fn make(session: &Session, args: &BackupMake) -> Result<ExitCode, Failure> {
    let path = args.file.as_ref().map(std::path::absolute).transpose()?;
    let ordinary = session.client()?;
    let patient = Client::new(ordinary.socket().to_owned(), "cli", TIMEOUT);
    let request = BackupRequest { path, replace: args.force };
    let made: BackupAnswer = session.block_on(patient.post("/v1/backup", &request))?;
    if args.json {
        output::json(&made)?;
    } else {
        output::line(&made.path)?;
        let memories = output::counted(made.memories, "memory", "memories");
        output::note(&format!("{memories} and {} deleted, {}", made.tombstones, size(made.bytes)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Needs no daemon: it is looked for when none starts.
fn list(session: &Session, args: &BackupList) -> Result<ExitCode, Failure> {
    let found = backup::list(&session.paths.backup_dir)?;
    if args.json {
        let backups: Vec<_> = found
            .iter()
            .map(|one| {
                json!({"path": one.path.display().to_string(), "kind": one.kind.as_str(),
                    "at": one.at.to_rfc3339(), "bytes": one.bytes})
            })
            .collect();
        output::json(&json!({"folder": session.paths.backup_dir, "backups": backups}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for one in &found {
        let name = one.path.file_name().unwrap_or_default().display();
        output::line(&format!("{:<9} {:>9}  {name}", one.kind.as_str(), size(one.bytes)))?;
    }
    let folder = session.paths.backup_dir.display();
    output::note(&format!(
        "{} in {folder}",
        output::counted(u64::try_from(found.len()).unwrap_or(u64::MAX), "backup", "backups")
    ));
    Ok(ExitCode::SUCCESS)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000_000 => format!("{} kB", tenths(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self::new(&error).with_hint(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(size(0), "0.0 kB");
        assert_eq!(size(262_144), "262.1 kB");
        assert_eq!(size(154_990_000), "154.9 MB");
        assert_eq!(size(2_000_000_000), "2.0 GB");
    }
}
