//! `memtide export`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::client::Client;
use crate::api::transfer::ExportAnswer;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Export) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let n_records = match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => to_file(session, &client, path)?,
        None => write_all(session, &client, &mut std::io::stdout().lock())?,
    };
    let Some(n_records) = n_records else {
        // A reader that goes away early, as `head` does, has seen enough.
        return Ok(ExitCode::SUCCESS);
    };
    output::note(&format!("{} exported", output::counted(n_records, "memory", "memories")));
    Ok(ExitCode::SUCCESS)
}

/// The file appears whole or not at all, readable by its owner alone.
fn to_file(session: &Session, client: &Client, path: &Path) -> Result<Option<u64>, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder).map_err(|error| {
        // The error itself names the temporary file.
        Failure::new(format!("no file can be made in {}: {}", folder.display(), error.kind()))
    })?;
    let n_records = {
        let mut buffered = std::io::BufWriter::new(&mut part);
        let n_records = write_all(session, client, &mut buffered)?;
        buffered.flush()?;
        n_records
    };
    part.as_file().sync_all()?;
    part.persist(path)
        .map_err(|error| Failure::new(format!("{}: {}", path.display(), error.error)))?;
    Ok(n_records)
}

/// The number of records; none if the reader went away.
fn write_all(
    session: &Session,
    client: &Client,
    out: &mut impl Write,
) -> Result<Option<u64>, Failure> {
    let (mut after, mut n_records) = (0, 0);
    loop {
        let page: ExportAnswer =
            session.block_on(client.get(&format!("/v1/export?after={after}")))?;
        for record in &page.records {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            match out.write_all(&line) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
                written => written?,
            }
            n_records += 1;
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(Some(n_records)),
        }
    }
}
