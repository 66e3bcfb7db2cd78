//! A network that fails by a seed, between a daemon and the emulated account. Each request is met once:
//! it is written down, a fault may be drawn for it, and what happened is counted, so that a test can
//! tell that it did. HTTP/1.1 with lengths, which is what both sides speak on loopback.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a proxy that can't do its work fails the test"
)]

#[path = "chaos/wire.rs"]
pub mod wire;

use memtide::clock::{Clock as _, Micros, SystemClock};
use memtide::emulator::product::Product;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use wire::{Message, Told, read};

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It arrives late, also when its sender is gone by then.
    Delay,
    /// The connection ends before it is forwarded.
    Cut,
    /// It is carried out, and the connection ends without an answer.
    LoseAnswer,
    /// It is carried out, and half of the answer's body comes.
    HalfAnswer,
    /// The answer comes in small pieces.
    SlowAnswer,
    /// Something else answers, in words. It may have been carried out.
    NoJson,
    /// A web page says that the server is broken. It may have been carried out.
    ServerError,
    /// Too many requests: one product, or all of them, shall be left alone for a while.
    Throttle,
    /// The token is refused, here and a few times more.
    Unauthorized,
    /// The port is closed for a while.
    Refuse,
    /// It arrives twice, the second time perhaps late.
    Duplicate,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Delay,
        Self::Cut,
        Self::LoseAnswer,
        Self::HalfAnswer,
        Self::SlowAnswer,
        Self::NoJson,
        Self::ServerError,
        Self::Throttle,
        Self::Unauthorized,
        Self::Refuse,
        Self::Duplicate,
    ];
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has arrived here.
    Arrived,
    /// It is carried out. Its answer is kept back until whoever sent it is gone.
    Applied,
    /// It is answered.
    Answered,
}

/// A request that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// When it arrived.
    pub at: Micros,
    /// The run of the daemon in which it was sent; see [`Chaos::begin_life`].
    pub life: usize,
    /// Whom it was for.
    pub product: Product,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// What a throttled one was told.
    pub told: Option<Told>,
}

/// How long anything here is waited for before the test is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The network. Dropping it closes the port.
pub struct Chaos {
    shared: Arc<Shared>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    account: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    closing: mpsc::UnboundedSender<Duration>,
    /// Rung when closed ports open and held requests end.
    released: Notify,
}

type Bell = Box<dyn FnOnce() + Send>;

struct State {
    rng: ChaCha8Rng,
    faults: Vec<Fault>,
    bag: Vec<Fault>,
    /// 0 while nothing fails.
    one_in: u32,
    life: usize,
    unauthorized_left: u64,
    is_closed: bool,
    holds: bool,
    n_held: usize,
    n_open: usize,
    counts: BTreeMap<Fault, u64>,
    passages: Vec<Passage>,
    bell: Option<(Stage, u32, Bell)>,
}

