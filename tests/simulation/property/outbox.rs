//! I11: a duty leaves the outbox only when the cloud has what was owed; all else stays visible.

use super::super::view::includes;
use super::{End, Moment, Property, View};

pub struct EveryDutyIsSettledOrParked {
    /// Whether the cloud may have lost, by being put back, what a device was told it has.
    is_in_doubt: Vec<bool>,
}

impl EveryDutyIsSettledOrParked {
    pub fn new(n_devices: usize) -> Self {
        Self { is_in_doubt: vec![false; n_devices] }
    }
}

impl Property for EveryDutyIsSettledOrParked {
    fn name(&self) -> &'static str {
        "every_duty_is_settled_or_parked"
    }

    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String> {
        let (device, before, after) = match moment {
            Moment::Rewound => {
                self.is_in_doubt.fill(true);
                return Ok(());
            }
            Moment::Moved { device, before, after } | Moment::Crashed { device, before, after } => {
                (*device, *before, *after)
            }
            _ => return Ok(()),
        };
        if after.cursor < before.cursor {
            // It noticed, and owes everything again.
            self.is_in_doubt[device] = false;
        }
        if self.is_in_doubt[device] {
            return Ok(());
        }
        for (id, product) in before.duties.keys() {
            if product != "d1" || after.duties.contains_key(&(*id, product.clone())) {
                continue;
            }
            let Some(memory) = after.memories.get(id) else {
                return Err(format!("device {device} lost {id} itself"));
            };
            let held = view.cloud.entries.get(id);
            if !held.is_some_and(|held| includes(held, &memory.state)) {
                return Err(format!(
                    "device {device} owes {id} no more, and the cloud holds {held:?} instead of {:?}",
                    memory.state
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        for (device, local) in end.view.devices.iter().enumerate() {
            if let Some(((id, product), duty)) = local.duties.iter().next() {
                return Err(format!("device {device} still owes {product} {id}: {duty:?}"));
            }
        }
        Ok(())
    }
}
