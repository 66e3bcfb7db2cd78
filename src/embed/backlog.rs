//! The thread `embed-backlog`: makes the vectors of stored texts, one window at a time, at low
//! priority.
//!
//! It has a model of its own, loaded when there is work and let go when there has been none for a
//! while. With a single model a query would wait for the window that is being computed, 40 ms for
//! a full one on two cores; so it takes 4 ms in the middle and 10 ms at worst, against 2.5 ms when
//! there is no backlog. The price is some 30 MB of memory, and the mapped weights show twice.

use super::embedder::{DocumentVectors, EmbedError, EmbedderOptions};
use super::engine::{Engine, Purpose, TextError};
use super::status::{EmbedderState, one_line};
use super::worker::{Farewell, Shared, open};
use crate::model::space::UnitVector;
use crate::priority;
use crossbeam_channel::{Receiver, never, select};
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the model is kept without work; loading it takes a tenth of a second.
const KEEP: Duration = Duration::from_secs(30);
/// Orders to the thread; they come before all work.
#[derive(Debug)]
pub(super) enum Order {
    /// Use another model from now on; what is being worked on is given up.
    Use(Box<EmbedderOptions>),
    Pause,
    Resume,
    Stop,
}

/// Texts that wait for their vectors.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) texts: VecDeque<Arc<str>>,
    pub(super) pending: Pending,
    pub(super) reply: oneshot::Sender<Result<DocumentVectors, EmbedError>>,
}

/// Counts the texts of one request as pending for as long as they are.
#[derive(Debug)]
pub(super) struct Pending {
    shared: Arc<Shared>,
    texts: usize,
}

impl Pending {
    pub(super) fn new(shared: &Arc<Shared>, texts: usize) -> Self {
        shared.pending_documents.fetch_add(texts, Ordering::Relaxed);
        Self { shared: shared.clone(), texts }
    }

    fn one_done(&mut self) {
        if self.texts > 0 {
            self.texts -= 1;
            self.shared.pending_documents.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.pending_documents.fetch_sub(self.texts, Ordering::Relaxed);
    }
}

/// A request that is being worked on.
struct Batch {
    request: Documents,
    done: Vec<Result<Vec<UnitVector>, TextError>>,
    text: Option<Text>,
}

/// The text that is being worked on.
struct Text {
    whole: Arc<str>,
    windows: VecDeque<Range<usize>>,
    vectors: Vec<UnitVector>,
}

/// The state of the thread.
pub(super) struct Backlog {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    requests: Receiver<Documents>,
    options: EmbedderOptions,
    engine: Option<Engine>,
    batch: Option<Batch>,
    paused: bool,
}

enum Event {
    Order(Order),
    Documents(Documents),
    /// The next window of the batch.
    Window,
    /// There was no work for a while.
    Idle,
    /// Every handle is gone.
    Abandoned,
}

impl Backlog {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: Receiver<Order>,
        requests: Receiver<Documents>,
        options: EmbedderOptions,
    ) -> Self {
        Self { shared, orders, requests, options, engine: None, batch: None, paused: false }
    }

    /// Works until it is told to stop or every handle is gone.
    pub(super) fn run(mut self) {
        let _farewell = Farewell(self.shared.clone());
        priority::step_back(priority::BACKGROUND);
        while self.step().is_continue() {}
    }

    /// Does one thing.
    fn step(&mut self) -> ControlFlow<()> {
        match self.next_event() {
            Event::Order(Order::Stop) | Event::Abandoned => return ControlFlow::Break(()),
            Event::Order(Order::Use(options)) => self.exchange(*options),
            Event::Order(Order::Pause) => self.pause(true),
            Event::Order(Order::Resume) => self.pause(false),
            Event::Documents(request) => {
                self.batch = Some(Batch { request, done: Vec::new(), text: None });
            }
            Event::Window => self.advance(),
            Event::Idle => self.engine = None,
        }
        ControlFlow::Continue(())
    }

    /// What comes next: orders, then the batch, then a new one. Waits if there is nothing.
    fn next_event(&self) -> Event {
        if let Ok(order) = self.orders.try_recv() {
            return Event::Order(order);
        }
        if self.batch.is_some() && !self.paused {
            return Event::Window;
        }
        let nothing = never();
        let requests = if self.batch.is_some() { &nothing } else { &self.requests };
        if self.engine.is_none() {
            return select! {
                recv(self.orders) -> got => got.map_or(Event::Abandoned, Event::Order),
                recv(requests) -> got => got.map_or(Event::Abandoned, Event::Documents),
            };
        }
        select! {
            recv(self.orders) -> got => got.map_or(Event::Abandoned, Event::Order),
            recv(requests) -> got => got.map_or(Event::Abandoned, Event::Documents),
            default(KEEP) => Event::Idle,
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.shared.status.send_modify(|status| status.paused = paused);
    }

    fn exchange(&mut self, options: EmbedderOptions) {
        self.engine = None;
        self.options = options;
        if let Some(batch) = self.batch.take() {
            batch.give_up(EmbedError::not_ready(EmbedderState::Loading, None));
        }
    }

    /// Does one window of the batch, or whatever must be done before or after it.
    fn advance(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        if batch.request.reply.is_closed() {
            return;
        }
        let engine =
            match self.engine.take().map_or_else(|| open(&self.options, Purpose::Backlog), Ok) {
                Ok(engine) => self.engine.insert(engine),
                Err(error) => {
                    let is_missing = error.is_missing();
                    let state =
                        if is_missing { EmbedderState::Missing } else { EmbedderState::Failed };
                    let error = one_line(&error);
                    tracing::warn!(error, "no model for the backlog");
                    self.shared.status.send_modify(|status| {
                        status.state = state;
                        status.error = Some(error.clone());
                    });
                    return batch
                        .give_up(EmbedError::not_ready(EmbedderState::Failed, Some(&error)));
                }
            };
        if let Some(text) = batch.text.take() {
            batch.embed(text, engine);
        } else if let Some(text) = batch.request.texts.pop_front() {
            batch.open(text, engine);
        } else {
            let found = DocumentVectors { space: engine.space(), texts: batch.done };
            // Whoever asked may have gone.
            let _gone = batch.request.reply.send(Ok(found));
            return;
        }
        self.batch = Some(batch);
    }
}

impl Batch {
    /// Cuts a text into windows.
    fn open(&mut self, text: Arc<str>, engine: &mut Engine) {
        match engine.windows(&text) {
            Ok(windows) => {
                let windows = windows.into();
                self.text = Some(Text { whole: text, windows, vectors: Vec::new() });
            }
            Err(error) => self.finish(Err(error)),
        }
    }

    /// Does the next window of a text.
    fn embed(&mut self, mut text: Text, engine: &mut Engine) {
        let Some(window) = text.windows.pop_front() else { return self.finish(Ok(text.vectors)) };
        match engine.embed(text.whole.get(window).unwrap_or_default()) {
            Ok(vector) => {
                text.vectors.push(vector);
                self.text = Some(text);
            }
            Err(error) => self.finish(Err(error)),
        }
    }

    fn finish(&mut self, outcome: Result<Vec<UnitVector>, TextError>) {
        self.done.push(outcome);
        self.request.pending.one_done();
    }

    fn give_up(self, why: EmbedError) {
        // Whoever asked may have gone.
        let _gone = self.request.reply.send(Err(why));
    }
}
