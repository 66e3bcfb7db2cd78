//! The bucket: whether the bodies that rows name are there, and as long as they should be. The Python
//! service deletes a body before its row, so one that fails in between leaves a living row without its text.

use super::local::Local;
use super::report::{Candidates, Kind};
use super::{Check, VerifyError};
use crate::remote::budget::Lane;
use crate::remote::error::Product;
use crate::remote::r2::R2;
use crate::store::digest::LocalEntry;
use std::collections::BTreeMap;

/// Where bodies lie in a bucket, memtide's and the Python service's.
const FOLDER: &str = "content/";
/// Pages of the list at most: 100,000 bodies. A larger bucket is not compared.
const PAGES_MAX: usize = 100;

/// Compares; gives how many bodies there are, or `None` if there is nothing to compare, or too much.
pub(super) async fn compare(
    check: &mut Check<'_>,
    local: &Local,
    found: &mut Candidates,
) -> Result<Option<u64>, VerifyError> {
    let Some(bucket) = &check.session.link.bucket else { return Ok(None) };
    let has_body = |entry: &&LocalEntry| {
        let is_named = entry.r2_key.as_ref().is_some_and(|key| key.starts_with(FOLDER));
        entry.is_alive && !entry.owes_row && is_named
    };
    if !local.iter().any(|entry| has_body(&entry)) {
        return Ok(None);
    }
    check.demand_open(Product::R2)?;
    let bucket = R2::new(check.session.remote.in_lane(Lane::Backfill), bucket);
    let mut there: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let mut cursor = None::<String>;
    for n in 0.. {
        if n == PAGES_MAX {
            tracing::warn!(pages = PAGES_MAX, "the bucket is too large to be compared");
            return Ok(None);
        }
        let answer = bucket.list(FOLDER, cursor.as_deref()).await;
        let page = check.noted(Product::R2, answer)?;
        there.extend(page.objects.into_iter().map(|object| (object.key, object.size)));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    for entry in local.iter().filter(has_body) {
        let (Some(key), Some(bytes)) = (&entry.r2_key, entry.bytes) else { continue };
        match there.get(key) {
            None => found.add(Kind::BodyMissing, entry.id, Some(entry.digest)),
            Some(Some(size)) if u64::try_from(*size) != Ok(bytes) => {
                found.add(Kind::BodyDiffers, entry.id, Some(entry.digest));
            }
            Some(_) => {}
        }
    }
    Ok(u64::try_from(there.len()).ok())
}
