//! The words for times: numbers, units, weekdays, months, and what comes back every year.

use jiff::civil::Weekday;

/// A length of time that people count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// What comes back every year.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    Day {
        month: i8,
        day: i8,
    },
    Month(i8),
    Quarter(i8),
    Half(i8),
    /// From a day of the year up to another, in the next year if it is not later.
    Season {
        from: (i8, i8),
        to: (i8, i8),
    },
    /// A day with some days on either side.
    Around {
        month: i8,
        day: i8,
        days: i64,
    },
    /// The fourth Thursday of November with three days on either side.
    Thanksgiving,
}

/// A number of ASCII digits only: no sign, no other script.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// A month or a day of a month, not yet checked.
pub(super) fn two_digits(text: &str) -> Option<i8> {
    if text.len() <= 2 { digits(text) } else { None }
}

/// Years of four digits, as far as anybody's memories go.
pub(super) fn year_of(text: &str) -> Option<i16> {
    digits::<i16>(text).filter(|year| text.len() == 4 && (1900..2200).contains(year))
}

/// `3`, `three`, `a`; at most five digits.
pub(super) fn count_of(text: &str) -> Option<i64> {
    const WORDS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    if matches!(text, "a" | "an") {
        return Some(1);
    }
    if let Some(at) = WORDS.iter().position(|word| *word == text) {
        return i64::try_from(at + 1).ok();
    }
    if text.len() <= 5 { digits(text) } else { None }
}

/// `day`, `hours`, `mins`.
pub(super) fn unit_of(text: &str) -> Option<Unit> {
    Some(match text {
        "minute" | "minutes" | "min" | "mins" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" => Unit::Hour,
        "day" | "days" => Unit::Day,
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Month,
        "quarter" | "quarters" => Unit::Quarter,
        "year" | "years" => Unit::Year,
        _ => return None,
    })
}

/// `monday`, `mon`.
pub(super) fn weekday_of(text: &str) -> Option<Weekday> {
    Some(match text {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" | "thur" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// `march`, `mar`.
fn month_of(text: &str) -> Option<i8> {
    Some(match text {
        "january" | "jan" => 1,
        "february" | "feb" => 2,
        "march" | "mar" => 3,
        "april" | "apr" => 4,
        "may" => 5,
        "june" | "jun" => 6,
        "july" | "jul" => 7,
        "august" | "aug" => 8,
        "september" | "sep" | "sept" => 9,
        "october" | "oct" => 10,
        "november" | "nov" => 11,
        "december" | "dec" => 12,
        _ => return None,
    })
}

/// `5`, `5th`, `22nd`.
fn day_of_month(text: &str) -> Option<i8> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if matches!(suffix, "" | "st" | "nd" | "rd" | "th") { two_digits(number) } else { None }
}

/// `q1`.
pub(super) fn quarter_of(text: &str) -> Option<i8> {
    Some(match text {
        "q1" => 1,
        "q2" => 2,
        "q3" => 3,
        "q4" => 4,
        _ => return None,
    })
}

/// `first`, `1st`; as far as quarters need it.
fn ordinal_of(text: &str) -> Option<i8> {
    Some(match text {
        "first" | "1st" => 1,
        "second" | "2nd" => 2,
        "third" | "3rd" => 3,
        "fourth" | "4th" => 4,
        _ => return None,
    })
}

/// The name at the start of `words`, and the words after it.
pub(super) fn named_of<'a>(words: &'a [&'a str]) -> Option<(Named, &'a [&'a str])> {
    if let [a, b, rest @ ..] = words {
        let day = match (month_of(a), month_of(b)) {
            (Some(month), None) => day_of_month(b).map(|day| (month, day)),
            (None, Some(month)) => day_of_month(a).map(|day| (month, day)),
            _ => None,
        };
        if let Some((month, day)) = day {
            return Some((Named::Day { month, day }, rest));
        }
        match (ordinal_of(a), *b) {
            (Some(half @ 1..=2), "half") => return Some((Named::Half(half), rest)),
            (Some(quarter), "quarter") => return Some((Named::Quarter(quarter), rest)),
            _ => {}
        }
        let year_day = matches!(*a, "new") && matches!(*b, "year" | "year's" | "years");
        if year_day || (matches!(*a, "valentine's" | "valentines" | "valentine") && *b == "day") {
            let rest = match rest {
                ["day" | "eve", rest @ ..] if year_day => rest,
                _ => rest,
            };
            let (month, day, days) = if year_day { (1, 1, 3) } else { (2, 14, 1) };
            return Some((Named::Around { month, day, days }, rest));
        }
    }
    let [name, rest @ ..] = words else { return None };
    let named = match *name {
        "h1" => Named::Half(1),
        "h2" => Named::Half(2),
        "spring" => Named::Season { from: (3, 20), to: (6, 21) },
        "summer" => Named::Season { from: (6, 21), to: (9, 23) },
        "autumn" | "fall" => Named::Season { from: (9, 23), to: (12, 21) },
        "winter" => Named::Season { from: (12, 21), to: (3, 20) },
        "christmas" | "xmas" => Named::Around { month: 12, day: 25, days: 3 },
        "halloween" => Named::Around { month: 10, day: 31, days: 3 },
        "valentine" | "valentines" | "valentine's" => Named::Around { month: 2, day: 14, days: 1 },
        "thanksgiving" => Named::Thanksgiving,
        word => match (month_of(word), quarter_of(word)) {
            (Some(month), _) => Named::Month(month),
            (None, Some(quarter)) => Named::Quarter(quarter),
            (None, None) => return None,
        },
    };
    Some((named, rest))
}
