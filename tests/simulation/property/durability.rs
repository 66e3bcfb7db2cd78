//! I1, I6: what was acknowledged is there, on the device that acknowledged it and in the end everywhere;
//! a device that is lost takes only what it never synced.

use super::super::view::{Local, registers};
use super::{End, Moment, Property, View};
use memtide::model::id::MemoryId;
use memtide::model::stamp::Stamp;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct AcknowledgedWritesDoNotDisappear {
    /// The newest acknowledged stamp, by device, memory and register.
    acknowledged: BTreeMap<(usize, MemoryId, String), Acknowledged>,
}

struct Acknowledged {
    stamp: Stamp,
    /// Whether it was acknowledged by the database that the device still has.
    is_here: bool,
}

impl AcknowledgedWritesDoNotDisappear {
    fn missing(&self, whose: Option<usize>, local: &Local) -> Result<(), String> {
        for ((device, memory, register), acknowledged) in &self.acknowledged {
            let Acknowledged { stamp, is_here } = acknowledged;
            if whose.is_some_and(|whose| whose != *device || !is_here) {
                continue;
            }
            let held = local.memories.get(memory).map(|one| registers(&one.state));
            let held = held.and_then(|all| all.get(register).copied());
            if held.is_none_or(|held| held < *stamp) {
                return Err(format!(
                    "device {device} acknowledged {register} of {memory} at {stamp}, there is {held:?}"
                ));
            }
        }
        Ok(())
    }
}

impl Property for AcknowledgedWritesDoNotDisappear {
    fn name(&self) -> &'static str {
        "acknowledged_writes_do_not_disappear"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::Acted { device, before, after } => {
                for (memory, one) in &after.memories {
                    let had = before.memories.get(memory).map(|one| registers(&one.state));
                    for (register, stamp) in registers(&one.state) {
                        let is_new =
                            had.as_ref().and_then(|all| all.get(&register)) != Some(&stamp);
                        if is_new {
                            let acknowledged = Acknowledged { stamp, is_here: true };
                            self.acknowledged.insert((*device, *memory, register), acknowledged);
                        }
                    }
                }
                Ok(())
            }
            Moment::Crashed { device, after, .. } => self.missing(Some(*device), after),
            Moment::Replaced { device, before } => {
                self.acknowledged
                    .retain(|(who, memory, _), _| who != device || !before.is_unsynced(memory));
                for ((who, ..), one) in &mut self.acknowledged {
                    one.is_here &= who != device;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        end.view.devices.iter().try_for_each(|local| self.missing(None, local))
    }
}
