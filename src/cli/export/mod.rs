//! `memtide export`.

pub mod args;

mod service;

use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::client::Client;
use crate::api::transfer::ExportAnswer;
use crate::clock::{Clock as _, SystemClock};
use args::{Export, Format};
use service::Written;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &Export) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let source = Source { session, client: &client, format: args.format };
    let written = match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => to_file(&source, path)?,
        None => source.write_all(&mut std::io::stdout().lock())?,
    };
    let Some(written) = written else {
        // A reader that goes away early, as `head` does, has seen enough.
        return Ok(ExitCode::SUCCESS);
    };
    let exported = output::counted(written.n_memories, "memory", "memories");
    output::note(&match written.n_deleted {
        0 => format!("{exported} exported"),
        n => format!("{exported} exported, {n} deleted left out"),
    });
    Ok(ExitCode::SUCCESS)
}

/// The file appears whole or not at all, readable by its owner alone.
fn to_file(source: &Source<'_>, path: &Path) -> Result<Option<Written>, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder).map_err(|error| {
        // The error itself names the temporary file.
        Failure::new(format!("no file can be made in {}: {}", folder.display(), error.kind()))
    })?;
    let written = {
        let mut buffered = std::io::BufWriter::new(&mut part);
        let written = source.write_all(&mut buffered)?;
        buffered.flush()?;
        written
    };
    part.as_file().sync_all()?;
    part.persist(path)
        .map_err(|error| Failure::new(format!("{}: {}", path.display(), error.error)))?;
    Ok(written)
}

/// Where the memories come from, and for whom they are written.
struct Source<'a> {
    session: &'a Session,
    client: &'a Client,
    format: Format,
}

impl Source<'_> {
    /// What was written; none if the reader went away.
    fn write_all(&self, out: &mut impl Write) -> Result<Option<Written>, Failure> {
        match self.pages(out) {
            Err(Stopped::Unread) => Ok(None),
            Err(Stopped::Failed(failure)) => Err(failure),
            Ok(written) => Ok(Some(written)),
        }
    }

    fn pages(&self, out: &mut impl Write) -> Result<Written, Stopped> {
        let mut written = Written::default();
        if self.format == Format::McpMemoryService {
            service::begin(out)?;
        }
        let mut after = 0;
        loop {
            let page: ExportAnswer = self
                .session
                .block_on(self.client.get(&format!("/v1/export?after={after}")))
                .map_err(|error| Stopped::Failed(error.into()))?;
            for record in &page.records {
                match self.format {
                    Format::McpMemoryService => service::memory(out, record, &mut written)?,
                    Format::Memtide => {
                        let mut line = serde_json::to_vec(record)
                            .map_err(|error| Stopped::Failed(error.into()))?;
                        line.push(b'\n');
                        out.write_all(&line)?;
                        written.n_memories += 1;
                    }
                }
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        if self.format == Format::McpMemoryService {
            let database = self.session.paths.database.display().to_string();
            service::end(out, &written, &database, SystemClock.now())?;
        }
        Ok(written)
    }
}

/// Why the writing ended early.
enum Stopped {
    /// Nobody reads any more.
    Unread,
    Failed(Failure),
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(error.into()),
        }
    }
}
