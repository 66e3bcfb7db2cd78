//! Makes what a device needs in the account: database, side tables, vector index, bucket, whichever
//! are missing. Nothing that exists is changed or deleted, and repeating it changes nothing.

use super::ai;
use super::cloudflare::Cloudflare;
use super::contract::Contract;
use super::d1::{self, D1, Database};
use super::error::{Disposition, Pause, Product, RemoteError};
use super::meta::{self, Meta};
use super::r2::{NOT_ENABLED, R2};
use super::schema::{self, Existing};
use super::vectorize::{Index, Vectorize};

/// The code of an index that isn't there.
const NO_SUCH_INDEX: i64 = 3000;
/// The code of a database that isn't there.
const NO_SUCH_DATABASE: i64 = 7404;

/// How a database is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseName {
    /// By its id; it must exist.
    Id(String),
    /// By its name; it is made if it doesn't exist.
    Name(String),
}

/// What to look for, or to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The database.
    pub database: DatabaseName,
    /// The vector index.
    pub index: String,
    /// The bucket for long texts; `None` to do without.
    pub bucket: Option<String>,
}

/// How it stands with the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// None is wanted.
    NotWanted,
    /// It doesn't exist.
    Missing,
    /// It exists.
    Exists,
    /// R2 is not enabled on the account: memtide works without, with a limit on texts.
    NotEnabled(RemoteError),
}

/// What the account has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The database.
    pub database: Option<Database>,
    /// What is in it.
    pub schema: Existing,
    /// What devices have agreed on.
    pub meta: Option<Meta>,
    /// The index.
    pub index: Option<Index>,
    /// Vectors in it, as far as they can be seen yet.
    pub vectors: u64,
    /// The bucket.
    pub bucket: Bucket,
}

/// What [`init`] has made and found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// The database's id, by which devices link to it.
    pub database: Database,
    /// Whether it is new.
    pub database_is_new: bool,
    /// What was missing in it.
    pub schema: schema::Report,
    /// What devices agree on; its contract may be an older one than the one asked for.
    pub meta: Meta,
    /// Whether the index is new.
    pub index_is_new: bool,
    /// The bucket.
    pub bucket: Bucket,
    /// Whether the bucket is new.
    pub bucket_is_new: bool,
}

/// Looks at what the account has, and changes nothing.
///
/// # Errors
/// A request failed for another reason than that something doesn't exist.
pub async fn inspect(remote: &Cloudflare, names: &Names) -> Result<Inventory, RemoteError> {
    let database = find_database(remote, names).await?;
    let (schema, meta) = match &database {
        Some(database) => {
            let d1 = D1::new(remote.clone(), &database.uuid);
            let existing = schema::inspect(&d1).await?;
            let meta = if existing.has_side_tables() { meta::read(&d1).await? } else { None };
            (existing, meta)
        }
        None => (Existing::default(), None),
    };
    let vectorize = Vectorize::new(remote.clone(), &names.index);
    let index = absent(vectorize.describe().await, NO_SUCH_INDEX)?;
    let vectors = match &index {
        Some(_) => vectorize.info().await?.vector_count,
        None => 0,
    };
    let bucket = inspect_bucket(remote, names).await?;
    Ok(Inventory { database, schema, meta, index, vectors, bucket })
}

/// What is there of each product, as far as the token may look: what one product refuses hides nothing
/// of the others.
#[derive(Debug)]
pub struct Looks {
    /// The database's id.
    pub database: Result<Option<String>, RemoteError>,
    /// The index's name.
    pub index: Result<Option<String>, RemoteError>,
    /// The bucket.
    pub bucket: Result<Bucket, RemoteError>,
    /// The cloud model of the index's contract, if it has one and can be read.
    pub model: Option<ai::Model>,
}

/// Looks at each product by itself. Changes nothing.
pub async fn look(remote: &Cloudflare, names: &Names) -> Looks {
    let database = find_database(remote, names).await.map(|found| found.map(|d| d.uuid));
    let index = Vectorize::new(remote.clone(), &names.index).describe().await;
    let model = match &database {
        Ok(Some(uuid)) => cloud_model(&D1::new(remote.clone(), uuid)).await.ok().flatten(),
        _ => None,
    };
    Looks {
        database,
        index: absent(index, NO_SUCH_INDEX).map(|found| found.map(|index| index.name)),
        bucket: inspect_bucket(remote, names).await,
        model,
    }
}

