//! What the cloud holds for a memory that lost its compare-and-swap, and what that means for a device
//! that only pushes: pure.
//!
//! A memory loses because somebody else wrote it, or because its own earlier write was applied and the
//! answer got lost. Its own state, or an older one that is wholly part of its own, is no conflict.

use super::reconcile::{is_touched, read_row, reconcile};
use crate::model::state_text;
use crate::remote::feed::FeedEntry;
use crate::remote::push::PushRow;

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
pub fn verdict(sent: &PushRow, found: &FeedEntry) -> Verdict {
    let shown = match found.row.as_ref().map(read_row).transpose() {
        Ok(shown) => shown,
        Err(reason) => return Verdict::Differs(reason),
    };
    let read = |text: &str| state_text::read(text).map_err(|error| error.to_string());
    let (theirs, ours) =
        match (found.state_text.as_deref().map(read).transpose(), read(&sent.state_text)) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(reason), _) | (_, Err(reason)) => return Verdict::Differs(reason),
        };
    let Some(theirs) = theirs else { return without_state(sent, found) };
    let is_touched = is_touched(Some(&theirs), shown.as_ref());
    if ours == theirs && (shown.is_some() || !sent.alive) && !is_touched {
        return Verdict::Held { seq: Some(found.seq) };
    }
    let Some(cloud) = reconcile(Some(theirs.clone()), shown.as_ref(), None) else {
        return free(sent, found);
    };
    let mut merged = ours.clone();
    merged.merge(&cloud.state);
    let is_alive = shown.is_some_and(|shown| shown.deleted_at.is_none());
    if merged == ours {
        return free(sent, found);
    }
    let is_life_moved = cloud.state.is_alive() != theirs.is_alive();
    match (is_touched, is_life_moved) {
        (true, true) if is_alive => differs("the Python service stored this memory again"),
        (true, true) => differs("the Python service deleted this memory meanwhile"),
        (true, false) if ours == theirs => Verdict::Held { seq: None },
        (true, false) => differs("the Python service changed this memory meanwhile"),
        (false, _) => differs("another device changed this memory meanwhile"),
    }
}

fn differs(what: &str) -> Verdict {
    Verdict::Differs(what.to_owned())
}

fn without_state(sent: &PushRow, found: &FeedEntry) -> Verdict {
    if found.is_cut {
        return Verdict::Unexplained;
    }
    if found.seq == 0 && found.row.is_some() {
        return differs(
            "the Python service stored this memory, and the database has no triggers that tell when",
        );
    }
    free(sent, found)
}

