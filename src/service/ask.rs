//! Requests in checked form: limits held, times understood.

use crate::clock::Micros;
use crate::model::draft::{check_tags, normalise_tag};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::model::refusal::Refusal;
use crate::model::time_expression::{parse_point, parse_range};
use crate::store::search::Mode;

/// Bytes a query may have.
pub const QUERY_MAX_BYTES: usize = 8 << 10;
/// Hits a search returns at most; also the largest page of a list.
pub const LIMIT_MAX: i64 = 100;

/// A checked search.
#[derive(Debug, Clone)]
pub struct SearchAsk {
    /// The person's words.
    pub query: String,
    /// What ranks.
    pub mode: Mode,
    /// Which memories.
    pub filter: Filter,
    /// How many hits.
    pub limit: usize,
}

impl SearchAsk {
    /// Checks a search.
    ///
    /// # Errors
    /// The query is empty or too long, or `limit` is out of range.
    pub fn check(query: String, mode: Mode, filter: Filter, limit: i64) -> Result<Self, Refusal> {
        if query.trim().is_empty() {
            return Err(Refusal::QueryEmpty);
        }
        if query.len() > QUERY_MAX_BYTES {
            return Err(Refusal::QueryTooLarge { actual: query.len(), limit: QUERY_MAX_BYTES });
        }
        Ok(Self { query, mode, filter, limit: in_range("n", limit, LIMIT_MAX)? })
    }
}

/// A checked number between 1 and `max`.
///
/// # Errors
/// It is outside.
pub fn in_range(name: &'static str, actual: i64, max: i64) -> Result<usize, Refusal> {
    usize::try_from(actual)
        .ok()
        .filter(|_| (1..=max).contains(&actual))
        .ok_or(Refusal::OutOfRange { name, actual, min: 1, max })
}

/// A checked deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteAsk {
    /// These memories.
    Ids {
        /// Which.
        ids: Vec<MemoryId>,
        /// Only tell.
        dry_run: bool,
    },
    /// All that pass.
    Matching {
        /// Which.
        filter: Filter,
        /// Only tell.
        dry_run: bool,
    },
}

/// Conditions in people's words.
#[derive(Debug, Clone, Default)]
pub struct FilterWords<'a> {
    /// Tags as given.
    pub tags: &'a [String],
    /// Whether all are needed.
    pub tags_all: bool,
    /// The type.
    pub memory_type: Option<&'a str>,
    /// Created then or later.
    pub after: Option<&'a str>,
    /// Created before.
    pub before: Option<&'a str>,
    /// A phrase for a range; narrows `after` and `before` further.
    pub time: Option<&'a str>,
}

/// Understands a filter; `now` gives the time zone of dates and phrases.
///
/// # Errors
/// A tag breaks its limit, or a time is not understood.
pub fn filter(words: &FilterWords<'_>, now: &jiff::Zoned) -> Result<Filter, Refusal> {
    let mut after = words.after.map(|t| parse_point(t, now)).transpose()?;
    let mut before = words.before.map(|t| parse_point(t, now)).transpose()?;
    if let Some(phrase) = words.time {
        let range = parse_range(phrase, now)?;
        after = after.max(range.after);
        before = match (before, range.before) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
    }
    let tags: Vec<String> = words.tags.iter().filter_map(|tag| normalise_tag(tag)).collect();
    Ok(Filter {
        tags: check_tags(&tags)?,
        tags_all: words.tags_all,
        memory_type: words.memory_type.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned),
        after,
        before,
    })
}

/// `now` in the zone that dates and phrases are read in.
pub fn zoned(now: Micros, zone: &jiff::tz::TimeZone) -> jiff::Zoned {
    let at = jiff::Timestamp::from_microsecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(zone.clone())
}
