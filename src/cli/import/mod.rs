//! `memtide import`: what `memtide export` wrote, and what other programs keep.

pub mod args;
pub mod format;

mod front_matter;
mod graph;
mod notes;
mod pages;
mod service;

use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::transfer::RecordJson;
use crate::clock::{Clock as _, Micros, SystemClock};
use args::Import;
use format::{Format, PREFIX_BYTES, Strange};
use pages::Pages;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &Import) -> Result<ExitCode, Failure> {
    let (format, sum, left_out) =
        if args.file.is_dir() { folder(session, args)? } else { one_file(session, args)? };
    let format = format.as_str();
    if args.json {
        output::json(&json!({
            "format": format,
            "new": sum.new,
            "merged": sum.merged,
            "unchanged": sum.unchanged,
            "left_out": left_out,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if left_out > 0 {
        output::note(&format!(
            "{} left out",
            output::counted(left_out, "empty file", "empty files")
        ));
    }
    output::note(&format!(
        "read as {format}: {} new, {} merged, {} unchanged",
        sum.new, sum.merged, sum.unchanged
    ));
    Ok(ExitCode::SUCCESS)
}

type Done = (Format, crate::api::transfer::ImportAnswer, u64);

fn folder(session: &Session, args: &Import) -> Result<Done, Failure> {
    if let Some(other) = args.format.format().filter(|format| *format != Format::Markdown) {
        let message = format!("{} is a folder, no file of {}", args.file.display(), other.as_str());
        return Err(Failure::usage(message));
    }
    let files = notes::find(&args.file)?;
    if files.is_empty() {
        return Err(Failure::new(format!("{} has no Markdown files", args.file.display()))
            .with_hint("they end in .md or .markdown; hidden folders are not looked into"));
    }
    let client = session.client()?;
    let mut pages = Pages::new(session, &client);
    let mut left_out = 0;
    for file in &files {
        left_out += u64::from(!notes::read_file(&mut pages, &args.file, file)?);
    }
    Ok((Format::Markdown, pages.finish()?, left_out))
}

fn one_file(session: &Session, args: &Import) -> Result<Done, Failure> {
    let path = &args.file;
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let (mut input, at): (Box<dyn Read>, Option<Micros>) = if path == Path::new("-") {
        (Box::new(std::io::stdin().lock()), None)
    } else {
        let file = File::open(path).map_err(failed)?;
        let at = file.metadata().ok().as_ref().and_then(pages::written_at);
        (Box::new(file), at)
    };
    let at = at.unwrap_or_else(|| SystemClock.now());
    let mut prefix = Vec::new();
    input.by_ref().take(PREFIX_BYTES as u64).read_to_end(&mut prefix).map_err(failed)?;
    if prefix.starts_with("\u{feff}".as_bytes()) {
        prefix.drain(..3);
    }
    let format = match args.format.format() {
        Some(format) => format,
        None => format::detect(&prefix, path).map_err(|strange| unknown(path, strange))?,
    };
    let input = BufReader::new(Cursor::new(prefix).chain(input));
    let client = session.client()?;
    let mut pages = Pages::new(session, &client);
    let mut left_out = 0;
    match format {
        Format::Memtide => records(&mut pages, input)?,
        Format::Service => service::read(&mut pages, input)?,
        Format::Graph => graph::read(&mut pages, input, at)?,
        Format::Markdown => left_out = u64::from(!notes::read_one(&mut pages, input, path, at)?),
    }
    Ok((format, pages.finish()?, left_out))
}

fn unknown(path: &Path, strange: Strange) -> Failure {
    let (what, hint) = match strange {
        Strange::Database => (
            "is an SQLite database, no export",
            "`memtide backup restore` puts a backup back, `memtide migrate import` takes the database \
             of mcp-memory-service",
        ),
        Strange::Packed => ("is packed", "unpack it first"),
        Strange::Unknown => (
            "is nothing that is known",
            "say what it is with --format: memtide, mcp-memory-service, markdown or mcp-memory-server",
        ),
    };
    Failure::new(format!("{} {what}", path.display())).with_hint(hint)
}

fn records(pages: &mut Pages<'_>, input: impl BufRead) -> Result<(), Failure> {
    for (number, line) in (1_u64..).zip(input.lines()) {
        let place = format!("line {number}");
        let line = line.map_err(|error| pages.refuse(&place, error))?;
        if line.trim().is_empty() {
            continue;
        }
        let record: RecordJson = serde_json::from_str(&line)
            .map_err(|error| pages.refuse(&place, format!("no record of an export: {error}")))?;
        pages.add(place, record, line.len())?;
    }
    Ok(())
}
