//! From what came back to what to do, once, where it enters: by HTTP status and error code, and by
//! words only where D1 gives nothing else.

use super::d1_text::{self, Meaning};
use super::envelope::{Answer, ApiMessage, Body};
use super::error::{Disposition, Pause, Product, RemoteError, scrub};
use super::hint::{Facts, hint};
use super::transport::TransportError;
use crate::clock::Micros;
use std::time::Duration;

/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_hours(1);
/// The shortest wait after a throttled request, whatever the header says.
const RETRY_AFTER_FLOOR: Duration = Duration::from_secs(1);
const DAY_MICROS: i64 = 86_400_000_000;

/// The error for a request that got no complete answer.
pub fn no_answer(product: Product, error: &TransportError) -> RemoteError {
    let disposition = match error {
        TransportError::TooLarge { .. } => Disposition::Park,
        _ => Disposition::Retry,
    };
    let facts = Facts { product, status: None, code: None, meaning: None, disposition };
    RemoteError {
        product,
        disposition,
        status: None,
        is_offline: matches!(
            error,
            TransportError::Unreachable(_) | TransportError::Timeout(_) | TransportError::Lost(_)
        ),
        code: None,
        message: scrub(&error.to_string()).into(),
        hint: hint(facts).into(),
        cf_ray: None,
    }
}

/// The error for an answer that is no success.
pub fn refused(product: Product, answer: &Answer, now: Micros) -> RemoteError {
    let status = answer.status;
    let (message, code, errors) = match answer.body() {
        Body::Envelope { errors, .. } => {
            let text = errors.iter().map(|e| e.message.as_str()).collect::<Vec<_>>().join("; ");
            let text =
                if text.is_empty() { format!("HTTP {status} without a reason") } else { text };
            (text, errors.iter().find_map(|e| e.code), errors)
        }
        Body::Html => ("a web page came instead of an answer".to_owned(), None, Vec::new()),
        Body::Unreadable => ("the answer is cut off or not JSON".to_owned(), None, Vec::new()),
    };
    let code = decisive(product, status, &errors).or(code);
    let meaning = match (product, code) {
        (Product::D1, Some(7500)) => d1_text::meaning(&message),
        _ => None,
    };
    let after = answer.header("retry-after").and_then(|text| retry_after(text, now));
    let disposition = disposition(product, status, code, meaning, after, now);
    RemoteError {
        product,
        disposition,
        status: Some(status),
        is_offline: false,
        code,
        message: scrub(&message).into(),
        hint: hint(Facts { product, status: Some(status), code, meaning, disposition }).into(),
        cf_ray: answer.cf_ray().map(String::into_boxed_str),
    }
}

/// The first code that decides on its own, as some answers list a general one before it.
fn decisive(product: Product, status: u16, errors: &[ApiMessage]) -> Option<i64> {
    errors
        .iter()
        .filter_map(|error| error.code)
        .find(|code| by_code(product, status, *code, None, Micros(0)).is_some())
}

/// What to do about a failure with this status and code.
pub fn disposition(
    product: Product,
    status: u16,
    code: Option<i64>,
    meaning: Option<Meaning>,
    after: Option<Duration>,
    now: Micros,
) -> Disposition {
    if let Some(meaning) = meaning {
        return by_meaning(meaning, after, now);
    }
    if let Some(decided) = code.and_then(|code| by_code(product, status, code, after, now)) {
        return decided;
    }
    by_status(status, code, after)
}

fn by_meaning(meaning: Meaning, after: Option<Duration>, now: Micros) -> Disposition {
    match meaning {
        Meaning::Transient => again(after),
        Meaning::DailyRows | Meaning::Full => {
            Disposition::Pause(Pause::Quota { until: next_midnight(now) })
        }
        Meaning::Schema => Disposition::Pause(Pause::Misconfigured),
        Meaning::Permanent => Disposition::Park,
    }
}

/// What a code says by itself; `None` leaves it to the status.
#[expect(clippy::match_same_arms, reason = "the rows follow the products, not what they decide")]
fn by_code(
    product: Product,
    status: u16,
    code: i64,
    after: Option<Duration>,
    now: Micros,
) -> Option<Disposition> {
    let auth = Disposition::Pause(Pause::Auth);
    let misconfigured = Disposition::Pause(Pause::Misconfigured);
    let throttled = |every_product| Disposition::Pause(Pause::Throttled { after, every_product });
    Some(match (product, code) {
        (_, 971 | 10429) => throttled(true),
        (_, 10013) if status == 429 => throttled(true),
        (_, 10000 | 1000 | 6003 | 6111) if (400..404).contains(&status) => auth,
        (_, 7003) => misconfigured,
        (Product::D1, 7429) => throttled(false),
        (Product::D1, 7403 | 7404 | 7406 | 7502) => misconfigured,
        (Product::D1, 7400) => Disposition::Park,
        (Product::Vectorize, 40041) => throttled(false),
        (Product::Vectorize, 3000) => misconfigured,
        (Product::Vectorize, 3002) => Disposition::Park,
        (Product::R2, 10002 | 10003) => auth,
        (Product::R2, 10006 | 10042) => misconfigured,
        (Product::R2, 10058) => throttled(false),
        (Product::R2, 10013 | 10037 | 10043 | 10054 | 10001) => again(after),
        (Product::R2, 10007 | 10012 | 10020 | 10031 | 100_100) => Disposition::Park,
        (Product::Ai, 3036) => Disposition::Pause(Pause::Quota { until: next_midnight(now) }),
        (Product::Ai, 3040) => throttled(false),
        (Product::Ai, 3007 | 3008) => again(after),
        (Product::Ai, 5007 | 3042 | 5016 | 5018 | 3023 | 3041) => misconfigured,
        (Product::Ai, 3006 | 3003 | 5004 | 5006) => Disposition::Park,
        _ => return None,
    })
}

fn by_status(status: u16, code: Option<i64>, after: Option<Duration>) -> Disposition {
    match status {
        401 | 403 => Disposition::Pause(Pause::Auth),
        404 => Disposition::Pause(Pause::Misconfigured),
        429 => Disposition::Pause(Pause::Throttled { after, every_product: code.is_none() }),
        400..=499 if !matches!(status, 408 | 425) => Disposition::Park,
        _ => again(after),
    }
}

fn again(after: Option<Duration>) -> Disposition {
    after.map_or(Disposition::Retry, Disposition::RetryAfter)
}

/// The next 00:00 UTC, when the plans' daily limits are renewed.
pub fn next_midnight(now: Micros) -> Micros {
    Micros((now.0.div_euclid(DAY_MICROS) + 1).saturating_mul(DAY_MICROS))
}

/// Reads `Retry-After`: whole seconds or an HTTP date, 1 s to 1 h. `None` if it is neither.
pub fn retry_after(text: &str, now: Micros) -> Option<Duration> {
    let text = text.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        http_date(text)?.since(now)
    };
    Some(wait.clamp(RETRY_AFTER_FLOOR, RETRY_AFTER_CAP))
}

/// Reads the date form that HTTP servers must send (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub fn http_date(text: &str) -> Option<Micros> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(Micros(at.as_microsecond()))
}

#[cfg(test)]
mod tests;