async fn cloud_model(d1: &D1) -> Result<Option<ai::Model>, RemoteError> {
    if !schema::inspect(d1).await?.has_side_tables() {
        return Ok(None);
    }
    Ok(meta::read(d1).await?.and_then(|meta| meta.contract?.ai))
}

async fn find_database(
    remote: &Cloudflare,
    names: &Names,
) -> Result<Option<Database>, RemoteError> {
    match &names.database {
        DatabaseName::Name(name) => d1::find(remote, name).await,
        DatabaseName::Id(id) => {
            absent(D1::new(remote.clone(), id).describe().await, NO_SUCH_DATABASE)
        }
    }
}

async fn inspect_bucket(remote: &Cloudflare, names: &Names) -> Result<Bucket, RemoteError> {
    let Some(name) = &names.bucket else { return Ok(Bucket::NotWanted) };
    match R2::new(remote.clone(), name).exists().await {
        Ok(true) => Ok(Bucket::Exists),
        Ok(false) => Ok(Bucket::Missing),
        Err(error) if error.has_code(NOT_ENABLED) => Ok(Bucket::NotEnabled(error)),
        Err(error) => Err(error),
    }
}

fn absent<T>(answer: Result<T, RemoteError>, code: i64) -> Result<Option<T>, RemoteError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.has_code(code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes whatever is missing. `contract` says what a new index holds; `database_uuid` is the new
/// database's own name, a random one.
///
/// # Errors
/// A request failed, a database that was named by its id doesn't exist, or the index holds vectors
/// that don't fit the contract. What was made before stays; calling it again goes on.
pub async fn init(
    remote: &Cloudflare,
    names: &Names,
    contract: &Contract,
    database_uuid: &str,
) -> Result<Provisioned, RemoteError> {
    let found = inspect(remote, names).await?;
    let contract = agreed(&found, contract)?;
    let database_is_new = found.database.is_none();
    let database = match (found.database, &names.database) {
        (Some(database), _) => database,
        (None, DatabaseName::Name(name)) => d1::create(remote, name).await?,
        (None, DatabaseName::Id(id)) => {
            return Err(mismatch(Product::D1, &format!("there is no database with the id {id}")));
        }
    };
    let d1 = D1::new(remote.clone(), &database.uuid);
    let schema = schema::create(&d1).await?;
    let index_is_new = found.index.is_none();
    if index_is_new {
        let made = Vectorize::new(remote.clone(), &names.index).create(contract.dims).await?;
        fits(&made, &contract)?;
    }
    let meta = meta::write(&d1, database_uuid, &contract).await?;
    let (bucket, bucket_is_new) = create_bucket(remote, names, found.bucket).await?;
    Ok(Provisioned { database, database_is_new, schema, meta, index_is_new, bucket, bucket_is_new })
}

/// The contract that holds: the one that was written before; the Python service's where an index has
/// vectors and nobody has said which; else the one asked for.
fn agreed(found: &Inventory, asked: &Contract) -> Result<Contract, RemoteError> {
    let written = found.meta.as_ref().and_then(|meta| meta.contract.clone());
    let contract = match (written, &found.index) {
        (Some(written), _) => written,
        (None, Some(_)) if found.vectors > 0 => Contract::python(),
        (None, _) => asked.clone(),
    };
    if let Some(index) = &found.index {
        fits(index, &contract)?;
    }
    Ok(contract)
}

fn fits(index: &Index, contract: &Contract) -> Result<(), RemoteError> {
    let config = &index.config;
    if config.dimensions == contract.dims && config.metric == "cosine" {
        return Ok(());
    }
    let what = format!(
        "the index {:?} holds vectors of {} components compared by {}, {} components compared by cosine are needed",
        index.name, config.dimensions, config.metric, contract.dims
    );
    Err(mismatch(Product::Vectorize, &what))
}

fn mismatch(product: Product, what: &str) -> RemoteError {
    RemoteError::local(
        product,
        Disposition::Pause(Pause::Misconfigured),
        what,
        "give another name to `memtide cloud init`, so that a fitting one is made",
    )
}

async fn create_bucket(
    remote: &Cloudflare,
    names: &Names,
    found: Bucket,
) -> Result<(Bucket, bool), RemoteError> {
    let (Bucket::Missing, Some(name)) = (&found, &names.bucket) else { return Ok((found, false)) };
    match R2::new(remote.clone(), name).create().await {
        Ok(()) => Ok((Bucket::Exists, true)),
        Err(error) if error.has_code(NOT_ENABLED) => Ok((Bucket::NotEnabled(error), false)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
