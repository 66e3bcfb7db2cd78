//! A loaded model: text in, unit vectors out. It lives on one thread and does one text at a time:
//! batches pad every text to the longest, which costs more than they save and much memory.

use super::assets::{Condition, FolderError, ModelFolder};
use super::graph;
use super::manifest::{Model, Pooling};
use super::runtime::{self, RuntimeError, panic_text};
use super::safetensors::{Header, HeaderError};
use super::windows::{self, PIECE_MAX_BYTES, READ_MAX_BYTES, Token};
use crate::model::space::{Space, UnitVector};
use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tokenizers::Encoding;

/// Where the runtime looks for weights that lie outside the graph.
const WEIGHTS_FOLDER_KEY: &str = "session.model_external_initializers_file_folder_path";
/// Whether the runtime must leave the weights unpacked.
const NO_PACKING_KEY: &str = "session.disable_prepacking";
/// Whether its threads wait for more work by turning, for some milliseconds after each text.
const SPINNING_KEY: &str = "session.intra_op.allow_spinning";
/// Marks at the two ends of a text take two places of the window.
const MARKS: usize = 2;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of the model is not there.
    #[error("{0} is not in the model folder {1}")]
    Missing(String, PathBuf),
    /// A file of the model is not the pinned one.
    #[error("the model is damaged: {0}")]
    Damaged(String),
    /// The model folder can't be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The weights are not those of the model.
    #[error("the weights don't fit the model")]
    Header(#[from] HeaderError),
    /// A file can't be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The runtime refuses the model.
    #[error("load the model {0}")]
    Refused(&'static str, #[source] fastembed::Error),
    /// The runtime broke down.
    #[error("load the model {0}: {1}")]
    Panicked(&'static str, String),
    /// It was loaded and gives no vectors.
    #[error("try the model")]
    Try(#[from] TextError),
}

impl LoadError {
    /// Whether fetching the files would help, as opposed to something being broken.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(..) | Self::Runtime(RuntimeError::Missing(..)))
    }
}

/// Why a text has no vector.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The runtime failed on it.
    #[error("embed a text of {0} bytes")]
    Run(usize, #[source] fastembed::Error),
    /// The tokenizer failed on it.
    #[error("split a text of {0} bytes into tokens: {1}")]
    Tokens(usize, String),
    /// The runtime broke down on it.
    #[error("embed a text of {0} bytes: {1}")]
    Panicked(usize, String),
    /// What came out is no direction, or has the wrong number of components.
    #[error("the model gave no usable vector for a text of {0} bytes")]
    NoDirection(usize),
}

/// What a model is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Short texts that someone waits for: the weights are packed for speed, and so many threads
    /// compute one text together.
    Queries {
        /// Number of threads.
        threads: usize,
    },
    /// Long texts that nobody waits for: the weights are used as they are mapped, on the thread
    /// that asks. On long texts packing gains nothing.
    Backlog,
}

/// A model in memory.
pub struct Engine {
    text: TextEmbedding,
    model: &'static Model,
    library: PathBuf,
}

impl Engine {
    /// Loads `model` from `folder` with the runtime library at `library`.
    ///
    /// # Errors
    /// Files are missing or damaged, or the runtime refuses them.
    pub fn load(
        model: &'static Model,
        folder: &ModelFolder,
        library: &Path,
        purpose: Purpose,
    ) -> Result<Self, LoadError> {
        for asset in [&model.weights, &model.tokenizer] {
            match folder.condition(asset)? {
                Condition::Complete => {}
                Condition::Missing => {
                    return Err(LoadError::Missing(asset.key(), folder.root().to_owned()));
                }
                Condition::Damaged(how) => return Err(LoadError::Damaged(how)),
            }
        }
        // Where a link leads: the runtime refuses weights that lie outside the folder it is given.
        let weights = folder.path_of(&model.weights);
        let weights =
            fs::canonicalize(&weights).map_err(|source| LoadError::Io { path: weights, source })?;
        let location = weights.file_name().unwrap_or_default().to_string_lossy();
        let graph = graph::bert(&model.encoder, &Header::read(&weights)?, &location)?;
        let tokenizer = folder.path_of(&model.tokenizer);
        let tokenizer =
            fs::read(&tokenizer).map_err(|source| LoadError::Io { path: tokenizer, source })?;
        let runtime = runtime::load(library)?;
        // One text at a time leaves nothing for a pool of tokenizer threads to do.
        tokenizers::utils::parallelism::set_parallelism(false);
        let description = UserDefinedEmbeddingModel::new(graph, tokenizer_files(model, tokenizer))
            .with_pooling(match model.pooling {
                Pooling::Mean => fastembed::Pooling::Mean,
                Pooling::Cls => fastembed::Pooling::Cls,
            });
        let weights_folder = weights.parent().unwrap_or(folder.root());
        let (threads, no_packing) = match purpose {
            Purpose::Queries { threads } => (threads, "0"),
            Purpose::Backlog => (1, "1"),
        };
        let options = InitOptionsUserDefined::new()
            .with_environment(runtime.environment)
            .with_max_length(model.window)
            .with_intra_threads(threads)
            .with_session_config(NO_PACKING_KEY, no_packing)
            .with_session_config(SPINNING_KEY, "0")
            .with_session_config(WEIGHTS_FOLDER_KEY, weights_folder.to_string_lossy());
        let text = catch_unwind(AssertUnwindSafe(|| {
            TextEmbedding::try_new_from_user_defined(description, options)
        }))
        .map_err(|panic| LoadError::Panicked(model.name, panic_text(panic.as_ref())))?
        .map_err(|source| LoadError::Refused(model.name, source))?;
        Ok(Self { text, model, library: runtime.library })
    }

    /// The space of its vectors.
    pub fn space(&self) -> Space {
        self.model.space()
    }

    /// The runtime library that computes them.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The vector of a query; what lies beyond the window is not read.
    ///
    /// # Errors
    /// The runtime fails on it.
    pub fn query(&mut self, text: &str) -> Result<UnitVector, TextError> {
        let end = text.floor_char_boundary(PIECE_MAX_BYTES);
        self.embed(text.get(..end).unwrap_or_default())
    }

    /// The slices of `text` that get a vector each.
    ///
    /// # Errors
    /// The tokenizer fails on it.
    pub fn windows(&mut self, text: &str) -> Result<Vec<Range<usize>>, TextError> {
        let capacity = self.model.window.saturating_sub(MARKS);
        let mut tokens = Vec::new();
        let mut from = 0;
        while from < text.len().min(READ_MAX_BYTES)
            && tokens.len() <= windows::tokens_needed(capacity)
        {
            let piece = windows::piece(text, from);
            self.tokens(text, piece.clone(), &mut tokens)?;
            from = piece.end;
        }
        Ok(windows::windows(text, &tokens, capacity))
    }

    /// The vector of one window.
    ///
    /// # Errors
    /// The runtime fails on it.
    pub fn embed(&mut self, text: &str) -> Result<UnitVector, TextError> {
        let run = catch_unwind(AssertUnwindSafe(|| self.text.embed([text], Some(1))));
        let vectors = run
            .map_err(|panic| TextError::Panicked(text.len(), panic_text(panic.as_ref())))?
            .map_err(|source| TextError::Run(text.len(), source))?;
        vectors
            .into_iter()
            .next()
            .filter(|vector| vector.len() == self.model.dims())
            .and_then(UnitVector::normalise)
            .ok_or(TextError::NoDirection(text.len()))
    }

    /// Appends the tokens of a piece of `text`.
    fn tokens(
        &mut self,
        text: &str,
        piece: Range<usize>,
        tokens: &mut Vec<Token>,
    ) -> Result<(), TextError> {
        let slice = text.get(piece.clone()).unwrap_or_default();
        let bytes = slice.len();
        let encoding = self
            .encode_whole(slice)
            .map_err(|panic| TextError::Panicked(bytes, panic_text(panic.as_ref())))?
            .map_err(|error| TextError::Tokens(bytes, error.to_string()))?;
        let mut word = None;
        let offsets = encoding.get_offsets().iter();
        for ((begin, end), of_word) in offsets.zip(encoding.get_word_ids()) {
            let (begin, end) = (piece.start + begin, piece.start + end);
            tokens.push(Token { begin, end, begins_word: of_word.is_none() || *of_word != word });
            word = *of_word;
        }
        Ok(())
    }

    /// Splits a text into all its tokens. The tokenizer is set to cut at the window, and what it
    /// cuts off is gone; a second one that doesn't cut would hold the vocabulary a second time.
    fn encode_whole(&mut self, text: &str) -> std::thread::Result<tokenizers::Result<Encoding>> {
        let tokenizer = &mut self.text.tokenizer;
        let Some(truncation) = tokenizer.get_truncation().cloned() else {
            return Ok(tokenizer.encode(text, false));
        };
        if let Some(limit) = tokenizer.get_truncation_mut() {
            limit.max_length = usize::MAX;
        }
        let encoding = catch_unwind(AssertUnwindSafe(|| tokenizer.encode(text, false)));
        if let Some(limit) = tokenizer.get_truncation_mut() {
            *limit = truncation;
        }
        encoding
    }
}

/// The tokenizer, and what else the library wants to read about it.
fn tokenizer_files(model: &Model, tokenizer: Vec<u8>) -> TokenizerFiles {
    let window = model.window;
    let settings = format!(r#"{{"model_max_length":{window},"pad_token":"[PAD]"}}"#);
    TokenizerFiles {
        tokenizer_file: tokenizer,
        config_file: b"{}".to_vec(),
        special_tokens_map_file: b"{}".to_vec(),
        tokenizer_config_file: settings.into_bytes(),
    }
}
