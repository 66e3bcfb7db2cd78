//! What goes over the wire: messages as they are, and the answers that something else gives than the
//! account.

use super::Fault;
use memtide::clock::Micros;
use memtide::emulator::product::Product;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// A `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// No request may come before this instant.
    pub until: Micros,
    /// To no product of the account.
    pub every_product: bool,
}

impl Told {
    pub(super) fn new(at: Micros, product: Product, dice: u64) -> Self {
        let after = Duration::from_secs(1 + dice % 2);
        let until = at.plus(after);
        // A date has whole seconds.
        let until = if is_date(dice) { Micros((until.0 / SECOND + 1) * SECOND) } else { until };
        Self { until, every_product: dice & 8 != 0 || code_of(product).is_none() }
    }
}

const SECOND: i64 = 1_000_000;

fn is_date(dice: u64) -> bool {
    dice & 4 != 0
}

/// The code with which a product alone says that it is asked too often.
fn code_of(product: Product) -> Option<u32> {
    match product {
        Product::D1 => Some(7429),
        Product::Vectorize => Some(40041),
        Product::R2 => Some(10058),
        _ => None,
    }
}

/// A request or an answer as it is on the wire.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) n_head: usize,
}

impl Message {
    /// Whom a request is for.
    pub(super) fn product(&self) -> Product {
        let head = String::from_utf8_lossy(&self.bytes[..self.n_head]);
        let path = head.split(' ').nth(1).unwrap_or_default();
        Product::of_path(path.split('?').next().unwrap_or_default())
    }
}

/// Reads one message; `None` at the end.
pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Message>> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes[start..]).to_ascii_lowercase();
        assert!(!line.starts_with("transfer-encoding"), "a body without a length: {line}");
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let n_head = bytes.len();
    bytes.resize(n_head + length, 0);
    from.read_exact(&mut bytes[n_head..]).await?;
    Ok(Some(Message { bytes, n_head }))
}

/// An answer with a body.
fn own_answer(status: &str, headers: &str, body: &str) -> Message {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Message { n_head: head.len(), bytes: format!("{head}{body}").into_bytes() }
}

fn refusal(code: u32) -> String {
    format!(
        r#"{{"result":null,"success":false,"errors":[{{"code":{code},"message":"no"}}],"messages":[]}}"#
    )
}

/// Too many requests.
pub(super) fn throttled(product: Product, dice: u64, told: Told) -> Message {
    let code = code_of(product).filter(|_| !told.every_product).unwrap_or(971);
    let after = if is_date(dice) {
        let date = jiff::Timestamp::from_microsecond(told.until.0).expect("an instant");
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&date)
            .expect("a date")
    } else {
        (1 + dice % 2).to_string()
    };
    let headers = format!("retry-after: {after}\r\n");
    own_answer("429 Too Many Requests", &headers, &refusal(code))
}

/// What isn't the account's to say.
pub(super) fn nonsense(fault: Option<Fault>, dice: u64) -> Message {
    if fault == Some(Fault::NoJson) {
        return own_answer("200 OK", "content-type: application/json\r\n", "Welcome to the hotel");
    }
    let status =
        ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "520 "];
    let status = status[usize::try_from(dice / 2 % 4).unwrap()];
    let page = "<!DOCTYPE html><html><body>Sorry</body></html>";
    own_answer(status, "content-type: text/html\r\n", page)
}

/// A token that isn't known.
pub(super) fn unauthorized() -> Message {
    own_answer("401 Unauthorized", "", &refusal(10000))
}
