//! The embedding contract of a cloud index: which space its vectors live in, and who can make them.
//! It is written into the database when the index is made, and never changes with a device's model.

use super::ai::{Model, Pooling};
use crate::model::space::Space;
use serde::{Deserialize, Serialize};

/// Version of the written form.
const FORM: u32 = 1;
/// The model of the Python service.
const PYTHON_MODEL: &str = "@cf/baai/bge-base-en-v1.5";
/// Its components.
const PYTHON_DIMS: usize = 768;
/// Its window in tokens.
const PYTHON_WINDOW: usize = 512;

/// What vectors an index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Their space.
    pub space: Space,
    /// Their components.
    pub dims: usize,
    /// The model of Workers AI that makes them; `None` where devices do.
    pub ai: Option<Model>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    space: String,
    dims: usize,
    metric: String,
    ai: Option<Model>,
}

/// A contract that can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum BadContract {
    /// It is no JSON of the expected form.
    #[error("the embedding contract in the database is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// It was written by a newer memtide.
    #[error(
        "the embedding contract in the database has form {0}, this memtide reads up to {FORM}: update memtide on this device"
    )]
    Newer(u32),
}

impl Contract {
    /// Vectors of a device's own space; `None` if the space doesn't tell its dimensions.
    pub fn local(space: Space) -> Option<Self> {
        let dims = space.dims()?;
        Some(Self { space, dims, ai: None })
    }

    /// Vectors as the Python service makes them: Workers AI's BGE base with the pooling that it uses
    /// unless asked otherwise.
    pub fn python() -> Self {
        let space = Space::new(PYTHON_MODEL, "workers-ai", "mean", PYTHON_WINDOW, PYTHON_DIMS);
        let ai = Model { name: PYTHON_MODEL.to_owned(), pooling: Pooling::Mean };
        Self { space, dims: PYTHON_DIMS, ai: Some(ai) }
    }

    /// Whether vectors of `space` may be uploaded as they are.
    pub fn takes(&self, space: &Space) -> bool {
        self.space == *space
    }

    /// The form that the database holds.
    pub fn to_json(&self) -> String {
        let written = Written {
            v: FORM,
            space: self.space.as_str().to_owned(),
            dims: self.dims,
            metric: "cosine".to_owned(),
            ai: self.ai.clone(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads what [`Contract::to_json`] wrote.
    ///
    /// # Errors
    /// It is damaged or of a newer form.
    pub fn from_json(text: &str) -> Result<Self, BadContract> {
        #[derive(Deserialize)]
        struct Form {
            v: u32,
        }
        let form: Form = serde_json::from_str(text)?;
        if form.v > FORM {
            return Err(BadContract::Newer(form.v));
        }
        let written: Written = serde_json::from_str(text)?;
        Ok(Self { space: Space::from_name(written.space), dims: written.dims, ai: written.ai })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_read_back() {
        let space = Space::new("all-MiniLM-L6-v2", "r1", "mean", 256, 384);
        let local = Contract::local(space.clone()).expect("dimensions");
        assert!(local.takes(&space) && !Contract::python().takes(&space));
        for contract in [local, Contract::python()] {
            let text = contract.to_json();
            assert_eq!(Contract::from_json(&text).expect("readable"), contract, "{text}");
        }
        assert_eq!(
            Contract::python().to_json(),
            r#"{"v":1,"space":"@cf/baai/bge-base-en-v1.5@workers-ai/mean/512/768/l2","dims":768,"metric":"cosine","ai":{"name":"@cf/baai/bge-base-en-v1.5","pooling":"mean"}}"#
        );
    }

    #[test]
    fn newer_and_damaged_ones_are_refused() {
        assert!(matches!(Contract::from_json(r#"{"v":2}"#), Err(BadContract::Newer(2))));
        assert!(Contract::from_json(r#"{"v":1}"#).is_err());
        assert!(Contract::from_json("").is_err());
    }
}
