//! The embedder with the real model.

#![expect(clippy::expect_used, reason = "what isn't as expected fails the test")]

mod support;

use memtide::embed::embedder::{EmbedError, Embedder, EmbedderOptions};
use memtide::embed::manifest::{DEFAULT_MODEL, Model};
use memtide::embed::progress::Progress;
use memtide::embed::pull::Sources;
use memtide::embed::runtime;
use memtide::embed::status::{EmbedderState, EmbedderStatus};
use memtide::embed::windows::MAX_WINDOWS;
use memtide::model::space::UnitVector;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn options(models: &Path) -> EmbedderOptions {
    let model = Model::named(DEFAULT_MODEL).expect("the default model");
    EmbedderOptions::new(model, models.to_owned())
}

async fn started(options: EmbedderOptions) -> (Embedder, EmbedderStatus) {
    let embedder = Embedder::start(options).expect("a thread");
    let status = embedder.settled().await;
    (embedder, status)
}

async fn ready() -> Embedder {
    let (embedder, status) = started(options(support::model::folder())).await;
    assert_eq!(status.state, EmbedderState::Ready, "{status:?}");
    embedder
}

async fn vectors_of(embedder: &Embedder, text: &str) -> Vec<UnitVector> {
    let mut found = embedder.documents(vec![text.into()]).await.expect("vectors");
    assert_eq!(found.space, embedder.status().space);
    found.texts.remove(0).expect("a text that can be embedded")
}

fn cosine(a: &UnitVector, b: &UnitVector) -> f32 {
    a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
}

/// A text about one thing, far longer than the model's window.
fn recipe(sentences: usize) -> String {
    (0..sentences).fold(String::new(), |text, n| {
        text + &format!("Step {n}: stir the soup, add salt and let the onions simmer slowly. ")
    })
}

#[tokio::test]
async fn vectors_are_those_that_the_library_publishes_for_this_model() {
    // fastembed's own test pins the sum of the components for these four texts.
    let published = [
        ("Hello, World!", 0.596_055_27_f32),
        ("This is an example passage.", 0.365_429_25),
        ("fastembed-rs is licensed under Apache-2.0", -0.164_500_31),
        ("Some other short text here blah blah blah", -0.409_039_88),
    ];
    let embedder = ready().await;
    for (text, sum) in published {
        let found = embedder.query(text).await.expect("a vector");
        let found_sum: f32 = found.vector.as_slice().iter().sum();
        assert!((found_sum - sum).abs() < 1e-4, "{text}: {found_sum} instead of {sum}");
        assert_eq!(found.vector.as_slice().len(), 384);
        assert_eq!(found.space.as_str(), "all-MiniLM-L6-v2@1110a243/mean/256/384/l2");
        let stored = vectors_of(&embedder, text).await;
        assert_eq!(stored.len(), 1);
        assert!(cosine(&stored[0], &found.vector) > 0.999_999, "{text}");
    }
}

#[tokio::test]
async fn the_tail_of_a_long_text_is_found() {
    let embedder = ready().await;
    let text = format!("{}The glacier lost three metres of ice last summer.", recipe(60));
    let windows = vectors_of(&embedder, &text).await;
    assert!(windows.len() >= 3, "{} windows", windows.len());
    let about_ice = embedder.query("melting glaciers").await.expect("a vector").vector;
    let about_soup = embedder.query("cooking soup").await.expect("a vector").vector;
    let (first, last) = (windows.first().expect("one"), windows.last().expect("one"));
    assert!(cosine(&about_ice, last) > cosine(&about_ice, first) + 0.1);
    assert!(cosine(&about_soup, first) > cosine(&about_soup, last));
}

#[tokio::test]
async fn the_first_window_is_what_the_model_makes_of_the_whole_text() {
    let embedder = ready().await;
    // Words of many tokens, so that the window ends inside one.
    let text = "antidisestablishmentarianism incomprehensibilities ".repeat(100);
    let whole = embedder.query(&text).await.expect("a vector").vector;
    let windows = vectors_of(&embedder, &text).await;
    assert!(windows.len() > 1);
    assert!(cosine(&whole, &windows[0]) > 0.999_999, "{}", cosine(&whole, &windows[0]));
}

