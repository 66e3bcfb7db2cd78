//! Records on their way to the daemon, page by page. A page is taken whole or not at all; what was taken
//! before a fault stays, and doing it again changes nothing.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use crate::api::client::Client;
use crate::api::transfer::{ImportAnswer, ImportRequest, RecordJson};
use crate::clock::Micros;
use crate::model::carried::Carried;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::refusal::Refusal;
use crate::model::shown::Shown;
use crate::model::takeover::newborn;
use crate::store::transfer::Record;

/// Records sent at once.
const PAGE_RECORDS: usize = 200;
/// Bytes of lines sent at once, roughly; the daemon takes 64 MiB.
const PAGE_BYTES: usize = 8 << 20;

/// Records that wait, and what became of those that were sent.
pub(super) struct Pages<'a> {
    session: &'a Session,
    client: &'a Client,
    sum: ImportAnswer,
    waiting: Vec<RecordJson>,
    bytes: usize,
    /// Where the first and the last of them stand in the file.
    places: Option<(String, String)>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(session: &'a Session, client: &'a Client) -> Self {
        let sum = ImportAnswer::default();
        Self { session, client, sum, waiting: Vec::new(), bytes: 0, places: None }
    }

    /// Bytes that a text may have.
    pub(super) fn text_limit(&self) -> usize {
        self.session.settings().limits.text_bytes
    }

    /// Takes a record of about `bytes`, that stands at `place`; sends those that waited if it is one too many.
    pub(super) fn add(
        &mut self,
        place: String,
        record: RecordJson,
        bytes: usize,
    ) -> Result<(), Failure> {
        if self.waiting.len() >= PAGE_RECORDS || self.bytes + bytes > PAGE_BYTES {
            self.send()?;
        }
        let first = self.places.take().map_or_else(|| place.clone(), |(first, _)| first);
        self.places = Some((first, place));
        self.waiting.push(record);
        self.bytes += bytes;
        Ok(())
    }

    /// Takes a memory that another program wrote.
    pub(super) fn add_foreign(
        &mut self,
        place: String,
        id: MemoryId,
        content: String,
        shown: &Shown,
        client: &str,
        carried: Option<Carried>,
    ) -> Result<(), Failure> {
        let bytes = content.len();
        let mut state = newborn(shown, BodyHash::of(&content));
        client.clone_into(&mut state.birth.value.client);
        let (content, versions, edges) = (Some(content), Vec::new(), Vec::new());
        let record = Record { id, state, content, versions, carried, edges };
        self.add(place, record.into(), bytes)
    }

    /// Sends what still waits. Tells what became of all.
    pub(super) fn finish(mut self) -> Result<ImportAnswer, Failure> {
        self.send()?;
        Ok(self.sum)
    }

    /// What stands at `place` can't be taken.
    pub(super) fn refuse(&self, place: &str, why: impl ToString) -> Failure {
        Failure::new(format!("{place}: {}", why.to_string())).with_hint(self.taken())
    }

    /// The same for a limit, with what to do about it.
    pub(super) fn refuse_limit(&self, place: &str, refusal: &Refusal) -> Failure {
        let hint = format!("{}; {}", refusal.hint(), self.taken());
        Failure::new(format!("{place}: {refusal}")).with_hint(hint)
    }

    fn taken(&self) -> String {
        let ImportAnswer { new, merged, unchanged } = self.sum;
        let n = output::counted(new + merged + unchanged, "memory", "memories");
        format!("{n} before it were imported; repeating is harmless")
    }

    fn send(&mut self) -> Result<(), Failure> {
        let records = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let Some((first, last)) = self.places.take() else { return Ok(()) };
        let sent =
            self.session.block_on(self.client.post("/v1/import", &ImportRequest { records }));
        let more: ImportAnswer = sent.map_err(|error| {
            let failure = Failure::from(error);
            let places = if first == last { first } else { format!("{first} to {last}") };
            let hint = failure.hint.as_deref().unwrap_or_default();
            Failure {
                message: format!("{places}: {}", failure.message),
                hint: Some(format!("{hint}; {}", self.taken())),
                ..failure
            }
        })?;
        self.sum.new += more.new;
        self.sum.merged += more.merged;
        self.sum.unchanged += more.unchanged;
        Ok(())
    }
}

/// When a file without times of its own was written: not later than it was made here.
pub(super) fn written_at(meta: &std::fs::Metadata) -> Option<Micros> {
    let at = |time: std::io::Result<std::time::SystemTime>| {
        let since = time.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok().map(Micros)
    };
    [at(meta.created()), at(meta.modified())].into_iter().flatten().min()
}
