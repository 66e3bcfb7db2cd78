//! The replicator: carries what the outbox owes to the linked Cloudflare account, and brings back what
//! others wrote there.
//!
//! What it is: a loop around [`replicator::Replicator::step`]: one page of the feed if it is time, then one
//! bounded pass over the three products, then upkeep. A pass asks the gates and the plan what may go now,
//! reads the duties together with what is to be sent in one snapshot, sends it, and records what became of
//! each duty in one write. A page is checked, brought together with the Python service's rows
//! ([`reconcile`]) and merged with its cursor in one transaction.
//!
//! What it is not: a queue. Nothing waits in memory; what a crash interrupts is still owed and is sent
//! again, which is harmless because every remote write can be repeated. It is the only place that
//! retries, and the only retry state is the outbox row and the gates, both in the database.
//!
//! Invariants:
//! * A duty leaves the outbox only at the generation that was read together with what was sent, so a
//!   change made during a send keeps it.
//! * Body before row before vector: the outbox's own queries hold that order.
//! * Nothing is dropped because attempts ran out. What can't succeed is parked, visible, with its
//!   reason. A refused token, a missing resource, a used-up plan and a throttle park nothing and burn
//!   no attempt: they shut the product's gate.
//! * Where the database is not the one that this device knows, nothing is written until a person says so.
//! * A vector is done once the index has been seen to hold it, not when it was accepted.
//!
//! What may disagree after a crash: the cloud may hold more than the outbox says. The next push of such
//! a memory loses its compare-and-swap, finds its own state there, and is settled without a second write.

pub mod progress;

pub mod breaker;
pub mod course;
pub mod pace;
pub mod plan;
pub mod polling;
pub mod reconcile;
pub mod transition;
pub mod verdict;

mod announce;
mod confirm;
mod contact;
mod gates;
mod intake;
mod outgoing;
mod pull;
mod push;
mod record;
pub mod session;
mod sweep;
mod upkeep;
pub mod verify;

pub mod handle;
pub mod linking;
pub mod preview;
pub mod replicator;
