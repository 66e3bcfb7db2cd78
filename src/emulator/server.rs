//! The emulator behind a loopback port, for clients that speak HTTP.

use super::Cloudflare;
use super::options::Options;
use super::outcome::Outcome;
use crate::clock::SharedClock;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An account on a port of this machine. Dropping it closes the port.
pub struct Running {
    core: Arc<Cloudflare>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes an account and serves it on a free port.
///
/// # Errors
/// Fails if no port can be bound or no thread can be started.
pub fn start(clock: SharedClock, seed: u64, options: Options) -> io::Result<Running> {
    serve(Arc::new(Cloudflare::new(clock, seed, options)), 0)
}

/// Serves an account on a port of 127.0.0.1; port 0 takes any free one. It runs on a thread of
/// its own, so tests with and without an async runtime can use it.
///
/// # Errors
/// Fails if the port can't be bound or no thread can be started.
pub fn serve(core: Arc<Cloudflare>, port: u16) -> io::Result<Running> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let served = Arc::clone(&core);
    let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                () = accept(listener, served) => {}
                _ = stopped => {}
            }
        });
        // Dropping the runtime ends every connection that is still open.
    })?;
    Ok(Running { core, port, stop: Some(stop), thread: Some(thread) })
}

impl Running {
    /// What a client takes for `https://api.cloudflare.com/client/v4`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/client/v4", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The account behind the port.
    pub fn core(&self) -> &Arc<Cloudflare> {
        &self.core
    }

    /// The account's id.
    pub fn account_id(&self) -> &str {
        &self.core.options().account_id
    }

    /// The secret of the first token that the account was made with.
    pub fn token(&self) -> &str {
        self.core.options().tokens.first().map_or("", |token| token.secret.as_str())
    }

    /// Closes the port and every connection. [`serve`] with the same core and port goes on.
    pub fn stop(mut self) -> Arc<Cloudflare> {
        self.halt();
        Arc::clone(&self.core)
    }

    fn halt(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The other end is gone only if the thread has ended already.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the emulator's thread panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt();
    }
}

async fn accept(listener: TcpListener, core: Arc<Cloudflare>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the emulator can't listen");
            return;
        }
    };
    loop {
        match listener.accept().await {
            // A dead network: the connection ends before a word is said.
            Ok(_) if !core.network_is_up() => core.count_refused(),
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&core)));
            }
            Err(error) => {
                // Out of file descriptors, most likely: let the open connections go on.
                tracing::warn!(%error, "the emulator can't accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn connection(stream: TcpStream, core: Arc<Cloudflare>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&core)));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // Faults end connections this way, and clients that are killed do.
        tracing::debug!(%error, "a connection to the emulator ended early");
    }
}

/// An error ends the connection without an answer.
async fn answer(request: Request<Incoming>, core: Arc<Cloudflare>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut outcome = core.handle(&Request::from_parts(head, body));
    loop {
        match outcome {
            Outcome::Answer(response) => {
                return Ok(
                    response.map(|body| Full::new(body).map_err(io::Error::other).boxed_unsync())
                );
            }
            Outcome::NoAnswer => return Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Outcome::CutAnswer(response, keep) => return Ok(cut(response, keep)),
            Outcome::Late { after, then } => {
                core.clock().sleep(after).await;
                outcome = *then;
            }
        }
    }
}

/// Promises the whole body and sends `keep` bytes of it.
fn cut(response: Response<Bytes>, keep: usize) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let start = body.slice(..keep.min(body.len()));
    let frames = stream::unfold(Some(start), |state| async move {
        if let Some(start) = state {
            Some((Ok(Frame::data(start)), None))
        } else {
            // Lets hyper send what it has before the error takes the connection down.
            tokio::task::yield_now().await;
            Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
        }
    });
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}
