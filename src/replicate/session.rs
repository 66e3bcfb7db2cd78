//! A connection to the linked account: the client, the contract, the gates, and what of them is kept
//! over a restart.

use super::breaker::{Admission, Breakers};
use super::confirm::Watch;
use super::contact::{Contact, Known};
use super::course::{Begun, Way};
use super::gates::Gates;
use super::handle::limit;
use super::pace::Pace;
use super::plan::Waits;
use super::polling::Polling;
use super::progress::{ProductProgress, Progress, PullProgress, SyncState};
use super::record;
use super::upkeep::{Calendar, Dates};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::mutant::{self, Mutant};
use crate::remote::budget::{Lane, WINDOW};
use crate::remote::cloudflare::Cloudflare;
use crate::remote::contract::Contract;
use crate::remote::error::Product;
use crate::remote::push::CloudCheck;
use crate::remote::usage::Usage;
use crate::store::error::StoreError;
use crate::store::link::{self, Link};
use crate::store::pull::Became;
use crate::store::{Read, Store};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes a client for a link: finds the token and sets up the transport.
pub type Connect = Box<dyn Fn(&Link) -> Result<Cloudflare, ConnectError> + Send + Sync>;

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// [`SyncState::AuthRequired`] where a token is missing or unusable, [`SyncState::Misconfigured`]
    /// for anything else.
    pub state: SyncState,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub next_step: String,
}

const BREAKERS: &str = "breakers";
const BUDGET: &str = "budget";
const USAGE: &str = "usage";
const FOREIGN: &str = "foreign_database";
const CALENDAR: &str = "upkeep";
const BACKFILL: &str = "backfill";
pub(super) const CONTACT: &str = "first_contact";
pub(super) const DELETED: &str = "deleted_since_caught_up";

/// What an earlier run of the replicator has left in the store.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    breakers: Breakers,
    sent_at: Vec<Micros>,
    usage: Usage,
    foreign: Option<String>,
    dates: Dates,
    contact: Known,
    backfill: (Begun, Begun),
    deleted: u64,
}

impl Remembered {
    pub(super) fn load(read: &Read<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            breakers: parsed(link::remembered(read, BREAKERS)?),
            sent_at: parsed::<Vec<i64>>(link::remembered(read, BUDGET)?)
                .into_iter()
                .map(Micros)
                .collect(),
            usage: parsed::<WrittenUsage>(link::remembered(read, USAGE)?).into(),
            foreign: parsed(link::remembered(read, FOREIGN)?),
            dates: parsed(link::remembered(read, CALENDAR)?),
            contact: parsed(link::remembered(read, CONTACT)?),
            backfill: parsed(link::remembered(read, BACKFILL)?),
            deleted: parsed(link::remembered(read, DELETED)?),
        })
    }
}

impl Remembered {
    /// What is known without a client.
    pub(super) fn progress(&self, cursor: i64, now: Micros) -> Progress {
        let of = |product| {
            let breaker = self.breakers.of(product);
            ProductProgress {
                last_success_at: breaker.last_success_at(),
                last_error: breaker.last_error().map(str::to_owned),
                ..ProductProgress::default()
            }
        };
        let mut usage = self.usage;
        usage.turn(now);
        let is_recent = |at: &&Micros| now.since(**at) < WINDOW;
        Progress {
            d1: of(Product::D1),
            vectorize: of(Product::Vectorize),
            r2: of(Product::R2),
            ai: of(Product::Ai),
            pull: PullProgress { cursor, ..PullProgress::default() },
            requests_5min: self.sent_at.iter().filter(is_recent).count() as u64,
            requests_limit: limit(),
            d1_rows_written_today: usage.rows_written,
            d1_rows_read_today: usage.rows_read,
            neurons_today: usage.neurons(),
            ..Progress::default()
        }
    }

    /// Goes on counting what a client for the same account has sent: Cloudflare counts it too.
    pub(super) fn continue_budget(&mut self, before: &Cloudflare, link: &Link) {
        if before.account() == link.account {
            self.sent_at = before.sent_at();
            self.usage = before.usage();
        }
    }
}

/// What can't be read is forgotten: at worst a gate opens too early.
fn parsed<T: Default + for<'de> Deserialize<'de>>(text: Option<String>) -> T {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

#[derive(Default, Serialize, Deserialize)]
struct WrittenUsage {
    day: i64,
    requests: [u64; 5],
    rows_written: u64,
    rows_read: u64,
    embedded_bytes: u64,
}

impl From<WrittenUsage> for Usage {
    fn from(written: WrittenUsage) -> Self {
        let WrittenUsage { day, requests, rows_written, rows_read, embedded_bytes } = written;
        Self { day, requests, rows_written, rows_read, embedded_bytes }
    }
}

impl From<Usage> for WrittenUsage {
    fn from(usage: Usage) -> Self {
        let Usage { day, requests, rows_written, rows_read, embedded_bytes } = usage;
        Self { day, requests, rows_written, rows_read, embedded_bytes }
    }
}

/// A memory that came from the cloud, and what became of it here.
pub type News = (MemoryId, Became);

/// What is said of a database that is not the linked one.
pub(super) const OTHER_DATABASE: &str = "the cloud database was emptied or replaced by another one";

/// Which database answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recognised {
    /// The linked one, as it was.
    Known,
    /// The linked one, in an older state: all positions are forgotten by now.
    PutBack,
    /// Another one: nothing is sent any more.
    Other,
}

