//! A thread that helps whoever searches among many vectors: looking at them takes milliseconds, and another
//! processor is idle, mostly.
//!
//! Both take one piece after the other until none is left. So a thread that gets no processor takes none, and
//! whoever searches waits for a piece at most that the other one is at.

use super::code::Sought;
use super::table::Table;
use crate::store::best::Best;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Chunks of one piece: a tenth of a millisecond.
const PIECE: usize = 8;

/// The chunks of a table that somebody still has to look at.
#[derive(Debug)]
pub(super) struct Pieces {
    next: AtomicUsize,
    end: usize,
}

impl Pieces {
    /// All of so many chunks.
    pub(super) fn of(n_chunks: usize) -> Self {
        Self { next: AtomicUsize::new(0), end: n_chunks }
    }

    /// Chunks that nobody else will look at.
    pub(super) fn take(&self) -> Option<Range<usize>> {
        let from = self.next.fetch_add(PIECE, Ordering::Relaxed);
        (from < self.end).then(|| from..(from + PIECE).min(self.end))
    }
}

/// The thread; it ends with this handle.
#[derive(Debug)]
pub(super) struct Assistant(Sender<Search>);

/// What it helps with.
struct Search {
    table: Arc<Table>,
    sought: Arc<Sought>,
    n: usize,
    pieces: Arc<Pieces>,
    found: Sender<Best<usize>>,
}

impl Assistant {
    /// `None` where there is one processor only, or no thread to be had.
    pub(super) fn start() -> Option<Self> {
        let n_processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if n_processors < 2 {
            return None;
        }
        // Nothing waits in it: whoever finds the thread at work looks at everything alone.
        let (inbox, searches) = bounded::<Search>(0);
        let helps = move || {
            for Search { table, sought, n, pieces, found } in searches {
                let mut best = Best::new(n);
                table.offer_pieces(&sought, &pieces, &mut best);
                drop(table);
                // Who asked doesn't wait if nothing was left for this thread.
                let _heard = found.send(best);
            }
        };
        let started = std::thread::Builder::new().name("store-scan".to_owned()).spawn(helps);
        started.ok().map(|_detached| Self(inbox))
    }

    /// Has it look for the `n` best of the pieces that are left; `None` if it is at work already.
    pub(super) fn help(
        &self,
        table: &Arc<Table>,
        sought: &Arc<Sought>,
        n: usize,
        pieces: &Arc<Pieces>,
    ) -> Option<Receiver<Best<usize>>> {
        let (found, answer) = bounded(1);
        let (table, sought, pieces) = (Arc::clone(table), Arc::clone(sought), Arc::clone(pieces));
        self.0.try_send(Search { table, sought, n, pieces, found }).ok().map(|()| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::CHUNK;
    use super::super::code::Code;
    use super::super::table::Limits;
    use super::*;

    #[test]
    fn each_chunk_belongs_to_one_piece() {
        for n_chunks in [0, 1, PIECE, 3 * PIECE + 1] {
            let pieces = Pieces::of(n_chunks);
            let taken: Vec<usize> = std::iter::from_fn(|| pieces.take()).flatten().collect();
            assert_eq!(taken, (0..n_chunks).collect::<Vec<_>>());
            assert_eq!(pieces.take(), None);
        }
    }

    #[test]
    fn it_finds_what_is_left_for_it() {
        let Some(assistant) = Assistant::start() else { return };
        let mut table = Table::new(1, 2, Limits::of_bytes(1 << 20));
        for id in 0..12 * CHUNK {
            let angle = f32::from(u16::try_from(id).unwrap()) / 1000.0;
            assert!(table.put(
                i64::try_from(id).unwrap(),
                7,
                &Code::of(&[angle.cos(), angle.sin()])
            ));
        }
        let (table, sought) = (Arc::new(table), Arc::new(Sought::of(&[1.0, 0.0])));
        for n_taken in 0..3 {
            let (pieces, own) = (Arc::new(Pieces::of(12)), Pieces::of(12));
            for _ in 0..n_taken {
                assert_eq!(pieces.take(), own.take());
            }
            let answer = loop {
                // It may not be there yet.
                match assistant.help(&table, &sought, 5, &pieces) {
                    Some(answer) => break answer,
                    None => std::thread::yield_now(),
                }
            };
            let found = answer.recv().unwrap().into_sorted();
            let mut best = Best::new(5);
            table.offer_pieces(&sought, &own, &mut best);
            assert_eq!(found, best.into_sorted(), "{n_taken} pieces taken");
            assert_eq!(found.is_empty(), n_taken == 2);
        }
    }
}
