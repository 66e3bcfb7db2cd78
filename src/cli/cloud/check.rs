//! `memtide cloud check`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use super::{account, token};
use crate::remote::cloudflare::Cloudflare;
use crate::remote::error::Product;
use crate::remote::permissions::{self, Outcome, PermissionCheck, Resources};
use crate::remote::provision::{self, Bucket, Names};
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let remote = account::client(session, token::demanded(session, None)?)?;
    let names = account::names(session);
    let checks = session.block_on(check(&remote, &names));
    for check in &checks {
        print(args.json, check)?;
    }
    let is_untried = |check: &PermissionCheck| {
        // A bucket is for long texts only: memtide works without.
        check.outcome == Outcome::NotConfigured && check.product != Product::R2
    };
    let is_unmade = checks.iter().any(is_untried);
    if is_unmade {
        output::note(
            "what doesn't exist can't be tried: run `memtide cloud init`, then check again",
        );
    }
    let is_fine = checks.iter().all(PermissionCheck::is_ok) && !is_unmade;
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries every permission on what is there. Where it may not even be looked, that is the answer.
async fn check(remote: &Cloudflare, names: &Names) -> Vec<PermissionCheck> {
    let looks = provision::look(remote, names).await;
    let resources = Resources {
        database: looks.database.as_ref().ok().cloned().flatten(),
        index: looks.index.as_ref().ok().cloned().flatten(),
        bucket: names.bucket.clone().filter(|_| looks.bucket == Ok(Bucket::Exists)),
        model: looks.model,
    };
    let mut checks = permissions::check(remote, &resources).await;
    let refusals = [looks.database.err(), looks.index.err(), looks.bucket.err()];
    for refusal in refusals.into_iter().flatten() {
        let untried = |check: &&mut PermissionCheck| {
            check.product == refusal.product && check.outcome == Outcome::NotConfigured
        };
        if let Some(check) = checks.iter_mut().find(untried) {
            check.outcome = Outcome::Failed(refusal);
        }
    }
    checks
}

fn print(as_json: bool, check: &PermissionCheck) -> Result<(), Failure> {
    let (state, error) = match &check.outcome {
        Outcome::Ok => ("ok", None),
        Outcome::NotConfigured => ("nothing to try it on", None),
        Outcome::NotEnabled(error) => ("not enabled", Some(error)),
        Outcome::Failed(error) => ("FAILED", Some(error)),
    };
    if as_json {
        return output::json(&json!({
            "product": check.product.to_string(),
            "permission": check.permission,
            "tried": check.tried,
            "ok": check.is_ok(),
            "state": state,
            "error": error.map(ToString::to_string),
            "hint": error.map(account::hint),
        }));
    }
    output::line(&format!("{state:<20}  {:<30}  {}", check.permission, check.tried))?;
    if let Some(error) = error {
        output::line(&format!("    {error}\n    -> {}", account::hint(error)))?;
    }
    Ok(())
}
