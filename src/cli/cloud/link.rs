//! `memtide cloud link` and `unlink`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use super::{account, token};
use crate::api::cloud::{LinkAnswer, LinkRequest, PauseAnswer, UnlinkAnswer};
use crate::clock::{Clock as _, SystemClock};
use crate::remote::cloudflare::Cloudflare;
use crate::remote::provision::Names;
use crate::replicate::linking::{self, LinkPlan, LinkRefusal, LinkSettings};
use crate::secrets;
use crate::store::link::LinkMode;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::CloudLink) -> Result<ExitCode, Failure> {
    let given = token::demanded(session, args.token_file.as_deref())?;
    let remote = account::client(session, given.clone())?;
    let mode = LinkMode::parse(&args.mode).unwrap_or(LinkMode::Dual);
    let plan = session.block_on(plan(session, &remote, account::names(session), mode))?;
    let link = &plan.link;
    output::note(&format!(
        "account {}, database {} ({}), index {} ({} vectors, {} dimensions), bucket {}",
        link.account,
        plan.database_name,
        link.database,
        link.vector_index,
        plan.vectors,
        plan.contract.dims,
        link.bucket.as_deref().unwrap_or("none: long texts are refused while linked"),
    ));
    if !plan.has_triggers {
        output::note(
            "the database has no triggers: the Python service's writes won't be noticed at once",
        );
    }
    let what = match mode {
        LinkMode::Dual => {
            "every memory of this device will be copied there, and those of other devices here"
        }
        LinkMode::Shadow => "every memory of this device will be copied there",
    };
    if !args.yes && !output::confirm(&format!("{what}; linking"))? {
        output::note("nothing was linked");
        return Ok(ExitCode::FAILURE);
    }
    session.paths.prepare()?;
    let client = session.client()?;
    let request = LinkRequest::new(link, args.adopt);
    let answer: LinkAnswer = session.block_on(client.post("/v1/cloud/link", &request))?;
    // Only now: a refused link must not take the place of the token of the present one.
    secrets::save(&session.paths.data_dir, &given)?;
    let _resumed: PauseAnswer = session.block_on(client.post("/v1/cloud/resume", &json!({})))?;
    if args.json {
        output::json(&json!({
            "linked": true, "mode": answer.mode, "memories": answer.memories,
            "account": link.account, "database": link.database, "index": link.vector_index,
            "bucket": link.bucket,
        }))?;
    } else {
        let memories = output::counted(answer.memories, "memory", "memories");
        output::line(&format!("linked ({}): {memories} to carry", answer.mode))?;
        output::note("watch it with `memtide status`, wait for it with `memtide cloud sync`");
    }
    Ok(ExitCode::SUCCESS)
}

/// A bucket that nobody named may be missing; one that was named may not.
async fn plan(
    session: &Session,
    remote: &Cloudflare,
    names: Names,
    mode: LinkMode,
) -> Result<LinkPlan, Failure> {
    let cloudflare = &session.settings().cloudflare;
    let local = session.embedder_options()?.model.space();
    let settings = LinkSettings {
        api_base: cloudflare.api_base_url.clone(),
        inline_bytes: cloudflare.large_content_threshold,
        mode,
        linked_at: SystemClock.now(),
        fresh_uuid: uuid::Uuid::new_v4().to_string(),
    };
    match linking::prepare(remote, &names, &local, settings.clone()).await {
        Err(LinkRefusal::Missing { what: "R2 bucket", .. }) if cloudflare.r2_bucket.is_none() => {
            let names = Names { bucket: None, ..names };
            Ok(linking::prepare(remote, &names, &local, settings).await?)
        }
        other => Ok(other?),
    }
}

pub(super) fn unlink(session: &Session, args: &args::Confirm) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    if !args.yes
        && !output::confirm("this device stops syncing and forgets the account; unlinking")?
    {
        output::note("still linked");
        return Ok(ExitCode::FAILURE);
    }
    let answer: UnlinkAnswer = session.block_on(client.post("/v1/cloud/unlink", &json!({})))?;
    let had_token = secrets::remove(&session.paths.data_dir)?;
    output::note(match (answer.unlinked, had_token) {
        (true, _) => "unlinked; nothing was changed in the cloud",
        (false, true) => "no account was linked; the stored token is removed",
        (false, false) => "no account was linked",
    });
    Ok(ExitCode::SUCCESS)
}
