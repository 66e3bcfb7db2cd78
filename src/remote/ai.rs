//! Workers AI: vectors for an index whose embedding space is not the local one.

use super::cloudflare::{Cloudflare, json, key_path};
use super::envelope::part;
use super::error::{Disposition, Product, RemoteError};
use http::Method;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Texts in one request; Workers AI takes no more.
pub const TEXTS_MAX: usize = 100;
/// How long a request may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// How a model makes one vector out of its tokens' vectors. The two are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean: Workers AI's default, and so what the Python service has always used.
    Mean,
    /// The first token's.
    Cls,
}

/// A model of Workers AI and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name, `@cf/…`.
    pub name: String,
    /// How it pools.
    pub pooling: Pooling,
}

#[derive(Serialize)]
struct Input<'a> {
    text: &'a [&'a str],
    pooling: Pooling,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    shape: Option<Vec<usize>>,
    data: Vec<Vec<f32>>,
}

/// Embeds up to [`TEXTS_MAX`] texts; gives one vector of `dims` components each, as the model made
/// them.
///
/// # Errors
/// Too many texts or an empty one, the request failed, or the answer is not one finite vector of
/// the right length for each text.
pub async fn embed(
    remote: &Cloudflare,
    model: &Model,
    dims: usize,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>, RemoteError> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    run(remote, model, Some(dims), texts).await
}

/// As [`embed`], for a model whose dimensions aren't known.
///
/// # Errors
/// As [`embed`].
pub async fn embed_any(
    remote: &Cloudflare,
    model: &Model,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>, RemoteError> {
    run(remote, model, None, texts).await
}

async fn run(
    remote: &Cloudflare,
    model: &Model,
    dims: Option<usize>,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>, RemoteError> {
    if texts.len() > TEXTS_MAX || texts.iter().any(|text| text.is_empty()) {
        let message = format!("{} texts, or an empty one; the limit is {TEXTS_MAX}", texts.len());
        return Err(RemoteError::local(Product::Ai, Disposition::Park, &message, "send fewer"));
    }
    let path = remote.path(&format!("/ai/run/{}", model_path(&model.name)));
    let input = Input { text: texts, pooling: model.pooling };
    let request = json(Product::Ai, Method::POST, &path, &input)?;
    let answer = remote.call(Product::Ai, request, DEADLINE).await?;
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    remote.count_embedded(u64::try_from(bytes).unwrap_or(u64::MAX));
    let output: Output = part(Product::Ai, answer.result)?;
    let dims = dims.or_else(|| output.data.first().map(Vec::len)).unwrap_or(0);
    check(&output, dims, texts.len())?;
    Ok(output.data)
}

/// A model's name in a path; its `@` and slashes stay.
fn model_path(name: &str) -> String {
    match name.strip_prefix('@') {
        Some(rest) => format!("@{}", key_path(rest)),
        None => key_path(name),
    }
}

fn check(output: &Output, dims: usize, texts: usize) -> Result<(), RemoteError> {
    let wrong = |what: String| Err(RemoteError::unreadable(Product::Ai, &what));
    if output.data.len() != texts {
        return wrong(format!("{} vectors for {texts} texts", output.data.len()));
    }
    if output.shape.as_ref().is_some_and(|shape| *shape != [texts, dims]) {
        return wrong(format!("vectors of the shape {:?}, not {:?}", output.shape, [texts, dims]));
    }
    for vector in &output.data {
        if vector.len() != dims {
            return wrong(format!("a vector of {} components, not {dims}", vector.len()));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return wrong("a vector with a component that is no number".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ruled, success};
    use super::*;
    use serde_json::{Value, json};

    fn model() -> Model {
        Model { name: "@cf/baai/bge-base-en-v1.5".to_owned(), pooling: Pooling::Mean }
    }

    #[tokio::test]
    async fn pooling_is_always_said_and_cost_is_counted() {
        let (remote, transport, _) = ruled(|_| {
            success(json!({"shape": [2, 2], "data": [[0.5, 1], [1e-3, -2]], "pooling": "mean"}))
        });
        let vectors = embed(&remote, &model(), 2, &["one", "two"]).await.expect("vectors");
        assert_eq!(vectors, [vec![0.5, 1.0], vec![0.001, -2.0]]);
        let seen = transport.seen.lock().expect("a lock").clone();
        assert_eq!(seen[0].0, "POST /accounts/acc/ai/run/@cf/baai/bge-base-en-v1.5");
        assert_eq!(seen[0].1, r#"{"text":["one","two"],"pooling":"mean"}"#);
        assert_eq!(remote.usage().embedded_bytes, 6);
    }

    #[tokio::test]
    async fn an_answer_of_another_shape_is_never_used() {
        let bad = [
            json!({"shape": [1, 2], "data": [[1, 2]]}),
            json!({"shape": [2, 3], "data": [[1, 2], [3, 4]]}),
            json!({"data": [[1, 2], [3]]}),
            json!({"data": [[1, 2], [3, 1e39]]}),
            json!({"data": [[1, 2], [3, null]]}),
            json!({}),
            Value::Null,
        ];
        for answer in bad {
            let text = answer.to_string();
            let (remote, ..) = ruled(move |_| success(answer.clone()));
            let error = embed(&remote, &model(), 2, &["a", "b"]).await.expect_err(&text);
            assert_eq!(error.disposition, Disposition::Retry, "{text}");
        }
    }

    #[tokio::test]
    async fn what_workers_ai_would_refuse_is_never_sent() {
        let (remote, ..) = ruled(|_| panic!("nothing may be sent"));
        assert!(embed(&remote, &model(), 2, &vec!["x"; 101]).await.is_err());
        assert!(embed(&remote, &model(), 2, &["x", ""]).await.is_err());
        assert!(embed(&remote, &model(), 2, &[]).await.expect("nothing to do").is_empty());
    }
}
