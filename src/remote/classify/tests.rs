use super::*;
use bytes::Bytes;
use serde_json::json;

/// 2023-11-14T22:13:20Z.
const NOW: Micros = Micros(1_700_000_000_000_000);
const MIDNIGHT: Micros = Micros(1_700_006_400_000_000);

const RETRY: Disposition = Disposition::Retry;
const PARK: Disposition = Disposition::Park;
const AUTH: Disposition = Disposition::Pause(Pause::Auth);
const CONFIG: Disposition = Disposition::Pause(Pause::Misconfigured);
const QUOTA: Disposition = Disposition::Pause(Pause::Quota { until: MIDNIGHT });
const SLOW: Disposition =
    Disposition::Pause(Pause::Throttled { after: None, every_product: false });
const SLOW_ALL: Disposition =
    Disposition::Pause(Pause::Throttled { after: None, every_product: true });

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Answer::new(response.body(Bytes::from(body.to_owned())).expect("a response"))
}

fn failure(code: i64, message: &str) -> String {
    let errors = [json!({"code": code, "message": message})];
    json!({"result": null, "success": false, "errors": errors, "messages": []}).to_string()
}

/// Product, status, code, text, disposition, a word of the hint.
type Row = (Product, u16, i64, &'static str, Disposition, &'static str);

