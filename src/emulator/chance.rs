//! Everything the account makes up: ids, rays, bookmarks. All of it from one seed.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A random (version 4) UUID.
    pub(super) fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid().to_string()
    }

    /// 32 hex digits.
    pub(super) fn hex32(&mut self) -> String {
        hex::encode(self.0.random::<[u8; 16]>())
    }

    /// A `cf-ray`: 16 hex digits and a data centre.
    pub(super) fn ray(&mut self) -> String {
        format!("{}-LOC", hex::encode(self.0.random::<[u8; 8]>()))
    }
}
