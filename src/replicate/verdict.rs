//! What the cloud holds for a memory that lost its compare-and-swap, and what that means: pure.
//!
//! A memory loses because somebody else wrote it, or because its own earlier write was applied and the
//! answer got lost. Its own state, or an older one that is wholly part of its own, is no conflict.

use crate::model::state_text;
use crate::remote::fetch::{RemoteEntry, RemoteRow};
use crate::remote::push::PushRow;

/// What is to be done about a lost push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud holds what was sent, at this position.
    Held {
        /// Where.
        seq: i64,
    },
    /// Nothing stands against it at this position: it is sent again at once.
    Free {
        /// Where.
        seq: i64,
    },
    /// The cloud holds something that only a merge can bring together; the sentence says what.
    Differs(String),
    /// Nothing explains the loss: it is sent again later.
    Unexplained,
}

/// Compares what was sent with what is there.
pub fn verdict(sent: &PushRow, found: &RemoteEntry) -> Verdict {
    let Some(theirs) = &found.state_text else {
        return without_state(sent, found);
    };
    if *theirs == sent.state_text {
        return with_equal_state(sent, found);
    }
    let read = state_text::read(theirs).and_then(|theirs| {
        let ours = state_text::read(&sent.state_text)?;
        let mut merged = ours.clone();
        merged.merge(&theirs);
        Ok(merged == ours)
    });
    match read {
        Ok(true) => free(sent, found),
        Ok(false) => Verdict::Differs("another device changed this memory meanwhile".to_owned()),
        Err(error) => Verdict::Differs(error.to_string()),
    }
}

fn with_equal_state(sent: &PushRow, found: &RemoteEntry) -> Verdict {
    match (sent.alive, found.row) {
        (true, RemoteRow::Alive) | (false, RemoteRow::Dead | RemoteRow::Absent) => {
            Verdict::Held { seq: found.seq }
        }
        // The Python service purged the row of a living memory: it is written again.
        (true, RemoteRow::Absent) => free(sent, found),
        (true, RemoteRow::Dead) => {
            Verdict::Differs("the Python service deleted this memory meanwhile".to_owned())
        }
        (false, RemoteRow::Alive) => {
            Verdict::Differs("the Python service stored this memory again".to_owned())
        }
    }
}

fn without_state(sent: &PushRow, found: &RemoteEntry) -> Verdict {
    if found.state_bytes > 0 {
        return Verdict::Unexplained;
    }
    if found.seq == 0 && found.row != RemoteRow::Absent {
        let what = "the Python service stored this memory, and the database has no triggers that tell when";
        return Verdict::Differs(what.to_owned());
    }
    free(sent, found)
}

/// A position that was known already explains nothing.
fn free(sent: &PushRow, found: &RemoteEntry) -> Verdict {
    if found.seq == sent.expected_seq {
        Verdict::Unexplained
    } else {
        Verdict::Free { seq: found.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outgoing::push_row;
    use super::super::outgoing::tests::{outgoing, state};
    use super::*;
    use crate::model::stamp::{DeviceId, Stamp};
    use crate::model::state::Register;

    fn sent(alive: bool) -> PushRow {
        let mut state = state();
        state.life.value = alive;
        let mut row = push_row(&outgoing(&state)).expect("a row");
        row.expected_seq = 5;
        row
    }

    fn found(sent: &PushRow, state: Option<String>, row: RemoteRow) -> RemoteEntry {
        let state_bytes = state.as_ref().map_or(0, |text| text.len() as u64);
        RemoteEntry { id: sent.id, seq: 9, nonce: None, state_text: state, state_bytes, row }
    }

    #[test]
    fn the_own_state_settles_a_lost_answer() {
        let alive = sent(true);
        let own = |row| verdict(&alive, &found(&alive, Some(alive.state_text.clone()), row));
        assert_eq!(own(RemoteRow::Alive), Verdict::Held { seq: 9 });
        assert_eq!(own(RemoteRow::Absent), Verdict::Free { seq: 9 });
        assert!(matches!(own(RemoteRow::Dead), Verdict::Differs(_)));
        let dead = sent(false);
        let own = |row| verdict(&dead, &found(&dead, Some(dead.state_text.clone()), row));
        assert_eq!(own(RemoteRow::Dead), Verdict::Held { seq: 9 });
        assert_eq!(own(RemoteRow::Absent), Verdict::Held { seq: 9 });
        assert!(matches!(own(RemoteRow::Alive), Verdict::Differs(_)));
    }

    #[test]
    fn an_older_own_state_is_no_conflict_and_a_foreign_one_is() {
        let sent = sent(true);
        let mut older = state();
        older.tags.clear();
        let older =
            verdict(&sent, &found(&sent, Some(state_text::write(&older)), RemoteRow::Alive));
        assert_eq!(older, Verdict::Free { seq: 9 });
        let mut foreign = state();
        let later = Stamp { ms: 99, counter: 0, device: DeviceId(7) };
        foreign.tags.insert("theirs".to_owned(), Register::new(later, true));
        let foreign = Some(state_text::write(&foreign));
        let foreign = verdict(&sent, &found(&sent, foreign, RemoteRow::Alive));
        assert!(matches!(foreign, Verdict::Differs(_)), "{foreign:?}");
        let newer = verdict(&sent, &found(&sent, Some(r#"{"v":9}"#.to_owned()), RemoteRow::Alive));
        assert!(matches!(&newer, Verdict::Differs(why) if why.contains("form 9")), "{newer:?}");
    }

    #[test]
    fn a_row_without_a_state_is_learnt_once() {
        let sent = sent(true);
        let mut bare = found(&sent, None, RemoteRow::Alive);
        assert_eq!(verdict(&sent, &bare), Verdict::Free { seq: 9 });
        bare.seq = 5;
        assert_eq!(verdict(&sent, &bare), Verdict::Unexplained);
        bare.seq = 0;
        assert!(matches!(verdict(&sent, &bare), Verdict::Differs(_)), "the feed doesn't know it");
        bare.row = RemoteRow::Absent;
        assert_eq!(verdict(&sent, &bare), Verdict::Free { seq: 0 });
        bare.state_bytes = 7;
        assert_eq!(verdict(&sent, &bare), Verdict::Unexplained);
    }
}
