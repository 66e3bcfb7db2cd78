//! I10: a vector goes out after its row, and in the end the index holds the living memories.

use super::convergence::findable;
use super::{End, Moment, Property, View};
use memtide::model::id::MemoryId;
use std::collections::BTreeSet;

#[derive(Default)]
pub struct VectorsFollowRows {
    has_rewound: bool,
}

impl Property for VectorsFollowRows {
    fn name(&self) -> &'static str {
        "vectors_follow_rows"
    }

    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::Rewound => self.has_rewound = true,
            Moment::VectorsTaken { ids } if !self.has_rewound => {
                let early = ids.iter().find(|id| !view.cloud.entries.contains_key(*id));
                if let Some(id) = early {
                    return Err(format!("the index took {id} before the database knew it"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        let wanted: BTreeSet<MemoryId> = findable(&end.view.devices[0]).into_iter().collect();
        let found: BTreeSet<MemoryId> = end.vectors.iter().copied().collect();
        if wanted == found {
            return Ok(());
        }
        let missing: Vec<_> = wanted.difference(&found).collect();
        let extra: Vec<_> = found.difference(&wanted).collect();
        Err(format!("the index lacks {missing:?} and has {extra:?} too many"))
    }
}
