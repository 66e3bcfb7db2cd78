//! What the cloud holds for a memory that lost its compare-and-swap, and what that means: pure.
//!
//! A memory loses because somebody else wrote it, or because its own earlier write was applied and the
//! answer got lost. Its own state, or an older one that is wholly part of its own, is no conflict.

use super::outgoing::metadata_json;
use crate::model::state::State;
use crate::model::state_text;
use crate::remote::fetch::{RemoteEntry, RemoteRow, Shown};
use crate::remote::push::PushRow;
use serde_json::Value;

/// What is to be done about a lost push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud holds what was sent.
    Held {
        /// Where; `None` if somebody has changed the row since, so that the next push must look again.
        seq: Option<i64>,
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
    let read = state_text::read(theirs)
        .and_then(|theirs| Ok((theirs, state_text::read(&sent.state_text)?)));
    match read {
        Ok((theirs, ours)) => with_state(sent, &ours, &theirs, found),
        Err(error) => Verdict::Differs(error.to_string()),
    }
}

fn with_state(sent: &PushRow, ours: &State, theirs: &State, found: &RemoteEntry) -> Verdict {
    let differs = |what: &str| Verdict::Differs(what.to_owned());
    match (theirs.is_alive(), found.row) {
        (true, RemoteRow::Dead) if sent.alive => {
            return differs("the Python service deleted this memory meanwhile");
        }
        (false, RemoteRow::Alive) if !sent.alive => {
            return differs("the Python service stored this memory again");
        }
        _ => {}
    }
    let is_touched = theirs.is_alive()
        && found.row == RemoteRow::Alive
        && found.shown.as_ref().is_some_and(|shown| !shows(shown, theirs));
    if ours == theirs {
        // The Python service purges rows; that of a living memory is written again.
        if sent.alive && found.row == RemoteRow::Absent {
            return free(sent, found);
        }
        return Verdict::Held { seq: (!is_touched).then_some(found.seq) };
    }
    let mut merged = ours.clone();
    merged.merge(theirs);
    if merged != *ours {
        differs("another device changed this memory meanwhile")
    } else if is_touched {
        differs("the Python service changed this memory meanwhile")
    } else {
        free(sent, found)
    }
}

/// Whether a row still shows the state that was written with it.
fn shows(shown: &Shown, state: &State) -> bool {
    let metadata = |text: &str| serde_json::from_str::<Value>(text).ok();
    shown.memory_type == state.kind.value
        && shown.tags.iter().map(String::as_str).eq(state.live_tags())
        && metadata(&shown.metadata_json) == metadata(&metadata_json(state))
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

    fn found(sent: &PushRow, state_of: Option<String>, row: RemoteRow) -> RemoteEntry {
        let state_bytes = state_of.as_ref().map_or(0, |text| text.len() as u64);
        let state = state_text::read(&sent.state_text).expect("a state");
        let shown = Shown {
            memory_type: sent.memory_type.clone(),
            tags: state.live_tags().into_iter().map(str::to_owned).collect(),
            metadata_json: sent.metadata_json.replace(':', ": "),
        };
        let shown = (row == RemoteRow::Alive).then_some(shown);
        RemoteEntry {
            id: sent.id,
            seq: 9,
            nonce: None,
            state_text: state_of,
            state_bytes,
            row,
            shown,
        }
    }

    #[test]
    fn the_own_state_settles_a_lost_answer() {
        let alive = sent(true);
        let own = |row| verdict(&alive, &found(&alive, Some(alive.state_text.clone()), row));
        assert_eq!(own(RemoteRow::Alive), Verdict::Held { seq: Some(9) });
        assert_eq!(own(RemoteRow::Absent), Verdict::Free { seq: 9 });
        assert!(matches!(own(RemoteRow::Dead), Verdict::Differs(_)));
        let dead = sent(false);
        let own = |row| verdict(&dead, &found(&dead, Some(dead.state_text.clone()), row));
        assert_eq!(own(RemoteRow::Dead), Verdict::Held { seq: Some(9) });
        assert_eq!(own(RemoteRow::Absent), Verdict::Held { seq: Some(9) });
        assert!(matches!(own(RemoteRow::Alive), Verdict::Differs(_)));
    }

    #[test]
    fn an_older_own_state_is_no_conflict_and_a_foreign_one_is() {
        let sent = sent(true);
        let mut older = state();
        older.tags.clear();
        let mut entry = found(&sent, Some(state_text::write(&older)), RemoteRow::Alive);
        entry.shown.as_mut().expect("a row").tags.clear();
        assert_eq!(verdict(&sent, &entry), Verdict::Free { seq: 9 });
        entry.row = RemoteRow::Dead;
        assert!(matches!(verdict(&sent, &entry), Verdict::Differs(_)), "deleted by another");
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
    fn a_row_that_the_python_service_touched_is_not_overwritten() {
        let sent = sent(true);
        let own = Some(sent.state_text.clone());
        let mut older = state();
        older.metadata.clear();
        let older = Some(state_text::write(&older));
        let touch: [fn(&mut Shown); 3] = [
            |shown| shown.memory_type.push('x'),
            |shown| shown.tags.clear(),
            |shown| shown.metadata_json = "{}".to_owned(),
        ];
        for change in touch {
            let mut entry = found(&sent, own.clone(), RemoteRow::Alive);
            change(entry.shown.as_mut().expect("a row"));
            assert_eq!(verdict(&sent, &entry), Verdict::Held { seq: None });
        }
        let entry = found(&sent, older, RemoteRow::Alive);
        assert!(matches!(verdict(&sent, &entry), Verdict::Differs(_)));
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
