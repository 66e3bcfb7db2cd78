//! Duties that a comparison with the cloud has found: what is missing there is owed again.

use super::error::StoreError;
use super::outbox::Product;
use super::writer::Write;

/// Owes `product` what these memories are, in the backfill lane and at a new generation. What is owed
/// already stays as it is. Returns how many duties are new.
///
/// # Errors
/// The database refused.
pub fn owe(write: &mut Write<'_>, product: Product, keys: &[i64]) -> Result<u64, StoreError> {
    let Some(link) = write.link() else { return Ok(0) };
    let waits_for_vectors = product == Product::Vectorize && link.is_local_space;
    let generation = write.generation();
    let mut n_new = 0;
    for key in keys {
        n_new += write
            .conn
            .prepare_cached(
                "INSERT INTO outbox(memory, product, generation, state, lane, attempts, since, due_at, error)
                 SELECT m.key, ?2, ?3,
                   CASE WHEN ?4 AND EXISTS (SELECT 1 FROM pending_embedding p WHERE p.memory = m.key)
                     THEN 'waiting_for_embedding' ELSE 'due' END,
                   1, 0, ?5, ?5, 'a comparison found it missing in the cloud'
                 FROM memory m WHERE m.key = ?1
                 ON CONFLICT(memory, product) DO NOTHING",
            )?
            .execute((key, product.as_str(), generation, waits_for_vectors, write.now().0))?;
    }
    Ok(u64::try_from(n_new).unwrap_or(u64::MAX))
}
