//! `memtide cloud check`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use super::{account, token};
use crate::remote::error::Product;
use crate::remote::permissions::{self, Outcome, PermissionCheck, Resources};
use crate::remote::provision;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let remote = account::client(session, token::demanded(session, None)?)?;
    let names = account::names(session);
    let checks = session.block_on(async {
        // What doesn't exist, or may not be looked at, is told by the check of its permission.
        let found = provision::inspect(&remote, &names).await.ok();
        let model =
            found.as_ref().and_then(|found| found.meta.as_ref()?.contract.as_ref()?.ai.clone());
        let resources = Resources {
            database: found.as_ref().and_then(|f| f.database.as_ref().map(|d| d.uuid.clone())),
            index: found.as_ref().and_then(|f| f.index.as_ref().map(|i| i.name.clone())),
            bucket: found
                .as_ref()
                .filter(|f| f.bucket == provision::Bucket::Exists)
                .and_then(|_| names.bucket.clone()),
            model,
        };
        permissions::check(&remote, &resources).await
    });
    for check in &checks {
        print(args.json, check)?;
    }
    // Without a database or an index nothing is proven; a bucket is optional.
    let is_unproven = |check: &PermissionCheck| {
        matches!(check.product, Product::D1 | Product::Vectorize)
            && check.outcome == Outcome::NotConfigured
    };
    let has_unproven = checks.iter().any(is_unproven);
    if has_unproven {
        output::note("make what is missing with `memtide cloud init`, then check again");
    }
    let is_fine = !has_unproven && checks.iter().all(PermissionCheck::is_ok);
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
            "hint": error.map(|error| error.hint.to_string()),
        }));
    }
    output::line(&format!("{state:<20}  {:<30}  {}", check.permission, check.tried))?;
    if let Some(error) = error {
        output::line(&format!("    {error}\n    -> {}", error.hint))?;
    }
    Ok(())
}
