use super::super::budget::REQUESTS;
use super::super::testing::{failure, reply, ruled, success};
use super::super::transport::TransportError;
use super::*;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn ask(remote: &Cloudflare) -> Result<Success, RemoteError> {
    let request = bare(Product::D1, Method::GET, &remote.path("/d1/database/x"))?;
    remote.call(Product::D1, request, DEADLINE).await
}

#[tokio::test]
async fn a_success_is_given_and_counted() {
    let (remote, transport, _) = ruled(|_| {
        let mut answer = success(json!({"name": "x"}))?;
        let date = "Tue, 14 Nov 2023 22:13:20 GMT".parse().expect("a header");
        answer.headers_mut().insert("date", date);
        Ok(answer)
    });
    let answer = ask(&remote).await.expect("a success");
    assert_eq!(answer.result, json!({"name": "x"}));
    assert_eq!(answer.at, Some(super::super::testing::NOW));
    let seen = transport.seen.lock().expect("a lock").clone();
    assert_eq!(seen[0].0, "GET /accounts/acc/d1/database/x");
    assert_eq!(remote.usage().requests_to(Product::D1), 1);
    assert_eq!(remote.requests_in_window(), 1);
}

#[tokio::test]
async fn secrets_of_the_transport_are_in_no_message() {
    let (remote, ..) = ruled(|_| failure(401, 10000, "the token canary is bad"));
    let error = ask(&remote).await.expect_err("a failure");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    let (remote, ..) = ruled(|_| Err(TransportError::Cut("at canary".to_owned())));
    let error = ask(&remote).await.expect_err("a failure");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn two_hundred_without_success_is_a_failure() {
    let (remote, ..) = ruled(|_| reply(200, &json!({"result": 1, "success": false})));
    assert_eq!(ask(&remote).await.expect_err("a failure").disposition, Disposition::Retry);
    let (remote, ..) = ruled(|_| Ok(http::Response::new(Bytes::from("{\"result\":"))));
    assert_eq!(ask(&remote).await.expect_err("a failure").disposition, Disposition::Retry);
}

#[tokio::test]
async fn the_budget_stops_requests_before_they_are_sent() {
    let (remote, transport, clock) = ruled(|_| success(json!(1)));
    let backfill = remote.in_lane(Lane::Backfill);
    for _ in 0..480 {
        ask(&backfill).await.expect("within the budget");
    }
    let refused = ask(&backfill).await.expect_err("over the budget");
    let after = Some(Duration::from_mins(5));
    let pause = Pause::Throttled { after, every_product: true };
    assert_eq!(refused.disposition, Disposition::Pause(pause));
    for _ in 480..REQUESTS {
        ask(&remote).await.expect("the live lane has its own share");
    }
    assert!(ask(&remote).await.is_err());
    assert_eq!(transport.seen.lock().expect("a lock").len(), REQUESTS);
    clock.0.fetch_add(300_000_000, Ordering::SeqCst);
    ask(&backfill).await.expect("the window has passed");
}

#[tokio::test]
async fn at_most_six_requests_are_under_way() {
    struct Slow {
        under_way: AtomicUsize,
        most: AtomicUsize,
    }
    impl Transport for Slow {
        fn send(
            &self,
            _: Request<Bytes>,
            _: Duration,
        ) -> futures_util::future::BoxFuture<'_, super::super::testing::Reply> {
            Box::pin(async {
                let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                success(json!(1))
            })
        }
    }
    let slow = Arc::new(Slow { under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let clock = crate::clock::SystemClock::shared();
    let remote = Cloudflare::new(Arc::clone(&slow) as _, "acc", clock, Budget::default());
    let all: Vec<_> = (0..30)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { ask(&remote).await.is_ok() })
        })
        .collect();
    for one in all {
        assert!(one.await.expect("a task"));
    }
    assert_eq!(slow.most.load(Ordering::SeqCst), IN_FLIGHT);
}

#[test]
fn names_are_escaped_and_climbing_paths_are_refused() {
    assert_eq!(segment("a b/ü?#%"), "a%20b%2F%C3%BC%3F%23%25");
    assert_eq!(key_path("content/ab-1_2.txt"), "content/ab-1_2.txt");
    for path in ["/accounts/../user", "/a//b", "/a/./b", "/a/.."] {
        let error = bare(Product::R2, Method::GET, path).expect_err(path);
        assert_eq!(error.disposition, Disposition::Park);
    }
    assert!(bare(Product::R2, Method::GET, "/a/..b?x=/../").is_ok());
}
