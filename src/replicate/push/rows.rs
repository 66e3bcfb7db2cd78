//! Rows into the database: the commit point of a memory.

use super::super::contact;
use super::super::intake::{self, Intake, Trouble};
use super::super::outgoing::push_row;
use super::super::pace;
use super::super::plan::{self, Room, RowLoad};
use super::super::record::{self, Fate, Record, Tally, commit};
use super::super::session::{Recognised, Session};
use super::super::transition::Outcome;
use super::super::verdict::{Verdict, verdict};
use super::{Unsendable, due, refuse};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::priority;
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::error::{Disposition, Product as Remote, RemoteError};
use crate::remote::feed::{self, FETCH_MAX, FeedEntry};
use crate::remote::push::{self, Anchor, CloudCheck, PushAnswer, PushBatch, PushRow};
use crate::remote::vectorize::Vectorize;
use crate::store::error::StoreError;
use crate::store::link::{self, LinkMode};
use crate::store::outbox::{self, Duty, Product, Setback};
use crate::store::pull::Incoming;
use crate::store::{Read, Write, survey};
use std::collections::{HashMap, HashSet, VecDeque};

/// Sends one batch; one that is refused as a whole is divided until the entry at fault is found.
pub(in super::super) async fn pass(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let gate = session.gates.admission(Remote::D1, now);
    let Some(room) = plan::room(push::BATCH_MAX_ENTRIES, &[gate], session.waits()) else {
        return Ok(Tally::default());
    };
    let is_held = contact::holds(session).rows;
    let load = session.store.read(move |read| Load::read(read, room, now, is_held)).await?;
    let mut tally = Tally::default();
    let unsendable: Vec<Record> =
        load.unsendable.iter().map(|one| one.record(session, Product::D1)).collect();
    if !unsendable.is_empty() {
        commit(session, unsendable, None, &mut tally).await?;
    }
    let sender = Sender {
        session,
        d1: D1::new(session.remote.in_lane(load.lane), &session.link.database),
        anchor: load.anchor,
        duties: load.duties,
    };
    let mut parts = vec![load.rows];
    while let Some(part) = parts.pop() {
        // Another product's answer may have shut the gate meanwhile; what is left stays due.
        if session.is_shut(Remote::D1) {
            break;
        }
        if !part.is_empty() && !sender.send(part, &mut parts, &mut tally).await? {
            break;
        }
    }
    Ok(tally)
}

/// What was read in one snapshot: duties and rows are of one generation.
struct Load {
    lane: Lane,
    anchor: Option<Anchor>,
    duties: HashMap<MemoryId, Duty>,
    rows: Vec<PushRow>,
    unsendable: Vec<Unsendable>,
}

impl Load {
    fn read(read: &Read<'_>, room: Room, now: Micros, is_held: bool) -> Result<Self, StoreError> {
        let (chosen, lane) = due(read, Product::D1, room, now, is_held)?;
        let anchor = link::anchor(read)?.map(|(seq, nonce)| Anchor { seq, nonce });
        let (mut duties, mut rows, mut unsendable) = (HashMap::new(), Vec::new(), Vec::new());
        let mut load = RowLoad::default();
        for duty in chosen {
            priority::give_way();
            let Some(memory) = outbox::outgoing(read, duty.key, false)? else { continue };
            match push_row(&memory) {
                Err(error) => {
                    unsendable.push(Unsendable::new(duty, &memory, error.to_string()));
                }
                Ok(row) => {
                    let writes_row = row.writes_row();
                    let text = if writes_row { row.content.len() } else { 0 };
                    if !load.take(writes_row, text + row.state_text.len()) {
                        break;
                    }
                    duties.insert(row.id, duty);
                    rows.push(row);
                }
            }
        }
        Ok(Self { lane, anchor, duties, rows, unsendable })
    }
}

/// The first and the last of these positions, if there is no other between them.
fn unbroken(seqs: impl Iterator<Item = i64> + Clone) -> Option<(i64, i64)> {
    let (first, last) = (seqs.clone().min()?, seqs.clone().max()?);
    let n = i64::try_from(seqs.count()).ok()?;
    (last - first + 1 == n).then_some((first, last))
}

