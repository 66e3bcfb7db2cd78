//! `memtide cloud init`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use super::{account, token};
use crate::remote::contract::Contract;
use crate::remote::provision::{self, Bucket, DatabaseName, Provisioned};
use crate::remote::schema::Triggers;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::CloudInit) -> Result<ExitCode, Failure> {
    let remote = account::client(session, token::demanded(session, None)?)?;
    let names = account::names(session);
    let contract = if args.python_compatible {
        Contract::python()
    } else {
        let space = session.embedder_options()?.model.space();
        Contract::local(space).ok_or_else(|| Failure::new("the model's space has no dimensions"))?
    };
    let (DatabaseName::Id(database) | DatabaseName::Name(database)) = &names.database;
    let bucket = names.bucket.as_deref().unwrap_or("none");
    output::note(&format!(
        "account {}: database {database}, index {} ({} dimensions), bucket {bucket}",
        remote.account(),
        names.index,
        contract.dims
    ));
    if !args.yes && !output::confirm("creating whichever of these is missing")? {
        output::note("nothing was created");
        return Ok(ExitCode::FAILURE);
    }
    let uuid = uuid::Uuid::new_v4().to_string();
    let made = session.block_on(provision::init(&remote, &names, &contract, &uuid))?;
    if args.json {
        output::json(&json!({
            "account": remote.account(),
            "database": {"id": made.database.uuid, "name": made.database.name, "created": made.database_is_new},
            "index": {"name": names.index, "created": made.index_is_new},
            "bucket": {
                "name": names.bucket,
                "created": made.bucket_is_new,
                "enabled": !matches!(made.bucket, Bucket::NotEnabled(_)),
            },
            "tables_created": made.schema.created,
            "triggers": matches!(made.schema.triggers, Triggers::Complete),
        }))?;
    } else {
        print(&made, &names.index)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(made: &Provisioned, index: &str) -> Result<(), Failure> {
    let state = |is_new| if is_new { "created" } else { "was there" };
    output::line(&format!(
        "database  {} ({}), {}",
        made.database.name,
        made.database.uuid,
        state(made.database_is_new)
    ))?;
    let n_tables = made.schema.created.len();
    output::line(&format!("tables    {n_tables} of memtide's created"))?;
    output::line(&format!("index     {index}, {}", state(made.index_is_new)))?;
    let bucket = match &made.bucket {
        Bucket::Exists => state(made.bucket_is_new).to_owned(),
        Bucket::NotEnabled(_) => {
            "R2 is not enabled on this account: long texts are refused while linked".to_owned()
        }
        Bucket::Missing | Bucket::NotWanted => "none".to_owned(),
    };
    output::line(&format!("bucket    {bucket}"))?;
    if let Triggers::Refused(error) = &made.schema.triggers {
        output::note(&format!(
            "triggers were refused ({error}): the Python service's writes won't be noticed at once"
        ));
    }
    output::note("next: `memtide cloud link`");
    Ok(())
}
