//! I7: an edit's stamp is larger than every stamp that its author's device had seen of that memory.

use super::super::view::registers;
use super::{Moment, Property, View};

pub struct EditsBeatWhatTheirAuthorSaw;

impl Property for EditsBeatWhatTheirAuthorSaw {
    fn name(&self) -> &'static str {
        "edits_beat_what_their_author_saw"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        let Moment::Acted { device, before, after } = moment else { return Ok(()) };
        for (id, memory) in &after.memories {
            let Some(had) = before.memories.get(id) else { continue };
            if had.state == memory.state {
                continue;
            }
            let (seen, known) = (had.state.newest(), registers(&had.state));
            for (register, stamp) in registers(&memory.state) {
                if known.get(&register) != Some(&stamp) && stamp <= seen {
                    return Err(format!(
                        "device {device} wrote {register} of {id} at {stamp} and had seen {seen}"
                    ));
                }
            }
        }
        Ok(())
    }
}
