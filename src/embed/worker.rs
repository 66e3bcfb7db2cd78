//! The thread `embed`: owns the model and does one window at a time, so that a query never waits
//! for more than the window that is being computed, however long the backlog is.
//!
//! One session with a few threads of its own serves both. A second session for the backlog would
//! let it run at low priority, and costs a second copy of the packed weights and of the mapping:
//! 245 MB resident instead of 141 MB.

use super::embedder::{DocumentVectors, EmbedError, EmbedderOptions, QueryVector};
use super::engine::{Engine, LoadError, TextError};
use super::query_cache::QueryCache;
use super::runtime;
use super::status::{EmbedderState, EmbedderStatus, one_line};
use crate::model::space::UnitVector;
use crossbeam_channel::{Receiver, never, select};
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// What the thread and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) status: watch::Sender<EmbedderStatus>,
    pub(super) cache: Mutex<QueryCache>,
    pub(super) pending_documents: AtomicUsize,
}

impl Shared {
    /// The cached vector of a query.
    pub(super) fn cached(&self, text: &str) -> Option<QueryVector> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let vector = cache.get(text)?;
        Some(QueryVector { space: cache.space().clone(), vector })
    }

    fn remember(&self, text: &str, found: &QueryVector) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.put(text, &found.space, &found.vector);
    }

    /// Why there are no vectors now.
    pub(super) fn not_ready(&self) -> EmbedError {
        let status = self.status.borrow();
        let step = status.state.next_step();
        let hint = match &status.error {
            Some(error) => format!("{error}; {step}"),
            None => step.to_owned(),
        };
        EmbedError::NotReady { state: status.state, hint }
    }
}

/// Orders from a handle; they come before all work.
#[derive(Debug)]
pub(super) enum Control {
    Load(Box<EmbedderOptions>),
    Pause,
    Resume,
    Stop,
}

/// A query that waits for its vector.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) reply: oneshot::Sender<Result<QueryVector, EmbedError>>,
}

/// Texts of the backlog that wait for their vectors.
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

/// The receiving ends.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) control: Receiver<Control>,
    pub(super) queries: Receiver<Query>,
    pub(super) backlog: Receiver<Documents>,
}

/// A request of the backlog that is being worked on.
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
pub(super) struct Worker {
    shared: Arc<Shared>,
    inbox: Inbox,
    engine: Option<Engine>,
    batch: Option<Batch>,
    paused: bool,
}

enum Event {
    Control(Control),
    Query(Query),
    Documents(Documents),
    /// The next window of the batch.
    Window,
    /// Every handle is gone.
    Abandoned,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, inbox: Inbox) -> Self {
        Self { shared, inbox, engine: None, batch: None, paused: false }
    }

    /// Works until it is told to stop or every handle is gone.
    pub(super) fn run(mut self) {
        let _farewell = Farewell(self.shared.clone());
        while self.step().is_continue() {}
    }

    /// Does one thing.
    fn step(&mut self) -> ControlFlow<()> {
        match self.next_event() {
            Event::Control(Control::Stop) | Event::Abandoned => return ControlFlow::Break(()),
            Event::Control(Control::Load(options)) => self.load(&options),
            Event::Control(Control::Pause) => self.pause(true),
            Event::Control(Control::Resume) => self.pause(false),
            Event::Query(query) => self.answer(query),
            Event::Documents(request) => {
                self.batch = Some(Batch { request, done: Vec::new(), text: None });
            }
            Event::Window => self.advance(),
        }
        ControlFlow::Continue(())
    }

    /// What comes next: orders, then queries, then the backlog. Waits if there is nothing.
    fn next_event(&self) -> Event {
        if let Ok(control) = self.inbox.control.try_recv() {
            return Event::Control(control);
        }
        if let Ok(query) = self.inbox.queries.try_recv() {
            return Event::Query(query);
        }
        if self.batch.is_some() && !self.paused {
            return Event::Window;
        }
        let nothing = never();
        let backlog = if self.batch.is_some() { &nothing } else { &self.inbox.backlog };
        select! {
            recv(self.inbox.control) -> got => got.map_or(Event::Abandoned, Event::Control),
            recv(self.inbox.queries) -> got => got.map_or(Event::Abandoned, Event::Query),
            recv(backlog) -> got => got.map_or(Event::Abandoned, Event::Documents),
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.shared.status.send_modify(|status| status.paused = paused);
    }

    fn load(&mut self, options: &EmbedderOptions) {
        self.engine = None;
        if let Some(batch) = self.batch.take() {
            self.give_up(batch);
        }
        let mut status = EmbedderStatus::loading(options.model);
        status.paused = self.paused;
        *self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner) =
            QueryCache::new(status.space.clone(), options.cached_queries);
        self.shared.status.send_replace(status.clone());
        match open(options) {
            Ok((engine, source)) => {
                tracing::info!(model = status.model, %source, "embedder ready");
                self.engine = Some(engine);
                status.state = EmbedderState::Ready;
                status.source = source;
            }
            Err(error) => {
                let missing = error.is_missing();
                let error = one_line(&error);
                tracing::warn!(model = status.model, %error, "no embedder, search is by keyword");
                status.state = if missing { EmbedderState::Missing } else { EmbedderState::Failed };
                status.error = Some(error);
            }
        }
        self.shared.status.send_replace(status);
    }

    fn answer(&mut self, query: Query) {
        if query.reply.is_closed() {
            return;
        }
        let answer = match (self.shared.cached(&query.text), &mut self.engine) {
            // Asked twice at once: the first has been answered meanwhile.
            (Some(found), _) => Ok(found),
            (None, None) => Err(self.shared.not_ready()),
            (None, Some(engine)) => engine
                .query(&query.text)
                .map(|vector| QueryVector { space: engine.space(), vector })
                .map_err(EmbedError::Text),
        };
        if let Ok(found) = &answer {
            self.shared.remember(&query.text, found);
        }
        // Whoever asked may have gone.
        let _gone = query.reply.send(answer);
    }

    /// Does one window of the batch, or whatever must be done before or after it.
    fn advance(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        if batch.request.reply.is_closed() {
            return;
        }
        let Some(engine) = &mut self.engine else { return self.give_up(batch) };
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

    fn give_up(&self, batch: Batch) {
        // Whoever asked may have gone.
        let _gone = batch.request.reply.send(Err(self.shared.not_ready()));
    }
}

impl Batch {
    /// Cuts a text into windows.
    fn open(&mut self, text: Arc<str>, engine: &mut Engine) {
        match engine.windows(&text) {
            Ok(windows) => {
                self.text =
                    Some(Text { whole: text, windows: windows.into(), vectors: Vec::new() });
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
}

/// Loads what `options` name, and tries it once, so that the first query finds it warm.
fn open(options: &EmbedderOptions) -> Result<(Engine, String), LoadError> {
    let folder = options.folder();
    let library = runtime::find(options.library.as_deref(), options.beside.as_deref(), &folder)?;
    let mut engine = Engine::load(options.model, &folder, &library, options.threads)?;
    engine.query("ready")?;
    let model = folder.path_of(&options.model.weights);
    let source = format!("{}, {}", model.display(), engine.library().display());
    Ok((engine, source))
}

/// Makes the end of a thread that broke down visible.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.status.send_modify(|status| {
                status.state = EmbedderState::Failed;
                status.error =
                    Some("the embedder thread broke down; restart the daemon".to_owned());
            });
        }
    }
}
