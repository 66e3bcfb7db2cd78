//! A database that its owner has put at another path stays the source that it was, with all that is known of it.

use super::import::{ImportError, blocking, write};
use super::job::{self, patiently};
use super::look::KNOWN_BY;
use crate::service::Service;
use crate::store::source;
use std::path::PathBuf;

/// One in so many of them may be missing: the service forgets deleted ones for good after a while.
const MISSING_MAX: usize = 10;

/// Sees to it that the file at `path` is known as the last source where it is that one: the file of that is gone,
/// nothing was ever taken over from `path`, and the source's memories are in it.
///
/// # Errors
/// The file can't be read, or the store refused.
pub(super) async fn recognise(
    service: &Service,
    path: &str,
    is_stopped: impl Fn() -> bool + Send + 'static,
) -> Result<(), ImportError> {
    let here = path.to_owned();
    let known = service.read(move |read| {
        let Some(last) = source::current(read)? else { return Ok(None) };
        if source::at(read, &here)?.is_some() {
            return Ok(None);
        }
        let ids = source::some_ids(read, last.key, KNOWN_BY)?;
        Ok((!ids.is_empty()).then_some((last, ids)))
    });
    let Some((last, ids)) = known.await? else { return Ok(()) };
    let (old, new) = (PathBuf::from(&last.path), PathBuf::from(path));
    let is_same = blocking(move || {
        // What can't be told counts as there: then both are sources.
        if old.try_exists().unwrap_or(true) {
            return Ok(false);
        }
        let found = job::open(&new, &is_stopped)?;
        let n_known = patiently(&is_stopped, || found.n_known(&ids))?;
        Ok((ids.len() - n_known) * MISSING_MAX <= ids.len())
    });
    if is_same.await? {
        tracing::info!(from = last.path, to = path, "the source was moved");
        let path = path.to_owned();
        write(service, move |write| source::relocate(write, last.key, &path)).await?;
    }
    Ok(())
}
