//! Who this database is in stamps, and its two counters that never go back.

use super::error::StoreError;
use crate::clock::Micros;
use crate::model::stamp::{DeviceId, Stamp};
use crate::mutant::{self, Mutant};
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

/// The device's identity and counters, as the writer remembers them between commits.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    last: Stamp,
    generation: i64,
    is_dirty: bool,
}

impl Device {
    /// Loads the identity, or makes one. A database whose fingerprint is another machine's is a clone:
    /// it gets a new id, because two devices must never give the same stamp.
    pub(super) fn load(conn: &Connection, machine: &str, seed: u64) -> Result<Self, StoreError> {
        let stored = conn
            .query_row("SELECT id, fingerprint, last_stamp, generation FROM device", [], |row| {
                Ok((
                    row.get::<_, u32>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .optional()?;
        let fresh = new_id(machine, seed);
        let (id, last, generation, is_known) = match stored {
            Some((id, fingerprint, last, generation)) => {
                let last = last.parse().map_err(|_| {
                    StoreError::Corrupt("the device's last stamp is unreadable".to_owned())
                })?;
                let is_own = fingerprint == machine;
                (if is_own { DeviceId(id) } else { fresh }, last, generation, is_own)
            }
            None => (fresh, Stamp::default(), 0, false),
        };
        if !is_known {
            conn.execute(
                "INSERT INTO device(one, id, fingerprint, last_stamp, generation)
                 VALUES (1, ?1, ?2, ?3, ?4)
                 ON CONFLICT(one) DO UPDATE SET id = excluded.id, fingerprint = excluded.fingerprint",
                (id.0, machine, last.to_string(), generation),
            )?;
        }
        Ok(Self { id, last, generation, is_dirty: false })
    }

    pub(super) fn stamp(&mut self, now: Micros, seen: Stamp) -> Stamp {
        let (last, seen) = if mutant::is(Mutant::WallClockStamps) {
            (Stamp::default(), Stamp::default())
        } else {
            (self.last, seen)
        };
        self.last = Stamp::next(now.as_millis(), self.id, last, seen);
        self.is_dirty = true;
        self.last
    }

    pub(super) fn generation(&mut self) -> i64 {
        self.generation += 1;
        self.is_dirty = true;
        self.generation
    }

    /// Writes the counters if they moved; part of every commit that moved them.
    pub(super) fn save(&mut self, conn: &Connection) -> Result<(), StoreError> {
        if self.is_dirty {
            conn.prepare_cached("UPDATE device SET last_stamp = ?1, generation = ?2")?
                .execute((self.last.to_string(), self.generation))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// Never 0, which stands for writers without a device id.
fn new_id(machine: &str, seed: u64) -> DeviceId {
    let digest = Sha256::new().chain_update(machine).chain_update(seed.to_le_bytes()).finalize();
    let id = digest.iter().take(4).fold(0_u32, |id, byte| (id << 8) | u32::from(*byte));
    DeviceId(id.max(1))
}
