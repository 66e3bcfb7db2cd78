//! The handle through which every request goes: budget, deadline, classification, counts.

use super::budget::{Budget, IN_FLIGHT, Lane};
use super::classify;
use super::envelope::{Answer, Body};
use super::error::{Disposition, Pause, Product, RemoteError};
use super::transport::Transport;
use super::usage::Usage;
use crate::clock::SharedClock;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a request may take unless its client says otherwise; D1 ends a call after 30 s itself.
pub const DEADLINE: Duration = Duration::from_secs(40);

struct Shared {
    transport: Arc<dyn Transport>,
    account: String,
    clock: SharedClock,
    budget: Mutex<Budget>,
    usage: Mutex<Usage>,
    slots: Semaphore,
}

/// One account. Clones share budget, counts and connections; a clone may have its own lane.
#[derive(Clone)]
pub struct Cloudflare {
    shared: Arc<Shared>,
    lane: Lane,
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").field("account", &self.shared.account).finish_non_exhaustive()
    }
}

/// A success: what was asked for, and what the headers say about it.
#[derive(Debug, Clone)]
pub struct Success {
    /// The `result`.
    pub result: Value,
    /// The `result_info`, on lists.
    pub info: Value,
    /// The server's time, from the `Date` header.
    pub at: Option<crate::clock::Micros>,
}

impl Cloudflare {
    /// A handle on `account`, which sends through `transport` and starts with `budget`.
    pub fn new(
        transport: Arc<dyn Transport>,
        account: &str,
        clock: SharedClock,
        budget: Budget,
    ) -> Self {
        let shared = Shared {
            transport,
            account: account.to_owned(),
            clock,
            budget: Mutex::new(budget),
            usage: Mutex::new(Usage::default()),
            slots: Semaphore::new(IN_FLIGHT),
        };
        Self { shared: Arc::new(shared), lane: Lane::Live }
    }

    /// The same account, with requests that count in `lane`.
    #[must_use]
    pub fn in_lane(&self, lane: Lane) -> Self {
        Self { shared: Arc::clone(&self.shared), lane }
    }

    /// The account's id.
    pub fn account(&self) -> &str {
        &self.shared.account
    }

    /// The clock that this handle looks at.
    pub fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// A path below the account: `/accounts/{id}{rest}`.
    pub fn path(&self, rest: &str) -> String {
        format!("/accounts/{}{rest}", segment(&self.shared.account))
    }

    /// Requests that its own budget allows in five minutes.
    pub fn requests_allowed(&self) -> usize {
        lock(&self.shared.budget).allowed()
    }

    /// The instants of the requests that count at present, to be kept over a restart.
    pub fn sent_at(&self) -> Vec<crate::clock::Micros> {
        lock(&self.shared.budget).sent_at()
    }

    /// Goes on counting requests from `sent`, the instants that [`Cloudflare::sent_at`] gave.
    pub fn restore_budget(&self, sent: Vec<crate::clock::Micros>) {
        lock(&self.shared.budget).restore(sent);
    }

    /// How long requests of `lane` must wait for the own budget; `None` if they need not.
    pub fn budget_wait(&self, lane: Lane) -> Option<Duration> {
        let now = self.shared.clock.now();
        lock(&self.shared.budget).wait(now, lane)
    }

    /// Requests in the last five minutes.
    pub fn requests_in_window(&self) -> usize {
        let now = self.shared.clock.now();
        lock(&self.shared.budget).used(now)
    }

    /// What this device has used today.
    pub fn usage(&self) -> Usage {
        let mut usage = lock(&self.shared.usage);
        usage.turn(self.shared.clock.now());
        *usage
    }

    /// Goes on counting from `usage`, which was kept over a restart.
    pub fn restore_usage(&self, usage: Usage) {
        *lock(&self.shared.usage) = usage;
    }

    /// Counts rows that D1 has reported.
    pub fn count_rows(&self, written: u64, read: u64) {
        let mut usage = lock(&self.shared.usage);
        usage.turn(self.shared.clock.now());
        usage.rows_written += written;
        usage.rows_read += read;
    }

    /// Counts text that Workers AI has embedded.
    pub fn count_embedded(&self, bytes: u64) {
        let mut usage = lock(&self.shared.usage);
        usage.turn(self.shared.clock.now());
        usage.embedded_bytes += bytes;
    }

