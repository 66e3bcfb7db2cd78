//! What a store costs because it survives a power cut: the same transaction with and without the flush of its
//! commit, next to the bare flush of one page.
//!
//! The three take turns on copies of one database, in one folder: they meet the same disk and the same
//! neighbours. Both stores are opened by this process as the daemon opens its own; no socket is in between.

use super::fill;
use super::report::{Report, rate};
use super::rig::Rig;
use super::stopwatch::Stopwatch;
use crate::clock::SystemClock;
use crate::model::draft::Draft;
use crate::store::{Store, memory};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// Bare flushes that a flushed store may cost beyond one that isn't.
const FLUSHES: f64 = 2.5;
/// Stores of each kind that warm caches before anything is measured.
const WARM_UP: usize = 50;
/// Writers that store at once.
pub(super) const CROWD: usize = 32;
/// How much more they do together than one alone.
pub(super) const SHARED: f64 = 3.0;

/// Measures on the memories of `rig`, which no daemon serves.
///
/// # Errors
/// A copy can't be made, or a store refuses.
pub(super) async fn measure(
    report: &mut Report,
    rig: &mut Rig,
    size: usize,
    samples: usize,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(rig.scratch())?;
    let copy = |name: &str| {
        let path = folder.path().join(name);
        std::fs::copy(rig.database(), &path).map(|_| fill::options(&path, 0))
    };
    let flushed = Store::open(&copy("flushed.db")?, SystemClock::shared())?;
    let unflushed = Store::open_unflushed(&copy("unflushed.db")?, SystemClock::shared())?;
    let page = Page::create(folder.path())?;
    flushed.wait_until_filled();
    unflushed.wait_until_filled();
    for _ in 0..WARM_UP {
        store(&flushed, draft(rig)?).await?;
        store(&unflushed, draft(rig)?).await?;
    }
    let (mut flushes, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for nth in 0..samples {
        flushes.push(page.flush(nth)?);
        without.push(store(&unflushed, draft(rig)?).await?);
        with.push(store(&flushed, draft(rig)?).await?);
    }
    let size = Some(size);
    let flush = report.timing("fdatasync of 4 KiB", size, &flushes, None);
    let unflushed_ms = report.timing("store, in process, synchronous=NORMAL", size, &without, None);
    let alone = rate(with.len(), with.iter().sum());
    let flushed_ms = report.timing("store, in process", size, &with, Some(alone));
    report.at_most(
        &format!("store p50, in process (synchronous=NORMAL + {FLUSHES} fdatasyncs)"),
        flushed_ms.p50_ms,
        unflushed_ms.p50_ms + FLUSHES * flush.p50_ms,
        "ms",
    );
    let together = crowd(&flushed, rig, samples).await?;
    let what = format!("store, in process, {CROWD} writers");
    report.timing(&what, size, &together.0, Some(together.1));
    report.at_least(
        &format!("{CROWD} writers / 1 writer, in process"),
        together.1 / alone.max(1e-9),
        SHARED,
        "times the rate",
    );
    flushed.close();
    unflushed.close();
    report.note("in process: the benchmark itself opens two copies of the database as the daemon would, one of them with synchronous=NORMAL; a store into each and a bare fdatasync in the same folder take turns");
    Ok(())
}

fn draft(rig: &mut Rig) -> anyhow::Result<Draft> {
    let passage = rig.author.passage();
    Ok(fill::draft(passage.text, &passage.tags)?)
}

async fn store(store: &Store, draft: Draft) -> anyhow::Result<Duration> {
    let watch = Stopwatch::start();
    let stored = store.write(move |write| memory::store(write, &draft)).await?;
    let took = watch.elapsed();
    anyhow::ensure!(stored.created, "a text was there already: {}", stored.id);
    Ok(took)
}

/// Several writers at once, which share commits; how long each store took, and how many a second there were.
async fn crowd(
    store_: &Store,
    rig: &mut Rig,
    samples: usize,
) -> anyhow::Result<(Vec<Duration>, f64)> {
    let n_each = samples.div_ceil(CROWD).max(8);
    let mut writers = JoinSet::new();
    let mut drafts = Vec::new();
    for _ in 0..CROWD {
        drafts.push((0..n_each).map(|_| draft(rig)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let watch = Stopwatch::start();
    for drafts in drafts {
        let held = store_.clone();
        writers.spawn(async move {
            let mut acks = Vec::with_capacity(drafts.len());
            for draft in drafts {
                acks.push(store(&held, draft).await?);
            }
            anyhow::Ok(acks)
        });
    }
    let mut acks = Vec::new();
    while let Some(done) = writers.join_next().await {
        acks.extend(done??);
    }
    let rate = rate(acks.len(), watch.elapsed());
    Ok((acks, rate))
}

/// A file whose pages are written and flushed one at a time, none of them a new one.
struct Page(File);

impl Page {
    const BYTES: usize = 4096;
    const PAGES: usize = 256;

    fn create(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("page");
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.write_all_at(&vec![1; Self::BYTES * Self::PAGES], 0)?;
        file.sync_all()?;
        Ok(Self(file))
    }

    fn flush(&self, nth: usize) -> std::io::Result<Duration> {
        let at = u64::try_from(nth % Self::PAGES * Self::BYTES).unwrap_or(0);
        let byte = u8::try_from(nth % 251).unwrap_or(0);
        self.0.write_all_at(&[byte; Self::BYTES], at)?;
        let watch = Stopwatch::start();
        self.0.sync_data()?;
        Ok(watch.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_over_never_appended() {
        let dir = tempfile::tempdir().unwrap();
        let page = Page::create(dir.path()).unwrap();
        let len = page.0.metadata().unwrap().len();
        for nth in [0, 3, Page::PAGES + 3] {
            page.flush(nth).unwrap();
        }
        assert_eq!(page.0.metadata().unwrap().len(), len);
        let mut read = [0; 1];
        page.0.read_exact_at(&mut read, 3 * Page::BYTES as u64).unwrap();
        assert_eq!(usize::from(read[0]), (Page::PAGES + 3) % 251);
    }
}
