//! What must hold. A property watches the run through [`Moment`]s; it never changes anything.

mod bodies;
mod budget;
mod causality;
mod convergence;
mod cursor;
mod deletes;
mod durability;
mod history;
mod order;
mod outbox;
mod vectors;

use super::view::{Cloud, Local};
use memtide::clock::Micros;
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use std::rc::Rc;
use std::time::Duration;

/// Something that just happened.
pub enum Moment<'a> {
    /// A person's change was acknowledged.
    Acted { device: usize, before: &'a Local, after: &'a Local },
    /// A device changed its database by itself: it sent something, or took something in.
    Moved { device: usize, before: &'a Local, after: &'a Local },
    /// A device died and came back with what its disk held.
    Crashed { device: usize, before: &'a Local, after: &'a Local },
    /// A device's database is another one now: an older one, a copied one, an empty one. What it alone
    /// had is lost.
    Replaced { device: usize, before: &'a Local },
    /// A device sent a request.
    Sent { device: usize, product: Product },
    /// A device learnt that it has to wait.
    ToldToWait { device: usize, product: Product, is_for_all: bool, wait: Duration },
    /// The index took vectors from a device.
    VectorsTaken { ids: &'a [MemoryId] },
    /// The cloud's tables changed.
    CloudMoved { before: &'a Cloud, after: &'a Cloud },
    /// The cloud database was put back.
    Rewound,
    /// The Python service inserted a row; the instant is what it claims as its creation.
    PythonStored { memory: MemoryId, created_at: f64 },
    /// The Python service removed a body.
    PythonRemovedBody { key: &'a str },
}

/// The world as everybody sees it.
pub struct View<'a> {
    pub now: Micros,
    pub devices: &'a [Rc<Local>],
    pub cloud: &'a Cloud,
}

/// The end, and what vectors the index then has.
pub struct End<'a> {
    pub view: View<'a>,
    pub vectors: &'a [MemoryId],
}

/// Something that must hold.
pub trait Property {
    fn name(&self) -> &'static str;

    /// Looks at a moment.
    ///
    /// # Errors
    /// What was violated.
    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String>;

    /// Looks at the end, when everything has come to rest.
    ///
    /// # Errors
    /// What was violated.
    fn end(&mut self, _: &End<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// All of them. `requests` is what each device may send in five minutes.
pub fn all(n_devices: usize, requests: usize, clocks_jump: bool) -> Vec<Box<dyn Property>> {
    vec![
        Box::new(durability::AcknowledgedWritesDoNotDisappear::default()),
        Box::new(convergence::DevicesConvergeWhenQuiet),
        Box::new(deletes::ForgottenStaysForgotten::default()),
        Box::new(cursor::CursorNeverSkips::new(n_devices)),
        Box::new(causality::EditsBeatWhatTheirAuthorSaw),
        Box::new(outbox::EveryDutyIsSettledOrParked::new(n_devices)),
        Box::new(bodies::NoRowNamesAMissingBody::default()),
        Box::new(vectors::VectorsFollowRows::default()),
        Box::new(history::LosersAreInHistory),
        Box::new(budget::TheBudgetIsKept::new(n_devices, requests, clocks_jump)),
        Box::new(order::TheOrderDoesNotMatter::default()),
    ]
}
