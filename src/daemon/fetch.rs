//! A daemon whose model is missing fetches it by itself, beside its work. Until it is there, memories are
//! stored and found by their words.

use crate::embed::embedder::Embedder;
use crate::embed::progress::Progress;
use crate::embed::pull::Sources;
use crate::embed::status::EmbedderState;
use crate::shutdown::{Phase, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};

/// What `status` tells of the fetching: nothing, how far it is, or why it failed.
#[derive(Debug, Clone, Default)]
pub(super) struct FetchNote(Arc<Mutex<Option<String>>>);

impl FetchNote {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, note: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }
}

/// Fetches once if the model is missing, and ends.
pub(super) async fn run(embedder: Embedder, sources: Sources, note: FetchNote, shutdown: Shutdown) {
    if embedder.settled().await.state != EmbedderState::Missing {
        return;
    }
    let shown = note.clone();
    let progress: Progress = Arc::new(move |file, done, total| {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
        shown.set(Some(format!("fetching {file}: {percent} %")));
    });
    note.set(Some("fetching the model".to_owned()));
    let outcome = tokio::select! {
        outcome = embedder.pull(&sources, &progress) => outcome,
        () = shutdown.reached(Phase::Draining) => return,
    };
    match outcome {
        Ok(pulled) => {
            tracing::info!(files = pulled.fetched.len(), "model fetched");
            note.set(None);
        }
        Err(error) => {
            tracing::warn!(%error, "model not fetched");
            note.set(Some(error.to_string()));
        }
    }
}
