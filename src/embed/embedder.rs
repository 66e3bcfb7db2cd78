//! The door to the embedder: a handle that any task may clone and ask.

use super::assets::ModelFolder;
use super::backlog::{Backlog, Documents, Order, Pending};
use super::engine::TextError;
use super::manifest::{Model, Runtime};
use super::progress::Progress;
use super::pull::{self, PullError, Pulled, Sources};
use super::query_cache::{CACHED_QUERIES, QueryCache};
use super::runtime;
use super::status::{EmbedderState, EmbedderStatus};
use super::worker::{Control, Fresh, Query, Shared, Worker};
use crate::model::space::{Space, UnitVector};
use crossbeam_channel::{Sender, TrySendError, bounded, unbounded};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::{oneshot, watch};

/// Queries that may wait before more are refused.
const QUERIES_MAX: usize = 64;
/// Young texts that may wait.
const FRESH_MAX: usize = 8;
/// Requests of the backlog that may wait before more are refused; each has many texts.
const DOCUMENTS_MAX: usize = 4;

/// What the embedder needs to be told.
#[derive(Debug, Clone)]
pub struct EmbedderOptions {
    /// The model.
    pub model: &'static Model,
    /// The folder with the models and the runtime library.
    pub models: PathBuf,
    /// A runtime library that is used instead of any other.
    pub library: Option<PathBuf>,
    /// The folder of the executable, where packages put the runtime library.
    pub beside: Option<PathBuf>,
    /// Threads that compute one text together.
    pub threads: usize,
    /// Queries whose vectors are remembered.
    pub cached_queries: NonZeroUsize,
}

impl EmbedderOptions {
    /// The usual choices for `model` in the folder `models`.
    pub fn new(model: &'static Model, models: PathBuf) -> Self {
        Self {
            model,
            models,
            library: None,
            beside: None,
            // Measured on MiniLM: a second thread takes a third off a query.
            threads: 2,
            cached_queries: CACHED_QUERIES,
        }
    }

    /// The model folder.
    pub fn folder(&self) -> ModelFolder {
        ModelFolder::new(self.models.clone())
    }

    /// Fetches what is missing or damaged of the model, and of the runtime library unless another
    /// than the one in the model folder is used.
    ///
    /// # Errors
    /// The folder can't be written to, or no source delivered some file.
    pub async fn pull(&self, sources: &Sources, progress: &Progress) -> Result<Pulled, PullError> {
        let beside = self.beside.as_deref();
        let runtime = Runtime::current().filter(|runtime| {
            self.library.is_none()
                && beside.is_none_or(|path| runtime::library_beside(path, runtime).is_none())
        });
        pull::pull(&self.folder(), self.model, runtime, sources, progress).await
    }
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model is not loaded.
    #[error("the embedder is {state}: {hint}")]
    NotReady {
        /// What it is instead.
        state: EmbedderState,
        /// Why, and what to do.
        hint: String,
    },
    /// Too much is waiting already.
    #[error("{0} requests wait for the embedder already, try again in a moment")]
    Busy(usize),
    /// The model failed on this text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The embedder was closed.
    #[error("the embedder was closed")]
    Closed,
}

impl EmbedError {
    pub(super) fn not_ready(state: EmbedderState, error: Option<&str>) -> Self {
        let step = state.next_step();
        let hint = error.map_or_else(|| step.to_owned(), |error| format!("{error}; {step}"));
        Self::NotReady { state, hint }
    }
}

/// The vector of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVector {
    /// The space in which it may be compared.
    pub space: Space,
    /// The vector.
    pub vector: UnitVector,
}

/// The vectors of texts of the backlog.
#[derive(Debug)]
pub struct DocumentVectors {
    /// The space in which they may be compared.
    pub space: Space,
    /// For each text, in the order given, one vector for each of its windows, or why it has none.
    pub texts: Vec<Result<Vec<UnitVector>, TextError>>,
}

/// A handle to the embedder. Dropping the last one is like [`Embedder::close`].
#[derive(Debug, Clone)]
pub struct Embedder {
    doors: Arc<Doors>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Doors {
    control: Sender<Control>,
    queries: Sender<Query>,
    fresh: Sender<Fresh>,
    orders: Sender<Order>,
    backlog: Sender<Documents>,
    options: Mutex<EmbedderOptions>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Doors {
    fn close(&self) {
        // A thread that is gone already needs no order.
        let _gone = (self.orders.send(Order::Stop), self.control.send(Control::Stop));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if let Err(panic) = thread.join() {
                let panic = runtime::panic_text(panic.as_ref());
                tracing::error!(panic, "an embedder thread broke down");
            }
        }
    }
}

impl Drop for Doors {
    /// A thread that computes while the process ends would use a library that is being taken down.
    fn drop(&mut self) {
        self.close();
    }
}

impl Embedder {
    /// Starts the threads and has them load the model; the caller does not wait for it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(options: EmbedderOptions) -> io::Result<Self> {
        let status = EmbedderStatus::loading(options.model);
        let cache = QueryCache::new(status.space.clone(), options.cached_queries);
        let shared = Arc::new(Shared {
            status: watch::Sender::new(status),
            cache: Mutex::new(cache),
            pending_documents: AtomicUsize::new(0),
        });
        let (control, control_inbox) = unbounded();
        let (queries, queries_inbox) = bounded(QUERIES_MAX);
        let (fresh, fresh_inbox) = bounded(FRESH_MAX);
        let (orders, orders_inbox) = unbounded();
        let (backlog, backlog_inbox) = bounded(DOCUMENTS_MAX);
        let worker = Worker::new(shared.clone(), control_inbox, queries_inbox, fresh_inbox);
        let later = Backlog::new(shared.clone(), orders_inbox, backlog_inbox, options.clone());
        let threads = vec![
            thread::Builder::new().name("embed".to_owned()).spawn(|| worker.run())?,
            thread::Builder::new().name("embed-backlog".to_owned()).spawn(|| later.run())?,
        ];
        let doors = Doors {
            control,
            queries,
            fresh,
            orders,
            backlog,
            options: Mutex::new(options.clone()),
            threads: Mutex::new(threads),
        };
        let embedder = Self { doors: Arc::new(doors), shared };
        embedder.reload(options);
        Ok(embedder)
    }

