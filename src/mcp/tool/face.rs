//! How a tool is listed: what a model reads before it calls.

use rmcp::model::ToolAnnotations;

/// What a client shows of a tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face {
    /// The name it is called by.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) effect: Effect,
}

/// What a call does to the memories. Every call may be repeated: twice is as once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    /// It reads.
    Nothing,
    /// It adds, and loses nothing.
    Adds,
    /// It replaces or removes.
    Replaces,
}

impl Face {
    /// The effect in the protocol's words.
    pub(super) fn annotations(&self) -> ToolAnnotations {
        let closed = ToolAnnotations::new().open_world(false);
        match self.effect {
            Effect::Nothing => closed.read_only(true),
            Effect::Adds => closed.read_only(false).destructive(false).idempotent(true),
            Effect::Replaces => closed.read_only(false).destructive(true).idempotent(true),
        }
    }
}
