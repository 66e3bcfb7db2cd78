//! I4: a deleted memory is alive again only if somebody stored it after that: a person, with a later
//! stamp, or the Python service, with a row that claims to be from later.

use super::{End, Moment, Property, View};
use memtide::model::id::MemoryId;
use memtide::model::stamp::{DeviceId, Stamp};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct ForgottenStaysForgotten {
    /// Deletions of people, with the device.
    deleted: BTreeMap<MemoryId, BTreeSet<(Stamp, usize)>>,
    /// What people stored.
    stored: BTreeMap<MemoryId, BTreeSet<Stamp>>,
    /// Milliseconds that rows of the Python service claim as their creation.
    claimed: BTreeMap<MemoryId, BTreeSet<u64>>,
}

impl ForgottenStaysForgotten {
    fn may_live(&self, memory: &MemoryId, life: Stamp) -> Result<(), String> {
        let deletions = self.deleted.get(memory).into_iter().flatten();
        let Some((last, _)) = deletions.max() else { return Ok(()) };
        let is_stored =
            self.stored.get(memory).is_some_and(|all| all.contains(&life) && life > *last);
        let is_claimed = life.device == DeviceId(0)
            && self.claimed.get(memory).is_some_and(|all| all.iter().any(|at| *at >= last.ms));
        // A later deletion may itself have been answered by a store that it hadn't seen.
        if is_stored || is_claimed {
            return Ok(());
        }
        Err(format!("{memory} was deleted at {last} and lives by {life}, which nobody stored"))
    }
}

impl Property for ForgottenStaysForgotten {
    fn name(&self) -> &'static str {
        "forgotten_stays_forgotten"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::Acted { device, before, after } => {
                for (id, memory) in &after.memories {
                    let life = &memory.state.life;
                    if before.memories.get(id).is_none_or(|had| had.state.life != *life) {
                        if life.value {
                            self.stored.entry(*id).or_default().insert(life.stamp);
                        } else {
                            self.deleted.entry(*id).or_default().insert((life.stamp, *device));
                        }
                    }
                }
                Ok(())
            }
            Moment::Replaced { device, before } => {
                for (id, deletions) in &mut self.deleted {
                    deletions.retain(|(_, who)| who != device || !before.is_unsynced(id));
                }
                Ok(())
            }
            Moment::PythonStored { memory, created_at } => {
                let ms = std::time::Duration::from_secs_f64(*created_at).as_millis();
                self.claimed.entry(*memory).or_default().insert(u64::try_from(ms).unwrap());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        let alive = |local: &std::rc::Rc<super::Local>| -> Vec<(MemoryId, Stamp)> {
            let all = local.memories.iter().filter(|(_, one)| one.state.is_alive());
            all.map(|(id, one)| (*id, one.state.life.stamp)).collect()
        };
        let lives = end.view.devices.iter().flat_map(alive);
        lives.into_iter().try_for_each(|(memory, life)| self.may_live(&memory, life))
    }
}