impl Chaos {
    /// A network to the account at this port that doesn't fail yet.
    pub fn start(account: u16, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (closing, closings) = mpsc::unbounded_channel();
        let state = State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            faults: Vec::new(),
            bag: Vec::new(),
            one_in: 0,
            life: 0,
            unauthorized_left: 0,
            is_closed: false,
            holds: false,
            n_held: 0,
            n_open: 0,
            counts: BTreeMap::new(),
            passages: Vec::new(),
            bell: None,
        };
        let shared = Arc::new(Shared {
            account: SocketAddr::from((Ipv4Addr::LOCALHOST, account)),
            state: Mutex::new(state),
            changed: Condvar::new(),
            closing,
            released: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let (tell_port, port) = blocking::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                // Bound and never listening: while the port is closed nobody else can have it.
                let reserved = bind(0);
                let port = reserved.local_addr().unwrap().port();
                tell_port.send(port).unwrap();
                tokio::select! {
                    () = accept(port, closings, served) => {}
                    _ = stopped => {}
                }
            });
        });
        let port = port.recv().expect("a port");
        Self { shared, port, stop: Some(stop), thread: Some(thread) }
    }

    /// What a client takes for `https://api.cloudflare.com/client/v4`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/client/v4", self.port)
    }

    /// From now on one in `one_in` requests meets one of these faults; what is named twice comes twice as
    /// often.
    pub fn unleash(&self, faults: &[Fault], one_in: u32) {
        let mut state = self.shared.lock();
        if state.faults != faults {
            state.faults = faults.to_vec();
            state.bag.clear();
        }
        state.one_in = one_in;
    }

    /// From now on nothing fails; a request that is held fails now.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.one_in = 0;
        state.unauthorized_left = 0;
        state.holds = false;
        drop(state);
        self.shared.released.notify_waiters();
        // A closed port may be opening only now.
        self.wait_until("the opening of the port", |state| !state.is_closed);
    }

    /// Says that requests come from another run of the daemon from now on.
    pub fn begin_life(&self) {
        self.shared.lock().life += 1;
    }

    /// The present run.
    pub fn life(&self) -> usize {
        self.shared.lock().life
    }

    /// Keeps every request from now on, unanswered and not forwarded, until [`Chaos::heal`].
    pub fn hold(&self) {
        self.shared.lock().holds = true;
    }

    /// Requests that are held.
    pub fn n_held(&self) -> usize {
        self.shared.lock().n_held
    }

    /// Waits until no request is on its way, late ones included.
    pub fn wait_until_still(&self) {
        self.wait_until("the end of all requests", |state| state.n_open == 0);
    }

    /// Rings once, when the `nth` request from now on comes to this stage; a fault may keep it from there.
    pub fn ring_at(&self, stage: Stage, nth: u32, bell: impl FnOnce() + Send + 'static) {
        self.shared.lock().bell = Some((stage, nth, Box::new(bell)));
    }

    /// Takes the bell away. Returns whether it has rung.
    pub fn has_rung(&self) -> bool {
        self.shared.lock().bell.take().is_none()
    }

    /// How often each kind happened.
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.shared.lock().counts.clone()
    }

    /// How often this kind happened.
    pub fn count(&self, fault: Fault) -> u64 {
        self.shared.lock().counts.get(&fault).copied().unwrap_or(0)
    }

    /// The requests, oldest first.
    pub fn passages(&self) -> Vec<Passage> {
        self.shared.lock().passages.clone()
    }

    fn wait_until(&self, what: &str, mut is_so: impl FnMut(&State) -> bool) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !is_so(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{what} never came: {:?}", state.passages.last());
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        // The other end is gone only if the thread has ended already.
        self.stop.take().map(|stop| stop.send(()).ok());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the proxy panicked");
        }
    }
}

/// A request on its way; it counts until it is dropped.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.lock().n_open += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|state| state.n_open -= 1);
    }
}

impl State {
    /// Takes a fault out of the bag. It holds each as often as it was named, and is filled again only when
    /// it is empty: so none of them stays away for long.
    fn draw(&mut self) -> Option<Fault> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.faults);
        }
        let n_left = self.bag.len();
        (n_left > 0).then(|| self.bag.swap_remove(self.rng.random_range(0..n_left)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Writes a request down and draws what becomes of it, and a number that says how.
    fn meet(&self, product: Product) -> (Option<Fault>, u64, Option<Told>) {
        let mut state = self.lock();
        let one_in = state.one_in;
        let is_hit = one_in > 0 && state.rng.random_range(0..one_in) == 0;
        let dice: u64 = state.rng.random();
        let fault = if state.is_closed {
            Some(Fault::Refuse)
        } else if state.unauthorized_left > 0 {
            state.unauthorized_left -= 1;
            Some(Fault::Unauthorized)
        } else {
            let drawn = is_hit.then(|| state.draw()).flatten();
            state.unauthorized_left = if drawn == Some(Fault::Unauthorized) { dice % 3 } else { 0 };
            drawn
        };
        state.is_closed |= fault == Some(Fault::Refuse);
        let at = SystemClock.now();
        let told = (fault == Some(Fault::Throttle)).then(|| Told::new(at, product, dice));
        if let Some(fault) = fault {
            *state.counts.entry(fault).or_default() += 1;
        }
        let life = state.life;
        state.passages.push(Passage { at, life, product, fault, told });
        drop(state);
        self.changed.notify_all();
        (fault, dice, told)
    }

    /// Rings if it is time to. Returns whether it did.
    fn reached(&self, stage: Stage) -> bool {
        let bell = self.lock().bell.take_if(|(at, left, _)| {
            *left -= u32::from(*at == stage);
            *left == 0
        });
        bell.map(|(_, _, ring)| ring()).is_some()
    }

    /// Carries a request to the account and brings its answer.
    async fn forward(&self, request: &Message) -> io::Result<Message> {
        let mut stream = TcpStream::connect(self.account).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&request.bytes).await?;
        let answer = read(&mut BufReader::new(stream)).await?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn bind(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("the port");
    socket
}

async fn accept(port: u16, mut closings: mpsc::UnboundedReceiver<Duration>, shared: Arc<Shared>) {
    loop {
        let listener = bind(port).listen(64).expect("a listener");
        shared.change(|state| state.is_closed = false);
        let wait = loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("a connection");
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
                wait = closings.recv() => break wait.expect("the other end is ours"),
            }
        };
        shared.change(|state| state.is_closed = true);
        drop(listener);
        tokio::select! {
            () = SystemClock.sleep(wait) => {}
            () = shared.released.notified() => {}
        }
        // More requests may have met the closed port; it opens once.
        while closings.try_recv().is_ok() {}
    }
}