    /// The vector of a query. A repeated one is answered from the cache, at once; what lies beyond
    /// the model's window is not read.
    ///
    /// # Errors
    /// The model isn't loaded (said at once), too many wait, or the model fails on the text.
    pub async fn query(&self, text: &str) -> Result<QueryVector, EmbedError> {
        if let Some(found) = self.shared.cached(text) {
            return Ok(found);
        }
        self.check_ready()?;
        let (reply, answer) = oneshot::channel();
        send(&self.doors.queries, Query { text: text.to_owned(), reply })?;
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }

    /// The vectors of a text that was written just now. It is done by the thread that answers queries, so
    /// that it can be found at once; queries go first, but wait for it once it has begun. Give it short
    /// texts only.
    ///
    /// # Errors
    /// The model isn't loaded, or too many wait.
    pub async fn fresh(&self, text: Arc<str>) -> Result<DocumentVectors, EmbedError> {
        self.check_ready()?;
        let (reply, answer) = oneshot::channel();
        send(&self.doors.fresh, Fresh { text, reply })?;
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }

    /// The vectors of texts of the backlog, up to 64 windows each. Queries don't wait for them.
    /// Dropping the future drops the work.
    ///
    /// # Errors
    /// The model isn't loaded, or is exchanged meanwhile, or too much waits. A text on which the
    /// model fails is an error of its own among the others' vectors.
    pub async fn documents(&self, texts: Vec<Arc<str>>) -> Result<DocumentVectors, EmbedError> {
        self.check_ready()?;
        let pending = Pending::new(&self.shared, texts.len());
        let (reply, answer) = oneshot::channel();
        send(&self.doors.backlog, Documents { texts: texts.into(), pending, reply })?;
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }

    /// The embedder at this moment.
    pub fn status(&self) -> EmbedderStatus {
        let mut status = self.shared.status.borrow().clone();
        status.pending_queries = self.doors.queries.len();
        status.pending_documents = self.shared.pending_documents.load(Ordering::Relaxed);
        status
    }

    /// Tells of every change of state; the pending counts in it stay 0.
    pub fn watch(&self) -> watch::Receiver<EmbedderStatus> {
        self.shared.status.subscribe()
    }

    /// Waits until the model is loaded or can't be.
    pub async fn settled(&self) -> EmbedderStatus {
        let mut watch = self.watch();
        // An error means that the thread is gone, and then the status is its last word.
        let _gone = watch.wait_for(|status| status.state != EmbedderState::Loading).await;
        self.status()
    }

    /// The present options.
    pub fn options(&self) -> EmbedderOptions {
        self.doors.options.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the model anew, or another one: what is being embedded for the backlog is given up,
    /// queries wait. The runtime library of a process stays the one that was loaded first.
    pub fn reload(&self, options: EmbedderOptions) {
        *self.doors.options.lock().unwrap_or_else(PoisonError::into_inner) = options.clone();
        // Said here already, so that whoever waits for the outcome doesn't see the old one.
        let mut status = EmbedderStatus::loading(options.model);
        self.shared.publish(status.clone());
        let exchanged = self.doors.orders.send(Order::Use(Box::new(options.clone()))).is_ok();
        let loading = self.doors.control.send(Control::Load(Box::new(options))).is_ok();
        if !(exchanged && loading) {
            status.state = EmbedderState::Failed;
            status.error = Some(EmbedError::Closed.to_string());
            self.shared.publish(status);
        }
    }

    /// Fetches what is missing and loads the model again, unless nothing was missing.
    ///
    /// # Errors
    /// The folder can't be written to, or no source delivered some file.
    pub async fn pull(&self, sources: &Sources, progress: &Progress) -> Result<Pulled, PullError> {
        let options = self.options();
        let pulled = options.pull(sources, progress).await?;
        if !pulled.fetched.is_empty() || self.status().state != EmbedderState::Ready {
            self.reload(options);
        }
        Ok(pulled)
    }

    /// Holds the backlog back; queries are served.
    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    /// Lets the backlog go on.
    pub fn resume(&self) {
        self.order(Order::Resume);
    }

    /// Ends the threads and waits for them: for the window that is being computed, or for the
    /// model that is being loaded.
    pub fn close(&self) {
        self.doors.close();
    }

    fn check_ready(&self) -> Result<(), EmbedError> {
        let ready = self.shared.status.borrow().state == EmbedderState::Ready;
        if ready { Ok(()) } else { Err(self.shared.not_ready()) }
    }

    fn order(&self, order: Order) {
        // The thread is gone after `close` or a breakdown, which the status says.
        let _gone = self.doors.orders.send(order);
    }
}

fn send<T>(door: &Sender<T>, job: T) -> Result<(), EmbedError> {
    door.try_send(job).map_err(|refused| match refused {
        TrySendError::Full(_) => EmbedError::Busy(door.len()),
        TrySendError::Disconnected(_) => EmbedError::Closed,
    })
}