/// The tables of the interface's errors: common ones, D1, Vectorize, R2, Workers AI.
const ROWS: &[Row] = &[
    (Product::D1, 401, 10000, "Authentication error", AUTH, "memtide cloud link --token-file"),
    (Product::Account, 401, 1000, "Invalid API Token", AUTH, "memtide cloud link --token-file"),
    (Product::D1, 403, 10000, "Authentication error", AUTH, "`D1 Write`"),
    (Product::Vectorize, 403, 10000, "Authentication error", AUTH, "`Vectorize Write`"),
    (Product::R2, 403, 10000, "Authentication error", AUTH, "`Workers R2 Storage Write`"),
    (Product::Ai, 403, 10000, "Authentication error", AUTH, "`Workers AI Read`"),
    (Product::D1, 403, 7403, "The given account is not valid", CONFIG, "account id"),
    (Product::D1, 400, 6003, "Invalid request headers", AUTH, "token"),
    (Product::D1, 400, 6111, "Invalid format for Authorization header", AUTH, "token"),
    (Product::R2, 403, 10042, "Please enable R2 through the Dashboard", CONFIG, "not enabled"),
    (Product::D1, 404, 7003, "Could not route to /accounts/x", CONFIG, "not found"),
    (Product::D1, 429, 971, "Please wait and consider throttling", SLOW_ALL, "1,200 requests"),
    (Product::Ai, 500, 971, "Please wait and consider throttling", SLOW_ALL, "1,200 requests"),
    (Product::Vectorize, 429, 10429, "Rate limited.", SLOW_ALL, "1,200 requests"),
    (Product::D1, 429, 10013, "Rate limited", SLOW_ALL, "1,200 requests"),
    // D1
    (Product::D1, 400, 7500, "no such table: memories", CONFIG, "memtide cloud init"),
    (Product::D1, 400, 7500, "no such column: x", CONFIG, "memtide cloud init"),
    (Product::D1, 400, 7500, "near \"x\": syntax error", PARK, "outbox"),
    (Product::D1, 400, 7500, "not authorized: SQLITE_AUTH", PARK, "outbox"),
    (Product::D1, 400, 7500, "too many SQL variables", PARK, "outbox"),
    (Product::D1, 400, 7500, "string or blob too big: SQLITE_TOOBIG", PARK, "outbox"),
    (Product::D1, 400, 7500, "Wrong number of parameter bindings for SQL query.", PARK, "outbox"),
    (Product::D1, 400, 7500, "UNIQUE constraint failed: SQLITE_CONSTRAINT_TRIGGER", PARK, "outbox"),
    (Product::D1, 400, 7500, "something nobody has seen", PARK, "outbox"),
    (
        Product::D1,
        400,
        7500,
        "exceeded D1's free tier daily row write limit",
        QUOTA,
        "rows of today",
    ),
    (Product::D1, 400, 7500, "Exceeded maximum DB size", QUOTA, "no space left"),
    (Product::D1, 400, 7400, "The request is malformed", PARK, "outbox"),
    (Product::D1, 404, 7404, "The database x could not be found", CONFIG, "memtide cloud init"),
    (Product::D1, 400, 7406, "limit of databases reached", CONFIG, "number of databases"),
    (Product::D1, 400, 7502, "a database with that name exists", CONFIG, "exists already"),
    (Product::D1, 429, 7429, "exceeded timeout which caused object to be reset", SLOW, "D1"),
    (Product::D1, 400, 7500, "Network connection lost.", RETRY, "by itself"),
    (Product::D1, 500, 7500, "D1 DB reset because its code was updated.", RETRY, "by itself"),
    (Product::D1, 500, 7500, "storage caused object to be reset", RETRY, "by itself"),
    (Product::D1, 500, 7500, "Cannot resolve D1 DB due to transient issue", RETRY, "by itself"),
    (Product::D1, 400, 7500, "D1 DB is overloaded.", RETRY, "by itself"),
    (Product::D1, 500, 7500, "internal error; reference = abc", RETRY, "by itself"),
    (Product::D1, 500, 7500, "words not in the table", RETRY, "by itself"),
    // Vectorize
    (Product::Vectorize, 404, 3000, "vectorize.index.not_found", CONFIG, "vector index"),
    (Product::Vectorize, 400, 3000, "vectorize.index.not_found", CONFIG, "vector index"),
    (Product::Vectorize, 409, 3002, "vectorize.index.duplicate_name", PARK, "outbox"),
    (Product::Vectorize, 400, 40006, "invalid query vector", PARK, "length differs"),
    (Product::Vectorize, 400, 40007, "too many ids in payload", PARK, "outbox"),
    (Product::Vectorize, 400, 40008, "id too long", PARK, "outbox"),
    (Product::Vectorize, 400, 40009, "namespace too long", PARK, "outbox"),
    (Product::Vectorize, 400, 40012, "invalid vector for id=\"x\"", PARK, "length differs"),
    (Product::Vectorize, 400, 40016, "oversized metadata", PARK, "outbox"),
    (Product::Vectorize, 400, 40023, "failed to parse upsert", PARK, "outbox"),
    (Product::Vectorize, 400, 40025, "max top K is 50", PARK, "outbox"),
    (Product::Vectorize, 400, 40026, "Failed to parse the request body", PARK, "outbox"),
    (Product::Vectorize, 429, 40041, "Too Many Requests", SLOW, "Vectorize"),
    (Product::Vectorize, 400, 40041, "Too Many Requests", SLOW, "Vectorize"),
    // R2
    (Product::R2, 401, 10002, "Unauthorized", AUTH, "token"),
    (Product::R2, 403, 10003, "AccessDenied", AUTH, "`Workers R2 Storage Write`"),
    (Product::R2, 404, 10006, "NoSuchBucket", CONFIG, "bucket"),
    (Product::R2, 404, 10007, "NoSuchKey", PARK, "outbox"),
    (Product::R2, 400, 10012, "MetadataTooLarge", PARK, "outbox"),
    (Product::R2, 400, 10013, "IncompleteBody", RETRY, "by itself"),
    (Product::R2, 400, 10020, "InvalidObjectName", PARK, "outbox"),
    (Product::R2, 412, 10031, "PreconditionFailed", PARK, "outbox"),
    (Product::R2, 400, 10037, "BadDigest", RETRY, "by itself"),
    (Product::R2, 503, 10043, "ServiceUnavailable", RETRY, "by itself"),
    (Product::R2, 499, 10054, "ClientDisconnect", RETRY, "by itself"),
    (Product::R2, 429, 10058, "TooManyRequests", SLOW, "R2"),
    (Product::R2, 413, 100_100, "EntityTooLarge", PARK, "too large"),
    (Product::R2, 500, 10001, "InternalError", RETRY, "by itself"),
    // Workers AI
    (Product::Ai, 429, 3036, "daily free allocation", QUOTA, "neurons of today"),
    (Product::Ai, 429, 3040, "out of capacity", SLOW, "Workers AI"),
    (Product::Ai, 408, 3007, "timeout", RETRY, "by itself"),
    (Product::Ai, 408, 3008, "aborted", RETRY, "by itself"),
    (Product::Ai, 413, 3006, "request too large", PARK, "too large"),
    (Product::Ai, 400, 3003, "incomplete request", PARK, "outbox"),
    (Product::Ai, 400, 5004, "invalid data", PARK, "outbox"),
    (Product::Ai, 400, 5006, "AiError: Bad input: x", PARK, "outbox"),
    (Product::Ai, 400, 5007, "no such model", CONFIG, "model"),
    (Product::Ai, 403, 5016, "agreement needed", CONFIG, "dashboard"),
    (Product::Ai, 403, 5018, "account not allowed", CONFIG, "dashboard"),
    (Product::Ai, 403, 3023, "not allowed", CONFIG, "dashboard"),
    (Product::Ai, 403, 3041, "blocked", CONFIG, "dashboard"),
    (Product::Ai, 404, 3042, "model not found", CONFIG, "model"),
    // Codes nobody has listed: the status decides.
    (Product::Vectorize, 400, 1, "x", PARK, "outbox"),
    (Product::R2, 404, 1, "x", CONFIG, "bucket"),
    (Product::Account, 404, 1, "x", CONFIG, "account id"),
    (Product::Ai, 403, 1, "x", AUTH, "`Workers AI Read`"),
    (Product::D1, 408, 1, "x", RETRY, "by itself"),
    (Product::D1, 409, 1, "x", PARK, "outbox"),
    (Product::D1, 413, 1, "x", PARK, "too large"),
    (Product::D1, 415, 1, "x", PARK, "outbox"),
    (Product::Vectorize, 429, 1, "x", SLOW, "Vectorize"),
    (Product::D1, 500, 1, "x", RETRY, "by itself"),
    (Product::D1, 503, 1, "x", RETRY, "by itself"),
];