#[tokio::test]
async fn every_text_gets_a_direction_and_no_more_windows_than_allowed() {
    let embedder = ready().await;
    let texts: Vec<Arc<str>> = [
        String::new(),
        " \n\t ".to_owned(),
        "\u{0}\u{1}\u{fffd}".to_owned(),
        "🦀🦀 漢字かな交じり文 naïve ﬁancée e\u{301}".to_owned(),
        "x".repeat(200_000),
        " ".repeat(200_000),
        "漢字".repeat(200),
        recipe(20),
    ]
    .map(Arc::from)
    .to_vec();
    let found = embedder.documents(texts.clone()).await.expect("vectors");
    assert_eq!(found.texts.len(), texts.len());
    for (text, vectors) in texts.iter().zip(found.texts) {
        let vectors = vectors.expect("a text that can be embedded");
        assert!((1..=MAX_WINDOWS).contains(&vectors.len()), "{} for {text:.9}", vectors.len());
        for vector in vectors {
            assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5);
        }
    }
    assert_eq!(embedder.status().pending_documents, 0);
}

#[tokio::test]
async fn a_query_is_served_while_the_backlog_is_worked_on() {
    let embedder = ready().await;
    let backlog = vec![Arc::from(recipe(60)); 100];
    let mut documents = Box::pin(embedder.documents(backlog));
    tokio::select! {
        biased;
        _ = &mut documents => panic!("the backlog was done before the query"),
        found = embedder.query("what comes first") => assert!(found.is_ok()),
    }
    assert!(embedder.status().pending_documents > 0);
    // Dropping the request drops the work: the next one needn't wait for a hundred texts.
    drop(documents);
    assert_eq!(vectors_of(&embedder, "short").await.len(), 1);
    assert_eq!(embedder.status().pending_documents, 0);
}

#[tokio::test]
async fn a_paused_backlog_waits_and_then_goes_on() {
    let embedder = ready().await;
    assert_eq!(vectors_of(&embedder, "the thread has its model").await.len(), 1);
    let mut watch = embedder.watch();
    embedder.pause();
    watch.wait_for(|status| status.paused).await.expect("the thread is there");
    let texts: Vec<Arc<str>> = vec!["one".into(), "two".into(), "three".into()];
    let mut documents = Box::pin(embedder.documents(texts));
    // Far more work than the three texts would be.
    for n in 0..50 {
        let text = format!("served all the same {n}");
        tokio::select! {
            biased;
            _ = &mut documents => panic!("the backlog went on"),
            found = embedder.query(&text) => assert!(found.is_ok()),
        }
    }
    assert_eq!(embedder.status().pending_documents, 3);
    embedder.resume();
    assert_eq!(documents.await.expect("vectors").texts.len(), 3);
}

#[tokio::test]
async fn a_repeated_query_needs_no_thread() {
    let embedder = ready().await;
    let first = embedder.query("asked twice").await.expect("a vector");
    embedder.close();
    assert_eq!(embedder.query("asked twice").await.expect("from the cache"), first);
    assert!(matches!(embedder.query("asked once").await, Err(EmbedError::Closed)));
    assert!(matches!(embedder.documents(vec!["late".into()]).await, Err(EmbedError::Closed)));
    embedder.reload(embedder.options());
    assert_eq!(embedder.settled().await.state, EmbedderState::Failed);
}

#[tokio::test]
async fn a_missing_model_is_said_at_once_with_what_to_do() {
    let root = tempfile::tempdir().expect("a folder");
    let (embedder, status) = started(options(root.path())).await;
    assert_eq!(status.state, EmbedderState::Missing, "{status:?}");
    let Err(EmbedError::NotReady { state, hint }) = embedder.query("anything").await else {
        panic!("a vector without a model");
    };
    assert_eq!(state, EmbedderState::Missing);
    assert!(hint.contains("memtide model pull"), "{hint}");
    assert!(hint.contains(&root.path().display().to_string()), "{hint}");
    let documents = embedder.documents(vec!["anything".into()]).await;
    assert!(matches!(documents, Err(EmbedError::NotReady { .. })));
    assert_eq!(embedder.status().pending_documents, 0);
}

