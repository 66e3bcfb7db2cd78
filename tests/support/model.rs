//! The real model, fetched by the code under test: once, into a folder that all test binaries and
//! the daemons that they start share.

#![expect(clippy::expect_used, clippy::panic, reason = "without the model there is no test")]

use memtide::embed::embedder::EmbedderOptions;
use memtide::embed::manifest::{DEFAULT_MODEL, Model};
use memtide::embed::progress::Progress;
use memtide::embed::pull::Sources;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The folder with the complete default model and the runtime library: `MEMTIDE_MODEL_DIR` if it
/// is set, else one below `target`. Daemons under test get it as `MEMTIDE_MODEL_DIR`. The first
/// call fetches what is missing, while other test binaries wait for the folder's lock.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::var_os("MEMTIDE_MODEL_DIR")
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("models"), PathBuf::from);
        let model = Model::named(DEFAULT_MODEL).expect("the default model");
        let options = EmbedderOptions::new(model, folder.clone());
        // A thread of its own: the test that asks may run inside a runtime.
        let fetching = std::thread::spawn(move || {
            let progress: Progress = Arc::new(|_, _, _| {});
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(options.pull(&sources(), &progress))
        });
        if let Err(error) = fetching.join().expect("no panic") {
            panic!("these tests need the model: {error}");
        }
        folder
    })
}

/// The usual sources, with the hub that other tools use too.
fn sources() -> Sources {
    let mut sources = Sources::default();
    if let Ok(hub) = std::env::var("HF_ENDPOINT") {
        sources.hub = Some(hub);
    }
    sources
}