#[test]
fn every_listed_error_is_classified_and_has_a_hint() {
    for (product, status, code, text, expected, word) in ROWS {
        let error = refused(*product, &answer(*status, &[], &failure(*code, text)), NOW);
        let row = format!("{product} {status} {code} {text}");
        assert_eq!(error.disposition, *expected, "{row}");
        assert_eq!((error.status, error.code), (Some(*status), Some(*code)), "{row}");
        assert!(error.hint.contains(word), "{row}: {}", error.hint);
        assert_eq!(&*error.message, *text, "{row}");
    }
}

#[test]
fn a_general_code_before_the_telling_one_does_not_hide_it() {
    let errors = json!([{"code": 1, "message": "failed"}, {"code": 7404, "message": "not found"}]);
    let body = json!({"success": false, "errors": errors}).to_string();
    let error = refused(Product::D1, &answer(400, &[], &body), NOW);
    assert_eq!((error.disposition, error.code), (CONFIG, Some(7404)));
    assert_eq!(&*error.message, "failed; not found");
}

#[test]
fn answers_that_are_not_the_interfaces_are_asked_again() {
    let page = "<!DOCTYPE html><title>502</title>";
    for (status, body) in
        [(502, page), (500, ""), (200, page), (200, r#"{"result":[{"#), (302, ""), (204, "[]")]
    {
        let error = refused(Product::D1, &answer(status, &[("cf-ray", "8f00-AMS")], body), NOW);
        assert_eq!(error.disposition, RETRY, "{status} {body:?}");
        assert_eq!(error.cf_ray.as_deref(), Some("8f00-AMS"));
        assert!(error.hint.contains("by itself"), "{}", error.hint);
    }
    let odd = json!({"result": {}, "success": false, "errors": []}).to_string();
    assert_eq!(refused(Product::D1, &answer(200, &[], &odd), NOW).disposition, RETRY);
}

#[test]
fn requests_without_an_answer_are_asked_again() {
    for error in [
        TransportError::Unreachable("dns".to_owned()),
        TransportError::Timeout(Duration::from_secs(30)),
        TransportError::Lost("eof".to_owned()),
        TransportError::Cut("eof".to_owned()),
        TransportError::Other("x".to_owned()),
    ] {
        let nothing_came = !matches!(error, TransportError::Cut(_) | TransportError::Other(_));
        let error = no_answer(Product::R2, &error);
        assert_eq!((error.disposition, error.status), (RETRY, None));
        assert_eq!(error.is_offline, nothing_came);
        assert!(error.hint.contains("network"), "{}", error.hint);
    }
    assert_eq!(no_answer(Product::R2, &TransportError::TooLarge { limit: 9 }).disposition, PARK);
}

#[test]
fn every_form_of_retry_after_is_read() {
    let wait = |text: &str| retry_after(text, NOW).map(|d| d.as_secs());
    assert_eq!(wait("120"), Some(120));
    assert_eq!(wait(" 7 "), Some(7));
    assert_eq!(wait("0"), Some(1), "never at once");
    assert_eq!(wait("86400"), Some(3600), "capped at an hour");
    assert_eq!(wait("99999999999999999999999"), Some(3600));
    assert_eq!(wait("Tue, 14 Nov 2023 22:15:20 GMT"), Some(120));
    assert_eq!(wait("Tue, 14 Nov 2023 22:13:00 GMT"), Some(1), "a date in the past");
    assert_eq!(wait("Wed, 15 Nov 2023 22:13:20 GMT"), Some(3600));
    for rubbish in ["", "soon", "-5", "1.5", "2023-11-14"] {
        assert_eq!(wait(rubbish), None, "{rubbish:?}");
    }
}

#[test]
fn the_header_travels_with_the_disposition() {
    let error = |status, code, header: &str| {
        let headers = [("retry-after", header)];
        refused(Product::D1, &answer(status, &headers, &failure(code, "x")), NOW).disposition
    };
    let after = Some(Duration::from_secs(30));
    let all = Disposition::Pause(Pause::Throttled { after, every_product: true });
    assert_eq!(error(429, 971, "30"), all);
    assert_eq!(error(429, 971, "Tue, 14 Nov 2023 22:13:50 GMT"), all);
    assert_eq!(error(429, 971, "rubbish"), SLOW_ALL);
    assert_eq!(error(503, 1, "30"), Disposition::RetryAfter(Duration::from_secs(30)));
    assert_eq!(error(503, 1, "999999"), Disposition::RetryAfter(RETRY_AFTER_CAP));
    let page = answer(429, &[("retry-after", "30")], "<html>error code: 1015</html>");
    assert_eq!(
        refused(Product::Ai, &page, NOW).disposition,
        all,
        "the edge speaks for the account"
    );
}

#[test]
fn limits_are_renewed_at_the_next_midnight() {
    assert_eq!(next_midnight(NOW), MIDNIGHT);
    assert_eq!(next_midnight(Micros(MIDNIGHT.0 - 1)), MIDNIGHT);
    assert_eq!(next_midnight(MIDNIGHT), Micros(MIDNIGHT.0 + DAY_MICROS));
}
