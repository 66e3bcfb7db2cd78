//! Time in the words of people: `last week`, `between 1 March and yesterday`, `2026-03-05T10:00Z`.
//!
//! Relative words refer to the local calendar of `now`. A range is half-open, `[after, before)`.
//! What is not wholly understood is refused: a filter that was silently dropped would answer with
//! memories nobody asked for.
//!
//! - A day, week, month, quarter, half, season or year covers itself; `last 3 days` begins with the
//!   calendar day (week, month…) so many back and has no end; `past week` begins seven days back.
//! - `since X` and `before X` use the first instant of X, `until X` includes X, `after X` includes
//!   X if it is a day or an instant and begins where X ends if it is longer.
//! - A date with a time but without an offset is UTC, as in the Python service.

use super::refusal::Refusal;
use super::time_period::{Calendar, Period};
use crate::clock::Micros;
use jiff::{Timestamp, Zoned};

/// Characters of an expression that are looked at; longer ones are no time.
const MAX_CHARS: usize = 200;

/// Instants from `after` on that come before `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first instant; `None` for no beginning.
    pub after: Option<Micros>,
    /// The first instant that is too late; `None` for no end.
    pub before: Option<Micros>,
}

/// Reads a range of time relative to `now`, in the time zone of `now`.
///
/// # Errors
/// Refuses what is not understood, and a range that ends before it begins.
pub fn parse_range(text: &str, now: &Zoned) -> Result<TimeRange, Refusal> {
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let range = range(&words, &Calendar::at(now)).ok_or_else(|| unknown(text))?;
    match (range.after, range.before) {
        (Some(after), Some(before)) if before < after => {
            Err(Refusal::TimeReversed { text: start_of(text) })
        }
        _ => Ok(range),
    }
}

/// Reads one instant relative to `now`: a date is its local midnight, and any other period stands
/// for its first instant.
///
/// # Errors
/// Refuses what is not understood.
pub fn parse_point(text: &str, now: &Zoned) -> Result<Micros, Refusal> {
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let period = Calendar::at(now).period(&words).ok_or_else(|| unknown(text))?;
    Ok(micros(period.point()))
}

fn range(words: &[&str], calendar: &Calendar) -> Option<TimeRange> {
    let from = |at: Timestamp| TimeRange { after: Some(micros(at)), before: None };
    let to = |at: Timestamp| TimeRange { after: None, before: Some(micros(at)) };
    match words {
        ["between", rest @ ..] => pair(rest, &["and"], calendar),
        ["since" | "from", rest @ ..] => pair(rest, &["to", "until", "till"], calendar)
            .or_else(|| Some(from(calendar.period(rest)?.point()))),
        ["after", rest @ ..] => Some(from(calendar.period(rest)?.after())),
        ["before", rest @ ..] => Some(to(calendar.period(rest)?.point())),
        ["until" | "till", rest @ ..] | ["up", "to", rest @ ..] => {
            Some(to(calendar.period(rest)?.end?))
        }
        _ => calendar
            .period(words)
            .filter(|period| !period.is_instant)
            .map(whole)
            .or_else(|| pair(words, &["to", "until", "till"], calendar)),
    }
}

/// Two periods around one of `joints`: from the beginning of the first to the end of the second.
fn pair(words: &[&str], joints: &[&str], calendar: &Calendar) -> Option<TimeRange> {
    words.iter().enumerate().filter(|(_, word)| joints.contains(word)).find_map(|(at, _)| {
        let first = calendar.period(words.get(..at)?)?;
        let second = calendar.period(words.get(at + 1..)?)?;
        let range = TimeRange { after: whole(first).after, before: whole(second).before };
        Some(range)
    })
}

fn whole(period: Period) -> TimeRange {
    TimeRange { after: Some(micros(period.start)), before: period.end.map(micros) }
}

fn micros(at: Timestamp) -> Micros {
    Micros(at.as_microsecond())
}

/// The words that matter, in lower case; none if the text is too long.
fn words(text: &str) -> Vec<String> {
    if text.chars().count() > MAX_CHARS {
        return Vec::new();
    }
    text.to_lowercase()
        .replace('\u{2019}', "'")
        .split_whitespace()
        .map(|word| word.trim_matches([',', '.', ';', '!', '?', '"', '\'', '`']))
        .filter(|word| !matches!(*word, "" | "in" | "on" | "at" | "the" | "of" | "during"))
        .map(str::to_owned)
        .collect()
}

fn unknown(text: &str) -> Refusal {
    Refusal::TimeUnknown { text: start_of(text) }
}

