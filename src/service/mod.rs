//! What memtide does for a caller: store, search, get, list, change, delete, restore. It joins the store
//! and the embedder; it knows no socket and no cloud.
//!
//! A write is acknowledged when the store has committed it. Its vector follows: the [`pump`] reads
//! what waits in the store, has it embedded and writes the vectors back. A search waits for a handful
//! of vectors that are about to come, at most [`FRESHNESS_WAIT`], and otherwise says how many are missing.

pub mod ask;
pub mod backlog;
pub mod backup;
pub mod event;
pub mod health;
pub mod pump;
pub mod retention;

use crate::clock::{Micros, SharedClock};
use crate::embed::embedder::Embedder;
use crate::model::draft::{Author, Draft, Patch};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::model::memory::Memory;
use crate::model::refusal::Refusal;
use crate::model::space::{Space, UnitVector};
use crate::store::error::StoreError;
use crate::store::memory::{self, Stored};
use crate::store::search::{self, Hit, Mode, Search};
use crate::store::transfer::{self, Absorbed, Record};
use crate::store::{Read, Store, Version, duplicate, vector};
use ask::{DeleteAsk, SearchAsk};
use backlog::Backlog;
use event::{Change, Events};
use health::{Fault, Health};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a search waits for vectors of writes acknowledged before it.
pub const FRESHNESS_WAIT: Duration = Duration::from_millis(50);
/// With more vectors outstanding than this, a search doesn't wait for them.
pub const FRESHNESS_PENDING: u64 = 8;

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The input breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A search by meaning was asked for and the model isn't there.
    #[error("{message}")]
    Embedder {
        /// What state the model is in.
        message: String,
        /// What to do next.
        hint: String,
    },
    /// The memory is deleted.
    #[error("memory {id} was deleted")]
    Deleted {
        /// Which.
        id: MemoryId,
        /// When.
        deleted_at: Micros,
    },
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// What ranked.
    pub mode: Mode,
    /// Memories without a vector of their present text.
    pub pending_embeddings: u64,
    /// Time in all.
    pub took: Duration,
    /// Of it, time for the query's vector.
    pub embed_took: Duration,
}

/// The handle; clones share it.
#[derive(Clone)]
pub struct Service {
    store: Store,
    embedder: Embedder,
    clock: SharedClock,
    text_limit: usize,
    backlog: Arc<Backlog>,
    events: Events,
    replicate: Arc<Notify>,
    health: Arc<Health>,
}

impl Service {
    /// Joins a store and an embedder; `text_limit` is in bytes.
    pub fn new(store: Store, embedder: Embedder, clock: SharedClock, text_limit: usize) -> Self {
        Self {
            store,
            embedder,
            clock,
            text_limit,
            backlog: Arc::default(),
            events: Events::default(),
            replicate: Arc::default(),
            health: Arc::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// The clock.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Bytes a text may have.
    pub fn text_limit(&self) -> usize {
        self.text_limit
    }

    /// Changes as they happen.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Woken after each write: a hint to look at the outbox.
    pub fn replicate_hint(&self) -> Arc<Notify> {
        Arc::clone(&self.replicate)
    }

    /// Why the storage can't be trusted at the moment, if so.
    pub fn storage_fault(&self) -> Option<Fault> {
        self.health.fault()
    }

    /// Notes that the database file is damaged.
    pub fn note_damage(&self, what: &str) {
        tracing::error!(what, "the database file is damaged");
        self.health.observe_read(&StoreError::Corrupt(what.to_owned()));
    }

    /// Reads from the store, and remembers damage that is met.
    ///
    /// # Errors
    /// What the job answers, or what the database refused.
    pub async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let outcome = self.store.read(job).await;
        if let Err(error) = &outcome {
            self.health.observe_read(error);
        }
        outcome
    }

    /// Writes to the store, remembers whether the storage failed, and wakes those who follow up.
    async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut crate::store::Write<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let outcome = self.store.write(job).await;
        self.health.observe_write(outcome.as_ref().err());
        if outcome.is_ok() {
            self.backlog.raise();
            self.replicate.notify_one();
        }
        outcome
    }

    /// Stores a memory and answers once it is durable.
    ///
    /// # Errors
    /// A limit is broken, or the store refused.
    pub async fn store_memory(&self, draft: Draft) -> Result<Stored, ServiceError> {
        let stored = self.write(move |write| memory::store(write, &draft)).await?;
        metrics::counter!("memtide_stores_total").increment(1);
        let change = if stored.created { Change::Stored } else { Change::Updated };
        self.events.publish(change, &stored.id);
        Ok(stored)
    }

    /// Memories were changed by what came from the cloud: they are embedded, and told of.
    pub fn note_changed(&self, changes: impl Iterator<Item = (Change, MemoryId)>) {
        self.backlog.raise();
        for (change, id) in changes {
            self.events.publish(change, &id);
        }
    }

    /// Notes how a write ended that went past this service.
    pub fn note_write(&self, error: Option<&StoreError>) {
        self.health.observe_write(error);
    }

    /// The id that a whole id or a unique prefix names.
    ///
    /// # Errors
    /// It names none or several.
    pub async fn resolve(&self, text: &str) -> Result<MemoryId, ServiceError> {
        let text = text.to_owned();
        Ok(self.read(move |read| memory::resolve(read, &text)).await?)
    }

    /// A live memory.
    ///
    /// # Errors
    /// There is none, or it is deleted.
    pub async fn get(&self, id: MemoryId) -> Result<Memory, ServiceError> {
        let memory = self.read(move |read| memory::get(read, &id)).await?;
        match memory.deleted_at {
            Some(deleted_at) => Err(ServiceError::Deleted { id, deleted_at }),
            None => Ok(memory),
        }
    }

