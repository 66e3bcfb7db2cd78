//! memtide: a local-first memory for AI agents.
//!
//! One binary in three roles. `memtide daemon` owns the database and everything that runs in the
//! background. `memtide mcp` is the front-end that an agent's client starts: it holds no state and
//! speaks to the daemon's socket. `memtide status` and its siblings are the command line, which speaks to
//! the same socket.
//!
//! # Floors
//!
//! A module uses lower floors only; a test holds it (`tests/house.rs`, which has the list).
//!
//! ```text
//!  4  assembly    main  cli  daemon  bench              wires everything, owns no rule
//!  3  doors       api (server, client)  mcp             words in, words out
//!  2  engine      service (store + embed)   replicate (store + remote)   migrate (service + watch)
//!  1  devices     store   embed   remote   watch   config   secrets   emulator    one outside thing each
//!  0  vocabulary  model   clock   backoff   shutdown   priority   mutant   no outside thing
//! ```
//!
//! # The way of a write
//!
//! ```text
//! client -> mcp -> api -> service
//!    1  model::draft    every limit is checked; a refusal names the limit and the value
//!    2  store           one transaction: memory and registers, tags, words, the duty to embed,
//!                       the duties to the cloud                        <- durable from here on
//!    3  hints           to the embedder and the replicator; they may be lost, the tables are the truth
//! <- id, generation
//! service::pump   texts that wait -> embedder -> vectors, one transaction
//! replicate       duties that are due -> plan -> bucket, row, vector -> settled at their generation
//! ```
//!
//! # The way of what others write
//!
//! ```text
//! replicate, when it is time
//!    1  remote::feed        one page after the cursor: states, rows, and whose database it is
//!    2  reconcile           state and row of the Python service become registers (pure)
//!    3  intake              texts that are not here; what can't be taken is set aside, visibly
//!    4  store::pull         one transaction: merged rows, history, duties, the cursor
//! ```
//!
//! A push that loses its compare-and-swap goes the same way from the second step on.
//!
//! # The way of a read
//!
//! ```text
//! client -> mcp -> api -> service
//!    1  embed           the query's vector, from the cache or the model
//!    2  store           proposals by meaning and by words, from memory; on one snapshot of the file those
//!                       that stand and pass the filter; one ranking
//! <- hits, and what they may not know yet
//! ```
//!
//! A read never touches the network, never waits for the writer, never writes.
//!
//! # Threads
//!
//! `store-writer`, `store-reader-N` and `store-aside` own SQLite connections, `store-scan` helps a
//! reader to look at vectors where they are many, `embed` owns the model,
//! `embed-backlog` a second, slower session of it while there is a backlog; they take jobs from bounded inboxes
//! and answer through oneshots. tokio runs the API and the timers, on a thread `replicator` that one, and on its
//! threads for blocking work the reading of a source that is moved in from; a thread of `notify` tells when that
//! has changed. `replicator`, `store-aside`, which reads for it, and `embed-backlog` have a lower priority than
//! the rest; the first two also offer the processor to others after every few ten microseconds. There is no event bus and no channel between the service and the replicator: they share the outbox
//! table and a wake-up.

pub mod backoff;
pub mod clock;
pub mod model;
pub mod mutant;
pub mod priority;
pub mod shutdown;

pub mod config;
pub mod embed;
pub mod remote;
pub mod secrets;
pub mod store;
pub mod watch;

pub mod migrate;
pub mod replicate;
pub mod service;

pub mod api;
pub mod mcp;

pub mod bench;
pub mod cli;
pub mod daemon;
#[cfg(feature = "emulator")]
pub mod emulator;
