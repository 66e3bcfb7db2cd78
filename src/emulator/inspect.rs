//! Looking in from outside, past the API: for tests, the simulator and the demo. Nothing here
//! counts as a request, and nothing fails by a fault.

use super::Cloudflare;
use super::journal::Entry;
use super::product::Product;
use bytes::Bytes;
use rusqlite::Connection;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A vector that a query can find.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleVector {
    /// Its id.
    pub id: String,
    /// Its components.
    pub values: Vec<f32>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
}

/// The reason why the emulator couldn't do what it was told from outside.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No database, index or bucket of that name.
    #[error("the emulated account has no {kind} named {name}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The account refused to create it.
    #[error("the emulated account refused to create {name}: {answer}")]
    Refused {
        /// What should have been created.
        name: String,
        /// The answer that a request would have got.
        answer: String,
    },
    /// `SQLite` refused the statement.
    #[error("statement on the emulated database: {0}")]
    Sql(#[from] rusqlite::Error),
}

impl Cloudflare {
    /// Creates a D1 database and returns its id.
    ///
    /// # Errors
    /// Fails if the name is taken or the plan's limit is reached.
    pub fn create_database(&self, name: &str) -> Result<String, InspectError> {
        let mut world = self.world();
        let super::World { d1, chance, .. } = &mut *world;
        d1.create(name, chance).map_err(|failure| refused(name, failure))
    }

    /// Creates a Vectorize index for cosine similarity.
    ///
    /// # Errors
    /// Fails if the name is taken or the plan's limit is reached.
    pub fn create_index(&self, name: &str, dimensions: usize) -> Result<(), InspectError> {
        let now = self.clock.now();
        let created = self.world().vectorize.create_cosine(name, dimensions, now);
        created.map_err(|failure| refused(name, failure))
    }

    /// Creates an R2 bucket.
    ///
    /// # Errors
    /// Fails if the name is taken or not allowed.
    pub fn create_bucket(&self, name: &str) -> Result<(), InspectError> {
        let created = self.world().r2.create(name, self.clock.now());
        created.map(|_| ()).map_err(|failure| refused(name, failure))
    }

    /// Runs one statement on a D1 database, named by its name or id, without D1's authorizer,
    /// JSON numbers or counts: integers come back as integers.
    ///
    /// # Errors
    /// Fails if there is no such database or `SQLite` refuses the statement.
    pub fn d1_rows(
        &self,
        database: &str,
        sql: &str,
    ) -> Result<Vec<BTreeMap<String, rusqlite::types::Value>>, InspectError> {
        let mut world = self.world();
        let database = world.d1.find(database).ok_or_else(|| unknown("database", database))?;
        let mut statement = database.connection().prepare(sql)?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| {
            names
                .iter()
                .enumerate()
                .map(|(index, name)| Ok((name.clone(), row.get(index)?)))
                .collect::<rusqlite::Result<BTreeMap<_, _>>>()
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// A copy of a D1 database, named by its name or id, as it is now.
    ///
    /// # Errors
    /// Fails if there is no such database or `SQLite` refuses.
    pub fn d1_copy(&self, database: &str) -> Result<Connection, InspectError> {
        let mut world = self.world();
        let database = world.d1.find(database).ok_or_else(|| unknown("database", database))?;
        Ok(database.copy()?)
    }

    /// Puts a D1 database into the state of a copy, as Time Travel does.
    ///
    /// # Errors
    /// Fails if there is no such database or `SQLite` refuses.
    pub fn d1_become(&self, database: &str, copy: &Connection) -> Result<(), InspectError> {
        let mut world = self.world();
        let database = world.d1.find(database).ok_or_else(|| unknown("database", database))?;
        Ok(database.become_copy(copy)?)
    }

    /// Looks at a D1 database past the API.
    ///
    /// # Errors
    /// Fails if there is no such database, or with what `look` answers.
    pub fn d1_look<T>(
        &self,
        database: &str,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, InspectError> {
        let mut world = self.world();
        let database = world.d1.find(database).ok_or_else(|| unknown("database", database))?;
        Ok(look(database.connection())?)
    }

    /// The keys of a bucket, in order.
    ///
    /// # Errors
    /// Fails if there is no such bucket.
    pub fn object_keys(&self, bucket: &str) -> Result<Vec<String>, InspectError> {
        let world = self.world();
        let objects = world.r2.objects(bucket).ok_or_else(|| unknown("bucket", bucket))?;
        Ok(objects.keys().cloned().collect())
    }

    /// An object's bytes; `None` if the bucket has no such key.
    ///
    /// # Errors
    /// Fails if there is no such bucket.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, InspectError> {
        let world = self.world();
        let objects = world.r2.objects(bucket).ok_or_else(|| unknown("bucket", bucket))?;
        Ok(objects.get(key).map(|object| object.body.clone()))
    }

    /// The vectors of an index that a query can find now, ordered by id.
    ///
    /// # Errors
    /// Fails if there is no such index.
    pub fn visible_vectors(&self, index: &str) -> Result<Vec<VisibleVector>, InspectError> {
        let now = self.clock.now();
        let mut world = self.world();
        let index = world.vectorize.find(index, now).ok_or_else(|| unknown("index", index))?;
        let shown = index.visible().map(|stored| VisibleVector {
            id: stored.id.clone(),
            values: stored.values.clone(),
            namespace: stored.namespace.clone(),
            metadata: stored.metadata.clone(),
        });
        Ok(shown.collect())
    }

    /// How many accepted changes of an index aren't visible yet.
    ///
    /// # Errors
    /// Fails if there is no such index.
    pub fn n_waiting_mutations(&self, index: &str) -> Result<usize, InspectError> {
        let now = self.clock.now();
        let mut world = self.world();
        let index = world.vectorize.find(index, now).ok_or_else(|| unknown("index", index))?;
        Ok(index.n_waiting())
    }

    /// Drops the accepted changes of an index that aren't visible yet, as if they had been lost.
    /// Returns how many there were.
    ///
    /// # Errors
    /// Fails if there is no such index.
    pub fn lose_mutations(&self, index: &str) -> Result<usize, InspectError> {
        let now = self.clock.now();
        let mut world = self.world();
        let index = world.vectorize.find(index, now).ok_or_else(|| unknown("index", index))?;
        Ok(index.lose_waiting())
    }

    /// The requests that arrived, oldest first.
    pub fn requests(&self) -> Vec<Entry> {
        self.world().journal.entries()
    }

    /// How many requests arrived for a product.
    pub fn n_requests(&self, product: Product) -> u64 {
        self.world().journal.count(product)
    }

    /// How many requests met a dead network.
    pub fn n_refused(&self) -> u64 {
        self.world().journal.refused()
    }

    /// Forgets the requests and their counts.
    pub fn clear_requests(&self) {
        self.world().journal.clear();
    }

    /// Rows that D1 has written since the last midnight in UTC, as `meta` counts them.
    pub fn rows_written_today(&self) -> u64 {
        self.world().d1.rows_written_today()
    }

    /// Neurons that Workers AI has spent since the last midnight in UTC.
    pub fn neurons_today(&self) -> u64 {
        self.world().ai.neurons_today()
    }
}

fn unknown(kind: &'static str, name: &str) -> InspectError {
    InspectError::Unknown { kind, name: name.to_owned() }
}

fn refused(name: &str, failure: super::envelope::Failure) -> InspectError {
    let answer = String::from_utf8_lossy(failure.into_response().body()).into_owned();
    InspectError::Refused { name: name.to_owned(), answer }
}