struct Sender<'a> {
    session: &'a Session,
    d1: D1,
    anchor: Option<Anchor>,
    duties: HashMap<MemoryId, Duty>,
}

impl Sender<'_> {
    /// Sends the first batch of `part`; what doesn't fit it stays due. Returns whether to go on with
    /// the other parts.
    async fn send(
        &self,
        mut part: Vec<PushRow>,
        parts: &mut Vec<Vec<PushRow>>,
        tally: &mut Tally,
    ) -> Result<bool, StoreError> {
        let (batches, oversized) = push::split(&part);
        let mut records: Vec<Record> = oversized
            .iter()
            .filter_map(|one| self.record(one.id, Outcome::Unsendable, &one.to_string()))
            .collect();
        let Some(batch) = batches.into_iter().next() else {
            commit(self.session, records, None, tally).await?;
            return Ok(true);
        };
        let sent: HashSet<MemoryId> = batch.ids.iter().copied().collect();
        part.retain(|row| sent.contains(&row.id));
        let database = &self.session.link.database_uuid;
        match push::push(&self.d1, &batch, self.anchor.as_ref(), database).await {
            Ok(answer) => {
                self.session.gates.succeeded(Remote::D1, self.session.now());
                commit(self.session, records, None, tally).await?;
                self.take_answer(&part, answer, tally).await
            }
            Err(error) if error.disposition == Disposition::Park && part.len() > 1 => {
                commit(self.session, records, None, tally).await?;
                let (first, second) = plan::halves(part);
                parts.extend([second, first]);
                Ok(true)
            }
            Err(error) => {
                records.extend(self.refuse(&batch, &error));
                commit(self.session, records, None, tally).await?;
                Ok(error.disposition == Disposition::Park)
            }
        }
    }

    fn record(&self, id: MemoryId, outcome: Outcome<'_>, why: &str) -> Option<Record> {
        let duty = self.duties.get(&id)?;
        let moved = self.session.gates.outcome(outcome, duty.attempts, self.session.now());
        Some(Record::of(Product::D1, id, duty, moved, why))
    }

    fn refuse(&self, batch: &PushBatch, error: &RemoteError) -> Vec<Record> {
        let duties = batch.ids.iter().filter_map(|id| Some((*id, self.duties.get(id)?)));
        refuse(self.session, Product::D1, error, duties)
    }

    async fn take_answer(
        &self,
        part: &[PushRow],
        answer: PushAnswer,
        tally: &mut Tally,
    ) -> Result<bool, StoreError> {
        if !self.is_known(&answer.cloud, tally).await? {
            return Ok(false);
        }
        let settled = answer.winners.iter().filter_map(|winner| {
            let fate = Fate::Settled { seq: Some(winner.seq), r2_key: None };
            Some(Record::new(Product::D1, winner.id, self.duties.get(&winner.id)?, fate))
        });
        let newest = answer.winners.iter().max_by_key(|winner| winner.seq);
        let newest = newest.map(|w| Anchor { seq: w.seq, nonce: w.nonce.clone() });
        let own = unbroken(answer.winners.iter().map(|winner| winner.seq));
        record::commit_pushed(self.session, settled.collect(), newest, own, tally).await?;
        self.remove_other_vectors(&answer.other_vectors).await;
        if answer.losers.is_empty() {
            return Ok(true);
        }
        let rows: HashMap<MemoryId, &PushRow> = part.iter().map(|row| (row.id, row)).collect();
        self.look_at_losers(&rows, answer.losers.into(), tally).await
    }

    /// Deletes vectors that no row names any more. What fails is not tried again: such a vector is found, and
    /// leads nowhere.
    async fn remove_other_vectors(&self, ids: &[String]) {
        if ids.is_empty() || self.session.is_shut(Remote::Vectorize) {
            return;
        }
        let remote = self.session.remote.in_lane(Lane::Backfill);
        let index = Vectorize::new(remote, &self.session.link.vector_index);
        if let Err(error) = index.delete(ids).await {
            tracing::warn!(%error, vectors = ids.len(), "vectors that no row names are left in the index");
            let _no_duty = self.session.gates.failed(&error, 0, self.session.now());
        }
    }

    /// Asks what the cloud holds for the memories that lost, and decides about each.
    async fn look_at_losers(
        &self,
        rows: &HashMap<MemoryId, &PushRow>,
        mut losers: VecDeque<MemoryId>,
        tally: &mut Tally,
    ) -> Result<bool, StoreError> {
        while !losers.is_empty() {
            if self.session.is_shut(Remote::D1) {
                return Ok(false);
            }
            let asked: Vec<MemoryId> = losers.drain(..losers.len().min(FETCH_MAX)).collect();
            let (found, cloud) = match feed::fetch(&self.d1, &asked, self.anchor.as_ref()).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.give_up(asked.iter().chain(&losers), &error, tally).await?;
                    return Ok(false);
                }
            };
            if !self.is_known(&cloud, tally).await? {
                return Ok(false);
            }
            let left = match self.session.link.mode {
                LinkMode::Shadow => self.judge_all(rows, found, tally).await,
                LinkMode::Dual => self.merge(rows, found, tally).await,
            };
            match left {
                Ok(cut) => losers.extend(cut),
                Err(Trouble::Store(error)) => return Err(error),
                Err(Trouble::Remote(error)) => {
                    self.give_up(asked.iter().chain(&losers), &error, tally).await?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether the answer came from the database that this device knows, in the state that it knows.
    async fn is_known(&self, cloud: &CloudCheck, tally: &mut Tally) -> Result<bool, StoreError> {
        let recognised = self.session.recognise(cloud).await?;
        if recognised == Recognised::PutBack {
            // All of it is owed again: there is something to do at once.
            tally.learnt += 1;
        }
        if recognised != Recognised::Known {
            commit(self.session, Vec::new(), None, tally).await?;
        }
        Ok(recognised == Recognised::Known)
    }

    /// Puts memories off whose state in the cloud could not be read.
    async fn give_up(
        &self,
        ids: impl Iterator<Item = &MemoryId>,
        error: &RemoteError,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let duties: Vec<_> = ids.filter_map(|id| Some((*id, self.duties.get(id)?))).collect();
        let records = refuse(self.session, Product::D1, error, duties.into_iter());
        commit(self.session, records, None, tally).await
    }

    /// Takes in what the cloud holds; what is owed after that follows from it. Returns the memories for
    /// which the answer had no room.
    async fn merge(
        &self,
        rows: &HashMap<MemoryId, &PushRow>,
        found: Vec<FeedEntry>,
        tally: &mut Tally,
    ) -> Result<Vec<MemoryId>, Trouble> {
        let mut intake = intake::of_ids(self.session, &self.d1, found).await?;
        let mut records = Vec::new();
        // A position that was known already explains nothing: sent again at once, it would lose for ever.
        let known = |id: &MemoryId| rows.get(id).map(|sent| sent.expected_seq);
        let is_unexplained = |one: &Incoming| known(&one.id) == Some(one.seq);
        let unexplained = intake.incoming.extract_if(.., |one| is_unexplained(one));
        let unexplained: Vec<MemoryId> = unexplained.map(|one| one.id).collect();
        let why = "the database did not take the memory, though nothing changed it there";
        records
            .extend(unexplained.iter().filter_map(|id| self.record(*id, Outcome::NotTaken, why)));
        records.extend(self.untaken(&mut intake));
        let cut = std::mem::take(&mut intake.cut);
        tally.learnt += intake.incoming.len() + intake.empty.len();
        let (_, held) = record::merge(self.session, intake).await?;
        tally.learnt -= held.ids.len();
        let later = self.session.now().plus(pace::QUIET);
        for id in held.ids {
            let Some(duty) = self.duties.get(&id) else { continue };
            let setback = Setback::Defer { due_at: later, counts: false };
            let why =
                "the cloud would delete this memory, among many: that waits for you".to_owned();
            records.push(Record::new(Product::D1, id, duty, Fate::SetBack(setback, why)));
        }
        commit(self.session, records, None, tally).await?;
        Ok(cut)
    }

    /// Decides about each memory without taking anything in. Returns those for which the answer had no
    /// room.
    async fn judge_all(
        &self,
        rows: &HashMap<MemoryId, &PushRow>,
        found: Vec<FeedEntry>,
        tally: &mut Tally,
    ) -> Result<Vec<MemoryId>, Trouble> {
        let (cut, whole): (Vec<_>, Vec<_>) = found.into_iter().partition(|entry| entry.is_cut);
        let is_strange = |entry: &FeedEntry| {
            let sent = entry.id().and_then(|id| rows.get(&id));
            let is_news = sent.is_some_and(|sent| sent.expected_seq != entry.seq && entry.seq > 0);
            is_news && entry.state_text.is_none() && entry.row.is_some()
        };
        let (strange, whole): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_strange);
        let judged: Vec<(Record, Option<Anchor>)> = whole
            .into_iter()
            .filter_map(|entry| self.judge(rows.get(&entry.id()?)?, entry))
            .collect();
        let newest = judged.iter().filter_map(|(_, anchor)| anchor.as_ref());
        let newest = newest.max_by_key(|anchor| anchor.seq).cloned();
        let records = judged.into_iter().map(|(record, _)| record).collect();
        commit(self.session, records, newest, tally).await?;
        let mut cut: Vec<MemoryId> = cut.iter().filter_map(FeedEntry::id).collect();
        if !strange.is_empty() {
            cut.extend(self.look_at_rows(strange, tally).await?);
        }
        Ok(cut)
    }

    /// Looks at rows that only the Python service has written, before anything is written over them.
    async fn look_at_rows(
        &self,
        found: Vec<FeedEntry>,
        tally: &mut Tally,
    ) -> Result<Vec<MemoryId>, Trouble> {
        let mut intake = intake::of_ids(self.session, &self.d1, found).await?;
        let records = self.untaken(&mut intake);
        let cut = std::mem::take(&mut intake.cut);
        let job = move |write: &mut Write<'_>| {
            let mut n_conflicts = 0;
            for one in &intake.incoming {
                n_conflicts += usize::from(survey::look_at(write, one)?);
            }
            Ok((n_conflicts, intake.incoming.len() - n_conflicts))
        };
        let (n_conflicts, n_learnt) = record::write(self.session, job).await?.unwrap_or_default();
        tally.conflicts += n_conflicts;
        tally.learnt += n_learnt;
        commit(self.session, records, None, tally).await?;
        Ok(cut)
    }

    /// What becomes of duties whose memories the database holds in a form that can't be taken, or not yet.
    fn untaken(&self, intake: &mut Intake) -> Vec<Record> {
        let mut records = Vec::new();
        for one in &intake.quarantined {
            let Ok(id) = one.key.parse() else { continue };
            let why = format!("what the database holds can't be taken: {}", one.reason);
            records.extend(self.record(id, Outcome::Unsendable, &why));
        }
        let later = self.session.now().plus(intake.settles_in.unwrap_or_default());
        for id in std::mem::take(&mut intake.unsettled) {
            let Some(duty) = self.duties.get(&id) else { continue };
            let setback = Setback::Defer { due_at: later, counts: false };
            let why = "what the database holds for this memory can't be read just yet".to_owned();
            records.push(Record::new(Product::D1, id, duty, Fate::SetBack(setback, why)));
        }
        records
    }

    fn judge(&self, sent: &PushRow, found: FeedEntry) -> Option<(Record, Option<Anchor>)> {
        let duty = self.duties.get(&sent.id)?;
        let made = |fate| Some(Record::new(Product::D1, sent.id, duty, fate));
        let record = match verdict(sent, &found) {
            Verdict::Held { seq } => made(Fate::Settled { seq, r2_key: None }),
            Verdict::Free { seq } => made(Fate::Learnt { seq }),
            Verdict::Differs(why) => self.record(sent.id, Outcome::Differs, &why),
            Verdict::Unexplained => {
                let why = "the database did not take the memory, though nothing changed it there";
                self.record(sent.id, Outcome::NotTaken, why)
            }
        };
        let anchor = found.nonce.map(|nonce| Anchor { seq: found.seq, nonce });
        Some((record?, anchor))
    }
}
