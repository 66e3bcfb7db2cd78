//! The way between a device and the account: requests leave here and wait until the world has decided
//! what becomes of them.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use memtide::remote::transport::{Transport, TransportError};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// What a sender gets in the end.
pub type Reply = Result<Response<Bytes>, TransportError>;

/// A request that has left its device.
pub struct Sent {
    pub ticket: u64,
    pub device: usize,
    pub request: Request<Bytes>,
    pub deadline: Duration,
}

/// Requests that left and answers that came, of all devices.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Mail>>);

#[derive(Default)]
struct Mail {
    n_tickets: u64,
    sent: Vec<Sent>,
    /// The device that waits for each answer.
    open: BTreeMap<u64, usize>,
    answers: BTreeMap<u64, Reply>,
}

impl Network {
    /// The line of one device.
    pub fn line(&self, device: usize) -> Arc<dyn Transport> {
        Arc::new(Line { device, network: self.clone() })
    }

    /// The requests that left since the last time.
    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    /// Hands an answer to its sender, unless that has given up or died. Returns whether it took it.
    pub fn answer(&self, ticket: u64, reply: Reply) -> bool {
        let mut mail = self.0.lock().unwrap();
        let is_open = mail.open.remove(&ticket).is_some();
        if is_open {
            mail.answers.insert(ticket, reply);
        }
        is_open
    }

    /// Forgets what a device was waiting for: it died. What it sent goes its way.
    pub fn hang_up(&self, device: usize) {
        let mut mail = self.0.lock().unwrap();
        mail.open.retain(|_, who| *who != device);
        let Mail { open, answers, .. } = &mut *mail;
        answers.retain(|ticket, _| open.contains_key(ticket));
    }

    fn send(&self, device: usize, request: Request<Bytes>, deadline: Duration) -> u64 {
        let mut mail = self.0.lock().unwrap();
        mail.n_tickets += 1;
        let ticket = mail.n_tickets;
        mail.open.insert(ticket, device);
        mail.sent.push(Sent { ticket, device, request, deadline });
        ticket
    }
}

struct Line {
    device: usize,
    network: Network,
}

impl Transport for Line {
    fn send(&self, request: Request<Bytes>, deadline: Duration) -> BoxFuture<'_, Reply> {
        let ticket = self.network.send(self.device, request, deadline);
        Box::pin(poll_fn(move |_| {
            let arrived = self.network.0.lock().unwrap().answers.remove(&ticket);
            arrived.map_or(Poll::Pending, Poll::Ready)
        }))
    }
}
