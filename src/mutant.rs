//! Deliberate defects that tests switch on, to prove that the simulator would notice them.
//!
//! Each is looked at in one place of the code it spoils. Without the feature `emulator` no defect can be
//! switched on and the questions vanish from the program.

/// A defect of the protocol or of its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A push overwrites whatever the database holds.
    NoCompareAndSwap,
    /// The cursor moves although the page could not be read.
    CursorMovesOnError,
    /// Stamps are the wall clock, whatever was seen before.
    WallClockStamps,
    /// The outbox doesn't survive a restart.
    VolatileOutbox,
    /// The Python service's writes don't move the feed.
    NoTriggers,
    /// A database that was put back isn't noticed.
    RewindUnnoticed,
    /// A deletion that was pulled leaves no tombstone.
    TombstoneDropped,
    /// A vector goes out before its row.
    VectorBeforeRow,
    /// A body goes out after its row.
    BodyAfterRow,
    /// A duty is settled whatever was changed meanwhile.
    SettleWithoutGeneration,
    /// A product that asked to be left alone is asked again at once.
    RetryAfterIgnored,
    /// Half of a page is applied, and the cursor moves over all of it.
    PartialPage,
    /// Any living row of the Python service revives a deleted memory.
    EasyRevival,
    /// A key that is missing in a row of the Python service is taken for removed.
    MissingKeyRemoves,
    /// Commits aren't flushed to the disk.
    SynchronousNormal,
}

#[cfg(feature = "emulator")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether `mutant` is on for this thread.
    pub fn is(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// Runs `work` with `mutant` on, on this thread only.
    pub fn with<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
        /// Switches it off again, also when `work` panics.
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(None);
            }
        }
        ON.set(Some(mutant));
        let _off = Off;
        work()
    }
}

#[cfg(feature = "emulator")]
pub use switch::{is, with};

/// Whether `mutant` is on: never, in a program without the emulator.
#[cfg(not(feature = "emulator"))]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_on_for_its_own_work_only() {
        assert!(!is(Mutant::NoTriggers));
        let seen = with(Mutant::NoTriggers, || (is(Mutant::NoTriggers), is(Mutant::PartialPage)));
        assert_eq!(seen, (true, false));
        assert!(!is(Mutant::NoTriggers));
    }
}
