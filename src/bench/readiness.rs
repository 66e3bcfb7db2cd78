//! How soon a daemon is of use after a clean stop, and how much memory its memories take.

use super::process;
use super::report::{Report, megabytes};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::search;
use super::stopwatch::Stopwatch;
use std::time::Duration;

/// Starts, one after the other.
const STARTS: usize = 9;
/// Until the first search by words is answered.
const FIRST_SEARCH_MS: f64 = 50.0;
/// Until the vectors are in memory.
const VECTORS_MS: f64 = 500.0;
/// Until the model is loaded.
const MODEL_MS: f64 = 500.0;
/// What 100,000 memories may take beyond an empty database.
const PER_100_000_MB: f64 = 80.0;
/// Fewer memories tell nothing about what each takes: what the daemon needs anyhow varies by more.
const TELLING: usize = 10_000;
/// Before nothing counts as quiet, as work that begins later may not have begun.
const SETTLE: Duration = Duration::from_secs(4);
/// Quiet is this long without more work than [`QUIET_WORK`].
const QUIET: Duration = Duration::from_secs(1);
const QUIET_WORK: Duration = Duration::from_millis(1);
/// After this a daemon counts as idle that never becomes quiet, and its work is what is found.
const LOOKS_MAX: usize = 120;

/// Starts daemons on the memories of `rig`, each after a clean stop of the one before.
///
/// # Errors
/// One doesn't start, doesn't answer, or never has its model or vectors.
pub(super) async fn measure(report: &mut Report, rig: &mut Rig, size: usize) -> anyhow::Result<()> {
    let (mut searches, mut vectors, mut models) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let ask = search::ask(&mut rig.author, "keyword");
        let watch = Stopwatch::start();
        let daemon = rig.serve(WithModel::Yes)?;
        search::search(&daemon.client, &ask).await?;
        searches.push(watch.elapsed());
        let (mut mirrored, mut loaded) = (None, None);
        daemon
            .wait_for(|status| {
                if status.search.vectors == "memory" {
                    mirrored.get_or_insert_with(|| watch.elapsed());
                }
                if status.embedder.state != "loading" {
                    loaded.get_or_insert_with(|| watch.elapsed());
                }
                mirrored.is_some() && loaded.is_some()
            })
            .await?;
        daemon.loaded().await?;
        vectors.extend(mirrored);
        models.extend(loaded);
        daemon.stop().await?;
    }
    let kinds = [
        ("daemon, from start to the first answer of a search by words", searches, FIRST_SEARCH_MS),
        ("daemon, from start to the vectors in memory", vectors, VECTORS_MS),
        ("daemon, from start to the loaded model", models, MODEL_MS),
    ];
    for (what, times, bound) in kinds {
        let spread = report.timing(what, Some(size), &times, None);
        report.at_most(&format!("{what}, p50"), spread.p50_ms, bound, "ms");
    }
    report.note("a start follows a clean stop, so the files are in the system's cache; it is asked every 5 ms what is there");
    Ok(())
}

/// Waits until the daemon has done what it does after its start.
pub(super) async fn quiet(daemon: &Daemon) {
    tokio::time::sleep(SETTLE).await;
    for _ in 0..LOOKS_MAX {
        let before = process::cpu_time(daemon.pid).unwrap_or_default();
        tokio::time::sleep(QUIET).await;
        let after = process::cpu_time(daemon.pid).unwrap_or_default();
        if after.saturating_sub(before) <= QUIET_WORK {
            return;
        }
    }
}

/// What `size` memories take, by the anonymous bytes of an idle daemon that has them, against those of one that
/// has none.
///
/// # Errors
/// The one that has none doesn't start.
pub(super) async fn memory(
    report: &mut Report,
    bench: &Bench<'_>,
    size: usize,
    anonymous: u64,
) -> anyhow::Result<()> {
    if size < TELLING {
        return Ok(());
    }
    let rig = bench.rig(0).await?;
    let daemon = rig.start(WithModel::Yes).await?;
    quiet(&daemon).await;
    let empty = process::resident(daemon.pid);
    daemon.stop().await?;
    if let Some(empty) = empty {
        let empty = megabytes(empty.anonymous);
        report.figure("daemon with the model, empty database: anonymous", Some(0), empty, "MB");
        let what =
            format!("anonymous memory per 100,000 memories, {} dimensions", bench.model.dims());
        report.at_most(
            &what,
            per_100_000(megabytes(anonymous) - empty, size),
            PER_100_000_MB,
            "MB",
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size is shown with three digits")]
fn per_100_000(megabytes: f64, size: usize) -> f64 {
    megabytes * 100_000.0 / size.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_few_take_is_told_for_many() {
        assert!((per_100_000(7.0, 10_000) - 70.0).abs() < 1e-9);
        assert!((per_100_000(70.0, 100_000) - 70.0).abs() < 1e-9);
    }
}