fn start_of(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    /// New York's rules written out, so that the tests need no time zone files.
    fn new_york() -> TimeZone {
        TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").expect("a time zone")
    }

    /// A Sunday, 10:30 in New York.
    fn now() -> Zoned {
        date(2026, 11, 22).at(10, 30, 0, 0).to_zoned(new_york()).expect("an instant")
    }

    /// `11-21` or `2025-03-01T05:00`, by the clock of New York; `None` for an open end.
    fn local(text: &str) -> Option<Micros> {
        let text = match text {
            "-" => return None,
            text if text.starts_with("20") => text.to_owned(),
            text => format!("2026-{text}"),
        };
        let text = if text.contains('T') { text } else { format!("{text}T00:00") };
        let at = text.parse::<jiff::civil::DateTime>().expect(&text);
        Some(micros(at.to_zoned(new_york()).expect("an instant").timestamp()))
    }

    fn check(table: &[(&str, &str, &str)]) {
        for (text, after, before) in table {
            let expected = TimeRange { after: local(after), before: local(before) };
            let actual = parse_range(text, &now());
            let shown = actual
                .as_ref()
                .map(|r| (r.after.map(Micros::to_rfc3339), r.before.map(Micros::to_rfc3339)));
            assert_eq!(actual, Ok(expected), "{text}: {shown:?}");
        }
    }

    #[test]
    fn dates_cover_themselves() {
        check(&[
            ("2026-03-05", "03-05", "03-06"),
            ("on 2026/3/5.", "03-05", "03-06"),
            ("2025-02", "2025-02-01", "2025-03-01"),
            ("in 2025", "2025-01-01", "2026-01-01"),
            ("3/5", "03-05", "03-06"),
            ("12/25", "2025-12-25", "2025-12-26"),
            ("2/29", "2024-02-29", "2024-03-01"),
            ("3/5/24", "2024-03-05", "2024-03-06"),
            ("3/5/2024", "2024-03-05", "2024-03-06"),
            ("March 5th", "03-05", "03-06"),
            ("on the 5th of March, 2025", "2025-03-05", "2025-03-06"),
            ("22 nov", "11-22", "11-23"),
            ("dec 1", "2025-12-01", "2025-12-02"),
        ]);
    }

    #[test]
    fn days_and_parts_of_days() {
        check(&[
            ("today", "11-22", "11-23"),
            ("yesterday", "11-21", "11-22"),
            ("the day before yesterday", "11-20", "11-21"),
            ("3 days ago", "11-19", "11-20"),
            ("a day ago", "11-21", "11-22"),
            ("yesterday morning", "11-21T05:00", "11-21T12:00"),
            ("yesterday at noon", "11-21T12:00", "11-21T13:00"),
            ("two days ago in the afternoon", "11-20T13:00", "11-20T18:00"),
            ("this evening", "11-22T18:00", "11-22T22:00"),
            ("yesterday night", "11-21T22:00", "11-22T05:00"),
            ("today at midnight", "11-22T00:00", "11-22T01:00"),
            ("last night", "11-21T18:00", "11-22T05:00"),
            ("monday", "11-16", "11-17"),
            ("on Sunday", "11-15", "11-16"),
            ("last friday", "11-20", "11-21"),
            ("this monday", "11-16", "11-17"),
            ("friday evening", "11-20T18:00", "11-20T22:00"),
        ]);
    }

    #[test]
    fn weeks_months_quarters_and_years() {
        check(&[
            ("2 weeks ago", "11-02", "11-09"),
            ("a month ago", "10-01", "11-01"),
            ("11 months ago", "2025-12-01", "2026-01-01"),
            ("2 years ago", "2024-01-01", "2025-01-01"),
            ("last week", "11-09", "11-16"),
            ("Last month", "10-01", "11-01"),
            ("last quarter", "07-01", "10-01"),
            ("last year", "2025-01-01", "2026-01-01"),
            ("last day", "11-21", "11-22"),
            ("this week", "11-16", "11-23"),
            ("this month", "11-01", "12-01"),
            ("this quarter", "10-01", "2027-01-01"),
            ("this year", "01-01", "2027-01-01"),
            ("last weekend", "11-14", "11-16"),
            ("this weekend", "11-21", "11-23"),
            ("in March", "03-01", "04-01"),
            ("december", "2025-12-01", "2026-01-01"),
            ("last november", "2025-11-01", "2025-12-01"),
            ("in november", "11-01", "12-01"),
            ("march of last year", "2025-03-01", "2025-04-01"),
            ("mar 2025", "2025-03-01", "2025-04-01"),
            ("the first half of 2025", "2025-01-01", "2025-07-01"),
            ("second half of last year", "2025-07-01", "2026-01-01"),
            ("H2 2024", "2024-07-01", "2025-01-01"),
            ("Q1", "01-01", "04-01"),
            ("q4 2025", "2025-10-01", "2026-01-01"),
            ("2025-Q3", "2025-07-01", "2025-10-01"),
            ("third quarter of this year", "07-01", "10-01"),
        ]);
    }

    #[test]
    fn seasons_and_holidays() {
        check(&[
            ("last summer", "06-21", "09-23"),
            ("last autumn", "2025-09-23", "2025-12-21"),
            ("winter", "2025-12-21", "03-20"),
            ("in spring 2024", "2024-03-20", "2024-06-21"),
            ("christmas", "2025-12-22", "2025-12-29"),
            ("christmas 2024", "2024-12-22", "2024-12-29"),
            ("halloween", "10-28", "11-04"),
            ("last valentine\u{2019}s day", "02-13", "02-16"),
            ("new year's eve", "2025-12-29", "01-05"),
            ("thanksgiving last year", "2025-11-24", "2025-12-01"),
        ]);
    }

    #[test]
    fn stretches_up_to_now_have_no_end() {
        check(&[
            ("last 3 days", "11-19", "-"),
            ("in the last 2 weeks", "11-02", "-"),
            ("last two months", "09-01", "-"),
            ("last 2 years", "2024-01-01", "-"),
            ("last 24 hours", "11-21T10:30", "-"),
            ("past 90 minutes", "11-22T09:00", "-"),
            ("the past week", "11-15", "-"),
            ("past day", "11-21T10:30", "-"),
            ("past month", "10-22", "-"),
            ("last hour", "11-22T09:30", "-"),
            ("recently", "11-15", "-"),
            ("2 hours ago", "11-22T08:00", "11-22T09:00"),
            ("30 minutes ago", "11-22T09:55", "11-22T10:05"),
        ]);
    }

    #[test]
    fn joined_expressions() {
        check(&[
            ("between 2026-01-01 and 2026-02-01", "01-01", "02-02"),
            ("between march and may", "03-01", "06-01"),
            ("between 3 days ago and yesterday", "11-19", "11-22"),
            ("between 2026-03-01T05:00:00Z and 2026-03-02T05:00:00Z", "03-01", "03-02"),
            ("from monday to wednesday", "11-16", "11-19"),
            ("2025-12-30 to 2026-01-02", "2025-12-30", "01-03"),
            ("since march until last week", "03-01", "11-16"),
            ("between last week and now", "11-09", "11-22T10:30"),
            ("since yesterday", "11-21", "-"),
            ("since last week", "11-09", "-"),
            ("since 2 weeks ago", "11-08", "-"),
            ("since 2 hours ago", "11-22T08:30", "-"),
            ("since 2026-03-01T05:00", "03-01T00:00", "-"),
            ("since 2026-03-01 05:00:00", "03-01T00:00", "-"),
            ("after 2026-01-01", "01-01", "-"),
            ("after yesterday", "11-21", "-"),
            ("after march", "04-01", "-"),
            ("after last week", "11-16", "-"),
            ("before 2026-01-01", "-", "01-01"),
            ("before last month", "-", "10-01"),
            ("until 2026-01-01", "-", "01-02"),
            ("up to march", "-", "04-01"),
        ]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            " ",
            "the",
            "soon",
            "tomorrow",
            "last",
            "last blue moon",
            "3",
            "3 days",
            "days ago",
            "-3 days ago",
            "999999 days ago",
            "99999 years ago",
            "2026-13-01",
            "2026-02-30",
            "13/5",
            "2/30",
            "2026-01-01T00:00:00Z",
            "now",
            "between march",
            "between march and",
            "between and march",
            "yesterday please",
            "in march or april",
            "until recently",
            "morning",
            "since",
            "0000-01-01T00:00:00[Europe/Paris]",
            "half of 2025",
            "third half of 2025",
            "31 february",
            "9/1/1",
            "٣ days ago",
            &"yesterday ".repeat(40),
        ] {
            let expected = Err(Refusal::TimeUnknown { text: start_of(text) });
            assert_eq!(parse_range(text, &now()), expected, "{text}");
        }
        let reversed = "between yesterday and 3 days ago";
        let expected = Err(Refusal::TimeReversed { text: reversed.to_owned() });
        assert_eq!(parse_range(reversed, &now()), expected);
    }

    #[test]
    fn points_are_first_instants() {
        for (text, expected) in [
            ("2026-03-05", "03-05"),
            ("2026-03-05T12:00:00Z", "03-05T07:00"),
            ("2026-03-05T12:00:00.5+02:00", "03-05T05:00:00.5"),
            ("2026-03-05T12:00", "03-05T07:00"),
            ("2026-03-05 12:00:00", "03-05T07:00"),
            ("yesterday", "11-21"),
            ("3 days ago", "11-19"),
            ("2 weeks ago", "11-08"),
            ("a month ago", "10-22"),
            ("2 hours ago", "11-22T08:30"),
            ("now", "11-22T10:30"),
            ("yesterday evening", "11-21T18:00"),
            ("last week", "11-09"),
            ("march", "03-01"),
            ("2025", "2025-01-01"),
        ] {
            assert_eq!(parse_point(text, &now()).ok(), local(expected), "{text}");
        }
        for text in
            ["", "between march and may", "since yesterday", "2026-03-05T25:00", "5 o'clock"]
        {
            assert!(parse_point(text, &now()).is_err(), "{text}");
        }
    }

    #[test]
    fn days_follow_the_clock_changes() {
        let hours = |text: &str, month, day| {
            let now = date(2026, month, day).at(0, 30, 0, 0).to_zoned(new_york()).expect("now");
            let range = parse_range(text, &now).expect(text);
            let (after, before) = (range.after.expect("start"), range.before.expect("end"));
            before.since(after).as_secs() / 3600
        };
        assert_eq!(hours("yesterday", 3, 9), 23);
        assert_eq!(hours("yesterday", 11, 2), 25);
        assert_eq!(hours("last week", 3, 9), 7 * 24 - 1);
        assert_eq!(hours("yesterday", 7, 9), 24);
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_at_its_first_instant() {
        let zone = TimeZone::posix("<-03>3<-02>,M10.3.0/0,M2.3.0/0").expect("a time zone");
        let now = date(2026, 10, 19).at(12, 0, 0, 0).to_zoned(zone).expect("now");
        let range = parse_range("yesterday", &now).expect("understood");
        assert_eq!(
            range.after.map(Micros::to_rfc3339).as_deref(),
            Some("2026-10-18T03:00:00.000000Z")
        );
        assert_eq!(
            range.before.map(Micros::to_rfc3339).as_deref(),
            Some("2026-10-19T02:00:00.000000Z")
        );
    }

    fn phrase() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            proptest::sample::select(vec![
                "between",
                "and",
                "from",
                "to",
                "since",
                "until",
                "after",
                "before",
                "last",
                "past",
                "this",
                "ago",
                "a",
                "two",
                "day",
                "days",
                "week",
                "weeks",
                "month",
                "months",
                "year",
                "years",
                "hours",
                "minutes",
                "yesterday",
                "today",
                "now",
                "monday",
                "sunday",
                "weekend",
                "night",
                "morning",
                "midnight",
                "march",
                "february",
                "q1",
                "first",
                "second",
                "half",
                "quarter",
                "winter",
                "christmas",
                "thanksgiving",
                "new",
                "year's",
                "recently",
                "2025",
                "2199",
                "1900",
                "29",
            ])
            .prop_map(str::to_owned),
            (0..12_000_u32).prop_map(|n| n.to_string()),
            (0..10_000_u32, 0..14_u8, 0..33_u8)
                .prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}")),
            (0..14_u8, 0..33_u8).prop_map(|(m, d)| format!("{m}/{d}")),
        ];
        proptest::collection::vec(word, 1..7).prop_map(|words| words.join(" "))
    }

    fn any_now() -> impl Strategy<Value = Zoned> {
        let seconds = prop_oneof![0..4_000_000_000_i64, -377_705_023_201..253_402_207_200_i64];
        seconds.prop_map(|s| Timestamp::from_second(s).expect("in range").to_zoned(new_york()))
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", at in any_now()) {
            if let Ok(range) = parse_range(&text, &at) {
                prop_assert!(range != TimeRange::default(), "a range without any bound");
            }
            if let Ok(point) = parse_point(&text, &at) {
                prop_assert_eq!(Micros::parse_rfc3339(&point.to_rfc3339()), Some(point));
            }
        }

        #[test]
        fn ranges_never_end_before_they_begin(text in phrase(), at in any_now()) {
            let point = parse_point(&text, &at);
            if let Ok(range) = parse_range(&text, &at) {
                if let (Some(after), Some(before)) = (range.after, range.before) {
                    prop_assert!(after <= before);
                }
                prop_assert!(range.after.is_some() || range.before.is_some());
            }
            if let (Ok(point), Ok(range)) = (point, parse_range(&format!("since {text}"), &at)) {
                prop_assert_eq!(range.after, Some(point));
            }
        }
    }
}
