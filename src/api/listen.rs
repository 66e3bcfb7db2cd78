//! Connections of the socket: who may connect, how many, and how long they may take.

use super::error::ApiError;
use crate::shutdown::{Phase, Shutdown};
use axum::Router;
use axum::http::Request;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Connections at a time; one more is told that the daemon is busy.
pub const CONNECTIONS_MAX: usize = 64;
/// Time for a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for answers in flight when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `router` on `listener` until the daemon drains.
pub(super) async fn serve(listener: UnixListener, router: Router, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let service = TowerToHyperService::new(router);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, mostly: waiting is all that helps.
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.reached(Phase::Draining) => break,
        };
        if !is_own_user(&stream) {
            tracing::warn!("connection of another user refused");
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tokio::spawn(refuse(stream));
            continue;
        };
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    // What is still unanswered after this is cut: durability never depends on an answer.
    let _cut = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

/// The socket's mode keeps others out; this also holds where a file system ignores it.
fn is_own_user(stream: &UnixStream) -> bool {
    let own = effective_uid();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

fn effective_uid() -> u32 {
    #[expect(unsafe_code, reason = "getuid has no safe wrapper in std; it can't fail")]
    // SAFETY: getuid takes nothing, touches no memory and always succeeds.
    unsafe {
        libc::geteuid()
    }
}

/// Answers the first request that nobody has time for. The request is read to its end: a client that is
/// still writing would take the closed connection for a broken one and never see the answer.
async fn refuse(stream: UnixStream) {
    let busy = service_fn(|mut request: Request<Incoming>| async move {
        while let Some(Ok(_unread)) = request.body_mut().frame().await {}
        let refusal = ApiError::no_connection_left(CONNECTIONS_MAX);
        Ok::<_, Infallible>(([(RETRY_AFTER, "1")], refusal).into_response())
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = http.serve_connection(TokioIo::new(stream), busy);
    // A client that doesn't read its refusal loses nothing.
    let _unread = tokio::time::timeout(HEADER_TIMEOUT, connection).await;
}
