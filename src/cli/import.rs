//! `memtide import`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::client::Client;
use crate::api::transfer::{ImportAnswer, ImportRequest, RecordJson};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

/// Records sent at once.
const BATCH_RECORDS: usize = 200;
/// Bytes of lines sent at once, roughly; the daemon takes 64 MiB.
const BATCH_BYTES: usize = 8 << 20;

pub(super) fn run(session: &Session, args: &args::Import) -> Result<ExitCode, Failure> {
    let input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(&args.file)
            .map_err(|error| Failure::new(format!("{}: {error}", args.file.display())))?;
        Box::new(BufReader::new(file))
    };
    let client = session.client()?;
    let sum = read_all(session, &client, input)?;
    if args.json {
        output::json(&sum)?;
    } else {
        output::note(&format!(
            "{} new, {} merged, {} unchanged",
            sum.new, sum.merged, sum.unchanged
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn read_all(
    session: &Session,
    client: &Client,
    input: impl BufRead,
) -> Result<ImportAnswer, Failure> {
    let mut sum = ImportAnswer::default();
    let (mut records, mut bytes) = (Vec::new(), 0);
    for (number, line) in (1_u64..).zip(input.lines()) {
        let line = line.map_err(|error| Failure::new(format!("line {number}: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let record: RecordJson = serde_json::from_str(&line).map_err(|error| {
            Failure::new(format!("line {number} is no record of an export: {error}")).with_hint(
                format!("{} memories before it are imported; repeating is harmless", total(&sum)),
            )
        })?;
        if records.len() >= BATCH_RECORDS || bytes + line.len() > BATCH_BYTES {
            add(&mut sum, &send(session, client, std::mem::take(&mut records))?);
            bytes = 0;
        }
        records.push(record);
        bytes += line.len();
    }
    if !records.is_empty() {
        add(&mut sum, &send(session, client, records)?);
    }
    Ok(sum)
}

fn send(
    session: &Session,
    client: &Client,
    records: Vec<RecordJson>,
) -> Result<ImportAnswer, Failure> {
    Ok(session.block_on(client.post("/v1/import", &ImportRequest { records }))?)
}

fn add(sum: &mut ImportAnswer, more: &ImportAnswer) {
    sum.new += more.new;
    sum.merged += more.merged;
    sum.unchanged += more.unchanged;
}

fn total(sum: &ImportAnswer) -> u64 {
    sum.new + sum.merged + sum.unchanged
}
