//! A thread that helps whoever searches among many vectors: looking at them takes milliseconds, and another
//! processor is idle, mostly.
//!
//! Both take one piece after the other until none is left. So a thread that gets no processor takes none, and
//! whoever searches waits for a piece at most that the other one is at.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::ops::Range;
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
pub(super) struct Assistant(Sender<Task>);

/// What it helps with.
type Task = Box<dyn FnOnce() + Send>;

impl Assistant {
    /// `None` where there is one processor only, or no thread to be had.
    pub(super) fn start() -> Option<Self> {
        let n_processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if n_processors < 2 {
            return None;
        }
        // Nothing waits in it: whoever finds the thread at work looks at everything alone.
        let (inbox, tasks) = bounded::<Task>(0);
        let helps = move || tasks.into_iter().for_each(|task| task());
        let started = std::thread::Builder::new().name("store-scan".to_owned()).spawn(helps);
        started.ok().map(|_detached| Self(inbox))
    }

    /// Has it do a part of the work; `None` if it is busy already. The receiver fails if it broke down.
    pub(super) fn help<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Receiver<T>> {
        let (found, answer) = bounded(1);
        // Who asked doesn't wait if nothing was left for this thread.
        let task = move || found.send(work()).unwrap_or_default();
        self.0.try_send(Box::new(task)).ok().map(|()| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

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
    fn it_does_what_is_left_for_it() {
        let Some(assistant) = Assistant::start() else { return };
        for n_taken in 0..3 {
            let pieces = Arc::new(Pieces::of(2 * PIECE));
            for _ in 0..n_taken {
                assert!(pieces.take().is_some());
            }
            let answer = loop {
                // It may not be there yet.
                let pieces = Arc::clone(&pieces);
                let left = move || std::iter::from_fn(|| pieces.take()).count();
                match assistant.help(left) {
                    Some(answer) => break answer,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(answer.recv(), Ok(2_usize.saturating_sub(n_taken)));
        }
    }
}
