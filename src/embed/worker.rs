//! The thread `embed`: loads the model, says so in the status, and answers queries.

use super::embedder::{DocumentVectors, EmbedError, EmbedderOptions, QueryVector};
use super::engine::{Engine, LoadError, Purpose, TextError};
use super::query_cache::QueryCache;
use super::runtime;
use super::status::{EmbedderState, EmbedderStatus, one_line};
use crate::model::space::UnitVector;
use crossbeam_channel::{Receiver, select};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// What the threads and their handles share.
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

    /// Changes the status, except for what the backlog's thread says in it.
    pub(super) fn publish(&self, next: EmbedderStatus) {
        self.status.send_modify(|status| {
            *status = EmbedderStatus { paused: status.paused, ..next };
        });
    }

    /// Why there are no vectors now.
    pub(super) fn not_ready(&self) -> EmbedError {
        let status = self.status.borrow();
        EmbedError::not_ready(status.state, status.error.as_deref())
    }
}

/// Orders to the thread; they come before all work.
#[derive(Debug)]
pub(super) enum Control {
    Load(Box<EmbedderOptions>),
    Stop,
}

/// A query that waits for its vector.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) reply: oneshot::Sender<Result<QueryVector, EmbedError>>,
}

/// A text that was written just now, short enough to be done between two queries.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) text: Arc<str>,
    pub(super) reply: oneshot::Sender<Result<DocumentVectors, EmbedError>>,
}

/// The state of the thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    control: Receiver<Control>,
    queries: Receiver<Query>,
    fresh: Receiver<Fresh>,
    engine: Option<Engine>,
}

enum Event {
    Control(Control),
    Query(Query),
    Fresh(Fresh),
    /// Every handle is gone.
    Abandoned,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        control: Receiver<Control>,
        queries: Receiver<Query>,
        fresh: Receiver<Fresh>,
    ) -> Self {
        Self { shared, control, queries, fresh, engine: None }
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
            Event::Query(query) => self.answer(query),
            Event::Fresh(fresh) => self.embed(fresh),
        }
        ControlFlow::Continue(())
    }

    fn next_event(&self) -> Event {
        if let Ok(control) = self.control.try_recv() {
            return Event::Control(control);
        }
        // Whoever searches waits; whoever stored has been answered already.
        if let Ok(query) = self.queries.try_recv() {
            return Event::Query(query);
        }
        select! {
            recv(self.fresh) -> got => got.map_or(Event::Abandoned, Event::Fresh),
            recv(self.control) -> got => got.map_or(Event::Abandoned, Event::Control),
            recv(self.queries) -> got => got.map_or(Event::Abandoned, Event::Query),
        }
    }

    fn load(&mut self, options: &EmbedderOptions) {
        self.engine = None;
        let mut status = EmbedderStatus::loading(options.model);
        *self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner) =
            QueryCache::new(status.space.clone(), options.cached_queries);
        self.shared.publish(status.clone());
        match open(options, Purpose::Queries { threads: options.threads }) {
            Ok(engine) => {
                let weights = options.folder().path_of(&options.model.weights);
                status.source = format!("{}, {}", weights.display(), engine.library().display());
                status.state = EmbedderState::Ready;
                tracing::info!(model = status.model, source = status.source, "embedder ready");
                self.engine = Some(engine);
            }
            Err(error) => {
                let missing = error.is_missing();
                let error = one_line(&error);
                tracing::warn!(model = status.model, error, "no embedder, search is by keyword");
                status.state = if missing { EmbedderState::Missing } else { EmbedderState::Failed };
                status.error = Some(error);
            }
        }
        self.shared.publish(status);
    }

    fn embed(&mut self, fresh: Fresh) {
        let answer = match &mut self.engine {
            None => Err(self.shared.not_ready()),
            Some(engine) => {
                let texts = vec![vectors(engine, &fresh.text)];
                Ok(DocumentVectors { space: engine.space(), texts })
            }
        };
        // Whoever asked may have gone.
        let _gone = fresh.reply.send(answer);
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
}

/// Vectors of all windows of a text.
fn vectors(engine: &mut Engine, text: &str) -> Result<Vec<UnitVector>, TextError> {
    let windows = engine.windows(text)?;
    windows.into_iter().map(|window| engine.embed(text.get(window).unwrap_or_default())).collect()
}

/// Loads what `options` name, and tries it once, so that the first text finds it warm.
pub(super) fn open(options: &EmbedderOptions, purpose: Purpose) -> Result<Engine, LoadError> {
    let folder = options.folder();
    let library = runtime::find(options.library.as_deref(), options.beside.as_deref(), &folder)?;
    let mut engine = Engine::load(options.model, &folder, &library, purpose)?;
    engine.query("ready")?;
    Ok(engine)
}

/// Makes the end of a thread that broke down visible.
pub(super) struct Farewell(pub(super) Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.status.send_modify(|status| {
                status.state = EmbedderState::Failed;
                status.error = Some("an embedder thread broke down; restart the daemon".to_owned());
            });
        }
    }
}
