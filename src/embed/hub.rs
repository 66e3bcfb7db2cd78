//! Assets from the model hub, at a pinned revision.

use super::assets::ModelFolder;
use super::manifest::{Asset, Model};
use super::part::{Part, PartError};
use super::progress::Progress;
use reqwest::{Client, Response, StatusCode, header};
use std::time::Duration;

/// The public hub.
pub const DEFAULT_HUB: &str = "https://huggingface.co";

/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may stay silent.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a transfer that broke off is continued before another source is tried.
const CONTINUATIONS: u32 = 5;

/// Why the hub did not deliver.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No answer, or it broke off.
    #[error("no answer")]
    Http(#[source] reqwest::Error),
    /// The hub refused.
    #[error("answered {0}")]
    Status(StatusCode),
    /// The bytes did not arrive.
    #[error(transparent)]
    Part(#[from] PartError),
}

impl From<reqwest::Error> for HubError {
    /// Takes the address out: the sentence around it names the hub.
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// The hub at `base` as a sentence may name it: without a name or a password.
pub fn shown(base: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(base) else { return base.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return base.to_owned();
    }
    let hidden = url.set_username("").and_then(|()| url.set_password(None));
    hidden.map_or_else(|()| "with a password".to_owned(), |()| url.to_string())
}

/// An HTTP client for the hub at `base`, that trusts what the system trusts and uses the system's
/// proxy, except for a hub on this machine.
///
/// # Errors
/// The system's certificates can't be loaded.
pub fn client(base: &str) -> Result<Client, HubError> {
    // An error means that a provider is installed already, which serves as well.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    let url = reqwest::Url::parse(base).ok();
    let here = url
        .as_ref()
        .and_then(reqwest::Url::host_str)
        .is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    Ok(if here { builder.no_proxy() } else { builder }.build()?)
}

/// Downloads `asset` of `model` from the hub at `base` into `folder`; goes on where an earlier
/// download stopped, and when the connection breaks.
///
/// # Errors
/// The hub can't be reached, refuses, or sends other bytes than the pinned ones.
pub async fn download(
    client: &Client,
    base: &str,
    model: &Model,
    asset: &Asset,
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), HubError> {
    let base = base.trim_end_matches('/');
    let url = format!("{base}/{}/resolve/{}/{}", model.repository, model.revision, asset.name);
    let mut part = Part::resume(folder, asset)?;
    let mut continuations = 0;
    loop {
        let before = part.done();
        match transfer(client, &url, &mut part, asset, progress).await {
            Ok(()) => break,
            Err(HubError::Http(error)) if part.done() > before && continuations < CONTINUATIONS => {
                tracing::debug!(%error, done = part.done(), "download continued");
                continuations += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(part.finish(folder)?)
}

/// Asks for the bytes that `part` lacks and writes those that come.
async fn transfer(
    client: &Client,
    url: &str,
    part: &mut Part,
    asset: &Asset,
    progress: &Progress,
) -> Result<(), HubError> {
    if part.done() == asset.bytes {
        return Ok(());
    }
    let mut response = request(client, url, part.done()).await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        part.restart()?;
        response = request(client, url, 0).await?;
    }
    match response.status() {
        StatusCode::PARTIAL_CONTENT if begins_at(&response, part.done()) => {}
        StatusCode::OK => part.restart()?,
        status => return Err(HubError::Status(status)),
    }
    while let Some(chunk) = response.chunk().await? {
        part.write(&chunk)?;
        progress(asset.name, part.done(), asset.bytes);
    }
    Ok(())
}

async fn request(client: &Client, url: &str, from: u64) -> Result<Response, reqwest::Error> {
    let request = client.get(url);
    if from == 0 {
        return request.send().await;
    }
    request.header(header::RANGE, format!("bytes={from}-")).send().await
}

/// Whether a partial answer starts at the byte that was asked for.
fn begins_at(response: &Response, from: u64) -> bool {
    response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split('-').next())
        .is_some_and(|begin| begin.parse() == Ok(from))
}

#[cfg(test)]
mod tests {
    use super::super::assets::Condition;
    use super::super::loopback::{Answer, Hub};
    use super::super::manifest::{DEFAULT_MODEL, MODELS};
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::fs;
    use std::sync::{Arc, Mutex};

    const FILE: &[u8] = b"sixteen bytes ok";

    fn model(pinned: &[u8]) -> Model {
        let mut model = *MODELS.first().expect("the default model");
        model.weights.sha256 = hex::encode(Sha256::digest(pinned)).leak();
        model.weights.bytes = pinned.len() as u64;
        model
    }

    struct Download {
        got: Result<(), HubError>,
        condition: Condition,
        steps: Vec<u64>,
        asked: Vec<Option<usize>>,
    }

    /// Downloads [`FILE`] from a hub that answers as told, with `part` there already.
    async fn download(script: Vec<Answer>, pinned: &[u8], part: &[u8]) -> Download {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let model = model(pinned);
        let target = folder.path_of(&model.weights);
        fs::create_dir_all(target.parent().expect("a parent")).expect("created");
        fs::write(target.with_file_name("model.safetensors.part"), part).expect("written");
        let hub = Hub::serving(FILE, script);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = steps.clone();
        let progress: Progress = Arc::new(move |_, done, _| seen.lock().expect("sound").push(done));
        let client = client(&hub.base).expect("a client");
        let got =
            super::download(&client, &hub.base, &model, &model.weights, &folder, &progress).await;
        let asked = hub.asked();
        let path = format!(
            "/sentence-transformers/{DEFAULT_MODEL}/resolve/{}/model.safetensors",
            model.revision
        );
        assert!(asked.iter().all(|(asked, _)| *asked == path), "{asked:?}");
        Download {
            got,
            condition: folder.condition(&model.weights).expect("readable"),
            steps: steps.lock().expect("sound").clone(),
            asked: asked.into_iter().map(|(_, from)| from).collect(),
        }
    }

    #[tokio::test]
    async fn a_file_arrives_and_its_progress_is_told() {
        let done = download(vec![Answer::Asked], FILE, b"").await;
        assert!(done.got.is_ok(), "{:?}", done.got);
        assert_eq!(done.condition, Condition::Complete);
        assert_eq!(done.steps.last(), Some(&16));
        assert_eq!(done.asked, [None]);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_continued_at_the_byte_where_it_broke() {
        let script = vec![Answer::Broken(5), Answer::Broken(4), Answer::Asked];
        let done = download(script, FILE, b"").await;
        assert!(done.got.is_ok(), "{:?}", done.got);
        assert_eq!(done.condition, Condition::Complete);
        assert_eq!(done.asked, [None, Some(5), Some(9)]);
    }

    #[tokio::test]
    async fn an_earlier_download_is_continued() {
        let done = download(vec![Answer::Asked], FILE, b"sixteen").await;
        assert!(done.got.is_ok(), "{:?}", done.got);
        assert_eq!(done.asked, [Some(7)]);
        assert_eq!(done.steps.last(), Some(&16));
    }

    #[tokio::test]
    async fn a_hub_that_knows_no_ranges_starts_again() {
        let done = download(vec![Answer::Whole], FILE, b"sixteen").await;
        assert!(done.got.is_ok(), "{:?}", done.got);
        assert_eq!((done.condition, done.asked), (Condition::Complete, vec![Some(7)]));
    }

    #[tokio::test]
    async fn another_part_than_was_asked_for_is_not_taken() {
        let done = download(vec![Answer::Elsewhere], FILE, b"sixteen").await;
        assert!(matches!(done.got, Err(HubError::Status(StatusCode::PARTIAL_CONTENT))));
        assert_eq!(done.steps, Vec::<u64>::new());
    }

    #[tokio::test]
    async fn a_part_of_another_file_never_gets_the_name() {
        let done = download(vec![Answer::Asked], FILE, b"SIXTEEN").await;
        assert!(matches!(done.got, Err(HubError::Part(PartError::Hash { .. }))), "{:?}", done.got);
        assert_eq!(done.condition, Condition::Missing);
    }

    #[tokio::test]
    async fn a_file_of_another_size_never_gets_the_name() {
        let longer = download(vec![Answer::Asked], b"sixteen bytes okay", b"").await;
        assert!(
            matches!(longer.got, Err(HubError::Part(PartError::TooShort { done: 16, bytes: 18 }))),
            "{:?}",
            longer.got
        );
        let shorter = download(vec![Answer::Asked], b"sixteen", b"").await;
        assert!(matches!(shorter.got, Err(HubError::Part(PartError::TooLong(7)))));
        assert_eq!((longer.condition, shorter.condition), (Condition::Missing, Condition::Missing));
    }

    #[test]
    fn a_password_in_the_address_is_not_shown() {
        assert_eq!(shown("https://me:secret@hub.example/a"), "https://hub.example/a");
        assert_eq!(shown("https://token@hub.example"), "https://hub.example/");
        assert_eq!(shown(DEFAULT_HUB), DEFAULT_HUB);
    }

    #[tokio::test]
    async fn a_refusal_is_passed_on() {
        let done = download(vec![Answer::Status("404 Not Found")], FILE, b"").await;
        assert_eq!(done.got.expect_err("refused").to_string(), "answered 404 Not Found");
    }
}
