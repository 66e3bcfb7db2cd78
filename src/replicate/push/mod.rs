//! Carrying one step out: reads what is due together with what is to be sent, sends it, writes down
//! what became of it. One file a product; each pass sends a bounded amount and tells what moved.

pub(super) mod bodies;
pub(super) mod rows;
pub(super) mod vectors;

use super::record::Record;
use super::session::Session;
use super::transition::{Move, Outcome};
use crate::model::id::MemoryId;
use crate::remote::budget::Lane;
use crate::remote::error::RemoteError;
use crate::store::Read;
use crate::store::error::StoreError;
use crate::store::outbox::{self, Duty, Outgoing, Product};

use super::plan::{self, Room};
use crate::clock::Micros;

/// What is due and goes now, and the lane in which it counts; of the backfill nothing where it is held.
fn due(
    read: &Read<'_>,
    product: Product,
    room: Room,
    now: Micros,
    holds_backfill: bool,
) -> Result<(Vec<Duty>, Lane), StoreError> {
    let live = outbox::due_in_lane(read, product, false, now, room.count)?;
    let backfill = if holds_backfill {
        Vec::new()
    } else {
        outbox::due_in_lane(read, product, true, now, room.count)?
    };
    Ok(plan::choose(live, backfill, room))
}

/// A memory that can't be put into the form in which it is sent.
struct Unsendable {
    duty: Duty,
    id: MemoryId,
    why: String,
}

impl Unsendable {
    fn new(duty: Duty, memory: &Outgoing, why: String) -> Self {
        Self { duty, id: memory.id, why }
    }

    fn record(&self, session: &Session, product: Product) -> Record {
        let moved = session.gates.outcome(Outcome::Unsendable, self.duty.attempts, session.now());
        Record::of(product, self.id, &self.duty, moved, &self.why)
    }
}

/// Records a request that failed for all its duties alike. They are put off to one instant, so that
/// they go together again; the fewest attempts among them say how far.
fn refuse<'a>(
    session: &Session,
    product: Product,
    error: &RemoteError,
    duties: impl Iterator<Item = (MemoryId, &'a Duty)> + Clone,
) -> Vec<Record> {
    let attempts = duties.clone().map(|(_, duty)| duty.attempts).min().unwrap_or(0);
    let moved: Move = session.gates.failed(error, attempts, session.now());
    let why = format!("{error}; {}", error.hint);
    duties.map(|(id, duty)| Record::of(product, id, duty, moved.clone(), &why)).collect()
}
