//! Vectors into the index, and those of dead and replaced memories out of it.
//!
//! A duty is settled when the index has accepted the change; that it can be found comes later, and until
//! it has been seen there the change counts as unconfirmed. Vectors
//! come from the store where the index lives in the local space, else from Workers AI.

use super::super::contact;
use super::super::outgoing::{ai_text, stored_vector, vector_row};
use super::super::plan::{self, Room};
use super::super::record::{Fate, Record, Tally, commit};
use super::super::session::Session;
use super::{Unsendable, due, refuse};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::model::space::{Space, UnitVector};
use crate::model::state::State;
use crate::model::state_text;
use crate::priority;
use crate::remote::ai::{self, TEXTS_MAX};
use crate::remote::budget::Lane;
use crate::remote::error::{Disposition, Pause, Product as Remote, RemoteError};
use crate::remote::vector_row::{BATCH_MAX, VectorRow};
use crate::remote::vectorize::{DELETE_MAX, Mutation, Vectorize};
use crate::store::Read;
use crate::store::error::StoreError;
use crate::store::outbox::{self, Duty, Outgoing, Product};
use crate::store::unconfirmed::Accepted;
use crate::store::vector;

/// Sends one batch of vectors and one of deletions.
pub(in super::super) async fn pass(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let mut gates = vec![session.gates.admission(Remote::Vectorize, now)];
    let mut most = BATCH_MAX;
    if !session.link.is_local_space {
        gates.push(session.gates.admission(Remote::Ai, now));
        most = TEXTS_MAX;
    }
    let Some(room) = plan::room(most, &gates, session.waits()) else {
        return Ok(Tally::default());
    };
    let source = Source {
        is_local: session.link.is_local_space,
        space: session.contract.space.clone(),
        dims: session.contract.dims,
    };
    let is_held = contact::holds(session).vectors;
    let load =
        session.store.read(move |read| Load::read(read, &source, room, now, is_held)).await?;
    let mut tally = Tally::default();
    let mut records: Vec<Record> =
        load.unsendable.iter().map(|one| one.record(session, Product::Vectorize)).collect();
    records.extend(load.unembedded);
    if !records.is_empty() {
        commit(session, records, None, &mut tally).await?;
    }
    let made = embed(session, load.lane, load.texts, &mut tally).await?;
    let upserts = load.upserts.into_iter().chain(made).collect();
    let index = Vectorize::new(session.remote.in_lane(load.lane), &session.link.vector_index);
    if send(session, &index, vec![upserts], &mut tally).await? {
        let deletes = load.deletes.chunks(DELETE_MAX).rev().map(<[Change]>::to_vec).collect();
        send(session, &index, deletes, &mut tally).await?;
    }
    // Last, as it shuts the gate, and deletions are of no space.
    if let Some(other) = load.foreign_space.filter(|_| !load.foreign.is_empty()) {
        let records = refuse_space(session, &other, &load.foreign);
        commit(session, records, None, &mut tally).await?;
    }
    Ok(tally)
}

struct Source {
    is_local: bool,
    space: Space,
    dims: usize,
}

/// A change of the index that is ready to go; without a row the vector is deleted.
#[derive(Clone)]
struct Change {
    duty: Duty,
    id: MemoryId,
    row: Option<VectorRow>,
}

/// A text that Workers AI is to embed.
struct Unmade {
    duty: Duty,
    memory: Outgoing,
    state: State,
}

/// What was read in one snapshot: duties and contents are of one generation.
struct Load {
    lane: Lane,
    upserts: Vec<Change>,
    deletes: Vec<Change>,
    texts: Vec<Unmade>,
    unembedded: Vec<Record>,
    unsendable: Vec<Unsendable>,
    foreign: Vec<(MemoryId, Duty)>,
    foreign_space: Option<Space>,
}

impl Load {
    fn read(
        read: &Read<'_>,
        source: &Source,
        room: Room,
        now: Micros,
        is_held: bool,
    ) -> Result<Self, StoreError> {
        let (chosen, lane) = due(read, Product::Vectorize, room, now, is_held)?;
        let mut load = Self {
            lane,
            upserts: Vec::new(),
            deletes: Vec::new(),
            texts: Vec::new(),
            unembedded: Vec::new(),
            unsendable: Vec::new(),
            foreign: Vec::new(),
            foreign_space: None,
        };
        if source.is_local {
            load.foreign_space = vector::active(read)?.filter(|space| *space != source.space);
        }
        for duty in chosen {
            priority::give_way();
            if let Some(memory) = outbox::outgoing(read, duty.key, source.is_local)? {
                load.add(source, duty, memory);
            }
        }
        Ok(load)
    }

    fn add(&mut self, source: &Source, duty: Duty, mut memory: Outgoing) {
        let state = match state_text::read(&memory.state) {
            Ok(state) => state,
            Err(error) => {
                self.unsendable.push(Unsendable::new(duty, &memory, error.to_string()));
                return;
            }
        };
        if !state.is_findable() {
            self.deletes.push(Change { duty, id: memory.id, row: None });
        } else if !source.is_local {
            memory.content = memory.content.map(|text| ai_text(&text).to_owned());
            self.texts.push(Unmade { duty, memory, state });
        } else if self.foreign_space.is_some() {
            self.foreign.push((memory.id, duty));
        } else if let Some(bytes) = &memory.vector {
            match stored_vector(bytes, source.dims) {
                Ok(values) => {
                    let row = Some(vector_row(&memory, &state, values));
                    self.upserts.push(Change { duty, id: memory.id, row });
                }
                Err(why) => self.unsendable.push(Unsendable::new(duty, &memory, why)),
            }
        } else {
            let waits = Record::new(Product::Vectorize, memory.id, &duty, Fate::Unembedded);
            self.unembedded.push(waits);
        }
    }
}

