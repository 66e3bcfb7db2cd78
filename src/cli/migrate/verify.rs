//! `memtide migrate verify`.

use super::super::cloud;
use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::{args, place, wait};
use crate::api::audit::VerifyAnswer;
use crate::api::client::Client;
use crate::api::migrate::MigrateAnswer;
use crate::api::status::StatusJson;
use crate::api::verify::VerifyAsk;
use crate::migrate::compare::Kind;
use crate::migrate::queries::{Agreement, Queries};
use crate::migrate::verify::{Finding, Verified};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Both comparisons.
#[derive(Debug, Serialize)]
struct Both {
    /// The source against what is here; `agrees` is said of both.
    #[serde(flatten)]
    source: Verified,
    /// What is here against the cloud; null while none is linked, and where it could not be compared.
    cloud: Option<VerifyAnswer>,
    /// Why it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_error: Option<String>,
}

pub(super) fn run(session: &Session, args: &args::Verify) -> Result<ExitCode, Failure> {
    let queries = args.queries.as_deref().map(read_queries).transpose()?.unwrap_or_default();
    let client = session.client()?;
    let now: MigrateAnswer = session.block_on(client.get("/v1/migrate"))?;
    let path = match (&args.path, &now.migration.source) {
        (None, Some(_)) => None,
        (path, _) => Some(place::database(session, path.as_deref())?),
    };
    let ask = VerifyAsk { path, queries };
    let begun: MigrateAnswer = session.block_on(client.post("/v1/migrate/verify", &ask))?;
    let answer = wait::for_job(session, &client, begun)?;
    let report = wait::job(&answer)?.report.clone().unwrap_or_default();
    let mut source: Verified = serde_json::from_value(report)
        .map_err(|error| Failure::new(format!("the report is not understood: {error}")))?;
    // What the source has to say is worth knowing whether or not the cloud answers.
    let (cloud, failure) = match against_cloud(session, &client) {
        Ok(cloud) => (cloud, None),
        Err(failure) => (None, Some(failure)),
    };
    let is_fine =
        cloud.as_ref().is_none_or(|cloud| cloud.differences == 0 && cloud.on_the_way == 0);
    source.agrees &= is_fine && failure.is_none();
    let agrees = source.agrees;
    let cloud_error = failure.as_ref().map(|failure| failure.message.clone());
    let both = Both { source, cloud, cloud_error };
    if args.json {
        output::json(&both)?;
    } else {
        print(&both)?;
    }
    if let Some(failure) = failure {
        let message = format!("the cloud could not be compared: {}", failure.message);
        return Err(Failure { message, ..failure });
    }
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares with the cloud, if one is linked.
fn against_cloud(session: &Session, client: &Client) -> Result<Option<VerifyAnswer>, Failure> {
    let status: StatusJson = session.block_on(client.get("/v1/status"))?;
    if status.replication.mode == "local" {
        return Ok(None);
    }
    cloud::verify::ask(session, client, false).map(Some)
}

/// The queries of a file: one a line; lines that begin with `#` are none.
fn read_queries(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let lines = text.lines().map(str::trim);
    let queries: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if queries.is_empty() {
        return Err(Failure::new(format!("{} has no query", path.display()))
            .with_hint("write one query a line"));
    }
    Ok(queries)
}

fn print(both: &Both) -> Result<(), Failure> {
    let Verified { compared, findings, .. } = &both.source;
    output::line(&format!(
        "{} compared: {} live, {} deleted; {}, {} ({} made anew), {}",
        output::counted(compared.rows, "row", "rows"),
        compared.living,
        compared.deleted,
        output::counted(compared.texts, "text", "texts"),
        output::counted(compared.vectors, "vector", "vectors"),
        compared.sampled,
        output::counted(compared.edges, "edge", "edges"),
    ))?;
    if compared.only_here > 0 {
        let memories = output::counted(compared.only_here, "memory", "memories");
        output::line(&format!("{memories} only here"))?;
    }
    if let Some(why) = &compared.not_sampled {
        output::line(&format!("no vector was made anew: {}", output::printable(why)))?;
    }
    for finding in findings {
        output::line(&told(finding))?;
    }
    if let Some(queries) = &both.source.queries {
        print_queries(queries)?;
    }
    output::line(&match (both.source.complete, both.source.differences, both.source.on_the_way) {
        (false, ..) => "the comparison was stopped before its end".to_owned(),
        (true, 0, 0) => "all of the source is here".to_owned(),
        (true, 0, n) => format!("no difference, {n} on the way: repeat in a moment"),
        (true, n, _) => format!(
            "{}; `memtide migrate import` takes over what is missing, what can't be taken must be mended there",
            output::counted(n, "difference", "differences")
        ),
    })?;
    if let Some(cloud) = &both.cloud {
        output::line("the cloud:")?;
        cloud::verify::print(cloud)?;
    }
    Ok(())
}

fn told(finding: &Finding) -> String {
    let what = match finding.kind {
        Kind::Missing => "not here",
        Kind::Refused => "can't be taken",
        Kind::NotTakenOver => "changed in the source since it was taken over",
        Kind::Life => "alive on one side only",
        Kind::DeletedAt => "deleted at another time",
        Kind::Text => "with another text",
        Kind::TextMissing => "without its text",
        Kind::CreatedAt => "stored at another time",
        Kind::UpdatedAt => "changed at another time",
        Kind::Type => "with another type",
        Kind::Tags => "with another tag",
        Kind::Metadata => "with another metadata key",
        Kind::Successor => "with another successor",
        Kind::Carried => "with other columns kept beside it",
        Kind::VectorMissing => "without a vector",
        Kind::VectorDiffers => "with another vector than its text has",
        Kind::EdgeMissing => "edges not here",
        Kind::EdgeDiffers => "edges that say something else",
        Kind::ChangedSince => "no fault: changed here, on another device, or later",
        Kind::Volatile => "no fault: noted by a search of the service",
        Kind::TextDropped => "no fault: deleted, its text is no longer kept",
        Kind::GoneThere => "no fault: gone from the source without a deletion, alive here",
        Kind::VectorPending => "its vector is being made",
        Kind::OnTheWay => "on the way",
    };
    let example = |example: &crate::migrate::verify::Example| {
        let id: String = output::printable(&example.id).chars().take(output::SHORT_ID).collect();
        format!("{id} ({})", output::printable(&example.what))
    };
    let examples: Vec<String> = finding.examples.iter().take(3).map(example).collect();
    let count = usize::try_from(finding.count).unwrap_or(usize::MAX);
    let more = if count > examples.len() { ", …" } else { "" };
    format!("{:>8}  {what}: {}{more}", finding.count, examples.join(", "))
}

fn print_queries(queries: &Queries) -> Result<(), Failure> {
    let how = if queries.kind == "meaning" { "by meaning" } else { "by words" };
    let asked = output::counted(queries.asked, "query", "queries");
    output::line(&format!(
        "{asked} asked {how} on both sides: {}",
        output::printable(&queries.why)
    ))?;
    let line = |name: &str, found: &Agreement| {
        output::line(&format!(
            "{name:<24}overlap at 5 {:.3}, at 10 {:.3}; same first hit {:.3}; hits of both {:.2} places off",
            found.overlap_at_5, found.overlap_at_10, found.same_first, found.mean_rank_difference
        ))
    };
    line("  search of that kind", &queries.alike)?;
    line("  default search", &queries.default)?;
    output::line(&format!(
        "  median {:.2} ms there, {:.2} ms here; 95 of 100 under {:.2} and {:.2} ms",
        queries.source_ms.median,
        queries.here_ms.median,
        queries.source_ms.p95,
        queries.here_ms.p95
    ))?;
    for differing in queries.differing.iter().take(10) {
        let what = if differing.is_order_only { "another order" } else { "other hits" };
        output::line(&format!("  {what}: {}", output::preview(&differing.query)))?;
    }
    Ok(())
}
