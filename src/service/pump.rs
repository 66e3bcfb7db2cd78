//! From the store to the embedder and back: texts that wait become vectors.
//!
//! [`step`] is one bounded pass; [`run`] repeats it for ever. A vector is written only if its text is
//! still the memory's, so a pass that was overtaken by an edit does no harm and its duty stays.

use super::Service;
use crate::embed::embedder::{DocumentVectors, EmbedError};
use crate::embed::status::{EmbedderState, EmbedderStatus};
use crate::shutdown::{Phase, Shutdown};
use crate::store::error::StoreError;
use crate::store::vector::{self, Embedded};
use std::sync::Arc;
use std::time::Duration;

/// Texts of one pass. Each is embedded by itself; the number bounds how much is lost by a kill.
const PASS_TEXTS: usize = 16;
/// Bytes of text of one pass.
const PASS_BYTES: usize = 256 << 10;
/// With no more texts than this, and short ones, the writes are young: somebody may search for them now.
const FRESH_TEXTS: usize = 8;
/// Bytes of a short text: two windows of the default model at most, some 20 ms.
const FRESH_BYTES: usize = 2 << 10;
/// Pause after a pass that the store refused.
const SETBACK: Duration = Duration::from_secs(5);

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Vectors were written; there may be more to do.
    Worked,
    /// Nothing waits.
    Done,
    /// Something waits and the embedder isn't ready.
    NotReady,
}

/// Embeds the texts that have waited longest.
///
/// # Errors
/// The store refused.
pub async fn step(service: &Service) -> Result<Pass, StoreError> {
    let raised = service.backlog.raised();
    let status = service.embedder.status();
    if status.state == EmbedderState::Ready {
        adopt_space(service, &status).await?;
    }
    let pending = service.read(|read| vector::pending(read, PASS_TEXTS, PASS_BYTES)).await?;
    if pending.is_empty() {
        service.backlog.settle(raised);
        return Ok(Pass::Done);
    }
    if status.state != EmbedderState::Ready {
        return Ok(Pass::NotReady);
    }
    let texts = pending.iter().map(|one| Arc::from(one.content.as_str())).collect();
    let is_fresh = pending.len() <= FRESH_TEXTS
        && pending.iter().all(|one| one.content.len() <= FRESH_BYTES)
        && !status.paused;
    let made = if is_fresh {
        fresh(service, texts).await
    } else {
        service.embedder.documents(texts).await
    };
    let Ok(made) = made else {
        return Ok(Pass::NotReady);
    };
    let space = made.space;
    let embedded: Vec<Embedded> = pending
        .into_iter()
        .zip(made.texts)
        .map(|(one, outcome)| Embedded {
            key: one.key,
            body: one.body,
            outcome: outcome.map_err(|error| error.to_string()),
        })
        .collect();
    let settled = service.store.write(move |write| vector::settle(write, &space, &embedded)).await;
    // A pass that wrote nothing proves nothing about the storage.
    if !matches!(settled, Ok(0)) {
        service.health.observe_write(settled.as_ref().err());
    }
    settled?;
    service.replicate.notify_one();
    Ok(Pass::Worked)
}

/// A few short texts, one after the other, by the session that is always loaded.
async fn fresh(service: &Service, texts: Vec<Arc<str>>) -> Result<DocumentVectors, EmbedError> {
    let mut made = DocumentVectors { space: service.embedder.status().space, texts: Vec::new() };
    for text in texts {
        let one = service.embedder.fresh(text).await?;
        if one.space != made.space {
            // The model was exchanged between two of them: all are made anew.
            return Err(EmbedError::Closed);
        }
        made.texts.extend(one.texts);
    }
    Ok(made)
}

/// Embeds until the daemon stops.
pub async fn run(service: Service, shutdown: Shutdown) {
    let mut states = service.embedder.watch();
    retry_failed(&service).await;
    loop {
        let wait = match step(&service).await {
            Ok(Pass::Worked) => None,
            Ok(Pass::Done | Pass::NotReady) => Some(Duration::MAX),
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "vectors deferred");
                Some(SETBACK)
            }
        };
        let Some(wait) = wait else {
            if shutdown.phase() != Phase::Running {
                return;
            }
            continue;
        };
        tokio::select! {
            () = service.backlog.woken() => {}
            changed = states.changed() => {
                if changed.is_err() {
                    return;
                }
                retry_failed(&service).await;
            }
            () = service.clock.sleep(wait.min(Duration::from_secs(3600))) => {}
            () = shutdown.reached(Phase::Draining) => return,
        }
    }
}

/// Makes the space of the ready model the one that the store searches.
async fn adopt_space(service: &Service, status: &EmbedderStatus) -> Result<(), StoreError> {
    let active = service.read(vector::active).await?;
    if active.as_ref() == Some(&status.space) {
        return Ok(());
    }
    let (space, dims) = (status.space.clone(), status.dims);
    let adopted = service.store.write(move |write| vector::activate(write, &space, dims)).await;
    service.health.observe_write(adopted.as_ref().err());
    adopted?;
    tracing::info!(space = %status.space, "embedding space chosen");
    Ok(())
}

/// Lets texts that gave no vector be tried again, with a model that has just become ready.
async fn retry_failed(service: &Service) {
    if service.embedder.status().state != EmbedderState::Ready {
        return;
    }
    if let Err(error) = service.store.write(vector::retry_failed).await {
        tracing::warn!(%error, "texts that gave no vector are not tried again");
    }
}
