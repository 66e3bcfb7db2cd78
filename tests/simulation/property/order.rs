//! I14: the end is the join of everything the cloud ever held, in whatever order it was taken in.

use super::{End, Moment, Property, View};
use memtide::model::id::MemoryId;
use memtide::model::state::State;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Default)]
pub struct TheOrderDoesNotMatter {
    seen: BTreeMap<MemoryId, Vec<Rc<State>>>,
    is_incomplete: bool,
}

impl Property for TheOrderDoesNotMatter {
    fn name(&self) -> &'static str {
        "the_order_does_not_matter"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::CloudMoved { before, after } => {
                for (id, state) in &after.entries {
                    if before.entries.get(id) != Some(state) {
                        self.seen.entry(*id).or_default().push(Rc::clone(state));
                    }
                }
            }
            // What only the cloud and a lost device had may be gone for good.
            Moment::Rewound | Moment::Replaced { .. } => self.is_incomplete = true,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        if self.is_incomplete {
            return Ok(());
        }
        for (id, states) in &self.seen {
            let Some(last) = end.view.devices[0].memories.get(id) else { continue };
            let forwards = join(states.iter());
            let backwards = join(states.iter().rev().chain(states));
            if forwards != backwards || forwards.as_ref() != Some(&*last.state) {
                return Err(format!(
                    "{id} ends as {:?}, its history joins to {forwards:?}",
                    last.state
                ));
            }
        }
        Ok(())
    }
}

fn join<'a>(mut states: impl Iterator<Item = &'a Rc<State>>) -> Option<State> {
    let first = State::clone(states.next()?);
    Some(states.fold(first, |mut joined, state| {
        joined.merge(state);
        joined
    }))
}
