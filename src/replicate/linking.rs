//! What `cloud link` needs to know before it fixes anything: whether the account has what replication
//! needs, and what the link will be.

use crate::clock::Micros;
use crate::model::space::Space;
use crate::remote::cloudflare::Cloudflare;
use crate::remote::contract::Contract;
use crate::remote::d1::{D1, Database};
use crate::remote::error::RemoteError;
use crate::remote::meta;
use crate::remote::provision::{self, Bucket, Inventory, Names};
use crate::remote::schema::{self, Report, Triggers};
use crate::remote::vectorize::Index;
use crate::store::link::{Link, LinkMode};

/// Components of the Python service's vectors.
const PYTHON_DIMS: usize = 768;

/// What the account doesn't tell.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The base address of the interface.
    pub api_base: String,
    /// Texts of more bytes go to the bucket.
    pub inline_bytes: usize,
    /// Push only, or both ways.
    pub mode: LinkMode,
    /// Now.
    pub linked_at: Micros,
    /// A random name for the database, used if it has none yet.
    pub fresh_uuid: String,
}

/// A link that can be written, and what a person may want to know before.
#[derive(Debug, Clone)]
pub struct LinkPlan {
    /// What [`crate::store::link::link`] is given.
    pub link: Link,
    /// The database's name.
    pub database_name: String,
    /// The embedding contract that holds.
    pub contract: Contract,
    /// Vectors in the index, as far as they can be seen yet.
    pub vectors: u64,
    /// Side tables and triggers that were made just now.
    pub created: Vec<String>,
    /// Memories of the Python service that are in the feed since just now.
    pub filled: u64,
    /// Whether the database tells of the Python service's own writes.
    pub has_triggers: bool,
    /// Whether a bucket was asked for that the account can't have: long texts are refused then.
    pub lacks_r2: bool,
}

/// Why there is nothing to link to.
#[derive(Debug, thiserror::Error)]
pub enum LinkRefusal {
    /// A request failed.
    #[error("{0}; {hint}", hint = .0.hint)]
    Remote(#[from] RemoteError),
    /// Something doesn't exist.
    #[error("the account has no {what} named {name:?}: `memtide cloud init` makes what is missing")]
    Missing {
        /// `D1 database`, `Vectorize index` or `R2 bucket`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The index can't hold the vectors it is meant for.
    #[error(
        "the index {index:?} holds vectors of {dims} components compared by {metric}, and {needed} components compared by cosine are needed: name another index, or let `memtide cloud init` make one"
    )]
    WrongIndex {
        /// Its name.
        index: String,
        /// Its components.
        dims: usize,
        /// How it compares.
        metric: String,
        /// What the contract needs.
        needed: usize,
    },
    /// The index was made for another model, and only devices make its vectors.
    #[error(
        "the index holds vectors of {theirs}, this device makes those of {ours}: use the same model with `memtide model use`, or let `memtide cloud init` make another index"
    )]
    OtherModel {
        /// The space of the index.
        theirs: Space,
        /// The space of this device.
        ours: Space,
    },
}

/// Looks at what `names` name, makes the side tables where they are missing, and says what the link
/// will be. `local` is the space of this device's vectors. Nothing is written to the store.
///
/// # Errors
/// Something is missing or doesn't fit, or a request failed.
pub async fn prepare(
    remote: &Cloudflare,
    names: &Names,
    local: &Space,
    settings: LinkSettings,
) -> Result<LinkPlan, LinkRefusal> {
    let found = provision::inspect(remote, names).await?;
    let (database, index) = existing(&found, names)?;
    let contract = agreed(&found, index, local)?;
    let (bucket, lacks_r2) = match (&found.bucket, &names.bucket) {
        (Bucket::Exists, Some(bucket)) => (Some(bucket.clone()), false),
        (Bucket::Missing, Some(bucket)) => return Err(missing("R2 bucket", bucket)),
        (Bucket::NotEnabled(_), _) => (None, true),
        _ => (None, false),
    };
    let d1 = D1::new(remote.clone(), &database.uuid);
    let Report { created, triggers, filled } = schema::create(&d1).await?;
    let meta = meta::write(&d1, &settings.fresh_uuid, &contract).await?;
    // Another device may have written first: what stands there holds for all.
    let contract = meta.contract.unwrap_or(contract);
    fits(index, &contract, local)?;
    let link = Link {
        api_base: settings.api_base,
        account: remote.account().to_owned(),
        database: database.uuid.clone(),
        database_uuid: meta.database,
        vector_index: names.index.clone(),
        bucket,
        contract: contract.to_json(),
        is_local_space: contract.takes(local),
        inline_bytes: settings.inline_bytes,
        mode: settings.mode,
        is_paused: false,
        linked_at: settings.linked_at,
    };
    Ok(LinkPlan {
        link,
        database_name: database.name.clone(),
        contract,
        vectors: found.vectors,
        created,
        filled,
        has_triggers: triggers == Triggers::Complete,
        lacks_r2,
    })
}

fn missing(what: &'static str, name: &str) -> LinkRefusal {
    LinkRefusal::Missing { what, name: name.to_owned() }
}

fn existing<'a>(
    found: &'a Inventory,
    names: &Names,
) -> Result<(&'a Database, &'a Index), LinkRefusal> {
    use provision::DatabaseName::{Id, Name};
    let (Id(name) | Name(name)) = &names.database;
    let database = found.database.as_ref().ok_or_else(|| missing("D1 database", name))?;
    let index = found.index.as_ref().ok_or_else(|| missing("Vectorize index", &names.index))?;
    Ok((database, index))
}

/// The contract that was written; else the Python service's for an index of its length; else the
/// device's own for an index that is empty.
///
/// # Errors
/// The index can't hold such vectors, or nobody here makes them.
pub fn agreed(found: &Inventory, index: &Index, local: &Space) -> Result<Contract, LinkRefusal> {
    let written = found.meta.as_ref().and_then(|meta| meta.contract.clone());
    let contract = match (written, Contract::local(local.clone())) {
        (Some(written), _) => written,
        (None, Some(own))
            if index.config.dimensions == own.dims
                && found.vectors == 0
                && own.dims != PYTHON_DIMS =>
        {
            own
        }
        (None, _) => Contract::python(),
    };
    fits(index, &contract, local)?;
    Ok(contract)
}

fn fits(index: &Index, contract: &Contract, local: &Space) -> Result<(), LinkRefusal> {
    let config = &index.config;
    if config.dimensions != contract.dims || config.metric != "cosine" {
        return Err(LinkRefusal::WrongIndex {
            index: index.name.clone(),
            dims: config.dimensions,
            metric: config.metric.clone(),
            needed: contract.dims,
        });
    }
    if contract.ai.is_none() && !contract.takes(local) {
        let (theirs, ours) = (contract.space.clone(), local.clone());
        return Err(LinkRefusal::OtherModel { theirs, ours });
    }
    Ok(())
}