    /// Sends one request and gives the answer, whatever it says.
    ///
    /// # Errors
    /// The own budget is used up, or no complete answer came.
    pub async fn exchange(
        &self,
        product: Product,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer, RemoteError> {
        // The semaphore is never closed; without a slot the request would only be sent early.
        let _slot = self.shared.slots.acquire().await.ok();
        let now = self.shared.clock.now();
        lock(&self.shared.budget)
            .reserve(now, self.lane)
            .map_err(|wait| over_budget(product, wait))?;
        {
            let mut usage = lock(&self.shared.usage);
            usage.turn(now);
            usage.count_request(product);
        }
        let sent = self.shared.transport.send(request, deadline).await;
        sent.map(Answer::new).map_err(|error| self.redacted(classify::no_answer(product, &error)))
    }

    /// Sends one request and gives its `result`.
    ///
    /// # Errors
    /// Anything but a success, classified.
    pub async fn call(
        &self,
        product: Product,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Success, RemoteError> {
        let answer = self.exchange(product, request, deadline).await?;
        if answer.is_success()
            && let Body::Envelope { result, info, success: true, .. } = answer.body()
        {
            let at = answer.header("date").and_then(classify::http_date);
            return Ok(Success { result, info, at });
        }
        Err(self.refusal(product, &answer))
    }

    /// The error that an unsuccessful answer stands for.
    pub fn refusal(&self, product: Product, answer: &Answer) -> RemoteError {
        self.redacted(classify::refused(product, answer, self.shared.clock.now()))
    }

    fn redacted(&self, mut error: RemoteError) -> RemoteError {
        error.message = self.shared.transport.redact(&error.message).into();
        error
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn over_budget(product: Product, wait: Duration) -> RemoteError {
    let pause = Pause::Throttled { after: Some(wait), every_product: true };
    RemoteError::local(
        product,
        Disposition::Pause(pause),
        &format!("memtide's own budget of requests is used up for {} s", wait.as_secs().max(1)),
        "it goes on by itself; Cloudflare blocks the account for five minutes at twice this rate",
    )
}

/// Builds a request with a body of the given type.
///
/// # Errors
/// The path is no path: a name with characters that no such name has.
pub fn request(
    product: Product,
    method: Method,
    path: &str,
    content_type: Option<&'static str>,
    body: impl Into<Bytes>,
) -> Result<Request<Bytes>, RemoteError> {
    let bad = |reason: &str| {
        RemoteError::local(
            product,
            Disposition::Park,
            &format!("the request for {path:?} can't be built: {reason}"),
            "compare the names of account, database, index and bucket with the dashboard's",
        )
    };
    // URL parsers climb up at such segments: a key from a foreign row would reach another endpoint.
    let plain = path.split('?').next().unwrap_or_default();
    if plain.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad("a part of it is empty or only dots"));
    }
    let mut builder = Request::builder().method(method).uri(path);
    if let Some(content_type) = content_type {
        builder = builder.header(CONTENT_TYPE, content_type);
    }
    builder.body(body.into()).map_err(|error| bad(&error.to_string()))
}

/// Builds a request without a body.
///
/// # Errors
/// As [`request`].
pub fn bare(product: Product, method: Method, path: &str) -> Result<Request<Bytes>, RemoteError> {
    request(product, method, path, None, Bytes::new())
}

/// Builds a request with a JSON body.
///
/// # Errors
/// As [`request`], or the body can't be written as JSON.
pub fn json(
    product: Product,
    method: Method,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<Request<Bytes>, RemoteError> {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        RemoteError::local(product, Disposition::Park, &error.to_string(), "report this as a bug")
    })?;
    request(product, method, path, Some("application/json"), bytes)
}

/// Escapes a name that is one part of a path.
pub fn segment(name: &str) -> String {
    escape(name, false)
}

/// Escapes a key whose slashes divide the path.
pub fn key_path(key: &str) -> String {
    escape(key, true)
}

fn escape(name: &str, keeps_slashes: bool) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte));
            }
            b'/' if keeps_slashes => path.push('/'),
            _ => {
                path.push('%');
                path.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests;
