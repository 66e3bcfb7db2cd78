use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

const CANARY: &str = "canary-token-0123456789-abcdefghij";
const LONG: Duration = Duration::from_secs(30);

fn token() -> SecretString {
    SecretString::from(CANARY)
}

/// Answers one connection with `bytes`, then closes it; gives the request that came.
fn serve(bytes: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}/client/v4", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut buffer).expect("a request");
            request.extend_from_slice(&buffer[..n]);
        }
        // The client may have hung up at its limit.
        let _ = stream.write_all(&bytes);
        String::from_utf8(request).expect("text")
    });
    (base, server)
}

fn get(path: &str) -> http::Request<Bytes> {
    http::Request::get(path).body(Bytes::new()).expect("a request")
}

async fn exchange(answer: &[u8]) -> (Result<http::Response<Bytes>, TransportError>, String) {
    let (base, server) = serve(answer.to_vec());
    let transport = HttpTransport::new(&base, token()).expect("a transport");
    let answer = transport.send(get("/accounts/a?x=1"), LONG).await;
    (answer, server.join().expect("the server"))
}

#[tokio::test]
async fn a_request_carries_path_and_token_and_brings_the_whole_answer() {
    let reply = b"HTTP/1.1 418 X\r\ncf-ray: r1\r\ncontent-length: 5\r\n\r\nhello";
    let (answer, request) = exchange(reply).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers().get("cf-ray").expect("a header"), "r1");
    assert_eq!(answer.body(), "hello");
    assert!(request.starts_with("GET /client/v4/accounts/a?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {CANARY}\r\n")), "{request}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (answer, _) = exchange(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(answer.expect("an answer").status(), 302);
}

#[tokio::test]
async fn a_cut_answer_is_no_answer() {
    let (answer, _) = exchange(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"resul").await;
    assert!(matches!(answer, Err(TransportError::Cut(_))), "{answer:?}");
    let (answer, _) = exchange(b"").await;
    assert!(matches!(answer, Err(TransportError::Lost(_))), "{answer:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused() {
    let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_MAX_BYTES + 1);
    reply.push_str(&"x".repeat(ANSWER_MAX_BYTES + 1));
    let (answer, _) = exchange(reply.as_bytes()).await;
    assert!(matches!(answer, Err(TransportError::TooLarge { .. })), "{answer:?}");
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let transport = HttpTransport::new(&base, token()).expect("a transport");
    let silent = transport.send(get("/"), Duration::from_millis(50)).await;
    assert!(matches!(silent, Err(TransportError::Timeout(_))), "{silent:?}");
    drop(listener);
    let gone = transport.send(get("/"), LONG).await;
    assert!(matches!(gone, Err(TransportError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn the_token_is_in_no_error_and_can_be_replaced() {
    let (base, server) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_vec());
    let transport = HttpTransport::new(&base, token()).expect("a transport");
    assert!(!format!("{transport:?}").contains(CANARY));
    assert_eq!(transport.redact(&format!("token {CANARY} is bad")), "token [hidden] is bad");

    let error = transport.send(get("/"), LONG).await.expect_err("a cut answer");
    assert!(!format!("{error} {error:?}").contains(CANARY));
    assert!(server.join().expect("the server").contains(CANARY), "the header did carry it");

    for bad in ["", "two words", "line\nend"] {
        let error = transport.set_token(SecretString::from(bad)).expect_err("a bad token");
        assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
    }
    let header = header(&token()).expect("a header");
    assert!(header.is_sensitive() && !format!("{header:?}").contains(CANARY));

    let other = "another-token";
    transport.set_token(SecretString::from(other)).expect("a token");
    assert_eq!(transport.redact(other), "[hidden]");
}

#[test]
fn plain_http_is_for_this_machine_only() {
    let check = |base| check_base(base).map_err(|error| error.to_string());
    assert_eq!(check("https://api.cloudflare.com/client/v4"), Ok(false));
    for base in
        ["http://127.0.0.1:8787/v4", "http://127.9.9.9", "http://[::1]:80/", "http://localhost:1"]
    {
        assert_eq!(check(base), Ok(true), "{base}");
    }
    for base in ["http://api.cloudflare.com", "http://localhost.example.com", "http://10.0.0.1"] {
        assert!(check(base).expect_err(base).contains("unencrypted"), "{base}");
    }
    for base in
        ["", "api.cloudflare.com", "ftp://127.0.0.1", "https://a:b@c/", "/v4", "https://x/?y"]
    {
        assert!(check(base).expect_err(base).contains("no URL"), "{base}");
    }
}