/// The device makes vectors of another space than the index holds: they must never meet.
fn refuse_space(session: &Session, other: &Space, duties: &[(MemoryId, Duty)]) -> Vec<Record> {
    let message = format!(
        "the cloud index holds vectors of {}, this device makes those of {other}",
        session.contract.space
    );
    let error = RemoteError::local(
        Remote::Vectorize,
        Disposition::Pause(Pause::Misconfigured),
        &message,
        "go back to the former model with `memtide model use`, or link an index of its own with \
         `memtide cloud init` and `memtide cloud link`",
    );
    let duties = duties.iter().map(|(id, duty)| (*id, duty));
    refuse(session, Product::Vectorize, &error, duties)
}

/// Has Workers AI embed texts; those that can't be are recorded, the others come back as changes.
async fn embed(
    session: &Session,
    lane: Lane,
    texts: Vec<Unmade>,
    tally: &mut Tally,
) -> Result<Vec<Change>, StoreError> {
    let mut made = Vec::new();
    let mut parts = vec![texts];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        if session.is_shut(Remote::Ai) {
            break;
        }
        match ask_model(session, lane, &part).await {
            Ok(vectors) => {
                session.gates.succeeded(Remote::Ai, session.now());
                let mut unsendable = Vec::new();
                for (one, values) in part.into_iter().zip(vectors) {
                    let Unmade { duty, memory, state } = one;
                    if let Some(values) = UnitVector::normalise(values) {
                        let row = Some(vector_row(&memory, &state, values));
                        made.push(Change { duty, id: memory.id, row });
                    } else {
                        let why = "Workers AI made a vector without a direction".to_owned();
                        let one = Unsendable::new(duty, &memory, why);
                        unsendable.push(one.record(session, Product::Vectorize));
                    }
                }
                if !unsendable.is_empty() {
                    commit(session, unsendable, None, tally).await?;
                }
            }
            Err(error) if error.disposition == Disposition::Park && part.len() > 1 => {
                let (first, second) = plan::halves(part);
                parts.extend([second, first]);
            }
            Err(error) => {
                let duties = part.iter().map(|one| (one.memory.id, &one.duty));
                let records = refuse(session, Product::Vectorize, &error, duties);
                commit(session, records, None, tally).await?;
                if error.disposition != Disposition::Park {
                    break;
                }
            }
        }
    }
    Ok(made)
}

async fn ask_model(
    session: &Session,
    lane: Lane,
    part: &[Unmade],
) -> Result<Vec<Vec<f32>>, RemoteError> {
    let contract = &session.contract;
    let Some(model) = &contract.ai else {
        return Err(RemoteError::local(
            Remote::Ai,
            Disposition::Pause(Pause::Misconfigured),
            &format!("no model of Workers AI makes vectors of {}", contract.space),
            "use the model that the cloud index was made for with `memtide model use`, then run \
             `memtide cloud link`",
        ));
    };
    let texts: Vec<&str> =
        part.iter().map(|one| ai_text(one.memory.content.as_deref().unwrap_or(" "))).collect();
    ai::embed(&session.remote.in_lane(lane), model, contract.dims, &texts).await
}

/// Sends parts of one kind each; one that is refused as a whole is divided until the entry at fault is
/// found. Returns whether the index still takes requests.
async fn send(
    session: &Session,
    index: &Vectorize,
    mut parts: Vec<Vec<Change>>,
    tally: &mut Tally,
) -> Result<bool, StoreError> {
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        if session.is_shut(Remote::Vectorize) {
            return Ok(false);
        }
        match change(index, &part).await {
            Ok((taken, accepted)) => {
                session.gates.succeeded(Remote::Vectorize, session.now());
                // What one request doesn't take stays due.
                let done: Vec<Record> = part
                    .iter()
                    .take(taken)
                    .map(|one| {
                        let row = one.row.as_ref();
                        let rev = row.map(|row| row.metadata.as_ref().map(|m| m.rev.clone()));
                        let fate = Fate::Accepted {
                            rev: rev.map(Option::unwrap_or_default),
                            by: accepted.clone(),
                        };
                        Record::new(Product::Vectorize, one.id, &one.duty, fate)
                    })
                    .collect();
                commit(session, done, None, tally).await?;
            }
            Err(error) if error.disposition == Disposition::Park && part.len() > 1 => {
                let (first, second) = plan::halves(part);
                parts.extend([second, first]);
            }
            Err(error) => {
                let duties = part.iter().map(|one| (one.id, &one.duty));
                let records = refuse(session, Product::Vectorize, &error, duties);
                commit(session, records, None, tally).await?;
                if error.disposition != Disposition::Park {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

async fn change(index: &Vectorize, part: &[Change]) -> Result<(usize, Accepted), RemoteError> {
    let accepted = |mutation: Mutation| Accepted { at: mutation.at, mutation: mutation.id };
    let rows: Vec<VectorRow> = part.iter().filter_map(|one| one.row.clone()).collect();
    if rows.is_empty() {
        let ids: Vec<String> = part.iter().map(|one| one.id.to_string()).collect();
        let last = index.delete(&ids).await?;
        return Ok((part.len(), last.map(accepted).unwrap_or_default()));
    }
    let (taken, mutation) = index.upsert(&rows).await?;
    Ok((taken, accepted(mutation)))
}
