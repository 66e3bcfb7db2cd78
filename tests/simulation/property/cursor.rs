//! I5: the cursor moves forward only, and only with everything up to it, taken or visibly set aside. It may go back to the beginning
//! when the cloud was put back.

use super::super::view::includes;
use super::{Moment, Property, View};

pub struct CursorNeverSkips {
    /// Devices that may find the cloud put back, and how often.
    may_start_anew: Vec<bool>,
}

impl CursorNeverSkips {
    pub fn new(n_devices: usize) -> Self {
        Self { may_start_anew: vec![false; n_devices] }
    }
}

impl Property for CursorNeverSkips {
    fn name(&self) -> &'static str {
        "cursor_never_skips"
    }

    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::Rewound => self.may_start_anew.fill(true),
            Moment::Moved { device, before, after } if before.cursor != after.cursor => {
                if after.cursor < before.cursor {
                    let is_known = std::mem::take(&mut self.may_start_anew[*device]);
                    return if is_known && after.cursor == 0 {
                        Ok(())
                    } else {
                        let (from, to) = (before.cursor, after.cursor);
                        Err(format!("device {device} went back from {from} to {to}"))
                    };
                }
                if self.may_start_anew[*device] {
                    // The page may be one of the database as it was before.
                    return Ok(());
                }
                // What still stands at its position stood there when the page was read.
                let passed = before.cursor + 1..=after.cursor;
                for (id, seq) in view.cloud.feed.iter().filter(|(_, seq)| passed.contains(seq)) {
                    let Some(entry) = view.cloud.entries.get(id) else { continue };
                    let held = after.memories.get(id).map(|memory| &memory.state);
                    let is_set_aside = after.quarantine.contains_key(&id.to_string());
                    if !is_set_aside && !held.is_some_and(|held| includes(held, entry)) {
                        return Err(format!(
                            "device {device} passed {seq} without {id}: {held:?} lacks {entry:?}"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