    /// Changes a memory. Answers the memory that holds the change.
    ///
    /// # Errors
    /// There is no such live memory, or a limit is broken.
    pub async fn update(&self, id: MemoryId, patch: Patch) -> Result<Memory, ServiceError> {
        self.get(id).await?;
        let now = self.write(move |write| memory::update(write, &id, &patch)).await?;
        self.events.publish(Change::Updated, &id);
        if now != id {
            self.events.publish(Change::Stored, &now);
        }
        self.get(now).await
    }

    /// Deletes the named memories, or all that pass a filter, in one transaction. Returns their ids.
    ///
    /// # Errors
    /// One of them doesn't exist or is deleted already: then none is deleted.
    pub async fn delete(
        &self,
        ask: DeleteAsk,
        author: &Author,
    ) -> Result<Vec<MemoryId>, ServiceError> {
        let client = author.client.clone();
        let ids = match ask {
            DeleteAsk::Ids { ids, dry_run } => {
                for id in &ids {
                    self.get(*id).await?;
                }
                if dry_run {
                    return Ok(ids);
                }
                let wanted = ids.clone();
                self.write(move |write| {
                    wanted.iter().try_for_each(|id| memory::delete(write, id, &client))
                })
                .await?;
                ids
            }
            DeleteAsk::Matching { filter, dry_run: true } => {
                return Ok(self.read(move |read| memory::ids_matching(read, &filter)).await?);
            }
            DeleteAsk::Matching { filter, dry_run: false } => {
                self.write(move |write| memory::delete_matching(write, &filter, &client)).await?
            }
        };
        for id in &ids {
            self.events.publish(Change::Deleted, id);
        }
        Ok(ids)
    }

    /// Brings back a deleted memory, or an earlier version of one. Answers the memory.
    ///
    /// # Errors
    /// There is no such memory or version, or its content is no longer kept.
    pub async fn restore(
        &self,
        id: MemoryId,
        version: Option<i64>,
        author: &Author,
    ) -> Result<Memory, ServiceError> {
        let client = author.client.clone();
        self.write(move |write| memory::restore(write, &id, version, &client)).await?;
        self.events.publish(Change::Stored, &id);
        self.get(id).await
    }

    /// Takes in records of another store, in one transaction. Tells what became of each.
    ///
    /// # Errors
    /// The store refused; then none is kept.
    pub async fn absorb(&self, records: Vec<Record>) -> Result<Vec<Absorbed>, ServiceError> {
        Ok(self
            .write(move |write| {
                records.iter().map(|record| transfer::absorb(write, record)).collect()
            })
            .await?)
    }

    /// A page of live memories, newest first, and how many pass the filter.
    ///
    /// # Errors
    /// The store refused.
    pub async fn list(
        &self,
        filter: Filter,
        page: usize,
        page_size: usize,
    ) -> Result<(Vec<Memory>, u64), ServiceError> {
        let offset = page.saturating_sub(1).saturating_mul(page_size);
        Ok(self.read(move |read| memory::list(read, &filter, page_size, offset)).await?)
    }

    /// Every tag with its number of memories, most frequent first.
    ///
    /// # Errors
    /// The store refused.
    pub async fn tags(&self) -> Result<Vec<(String, u64)>, ServiceError> {
        Ok(self.read(memory::tags).await?)
    }

    /// Groups of memories that say the same, at most `limit`; first in each the one to keep.
    ///
    /// # Errors
    /// The store refused.
    pub async fn duplicates(&self, limit: usize) -> Result<Vec<Vec<Memory>>, ServiceError> {
        Ok(self.read(move |read| duplicate::groups(read, limit)).await?)
    }

    /// The versions of a memory that were replaced, oldest first.
    ///
    /// # Errors
    /// There is no such memory.
    pub async fn history(&self, id: MemoryId) -> Result<Vec<Version>, ServiceError> {
        Ok(self.read(move |read| memory::versions(read, &id)).await?)
    }

    /// Searches. A hybrid search without a model ranks by words and says so; a semantic one is refused.
    ///
    /// # Errors
    /// The model isn't there for a semantic search, or the store refused.
    pub async fn search(&self, ask: SearchAsk) -> Result<Found, ServiceError> {
        let began = self.clock.now();
        let (vector, mode) = self.query_vector(&ask).await?;
        let embedded = self.clock.now();
        if vector.is_some() && !self.embedder.status().paused {
            self.backlog.wait_for_fresh(&self.clock).await;
        }
        let search =
            Search { query: ask.query, vector, mode, filter: ask.filter, limit: ask.limit };
        let (hits, pending_embeddings) = self
            .read(move |read| Ok((search::run(read, &search)?, vector::n_waiting(read)?)))
            .await?;
        metrics::counter!("memtide_searches_total").increment(1);
        Ok(Found {
            hits,
            mode,
            pending_embeddings,
            took: self.clock.now().since(began),
            embed_took: embedded.since(began),
        })
    }

    async fn query_vector(
        &self,
        ask: &SearchAsk,
    ) -> Result<(Option<(Space, UnitVector)>, Mode), ServiceError> {
        if matches!(ask.mode, Mode::Keyword | Mode::Exact) {
            return Ok((None, ask.mode));
        }
        match self.embedder.query(&ask.query).await {
            Ok(found) => Ok((Some((found.space, found.vector)), ask.mode)),
            Err(error) if ask.mode == Mode::Semantic => Err(ServiceError::Embedder {
                message: error.to_string(),
                hint:
                    "search with mode keyword or hybrid, or get the model with `memtide model pull`"
                        .to_owned(),
            }),
            Err(error) => {
                tracing::debug!(%error, "searching by words");
                Ok((None, Mode::Keyword))
            }
        }
    }
}
