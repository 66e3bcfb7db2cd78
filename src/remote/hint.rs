//! What a person can do about an error: one sentence each.

use super::d1_text::Meaning;
use super::error::{Disposition, Pause, Product};

const NEW_TOKEN: &str = "make a new token in the Cloudflare dashboard (My Profile, API Tokens) and set it with \
                         `memtide cloud link --token-file -`";

/// What is known of a failure when its hint is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Who answered.
    pub product: Product,
    /// The status.
    pub status: Option<u16>,
    /// The code.
    pub code: Option<i64>,
    /// D1's words, once understood.
    pub meaning: Option<Meaning>,
    /// What was decided.
    pub disposition: Disposition,
}

/// The sentence for these facts.
pub fn hint(facts: Facts) -> String {
    match facts.disposition {
        Disposition::Pause(Pause::Auth) => auth(facts),
        Disposition::Pause(Pause::Quota { until }) => quota(facts, &until.to_rfc3339()),
        Disposition::Pause(Pause::Misconfigured) => misconfigured(facts),
        Disposition::Pause(Pause::Throttled { every_product: true, .. }) => {
            "nothing is lost and it goes on by itself; Cloudflare counts 1,200 requests in 5 minutes \
             over all tokens and the dashboard, so see what else uses the account"
                .to_owned()
        }
        Disposition::Pause(Pause::Throttled { .. }) => {
            format!("nothing is lost and it goes on by itself once {} takes requests again", facts.product)
        }
        Disposition::Retry | Disposition::RetryAfter(_) => retry(facts).to_owned(),
        Disposition::Park => park(facts),
    }
}

fn retry(facts: Facts) -> &'static str {
    match facts.status {
        None => "it is tried again by itself; check the network connection if it stays",
        Some(200..=399) => {
            "it is tried again by itself; if it stays, a proxy or a captive portal may be answering \
             in Cloudflare's place"
        }
        Some(_) => {
            "it is tried again by itself; if it stays, look at https://www.cloudflarestatus.com"
        }
    }
}

fn auth(facts: Facts) -> String {
    if facts.status != Some(403) {
        return NEW_TOKEN.to_owned();
    }
    match facts.product.permission() {
        Some(permission) => format!(
            "the token lacks the permission `{permission}` on this account: add it to the token in \
             the Cloudflare dashboard (My Profile, API Tokens), then run `memtide cloud check`"
        ),
        None => NEW_TOKEN.to_owned(),
    }
}

fn quota(facts: Facts, until: &str) -> String {
    match (facts.product, facts.meaning) {
        (Product::D1, Some(Meaning::Full)) => {
            "the database has no space left: a paid plan holds 10 GB, or delete memories; \
             nothing is lost meanwhile"
                .to_owned()
        }
        (Product::D1, _) => format!(
            "the plan's D1 rows of today are used up: it goes on at {until}, or at once with a paid \
             plan; `memtide cloud usage` shows what was used"
        ),
        (Product::Ai, _) => format!(
            "the plan's Workers AI neurons of today are used up: it goes on at {until}, or at once \
             with a paid plan"
        ),
        (product, _) => format!("the plan's limit of {product} is reached: it goes on at {until}"),
    }
}

fn misconfigured(facts: Facts) -> String {
    match (facts.product, facts.code, facts.meaning) {
        (Product::D1, _, Some(Meaning::Schema)) => {
            "memtide's tables are missing in the database: run `memtide cloud init`"
        }
        (Product::D1, Some(7403), _) => {
            "the database doesn't belong to this account: compare the account id with the one in the \
             dashboard's address, then run `memtide cloud link`"
        }
        (Product::D1, Some(7406), _) => {
            "the plan's number of databases is used up: delete one in the dashboard, or name an \
             existing one"
        }
        (Product::D1, Some(7502), _) => {
            "a database of this name exists already: name it by its id with `memtide cloud link`"
        }
        (Product::R2, Some(10042), _) => {
            "R2 is not enabled on this account: enable it once in the dashboard (R2, Overview), or go \
             on without a bucket, which limits texts to about 1 MB"
        }
        (Product::Ai, Some(5007 | 3042), _) => {
            "Workers AI doesn't know this model: see the embedding model's name with \
             `memtide cloud check`"
        }
        (Product::Ai, _, _) => {
            "Workers AI refuses this account or model: see what the dashboard says under Workers AI"
        }
        (Product::D1, _, _) => {
            "the database was not found in this account: `memtide cloud init` makes one, \
             `memtide cloud link` names another"
        }
        (Product::Vectorize, _, _) => {
            "the vector index was not found in this account: `memtide cloud init` makes one, \
             `memtide cloud link` names another"
        }
        (Product::R2, _, _) => {
            "the bucket was not found in this account: `memtide cloud init` makes one, \
             `memtide cloud link` names another"
        }
        (Product::Account, _, _) => {
            "the account was not found: compare the account id with the one in the dashboard's address"
        }
    }
    .to_owned()
}

fn park(facts: Facts) -> String {
    let what = match (facts.product, facts.code, facts.status) {
        (Product::Vectorize, Some(40012 | 40006), _) => {
            "the vector's length differs from the index's: `memtide cloud check` shows both"
        }
        (_, _, Some(413)) | (Product::R2, Some(100_100), _) => {
            "it is too large for Cloudflare: shorten the memory, or store it in parts"
        }
        _ => "asking again changes nothing: the entry waits in `memtide outbox list --parked`",
    };
    format!("{what}; `memtide outbox retry` sends it again")
}
