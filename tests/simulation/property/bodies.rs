//! I9: a living row never names a body that the bucket doesn't hold, unless the Python service has
//! removed it.

use super::{Moment, Property, View};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct NoRowNamesAMissingBody {
    removed: BTreeSet<String>,
}

impl Property for NoRowNamesAMissingBody {
    fn name(&self) -> &'static str {
        "no_row_names_a_missing_body"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::PythonRemovedBody { key } => {
                self.removed.insert((*key).to_owned());
            }
            Moment::CloudMoved { after, .. } => {
                for (id, row) in after.rows.iter().filter(|(_, row)| row.is_alive) {
                    let Some(key) = &row.r2_key else { continue };
                    if !after.bodies.contains_key(key) && !self.removed.contains(key) {
                        return Err(format!("the row of {id} names {key}, which is not there"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
