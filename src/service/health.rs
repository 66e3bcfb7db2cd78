//! Whether the storage can be trusted: what the last write met, and damage that was found.

use crate::store::error::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fault of the storage, as `status` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next_step: &'static str,
}

impl From<&StoreError> for Fault {
    fn from(error: &StoreError) -> Self {
        Self { code: error.code(), message: error.to_string(), next_step: error.hint() }
    }
}

/// Faults of the storage. What a read met stays until a restart; a failed write until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Health {
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    read: Option<Fault>,
    write: Option<Fault>,
}

impl Health {
    /// Notes what became of a write.
    pub(super) fn observe_write(&self, error: Option<&StoreError>) {
        match error {
            None => self.lock().write = None,
            Some(error) if error.is_damage() => self.observe_read(error),
            Some(error) if error.is_storage_fault() => self.lock().write = Some(error.into()),
            Some(_) => {}
        }
    }

    /// Notes what a read met.
    pub(super) fn observe_read(&self, error: &StoreError) {
        if error.is_damage() || matches!(error, StoreError::Io(_)) {
            self.lock().read = Some(error.into());
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        let faults = self.lock();
        faults.read.clone().or_else(|| faults.write.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_forgiven_by_the_next_and_damage_is_not() {
        let health = Health::default();
        health.observe_write(Some(&StoreError::Busy));
        assert_eq!(health.fault(), None, "no fault of the storage");
        health.observe_write(Some(&StoreError::DiskFull));
        assert_eq!(health.fault().unwrap().code, "disk_full");
        health.observe_write(None);
        assert_eq!(health.fault(), None);
        health.observe_read(&StoreError::NotFound("x".to_owned()));
        assert_eq!(health.fault(), None);
        health.observe_write(Some(&StoreError::Corrupt("page 7".to_owned())));
        health.observe_write(None);
        let fault = health.fault().unwrap();
        assert_eq!(fault.code, "database_damaged");
        assert_eq!(fault.message, "the database file is damaged: page 7");
    }
}
