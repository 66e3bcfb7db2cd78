//! `memtide migrate inspect`: looks for itself, no daemon is needed.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::args;
use super::place;
use crate::clock::{Clock as _, Micros, SystemClock};
use crate::migrate::inspect::{Graph, Memories, Report, Vectors, inspect};
use crate::migrate::keyword::KeywordIndex;
use crate::migrate::source::Source;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Inspect) -> Result<ExitCode, Failure> {
    let path = place::database(session, args.path.as_deref())?;
    let source = Source::open(&path)?;
    let report = inspect(&source, session.settings().limits.text_bytes, SystemClock.now())?;
    if args.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report) -> Result<(), Failure> {
    let line = |name: &str, text: String| output::line(&format!("{name:<12}{text}"));
    line("database", report.path.display().to_string())?;
    line("size", size(report))?;
    line("schema", schema(report))?;
    for text in memories(&report.memories) {
        line("memories", text)?;
    }
    if report.stores.len() > 1 {
        let stores: Vec<String> = report
            .stores
            .iter()
            .map(|(name, n)| format!("{} {n}", output::printable(name)))
            .collect();
        line("stores", stores.join(", "))?;
    }
    for text in vectors(&report.vectors) {
        line("vectors", text)?;
    }
    line("graph", graph(&report.graph))?;
    line("keywords", keywords(&report.keyword_index))?;
    let listed = |counts: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<String> =
            counts.iter().map(|(name, n)| format!("{} {n}", output::printable(name))).collect();
        all.join(", ")
    };
    if !report.carried.is_empty() {
        line("kept beside", format!("{} (unused, given back on export)", listed(&report.carried)))?;
    }
    if !report.no_place.is_empty() {
        line("no place", format!("{} (stays where it is)", listed(&report.no_place)))?;
    }
    for refused in &report.refused {
        let hash = refused.hash.as_deref().unwrap_or("no hash");
        let hash: String = output::printable(hash).chars().take(output::SHORT_ID).collect();
        line(
            "refused",
            format!("row {} ({hash}): {}", refused.row, output::printable(&refused.why)),
        )?;
    }
    more(report.memories.refused, report.refused.len(), "refused")?;
    for remark in &report.remarks {
        let id = remark.id.get(..output::SHORT_ID).unwrap_or(&remark.id);
        line("aside", format!("{id}: {}", output::printable(&remark.what)))?;
    }
    more(report.memories.kept_aside, report.remarks.len(), "with something kept aside")?;
    output::note("nothing was changed; `memtide migrate inspect --json` tells everything");
    Ok(())
}

fn more(all: u64, shown: usize, what: &str) -> Result<(), Failure> {
    let shown = u64::try_from(shown).unwrap_or(u64::MAX);
    if all > shown {
        output::line(&format!("{:<12}{} more {what}", "", all - shown))
    } else {
        Ok(())
    }
}

fn size(report: &Report) -> String {
    let mut text = bytes(report.bytes);
    if report.wal_bytes > 0 {
        text.push_str(&format!(", {} in its log of recent writes", bytes(report.wal_bytes)));
    }
    text
}

fn bytes(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let n = n as f64;
    if n < 1e6 { format!("{:.1} kB", n / 1e3) } else { format!("{:.1} MB", n / 1e6) }
}

fn schema(report: &Report) -> String {
    let version = match report.schema.version {
        Some(version) => format!("version {version}, "),
        None => "without a version, ".to_owned(),
    };
    let settings = if report.schema.has_settings { "" } else { ", without a table of settings" };
    format!("{version}as written by {}{settings}", report.schema.variant)
}

fn memories(counts: &Memories) -> Vec<String> {
    let n = |n: u64| output::counted(n, "memory", "memories");
    let mut lines = vec![format!("{} live, {} deleted", counts.live, counts.deleted)];
    if let (Some(first), Some(last)) = (counts.first_created_at, counts.last_created_at) {
        lines.push(format!("stored from {} to {}", day(first), day(last)));
    }
    lines.push(format!(
        "{} of text, the longest {}",
        bytes(counts.text_bytes),
        bytes(counts.longest_text_bytes)
    ));
    let also = [
        (counts.superseded, "that another one replaces"),
        (counts.embedding_pending, "that the service hides until they have a new vector"),
        (counts.other_hash_rule, "with a hash by an older rule, which is kept"),
        (counts.duplicates, "that say the same as another one by the present rule of the hash"),
        (counts.odd_tags, "whose tags will be put into their normal form"),
        (counts.in_the_future, "with an instant that has not come yet"),
        (counts.too_long, "with a text longer than `limits.text_bytes` allows"),
        (counts.kept_aside, "of which a field is kept aside"),
    ];
    lines.extend(
        also.iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", n(*count))),
    );
    if counts.refused > 0 {
        let rows = output::counted(counts.refused, "row", "rows");
        lines.push(format!("{rows} that can't be taken"));
    }
    lines
}

fn day(micros: i64) -> String {
    let day = jiff::Timestamp::from_microsecond(micros).ok();
    day.map_or_else(|| Micros(micros).0.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn vectors(counts: &Vectors) -> Vec<String> {
    let Some(metric) = &counts.metric else { return vec!["no table of vectors".to_owned()] };
    let dims =
        counts.dims.map_or("of an unknown kind".to_owned(), |dims| format!("{dims} dimensions"));
    let model = match (&counts.model, counts.probable_model) {
        (Some(model), _) => format!("model {}", output::printable(model)),
        (None, Some(model)) => format!("model not noted, {model} if it was not set otherwise"),
        (None, None) => "model not noted".to_owned(),
    };
    let mut lines = vec![
        format!("{dims}, {metric} distance, {model}"),
        format!("{} of live memories, {} missing", counts.of_live, counts.missing),
    ];
    let also = [
        (
            counts.pseudo,
            "pseudo-vectors, made from a hash while the service had no model: made anew",
        ),
        (counts.unusable, "unusable (not a number, zeros, cut off): made anew"),
        (counts.not_normalised, "not of length 1: of another origin, made anew"),
        (counts.orphaned, "of deleted or absent memories: left"),
    ];
    lines.extend(also.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    lines
}

fn graph(graph: &Graph) -> String {
    let mut text = output::counted(graph.edges, "edge", "edges");
    if graph.entities > 0 {
        text.push_str(&format!(", {} to entities", graph.entities));
    }
    if graph.dangling > 0 {
        text.push_str(&format!(", {} with an end that isn't here", graph.dangling));
    }
    text
}

fn keywords(index: &KeywordIndex) -> String {
    let state = match index {
        KeywordIndex::None => "no index".to_owned(),
        KeywordIndex::Sound => "an index without a fault that was found".to_owned(),
        KeywordIndex::Incomplete { missing, surplus } => {
            format!("an index that lacks {missing} memories and has {surplus} too many")
        }
        KeywordIndex::Stale => "an index that finds words where they no longer stand".to_owned(),
        KeywordIndex::Damaged { reason } => {
            format!("a damaged index ({})", output::printable(reason))
        }
    };
    format!("{state}; memtide makes its own")
}
