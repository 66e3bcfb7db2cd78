//! Bodies of long texts into the bucket, one by one, before their rows.

use super::super::contact;
use super::super::outgoing::body_key;
use super::super::plan::{self, Room};
use super::super::record::{Fate, Record, Tally, commit};
use super::super::session::Session;
use super::{Unsendable, due, refuse};
use crate::clock::Micros;
use crate::remote::budget::Lane;
use crate::remote::error::{Disposition, Pause, Product as Remote, RemoteError};
use crate::remote::r2::R2;
use crate::store::Read;
use crate::store::error::StoreError;
use crate::store::outbox::{self, Duty, Outgoing, Product};

/// Bodies in one pass. Each is read when its turn comes: one may have 25 MB.
const BODIES: usize = 8;

/// Sends what is due, up to [`BODIES`].
pub(in super::super) async fn pass(session: &Session) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for _ in 0..BODIES {
        let now = session.now();
        let gate = session.gates.admission(Remote::R2, now);
        let Some(room) = plan::room(1, &[gate], session.waits()) else { break };
        let is_held = contact::holds(session).rows;
        let next = session.store.read(move |read| next_body(read, room, now, is_held)).await?;
        let Some((duty, memory, lane)) = next else { break };
        let before = tally;
        let record = send(session, duty, memory, lane).await;
        commit(session, record, None, &mut tally).await?;
        if tally.settled + tally.parked == before.settled + before.parked {
            break;
        }
    }
    Ok(tally)
}

fn next_body(
    read: &Read<'_>,
    room: Room,
    now: Micros,
    is_held: bool,
) -> Result<Option<(Duty, Outgoing, Lane)>, StoreError> {
    let (duties, lane) = due(read, Product::R2, room, now, is_held)?;
    let Some(duty) = duties.into_iter().next() else { return Ok(None) };
    let memory = outbox::outgoing(read, duty.key, false)?;
    Ok(memory.map(|memory| (duty, memory, lane)))
}

async fn send(session: &Session, duty: Duty, mut memory: Outgoing, lane: Lane) -> Vec<Record> {
    let record = |fate| vec![Record::new(Product::R2, memory.id, &duty, fate)];
    let Some(text) = memory.content.take() else {
        return record(Fate::Settled { seq: None, r2_key: None });
    };
    let key = match body_key(&memory) {
        Ok(key) => key,
        Err(error) => {
            let unsendable = Unsendable::new(duty, &memory, error.to_string());
            return vec![unsendable.record(session, Product::R2)];
        }
    };
    let put = match &session.link.bucket {
        Some(bucket) => {
            R2::new(session.remote.in_lane(lane), bucket).put(&key, text.into_bytes().into()).await
        }
        None => Err(no_bucket()),
    };
    match put {
        Ok(()) => {
            session.gates.succeeded(Remote::R2, session.now());
            record(Fate::Settled { seq: None, r2_key: Some(key) })
        }
        Err(error) => refuse(session, Product::R2, &error, std::iter::once((memory.id, &duty))),
    }
}

fn no_bucket() -> RemoteError {
    RemoteError::local(
        Remote::R2,
        Disposition::Pause(Pause::Misconfigured),
        "a long text needs a bucket, and none is linked",
        "make one with `memtide cloud init`, then run `memtide cloud link`",
    )
}