/// A position that was known already explains nothing.
fn free(sent: &PushRow, found: &FeedEntry) -> Verdict {
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
    use crate::remote::feed::FeedRow;

    fn sent(alive: bool) -> PushRow {
        let mut state = state();
        state.life.value = alive;
        let mut row = push_row(&outgoing(&state)).expect("a row");
        row.expected_seq = 5;
        row
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Row {
        Absent,
        Alive,
        Dead,
    }

    fn found(sent: &PushRow, state_text: Option<String>, row: Row) -> FeedEntry {
        let state = state_text::read(&sent.state_text).expect("a state");
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970, a few")]
        let shown = FeedRow {
            created_at: Some(state.birth.value.at.0 as f64 / 1e6),
            updated_at: Some(0.1),
            deleted_at: (row == Row::Dead).then_some(0.2),
            memory_type: Some(sent.memory_type.clone()),
            metadata_json: Some(sent.metadata_json.replace(':', ": ")),
            tags: state.live_tags().into_iter().map(str::to_owned).collect(),
            ..FeedRow::default()
        };
        FeedEntry {
            key: sent.id.to_string(),
            seq: 9,
            nonce: None,
            age_s: Some(60),
            state_text,
            is_cut: false,
            row: (row != Row::Absent).then_some(shown),
        }
    }

    fn row(entry: &mut FeedEntry) -> &mut FeedRow {
        entry.row.as_mut().expect("a row")
    }

    #[test]
    fn the_own_state_settles_a_lost_answer() {
        let alive = sent(true);
        let own = |row| verdict(&alive, &found(&alive, Some(alive.state_text.clone()), row));
        assert_eq!(own(Row::Alive), Verdict::Held { seq: Some(9) });
        assert_eq!(own(Row::Absent), Verdict::Free { seq: 9 });
        assert!(matches!(own(Row::Dead), Verdict::Differs(_)));
        let dead = sent(false);
        let own = |row| verdict(&dead, &found(&dead, Some(dead.state_text.clone()), row));
        assert_eq!(own(Row::Dead), Verdict::Held { seq: Some(9) });
        assert_eq!(own(Row::Absent), Verdict::Held { seq: Some(9) });
        assert_eq!(own(Row::Alive), Verdict::Free { seq: 9 }, "an old copy revives nothing");
        let mut again = found(&dead, Some(dead.state_text.clone()), Row::Alive);
        row(&mut again).created_at = Some(77.0);
        let text = "the Python service stored this memory again";
        // Without its text the row says nothing yet: it is sent again and looked at once more.
        assert!(matches!(verdict(&dead, &again), Verdict::Free { .. }), "{text}");
    }

    #[test]
    fn an_older_own_state_is_no_conflict_and_a_foreign_one_is() {
        let sent = sent(true);
        let mut older = state();
        older.tags.clear();
        let mut entry = found(&sent, Some(state_text::write(&older)), Row::Alive);
        row(&mut entry).tags.clear();
        assert_eq!(verdict(&sent, &entry), Verdict::Free { seq: 9 });
        row(&mut entry).deleted_at = Some(3.0);
        assert!(matches!(verdict(&sent, &entry), Verdict::Differs(_)), "deleted by another");
        let mut foreign = state();
        let later = Stamp { ms: 99, counter: 0, device: DeviceId(7) };
        foreign.tags.insert("theirs".to_owned(), Register::new(later, true));
        let mut entry = found(&sent, Some(state_text::write(&foreign)), Row::Alive);
        row(&mut entry).tags.insert("theirs".to_owned());
        let foreign = verdict(&sent, &entry);
        assert!(matches!(&foreign, Verdict::Differs(why) if why.contains("another device")));
        let newer = verdict(&sent, &found(&sent, Some(r#"{"v":9}"#.to_owned()), Row::Alive));
        assert!(matches!(&newer, Verdict::Differs(why) if why.contains("form 9")), "{newer:?}");
    }

    #[test]
    fn a_row_that_the_python_service_touched_is_not_overwritten() {
        let sent = sent(true);
        let own = Some(sent.state_text.clone());
        let touch: [fn(&mut FeedRow); 3] = [
            |row| row.memory_type = Some("x".to_owned()),
            |row| row.tags.clear(),
            |row| row.metadata_json = Some(r#"{"new":1}"#.to_owned()),
        ];
        for change in touch {
            let mut entry = found(&sent, own.clone(), Row::Alive);
            change(row(&mut entry));
            assert_eq!(verdict(&sent, &entry), Verdict::Held { seq: None });
        }
        let mut other = state();
        other.tags.clear();
        let mut entry = found(&sent, Some(state_text::write(&other)), Row::Alive);
        row(&mut entry).memory_type = Some("x".to_owned());
        let why = verdict(&sent, &entry);
        assert!(matches!(&why, Verdict::Differs(why) if why.contains("Python")), "{why:?}");
        let mut entry = found(&sent, own, Row::Alive);
        row(&mut entry).metadata_json = Some("{}".to_owned());
        assert_eq!(verdict(&sent, &entry), Verdict::Free { seq: 9 }, "a missing key is healed");
    }

    #[test]
    fn a_row_without_a_state_is_learnt_once() {
        let sent = sent(true);
        let mut bare = found(&sent, None, Row::Alive);
        assert_eq!(verdict(&sent, &bare), Verdict::Free { seq: 9 });
        bare.seq = 5;
        assert_eq!(verdict(&sent, &bare), Verdict::Unexplained);
        bare.seq = 0;
        assert!(matches!(verdict(&sent, &bare), Verdict::Differs(_)), "the feed doesn't know it");
        bare.row = None;
        assert_eq!(verdict(&sent, &bare), Verdict::Free { seq: 0 });
        bare.is_cut = true;
        assert_eq!(verdict(&sent, &bare), Verdict::Unexplained);
    }

    #[test]
    fn a_row_that_can_not_be_read_is_a_conflict() {
        let sent = sent(true);
        let mut entry = found(&sent, Some(sent.state_text.clone()), Row::Alive);
        row(&mut entry).metadata_json = Some("{".to_owned());
        assert!(matches!(verdict(&sent, &entry), Verdict::Differs(why) if why.contains("JSON")));
    }
}
