//! The account that all share: the emulator's core, in the world's time.

use super::device::formatted;
use super::time::Time;
use crate::disk::Image;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Request;
use http::header::{AUTHORIZATION, HeaderValue};
use memtide::clock::SharedClock;
use memtide::emulator::Cloudflare;
use memtide::emulator::options::Options;
use memtide::emulator::outcome::Outcome;
use memtide::model::space::Space;
use memtide::mutant::{self, Mutant};
use memtide::remote;
use memtide::remote::budget::Budget;
use memtide::remote::contract::Contract;
use memtide::remote::provision::{self, DatabaseName, Names};
use memtide::remote::transport::{Transport, TransportError};
use memtide::replicate::linking::{self, LinkSettings};
use memtide::store::link::{self, Link, LinkMode};
use memtide::store::{Store, StoreOptions, vector};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

pub const DATABASE: &str = "memories";
pub const INDEX: &str = "vectors";
pub const BUCKET: &str = "bodies";
/// Bytes of text that stay in a row.
pub const INLINE: usize = 200;
pub const DIMS: usize = 4;
/// The account's ids are the same in every run, so that one linked device can stand model for all.
const SEED: u64 = 7;

pub fn space() -> Space {
    Space::new("simulated", "1", "mean", 256, DIMS)
}

/// What every run starts from: an account with its tables, and the disk of a device linked to it.
pub struct Template {
    database: Connection,
    pub database_id: String,
    pub device: Image,
}

thread_local! {
    /// One for each thread, as SQLite connections stay on theirs.
    static TEMPLATE: Template = Template::make();
}

impl Template {
    pub fn with<T>(look: impl FnOnce(&Self) -> T) -> T {
        TEMPLATE.with(look)
    }

    fn make() -> Self {
        let time = Time::begin();
        let account = Arc::new(bare(&time));
        let clock: SharedClock = Arc::new(time);
        let transport = Arc::new(Direct(Arc::clone(&account)));
        let id = &account.options().account_id;
        let budget = Budget::default();
        let remote = remote::cloudflare::Cloudflare::new(transport, id, Arc::clone(&clock), budget);
        let names = Names {
            database: DatabaseName::Name(DATABASE.to_owned()),
            index: INDEX.to_owned(),
            bucket: Some(BUCKET.to_owned()),
        };
        let contract = Contract::local(space()).unwrap();
        ready(provision::init(&remote, &names, &contract, "the-cloud")).unwrap();
        let settings = LinkSettings {
            api_base: "https://cloud".to_owned(),
            inline_bytes: INLINE,
            mode: LinkMode::Dual,
            linked_at: clock.now(),
            fresh_uuid: "unused".to_owned(),
        };
        let plan = ready(linking::prepare(&remote, &names, &space(), settings)).unwrap();
        assert!(plan.has_triggers);
        let database_id = plan.link.database.clone();
        let device = linked(plan.link, clock);
        Self { database: account.d1_copy(DATABASE).unwrap(), database_id, device }
    }

    /// A fresh account with all tables.
    pub fn account(&self, time: &Time) -> Arc<Cloudflare> {
        let account = bare(time);
        account.d1_become(DATABASE, &self.database).unwrap();
        if mutant::is(Mutant::NoTriggers) {
            let drop = |conn: &Connection| {
                let all = ["mt_t1", "mt_t2", "mt_t3", "mt_t4", "mt_t5"];
                all.iter().try_for_each(|name| conn.execute_batch(&format!("DROP TRIGGER {name}")))
            };
            account.d1_look(DATABASE, drop).unwrap();
        }
        Arc::new(account)
    }
}

fn bare(time: &Time) -> Cloudflare {
    let account = Cloudflare::new(Arc::new(time.clone()), SEED, Options::default());
    account.create_database(DATABASE).unwrap();
    account.create_index(INDEX, DIMS).unwrap();
    account.create_bucket(BUCKET).unwrap();
    account
}

/// The disk of a device that is linked and has stored nothing.
fn linked(link: Link, clock: SharedClock) -> Image {
    formatted(|options| {
        let options = StoreOptions { keep_versions: 1, ..options.clone() };
        let store = Store::open(&options, clock).unwrap();
        ready(store.write(|write| vector::activate(write, &space(), DIMS))).unwrap();
        ready(store.write(move |write| link::link(write, &link))).unwrap();
        store.close();
    })
}

/// The outcome of a future that waits for nothing.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits")
}

/// A request as it stands on the wire.
pub fn addressed(mut request: Request<Bytes>) -> Request<Bytes> {
    let uri = format!("/client/v4{}", request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    let token = format!("Bearer {}", Options::TOKEN);
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::try_from(token).unwrap());
    request
}

/// A line without a network, for setting things up.
struct Direct(Arc<Cloudflare>);

impl Transport for Direct {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Duration,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let outcome = self.0.handle(&addressed(request));
        Box::pin(async move {
            match outcome {
                Outcome::Answer(answer) => Ok(answer),
                other => Err(TransportError::Lost(format!("{other:?}"))),
            }
        })
    }
}
