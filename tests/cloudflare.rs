//! The Cloudflare client against the emulated account, over real HTTP: set-up, permissions, push,
//! and every fault that an answer can have.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[path = "cloudflare/faults.rs"]
mod faults;
#[path = "cloudflare/products.rs"]
mod products;
#[path = "cloudflare/provision.rs"]
mod provision;
#[path = "cloudflare/push.rs"]
mod push;

use memtide::clock::{Clock, Micros, Sleep};
use memtide::emulator::options::Options;
use memtide::emulator::server::{self, Running};
use memtide::model::id::MemoryId;
use memtide::model::space::Space;
use memtide::remote::budget::Budget;
use memtide::remote::cloudflare::Cloudflare;
use memtide::remote::contract::Contract;
use memtide::remote::d1::D1;
use memtide::remote::http::HttpTransport;
use memtide::remote::provision::{DatabaseName, Names, Provisioned, init};
use memtide::remote::push::{PushRow, split};
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that both sides live by, and that moves only when told.
struct Standing(AtomicI64);

impl Clock for Standing {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

/// An emulated account and a client of it.
struct World {
    clock: Arc<Standing>,
    account: Running,
    transport: Arc<HttpTransport>,
    remote: Cloudflare,
}

impl World {
    fn new(options: Options) -> Self {
        // 2023-11-14T22:13:20Z.
        let clock = Arc::new(Standing(AtomicI64::new(1_700_000_000_000_000)));
        let account = server::start(Arc::clone(&clock) as _, 7, options).expect("a free port");
        let transport =
            HttpTransport::new(&account.base_url(), SecretString::from(account.token()));
        let transport = Arc::new(transport.expect("a transport"));
        let remote = Cloudflare::new(
            Arc::clone(&transport) as _,
            account.account_id(),
            Arc::clone(&clock) as _,
            Budget::default(),
        );
        Self { clock, account, transport, remote }
    }

    fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).expect("a short time");
        self.clock.0.fetch_add(micros, Ordering::SeqCst);
    }

    async fn init(&self) -> Provisioned {
        init(&self.remote, &names(), &local(), "database-1").await.expect("set up")
    }

    /// A set-up account and its database.
    async fn ready(&self) -> D1 {
        let made = self.init().await;
        D1::new(self.remote.clone(), &made.database.uuid)
    }

    /// The first column of a statement's rows, past the interface.
    fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.account.core().d1_rows("memories", sql).expect(sql);
        let text = |value: rusqlite::types::Value| match value {
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        rows.into_iter().filter_map(|row| row.into_values().next().map(text)).collect()
    }
}

fn names() -> Names {
    Names {
        database: DatabaseName::Name("memories".to_owned()),
        index: "memories".to_owned(),
        bucket: Some("memories".to_owned()),
    }
}

fn local() -> Contract {
    let space = Space::new("all-MiniLM-L6-v2", "r1", "mean", 256, 384);
    Contract::local(space).expect("dimensions")
}

/// A living memory with three tags, as a device would push it.
fn row(text: &str, expected_seq: i64) -> PushRow {
    PushRow {
        id: MemoryId::of(text),
        expected_seq,
        alive: true,
        is_row_right: false,
        content: text.to_owned(),
        memory_type: "note".to_owned(),
        tags: ["one", "two", "three"].map(str::to_owned).to_vec(),
        metadata_json: "{}".to_owned(),
        created_at: Micros(1_600_000_000_000_000),
        deleted_at: None,
        r2_key: None,
        content_size: text.len(),
        state_text: format!("{{\"state of\":{text:?}}}"),
        digest: 1,
    }
}

/// Pushes rows that fit one batch.
async fn push_rows(
    d1: &D1,
    memories: &[PushRow],
) -> Result<memtide::remote::push::PushAnswer, memtide::remote::error::RemoteError> {
    let (batches, oversized) = split(memories);
    assert_eq!((batches.len(), oversized.len()), (1, 0));
    memtide::remote::push::push(d1, &batches[0], None, "database-1").await
}
