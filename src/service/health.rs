//! Whether the storage can be trusted: what the last write met, and damage that was found.

use crate::store::error::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Faults of the storage. Damage stays until a restart; a failed write until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Health {
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    damage: Option<String>,
    write: Option<String>,
}

impl Health {
    pub(super) fn observe(&self, error: Option<&StoreError>) {
        let mut faults = self.lock();
        match error {
            None => faults.write = None,
            Some(StoreError::Corrupt(what)) => {
                faults.damage = Some(format!("the database file is damaged: {what}"));
            }
            Some(error) if error.is_storage_fault() => faults.write = Some(error.to_string()),
            Some(_) => {}
        }
    }

    pub(super) fn damaged(&self, what: &str) {
        self.lock().damage = Some(format!("the database file is damaged: {what}"));
    }

    pub(super) fn fault(&self) -> Option<String> {
        let faults = self.lock();
        faults.damage.clone().or_else(|| faults.write.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
