//! `memtide cloud verify`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use crate::api::audit::{FindingJson, VerifyAnswer, VerifyRequest};
use crate::api::client::Client;
use std::process::ExitCode;
use std::time::Duration;

/// Time that a comparison may take: a large index is listed page by page.
const TIMEOUT: Duration = Duration::from_mins(10);

pub(super) fn run(session: &Session, args: &args::CloudVerify) -> Result<ExitCode, Failure> {
    let answer = ask(session, &session.client()?, args.repair)?;
    if args.json {
        output::json(&answer)?;
    } else {
        print(&answer)?;
    }
    let is_fine = answer.repaired >= answer.differences;
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the daemon compare what is here with the cloud.
pub(in crate::cli) fn ask(
    session: &Session,
    client: &Client,
    repair: bool,
) -> Result<VerifyAnswer, Failure> {
    let patient = Client::new(client.socket().to_owned(), "cli", TIMEOUT);
    Ok(session.block_on(patient.post("/v1/cloud/verify", &VerifyRequest { repair }))?)
}

/// Prints a comparison with the cloud.
pub(in crate::cli) fn print(answer: &VerifyAnswer) -> Result<(), Failure> {
    let compared = &answer.compared;
    let counts = [
        (Some(compared.entries), "state", "states"),
        (compared.rows, "row", "rows"),
        (compared.vectors, "vector", "vectors"),
        (compared.bodies, "body", "bodies"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter_map(|(n, one, many)| Some(output::counted(n?, one, many)))
        .collect();
    let memories = output::counted(compared.memories, "memory", "memories");
    output::line(&format!("{memories} compared with {}", counts.join(", ")))?;
    if let Some(n @ 1..) = compared.sampled {
        let vectors = output::counted(n, "vector", "vectors");
        output::line(&format!("{vectors} compared by value"))?;
    }
    for finding in &answer.findings {
        output::line(&told(finding))?;
    }
    if answer.on_the_way > 0 {
        let memories = output::counted(answer.on_the_way, "memory", "memories");
        output::note(&format!("{memories} on the way: `memtide cloud sync` waits for them"));
    }
    let differences = output::counted(answer.differences, "difference", "differences");
    match (answer.differences, answer.repaired) {
        (0, _) => output::line("everything agrees")?,
        (all, done) if done >= all => {
            output::line(&format!("{differences}, put back into the outbox"))?;
        }
        (_, 0) => {
            output::line(&differences)?;
            output::note("`memtide cloud verify --repair` puts back what is missing");
        }
        (all, done) => {
            output::line(&format!("{differences}, {done} put back into the outbox"))?;
            output::note(&format!("{} can't be repaired from this device", all - done));
        }
    }
    Ok(())
}

fn told(finding: &FindingJson) -> String {
    let what = match finding.kind.as_str() {
        "missing_in_cloud" => "missing in the cloud",
        "missing_here" => "missing on this device",
        "differing" => "of another state in the cloud",
        "row_without_state" => "of the Python service, not taken up",
        "row_missing" => "without a row for the Python service",
        "row_differs" => "with a row that shows something else",
        "row_text_differs" => "with a row that holds another text",
        "unreadable" => "under a name that is no id",
        "vector_missing" => "without a vector in the index",
        "vector_of_dead" => "deleted or replaced, with a vector in the index",
        "vector_unknown" => "unknown, with a vector in the index",
        "vector_differs" => "with another vector in the index than its text has",
        "body_missing" => "without its text in the bucket",
        "body_differs" => "with another text in the bucket",
        other => other,
    };
    let ids: Vec<String> = finding
        .examples
        .iter()
        .map(|id| output::printable(id.get(..output::SHORT_ID).unwrap_or(id)))
        .collect();
    let count = usize::try_from(finding.count).unwrap_or(usize::MAX);
    let more = if count > ids.len() { ", …" } else { "" };
    format!("{:>8}  {what}: {}{more}", finding.count, ids.join(", "))
}