/// One link and the client made for it.
pub(super) struct Session {
    pub(super) store: Store,
    pub(super) link: Link,
    pub(super) contract: Contract,
    pub(super) remote: Cloudflare,
    pub(super) gates: Arc<Gates>,
    pub(super) watch: Watch,
    pub(super) calendar: Calendar,
    pub(super) contact: Contact,
    backfill: Mutex<(Way, Way)>,
    pace: Mutex<Pace>,
    polling: Mutex<Polling>,
    /// Memories that others changed, not told yet.
    news: Mutex<Vec<News>>,
}

impl Session {
    /// Connects; what an earlier run has left is taken up.
    pub(super) fn open(
        store: Store,
        link: Link,
        connect: &Connect,
        gates: Arc<Gates>,
        remembered: Remembered,
    ) -> Result<Self, ConnectError> {
        let contract = Contract::from_json(&link.contract).map_err(|error| ConnectError {
            state: SyncState::Misconfigured,
            message: error.to_string(),
            next_step: "link the account again with `memtide cloud link`".to_owned(),
        })?;
        let remote = connect(&link)?;
        remote.restore_budget(remembered.sent_at);
        remote.restore_usage(remembered.usage);
        gates.restore(remembered.breakers, remembered.foreign);
        Ok(Self {
            store,
            link,
            contract,
            remote,
            gates,
            watch: Watch::default(),
            calendar: Calendar::from_dates(remembered.dates),
            contact: Contact::from_known(remembered.contact),
            backfill: Mutex::new((
                Way::from_begun(remembered.backfill.0),
                Way::from_begun(remembered.backfill.1),
            )),
            pace: Mutex::new(Pace::with_deleted(remembered.deleted)),
            polling: Mutex::default(),
            news: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> Micros {
        self.remote.clock().now()
    }

    /// Whether the gate of `product` is shut. In the middle of a pass the answer to another product's
    /// request may have shut it.
    pub(super) fn is_shut(&self, product: Product) -> bool {
        matches!(self.gates.admission(product, self.now()), Admission::Shut { .. })
    }

    /// When the feed is read next.
    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        // A panic elsewhere leaves at worst a wrong interval.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the database tells of the Python service's writes.
    pub(super) fn polling(&self) -> MutexGuard<'_, Polling> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The feed is read on from `from`, and its newest position is `newest`.
    pub(super) fn begins_reading(&self, from: i64, newest: i64) {
        let behind = u64::try_from(newest - from).unwrap_or(0);
        self.pace().saw_behind(behind);
        if !self.pace().was_ever_caught_up() {
            self.backfill().1.saw(behind, self.now());
        }
    }

    /// How far the backfill has come, up and down.
    pub(super) fn backfill(&self) -> MutexGuard<'_, (Way, Way)> {
        self.backfill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes memories that others changed.
    pub(super) fn tell(&self, news: &[News]) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(news);
    }

    /// Takes what was noted.
    pub(super) fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares the database that answered with the one that this device knows. One that was put back to
    /// an older state is begun anew; another one stops everything.
    pub(super) async fn recognise(&self, cloud: &CloudCheck) -> Result<Recognised, StoreError> {
        if cloud.database.as_ref() != Some(&self.link.database_uuid) {
            self.gates.stop(OTHER_DATABASE);
            return Ok(Recognised::Other);
        }
        if cloud.anchor_holds || mutant::is(Mutant::RewindUnnoticed) {
            return Ok(Recognised::Known);
        }
        tracing::warn!("the cloud database was put back to an older state: everything is compared");
        record::begin_anew(self).await?;
        self.pace().begin_anew();
        Ok(Recognised::PutBack)
    }

    pub(super) fn waits(&self) -> Waits {
        Waits {
            live: self.remote.budget_wait(Lane::Live),
            backfill: self.remote.budget_wait(Lane::Backfill),
        }
    }

    /// What is to be kept, by name.
    pub(super) fn remembered(&self) -> Vec<(&'static str, String)> {
        let sent_at: Vec<i64> = self.remote.sent_at().into_iter().map(|at| at.0).collect();
        vec![
            (BREAKERS, written(&self.gates.breakers())),
            (BUDGET, written(&sent_at)),
            (USAGE, written(&WrittenUsage::from(self.remote.usage()))),
            (FOREIGN, written(&self.gates.foreign())),
            (CALENDAR, written(&self.calendar.dates())),
            (CONTACT, written(&self.contact.known())),
            (DELETED, written(&self.pace().deleted())),
            (BACKFILL, {
                let backfill = self.backfill();
                written(&(backfill.0.begun(), backfill.1.begun()))
            }),
        ]
    }
}

pub(super) fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
