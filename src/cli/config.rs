//! `memtide config`.

use super::args;
use super::failure::{Code, Failure};
use super::output;
use super::session::Session;
use crate::config::edit;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, command: args::Config) -> Result<ExitCode, Failure> {
    match command {
        args::Config::Show(args) => show(session, &args)?,
        args::Config::Get { key } => {
            let entry = session
                .config
                .entry(&key)
                .map_err(|error| Failure { code: Code::NotFound, ..Failure::from(error) })?;
            output::line(&entry.value)?;
        }
        args::Config::Set { key, value } => {
            session.paths.prepare()?;
            edit::set(&session.paths.config_file, &key, &value)?;
            if session.running_client().is_ok() {
                output::note(
                    "it takes effect when the daemon starts again: `memtide down`, `memtide up`",
                );
            }
        }
        args::Config::Path => output::line(&session.paths.config_file.display().to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(session: &Session, args: &args::ConfigShow) -> Result<(), Failure> {
    let files = session.paths.origins().map(|(name, path, origin)| {
        (format!("path.{name}"), path.display().to_string(), origin.to_string())
    });
    let settings = session
        .config
        .origins()
        .map(|entry| (entry.key.to_string(), entry.value.clone(), entry.origin.to_string()));
    for (key, value, origin) in files.chain(settings) {
        if args.json {
            output::json(&json!({"key": key, "value": value, "origin": origin}))?;
        } else if args.origin {
            output::line(&format!("{key} = {value}  ({origin})"))?;
        } else {
            output::line(&format!("{key} = {value}"))?;
        }
    }
    for error in session.config.ignored() {
        output::note(&format!("ignored: {error}"));
    }
    Ok(())
}
