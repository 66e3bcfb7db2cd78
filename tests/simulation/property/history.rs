//! I12: a text that lost on a device is in its history.

use super::{Moment, Property, View};

pub struct LosersAreInHistory;

impl Property for LosersAreInHistory {
    fn name(&self) -> &'static str {
        "losers_are_in_history"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        let (Moment::Moved { device, before, after } | Moment::Acted { device, before, after }) =
            moment
        else {
            return Ok(());
        };
        for (id, had) in before.memories.iter().filter(|(_, had)| had.state.is_alive()) {
            let Some(text) = &had.content else { continue };
            let Some(has) = after.memories.get(id) else {
                return Err(format!("device {device} lost {id} itself"));
            };
            let is_replaced = !has.state.is_alive() || has.content.as_ref() != Some(text);
            if is_replaced && !after.history.contains(&(*id, text.clone())) {
                return Err(format!(
                    "device {device} replaced {text:.20} of {id} and kept nothing"
                ));
            }
        }
        Ok(())
    }
}
