//! What the embedder tells about itself.

use super::manifest::Model;
use crate::model::space::Space;
use std::error::Error;
use std::fmt;

/// Whether vectors are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedderState {
    /// Yes.
    Ready,
    /// In a moment: the model is being loaded.
    Loading,
    /// Not before files are fetched.
    Missing,
    /// Not before something is repaired.
    Failed,
}

impl EmbedderState {
    /// The word that `status` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Loading => "loading",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }

    /// What helps, as a half sentence.
    pub(super) fn next_step(self) -> &'static str {
        match self {
            Self::Ready => "nothing needs to be done",
            Self::Loading => "it takes a moment",
            Self::Missing => "run `memtide model pull`",
            Self::Failed => "run `memtide model pull`, then `memtide doctor`",
        }
    }
}

impl fmt::Display for EmbedderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The embedder at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderStatus {
    /// Whether vectors are to be had.
    pub state: EmbedderState,
    /// Name of the model.
    pub model: &'static str,
    /// The space of its vectors.
    pub space: Space,
    /// Number of components of a vector.
    pub dims: usize,
    /// Where the model and the runtime library were loaded from; empty until they were.
    pub source: String,
    /// Why it is missing or failed, in one line.
    pub error: Option<String>,
    /// Whether the backlog is held back.
    pub paused: bool,
    /// Queries that wait for the thread.
    pub pending_queries: usize,
    /// Texts of the backlog that have no vectors yet.
    pub pending_documents: usize,
}

impl EmbedderStatus {
    /// The status of `model` while it is being loaded.
    pub(super) fn loading(model: &Model) -> Self {
        Self {
            state: EmbedderState::Loading,
            model: model.name,
            space: model.space(),
            dims: model.dims(),
            source: String::new(),
            error: None,
            paused: false,
            pending_queries: 0,
            pending_documents: 0,
        }
    }
}

/// An error and its sources on one line, each said once.
pub(super) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !line.contains(&said) {
            line = format!("{line}: {said}");
        }
        source = error.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::assets::FolderError;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_chain_of_errors_is_one_line_without_repeats() {
        let io = std::io::Error::other("two\nlines");
        let error = FolderError::at("open", Path::new("/x"))(io);
        assert_eq!(one_line(&error), "open /x: two lines");
        let wrapped = super::super::engine::LoadError::Folder(error);
        assert_eq!(one_line(&wrapped), "open /x: two lines");
    }
}