/// Serves one connection until one of the two sides ends it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let (read_half, write_half) = stream.into_split();
    let mut line = Line { read: BufReader::new(read_half), write: write_half, shared };
    // An error is a side that is gone, which is what this is all about.
    while let Ok(Some(request)) = read(&mut line.read).await {
        if line.pass(request).await.is_err() {
            return;
        }
    }
}

struct Line {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    shared: Arc<Shared>,
}

impl Line {
    /// Lets one request through, or what the fault leaves of it. An error ends the connection.
    async fn pass(&mut self, request: Message) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let open = Open::new(&shared);
        let product = request.product();
        let (fault, dice, told) = shared.meet(product);
        let gone = || Err(io::ErrorKind::ConnectionAborted.into());
        shared.reached(Stage::Arrived);
        // Made before the look, so that a release in between is not missed.
        let released = shared.released.notified();
        if shared.lock().holds {
            shared.change(|state| state.n_held += 1);
            released.await;
            shared.change(|state| state.n_held -= 1);
            return gone();
        }
        let short = Duration::from_millis(5 + dice % 40);
        match fault {
            Some(Fault::Cut) => return gone(),
            Some(Fault::Refuse) => {
                // Long enough that the next connection finds it closed. The receiver lives as long as this.
                shared.closing.send(Duration::from_millis(100 + dice % 200)).ok();
                return gone();
            }
            Some(Fault::Unauthorized) => {
                return self.answer(&wire::unauthorized()).await;
            }
            Some(Fault::Throttle) => {
                return self
                    .answer(&wire::throttled(product, dice, told.expect("told when")))
                    .await;
            }
            Some(Fault::Delay) => SystemClock.sleep(short).await,
            Some(Fault::NoJson | Fault::ServerError) if dice & 1 == 0 => {
                return self.answer(&wire::nonsense(fault, dice)).await;
            }
            _ => {}
        }
        let answer = shared.forward(&request).await?;
        if shared.reached(Stage::Applied) {
            self.read.fill_buf().await?;
            return gone();
        }
        match fault {
            Some(Fault::LoseAnswer) => return gone(),
            Some(Fault::NoJson | Fault::ServerError) => {
                return self.answer(&wire::nonsense(fault, dice)).await;
            }
            Some(Fault::HalfAnswer) => {
                let (head, body) = answer.bytes.split_at(answer.n_head);
                self.write.write_all(&[head, &body[..body.len() / 2]].concat()).await?;
                return gone();
            }
            Some(Fault::SlowAnswer) => {
                for piece in answer.bytes.chunks(answer.bytes.len().div_ceil(6)) {
                    self.write.write_all(piece).await?;
                    SystemClock.sleep(short / 8).await;
                }
                return Ok(());
            }
            Some(Fault::Duplicate) if dice & 1 == 0 => {
                let second = shared.forward(&request).await?;
                return self.answer(if dice & 2 == 0 { &second } else { &answer }).await;
            }
            Some(Fault::Duplicate) => {
                tokio::spawn(async move {
                    SystemClock.sleep(short).await;
                    // Nobody waits for this answer.
                    open.0.forward(&request).await.ok();
                    drop(open);
                });
            }
            _ => {}
        }
        self.answer(&answer).await?;
        shared.reached(Stage::Answered);
        Ok(())
    }

    async fn answer(&mut self, answer: &Message) -> io::Result<()> {
        self.write.write_all(&answer.bytes).await
    }
}
