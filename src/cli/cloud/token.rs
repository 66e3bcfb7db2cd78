//! The API token of whoever types: from a file or standard input, from where memtide keeps it, from the
//! environment, or asked for on the terminal without showing it.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use crate::config::process_env;
use crate::secrets::{self, Sources, TOKEN_VARIABLE};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::SecretString;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that are read of a token file.
const FILE_MAX_BYTES: u64 = 16 << 10;

/// The token that memtide keeps or the environment gives.
pub(super) fn stored(session: &Session) -> Result<Option<SecretString>, Failure> {
    let credentials = process_env("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let environment = process_env(TOKEN_VARIABLE);
    let sources = Sources {
        credentials_dir: credentials.as_deref(),
        data_dir: &session.paths.data_dir,
        environment: environment.as_deref(),
        environment_first: true,
    };
    Ok(secrets::load(&sources)?.map(|(token, _)| token))
}

/// A token in any case: a given file first, then what is stored, then what the person types.
pub(super) fn demanded(session: &Session, file: Option<&Path>) -> Result<SecretString, Failure> {
    if let Some(file) = file {
        return from_file(file);
    }
    if let Some(token) = stored(session)? {
        return Ok(token);
    }
    if std::io::stdin().is_terminal() {
        return Ok(secrets::accept(&typed()?)?);
    }
    Err(Failure::new("no API token is known").with_hint(format!(
        "create one in Cloudflare's dashboard (My Profile, API Tokens) with D1 Write, Vectorize Write, Workers AI Read and Workers R2 Storage Write, then set {TOKEN_VARIABLE}, or keep it here with `memtide cloud link --token-file -`"
    )))
}

fn from_file(file: &Path) -> Result<SecretString, Failure> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(FILE_MAX_BYTES).read_to_string(&mut text))
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    }
    Ok(secrets::accept(&SecretString::from(text))?)
}

fn typed() -> Result<SecretString, Failure> {
    let stdin = std::io::stdin();
    output::note("API token (it is not shown):");
    let shown = tcgetattr(&stdin).map_err(std::io::Error::from)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(std::io::Error::from)?;
    let mut text = String::new();
    let read = stdin.read_line(&mut text);
    tcsetattr(&stdin, OptionalActions::Flush, &shown).map_err(std::io::Error::from)?;
    read?;
    Ok(SecretString::from(text))
}
