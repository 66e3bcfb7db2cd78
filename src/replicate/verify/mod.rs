//! Compares the store with the three stores of the cloud, and puts back into the outbox what is missing
//! there.
//!
//! Digests come first, as they cost few rows: the database sums them up by the first digits of the ids,
//! and only the groups that differ are looked at one by one. What digests can't tell, whether the Python
//! service's rows still show the states, costs reading the rows and is left to those who ask for it; so is
//! a sample of the vectors by value. The index is listed, a thousand ids a page, and so is the bucket.
//!
//! What is owed, what has just been pulled or pushed and what the feed has yet to bring is on its way and
//! no difference. Time passes while the stores are compared, so every difference is looked at again in
//! the local store before it is reported: one that something has changed meanwhile is none.
//!
//! A comparison changes nothing. A repair writes duties, in the backfill lane, and has fetched again what
//! may be newer there; what follows goes the way of every duty and of every merge, compare-and-swap
//! included, so that a repair can't undo what others did meanwhile.

mod bodies;
mod entries;
mod local;
mod repair;
pub mod report;
mod rows;
mod sample;
mod vectors;

use super::breaker::Admission;
use super::confirm;
use super::session::{OTHER_DATABASE, Session};
use crate::clock::Micros;
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::digest::Told;
use crate::remote::error::{Product, RemoteError};
use crate::remote::push::{Anchor, CloudCheck};
use crate::store::error::StoreError;
use crate::store::link::{self, LinkMode};
use local::Local;
use report::{Candidates, Compared, Report};
use std::collections::BTreeMap;
use std::time::Duration;

/// For so long after a change its vector may be on its way from another device.
const YOUNG: Duration = Duration::from_mins(10);

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Digests, the index and the bucket: what is cheap enough to be done unasked.
    Cheap,
    /// Also the Python service's rows, and some of the vectors by value.
    All,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A request failed.
    #[error("{0}")]
    Remote(#[from] RemoteError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A product is left alone for now.
    #[error("{product} is left alone until {until}: {why}", until = .until.to_rfc3339())]
    Shut {
        /// Which.
        product: Product,
        /// Until when.
        until: Micros,
        /// What it said last.
        why: String,
    },
    /// The database is not the one that this device knows.
    #[error("{0}")]
    Foreign(String),
    /// Nothing is connected.
    #[error("{message}")]
    NotConnected {
        /// Why.
        message: String,
        /// What to do.
        next_step: String,
    },
}

/// Compares, and repairs if told to.
pub(super) async fn verify(
    session: &Session,
    scope: Scope,
    repairs: bool,
) -> Result<Report, VerifyError> {
    let mut check = Check::begin(session).await?;
    check.demand_open(Product::Vectorize)?;
    if scope == Scope::All {
        // What the index shows by now is not on its way any more.
        confirm::ask_now(session).await?;
    }
    let local = Local::load(session).await?;
    let mut found = Candidates::default();
    let mut compared = Compared { memories: local.len(), ..Compared::default() };
    compared.entries = entries::compare(&mut check, &local, &mut found).await?;
    if scope == Scope::All {
        compared.rows = Some(rows::compare(&mut check, &local, &mut found).await?);
    }
    if let Some(listed) = vectors::compare(&mut check, &local, &mut found).await? {
        compared.vectors = Some(listed.n);
        if scope == Scope::All {
            compared.sampled = sample::compare(&mut check, &local, &listed.ids, &mut found).await?;
        }
    }
    compared.bodies = bodies::compare(&mut check, &local, &mut found).await?;
    let on_the_way = local.n_owed() + found.n_skipped();
    let candidates = repair::recheck(session, found.into_list()).await?;
    let n_repaired = if repairs {
        repair::repair(&mut check, &local, &candidates).await?
    } else {
        BTreeMap::new()
    };
    let Check { requests, rows_read, .. } = check;
    Ok(Report::new(compared, on_the_way, &candidates, &n_repaired, requests, rows_read))
}

/// A comparison under way: the connections and what it has cost.
pub(super) struct Check<'a> {
    pub(super) session: &'a Session,
    pub(super) d1: D1,
    pub(super) anchor: Option<Anchor>,
    requests: u64,
    rows_read: u64,
}

impl<'a> Check<'a> {
    /// Begins, if the database is one that this device knows and answers.
    pub(super) async fn begin(session: &'a Session) -> Result<Self, VerifyError> {
        if let Some(why) = session.gates.foreign() {
            return Err(VerifyError::Foreign(why));
        }
        let anchor = session.store.read(link::anchor).await?;
        let anchor = anchor.map(|(seq, nonce)| Anchor { seq, nonce });
        let d1 = D1::new(session.remote.in_lane(Lane::Backfill), &session.link.database);
        let check = Self { session, d1, anchor, requests: 0, rows_read: 0 };
        check.demand_open(Product::D1)?;
        Ok(check)
    }

    /// Fails where a product is left alone for now.
    pub(super) fn demand_open(&self, product: Product) -> Result<(), VerifyError> {
        let gates = &self.session.gates;
        let Admission::Shut { until } = gates.admission(product, self.session.now()) else {
            return Ok(());
        };
        let breakers = gates.breakers();
        let why = breakers.of(product).last_error().unwrap_or("it asked for it").to_owned();
        Err(VerifyError::Shut { product, until, why })
    }

    /// Notes what a request to `product` came to.
    pub(super) fn noted<T>(
        &mut self,
        product: Product,
        answer: Result<T, RemoteError>,
    ) -> Result<T, VerifyError> {
        self.requests += 1;
        match answer {
            Ok(value) => {
                self.session.gates.succeeded(product, self.session.now());
                Ok(value)
            }
            Err(error) => {
                // No duty was carried, so what would become of one doesn't matter.
                let _no_duty = self.session.gates.failed(&error, 0, self.session.now());
                Err(error.into())
            }
        }
    }

    /// Takes an answer of the database, if it is the database that the device knows.
    pub(super) fn told<T>(
        &mut self,
        answer: Result<Told<T>, RemoteError>,
    ) -> Result<T, VerifyError> {
        let told = self.noted(Product::D1, answer)?;
        self.rows_read += told.rows_read;
        self.known(&told.cloud)?;
        Ok(told.what)
    }

    fn known(&self, cloud: &CloudCheck) -> Result<(), VerifyError> {
        if cloud.database.as_ref() != Some(&self.session.link.database_uuid) {
            return Err(VerifyError::Foreign(OTHER_DATABASE.to_owned()));
        }
        if !cloud.anchor_holds {
            let why = "the cloud database was restored to an older state; what that means for this \
                       device is found out when it syncs next";
            return Err(VerifyError::Foreign(why.to_owned()));
        }
        Ok(())
    }

    /// Whether this device takes what others wrote.
    fn pulls(&self) -> bool {
        self.session.link.mode == LinkMode::Dual
    }

    fn is_young(&self, changed_at: Micros) -> bool {
        let now = self.session.now();
        now.since(changed_at) < YOUNG && changed_at.since(now) < YOUNG
    }
}