#[tokio::test]
async fn a_missing_library_is_a_failure_and_no_crash() {
    let mut options = options(support::model::folder());
    options.library = Some("/nowhere/libonnxruntime.so".into());
    let (embedder, status) = started(options).await;
    assert_eq!(status.state, EmbedderState::Failed);
    assert!(status.error.is_some_and(|error| error.contains("/nowhere/libonnxruntime.so")));
    assert!(matches!(embedder.query("anything").await, Err(EmbedError::NotReady { .. })));
}

#[tokio::test]
async fn a_damaged_model_fails_until_it_is_pulled_again() {
    let root = tempfile::tempdir().expect("a folder");
    let good = support::model::folder();
    let usual = options(good);
    let options = options(root.path());
    let folder = options.folder();
    let library = runtime::find(None, None, &usual.folder()).expect("there");
    fs::create_dir(root.path().join(DEFAULT_MODEL)).expect("created");
    let weights = folder.path_of(&options.model.weights);
    let tokenizer = folder.path_of(&options.model.tokenizer);
    std::os::unix::fs::symlink(options.model.weights.path_in(good), &weights).expect("linked");
    std::os::unix::fs::symlink(&library, root.path().join(library.file_name().expect("a name")))
        .expect("linked");
    let mut bytes = fs::read(options.model.tokenizer.path_in(good)).expect("readable");
    bytes[1000] ^= 1;
    fs::write(&tokenizer, &bytes).expect("written");

    let (embedder, status) = started(options).await;
    assert_eq!(status.state, EmbedderState::Failed);
    assert!(status.error.is_some_and(|error| error.contains("tokenizer.json has sha256")));

    let sources = Sources { local: Some(good.to_owned()), hub: None, python: None };
    let progress: Progress = Arc::new(|_, _, _| {});
    let pulled = embedder.pull(&sources, &progress).await.expect("the good one is there");
    assert_eq!(pulled.fetched, ["all-MiniLM-L6-v2/tokenizer.json"]);
    let status = embedder.settled().await;
    assert_eq!(status.state, EmbedderState::Ready, "{status:?}");
    assert!(embedder.query("works again").await.is_ok());
}

#[tokio::test]
async fn another_model_is_another_space_and_the_way_back_is_open() {
    let embedder = ready().await;
    embedder.query("before").await.expect("a vector");
    let first = embedder.options();
    let model = Model::named("bge-small-en-v1.5").expect("listed");
    let root = tempfile::tempdir().expect("a folder");
    embedder.reload(EmbedderOptions::new(model, root.path().to_owned()));
    let status = embedder.settled().await;
    assert_eq!((status.state, status.model), (EmbedderState::Missing, "bge-small-en-v1.5"));
    assert_eq!(status.space, model.space());
    assert!(matches!(embedder.query("before").await, Err(EmbedError::NotReady { .. })));
    embedder.reload(first);
    assert_eq!(embedder.settled().await.state, EmbedderState::Ready);
    assert!(embedder.query("before").await.is_ok());
}

#[tokio::test]
async fn a_young_text_gets_the_vectors_that_the_backlog_would_make() {
    let embedder = ready().await;
    let long = "the kingfisher dives into the river and comes up with a fish. ".repeat(30);
    for text in ["a short note", long.as_str()] {
        let mut young = embedder.fresh(text.into()).await.expect("vectors");
        assert_eq!(young.space, embedder.status().space);
        let young = young.texts.remove(0).expect("a text that can be embedded");
        let later = vectors_of(&embedder, text).await;
        assert_eq!(young.len(), later.len());
        for (a, b) in young.iter().zip(&later) {
            assert!(cosine(a, b) > 0.9999, "{}", cosine(a, b));
        }
    }
}
