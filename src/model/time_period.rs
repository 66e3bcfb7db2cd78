//! One day, week, month, season… named in words, placed on the calendar of the person who asks.
//!
//! Weeks begin on Monday. A name without a year means the latest one that has begun; `last` asks
//! for the latest one that is over. Days begin at local midnight, or at the first instant of the
//! day where a change of daylight saving skips midnight.

use super::time_words::{
    Named, Unit, count_of, digits, named_of, quarter_of, two_digits, unit_of, weekday_of, year_of,
};
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// A stretch of time with what people mean when they use it as a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    /// Its first instant.
    pub(super) start: Timestamp,
    /// The first instant after it; `None` if it lasts until now.
    pub(super) end: Option<Timestamp>,
    /// The instant meant by `since` and `before`, where it isn't `start`: `2 weeks ago` covers a
    /// calendar week, yet as a point it is the day fourteen days back. Set also for days.
    anchor: Option<Timestamp>,
    /// Whether it is a mere instant, which covers nothing.
    pub(super) is_instant: bool,
}

impl Period {
    /// The instant that the words mean when a point is asked for.
    pub(super) fn point(&self) -> Timestamp {
        self.anchor.unwrap_or(self.start)
    }

    /// Where `after` these words begins: a day or an instant is itself included, as it is by the
    /// flag of that name; a longer period is not.
    pub(super) fn after(&self) -> Timestamp {
        self.anchor.or(self.end).unwrap_or(self.start)
    }
}

#[derive(Debug, Clone, Copy)]
enum When {
    Latest,
    LatestOver,
    Year(i16),
}

/// How far `N minutes ago` reaches to either side: nobody remembers minutes exactly.
const AROUND_MINUTES: i64 = 5;
/// How far `N hours ago` reaches to either side.
const AROUND_HOURS_IN_MINUTES: i64 = 30;
/// Days that `recently` covers.
const RECENT_DAYS: i64 = 7;
/// How many years to look back for a day that is not in every year: 29 February can be 8 away.
const YEARS_BACK: i16 = 8;

/// The calendar that relative words refer to.
pub(super) struct Calendar {
    now: Timestamp,
    today: Date,
    zone: TimeZone,
}

impl Calendar {
    /// The calendar at `now`, in its time zone.
    pub(super) fn at(now: &Zoned) -> Self {
        Self { now: now.timestamp(), today: now.date(), zone: now.time_zone().clone() }
    }

    /// Places the period that `words` name; `None` unless every word is understood.
    pub(super) fn period(&self, words: &[&str]) -> Option<Period> {
        instant(words)
            .or_else(|| self.numeric(words))
            .or_else(|| self.ago(words))
            .or_else(|| self.last(words))
            .or_else(|| self.this(words))
            .or_else(|| self.part_of_day(words))
            .or_else(|| self.single(words))
            .or_else(|| self.yearly(words))
    }

    fn midnight(&self, date: Date) -> Option<Timestamp> {
        Some(date.to_zoned(self.zone.clone()).ok()?.timestamp())
    }

    fn at_time(&self, time: DateTime) -> Option<Timestamp> {
        Some(time.to_zoned(self.zone.clone()).ok()?.timestamp())
    }

    fn back(&self, unit: Unit, n: i64) -> Option<Date> {
        let span = match unit {
            Unit::Day => Span::new().try_days(n),
            Unit::Week => Span::new().try_weeks(n),
            Unit::Month => Span::new().try_months(n),
            Unit::Quarter => Span::new().try_months(n.checked_mul(3)?),
            Unit::Year => Span::new().try_years(n),
            Unit::Minute | Unit::Hour => return None,
        };
        self.today.checked_sub(span.ok()?).ok()
    }

    fn minutes_back(&self, unit: Unit, n: i64) -> Option<Timestamp> {
        let minutes = match unit {
            Unit::Minute => n,
            Unit::Hour => n.checked_mul(60)?,
            _ => return None,
        };
        self.now.checked_sub(Span::new().try_minutes(minutes).ok()?).ok()
    }

    /// From the first instant of `from` up to the first of `to`.
    fn dates(&self, from: Date, to: Date) -> Option<Period> {
        let (start, end) = (self.midnight(from)?, self.midnight(to)?);
        Some(Period { start, end: Some(end), anchor: None, is_instant: false })
    }

    fn day(&self, date: Date) -> Option<Period> {
        let period = self.dates(date, date.tomorrow().ok()?)?;
        Some(Period { anchor: Some(period.start), ..period })
    }

    /// The whole calendar unit in which `date` lies.
    fn whole(&self, unit: Unit, date: Date) -> Option<Period> {
        let from = first_day(unit, date)?;
        match unit {
            Unit::Day => self.day(date),
            Unit::Week => self.dates(from, from.checked_add(Span::new().days(7)).ok()?),
            Unit::Month => self.dates(from, from.checked_add(Span::new().months(1)).ok()?),
            Unit::Quarter => self.dates(from, from.checked_add(Span::new().months(3)).ok()?),
            Unit::Year => self.dates(from, from.checked_add(Span::new().years(1)).ok()?),
            Unit::Minute | Unit::Hour => None,
        }
    }

    fn until_now(start: Timestamp) -> Period {
        Period { start, end: None, anchor: Some(start), is_instant: false }
    }

    fn around(at: Timestamp, minutes: i64) -> Option<Period> {
        let reach = Span::new().minutes(minutes);
        Some(Period {
            start: at.checked_sub(reach).ok()?,
            end: Some(at.checked_add(reach).ok()?),
            anchor: Some(at),
            is_instant: false,
        })
    }

    /// `2026-03-05`, `2026-03`, `2026-q1`, `2026`, `3/5`, `3/5/26`.
    fn numeric(&self, words: &[&str]) -> Option<Period> {
        let [word] = words else { return None };
        let parts: Vec<&str> = word.split(['-', '/']).collect();
        let is_slashed = word.contains('/');
        match parts.as_slice() {
            [year] => self.whole(Unit::Year, Date::new(year_of(year)?, 1, 1).ok()?),
            [year, rest] if !is_slashed => {
                let year = year_of(year)?;
                match quarter_of(rest) {
                    Some(quarter) => self.in_year(Named::Quarter(quarter), year),
                    None => self.in_year(Named::Month(two_digits(rest)?), year),
                }
            }
            [month, day] if is_slashed => {
                let named = Named::Day { month: two_digits(month)?, day: two_digits(day)? };
                self.named(named, When::Latest)
            }
            [year, month, day] if year.len() == 4 => {
                let (month, day) = (two_digits(month)?, two_digits(day)?);
                self.day(Date::new(digits(year)?, month, day).ok()?)
            }
            [month, day, year] if is_slashed => {
                let year = match year.len() {
                    2 => 2000 + digits::<i16>(year)?,
                    _ => year_of(year)?,
                };
                self.day(Date::new(year, two_digits(month)?, two_digits(day)?).ok()?)
            }
            _ => None,
        }
    }

    /// `3 days ago`, `a week ago`…: the calendar unit that lies so many back.
    fn ago(&self, words: &[&str]) -> Option<Period> {
        let [n, unit, "ago"] = words else { return None };
        let (n, unit) = (count_of(n)?, unit_of(unit)?);
        match unit {
            Unit::Minute => Self::around(self.minutes_back(unit, n)?, AROUND_MINUTES),
            Unit::Hour => Self::around(self.minutes_back(unit, n)?, AROUND_HOURS_IN_MINUTES),
            Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year => {
                let date = self.back(unit, n)?;
                let anchor = Some(self.midnight(date)?);
                Some(Period { anchor, ..self.whole(unit, date)? })
            }
        }
    }

    /// `last 3 days`, `last week`, `past week`, `last monday`, `last summer`…
    fn last(&self, words: &[&str]) -> Option<Period> {
        let (is_rolling, rest) = match words {
            ["last" | "previous", rest @ ..] => (false, rest),
            ["past", rest @ ..] => (true, rest),
            _ => return None,
        };
        if let [n, unit] = rest
            && let (Some(n), Some(unit)) = (count_of(n), unit_of(unit))
        {
            return match unit {
                Unit::Minute | Unit::Hour => Some(Self::until_now(self.minutes_back(unit, n)?)),
                _ => {
                    let from = first_day(unit, self.back(unit, n)?)?;
                    Some(Self::until_now(self.midnight(from)?))
                }
            };
        }
        match rest {
            ["weekend"] => {
                let is_weekend = self.today.weekday().to_monday_zero_offset() >= 5;
                let this = self.weekend()?;
                let over = if is_weekend || this.start > self.now {
                    self.back(Unit::Week, 1)?
                } else {
                    self.today
                };
                self.weekend_of(over)
            }
            ["night"] => self.night_of(self.today.yesterday().ok()?),
            [word] => match (unit_of(word), weekday_of(word)) {
                (Some(unit @ (Unit::Minute | Unit::Hour)), _) => {
                    Some(Self::until_now(self.minutes_back(unit, 1)?))
                }
                (Some(Unit::Day), _) if is_rolling => {
                    Some(Self::until_now(self.minutes_back(Unit::Hour, 24)?))
                }
                (Some(unit), _) if is_rolling => {
                    Some(Self::until_now(self.midnight(self.back(unit, 1)?)?))
                }
                (Some(unit), _) => {
                    let before = first_day(unit, self.today)?.yesterday().ok()?;
                    self.whole(unit, before)
                }
                (None, Some(weekday)) => self.latest_weekday(weekday),
                (None, None) => self.named_exactly(rest, When::LatestOver),
            },
            _ => self.named_exactly(rest, When::LatestOver),
        }
    }

    /// `this week`, `this monday`, `this summer`…
    fn this(&self, words: &[&str]) -> Option<Period> {
        let ["this", rest @ ..] = words else { return None };
        match rest {
            ["weekend"] => self.weekend(),
            [word] => {
                if let Some(unit) = unit_of(word) {
                    return self.whole(unit, self.today);
                }
                if let Some(weekday) = weekday_of(word) {
                    let offset = i64::from(weekday.to_monday_zero_offset());
                    let monday = first_day(Unit::Week, self.today)?;
                    return self.day(monday.checked_add(Span::new().days(offset)).ok()?);
                }
                self.part(self.today, word)
                    .or_else(|| self.named_exactly(rest, When::Year(self.today.year())))
            }
            _ => self.named_exactly(rest, When::Year(self.today.year())),
        }
    }

    /// `yesterday morning`, `3 days ago in the evening`, `monday night`…
    fn part_of_day(&self, words: &[&str]) -> Option<Period> {
        let [day @ .., part] = words else { return None };
        self.part(self.day_of(day)?, part)
    }

    /// The date of words that mean one day.
    fn day_of(&self, words: &[&str]) -> Option<Date> {
        match words {
            ["today"] => Some(self.today),
            ["yesterday"] => self.today.yesterday().ok(),
            ["day", "before", "yesterday"] => self.back(Unit::Day, 2),
            [n, unit, "ago"] if unit_of(unit) == Some(Unit::Day) => {
                self.back(Unit::Day, count_of(n)?)
            }
            ["last", word] | [word] if weekday_of(word).is_some() => {
                self.latest_weekday_date(weekday_of(word)?)
            }
            _ => None,
        }
    }

    /// The Python service's hours: morning 5-11, noon 12, afternoon 13-17, evening 18-21,
    /// night 22-04, midnight 0.
    fn part(&self, date: Date, part: &str) -> Option<Period> {
        let (from, to) = match part {
            "morning" => (5, 12),
            "noon" | "midday" => (12, 13),
            "afternoon" => (13, 18),
            "evening" => (18, 22),
            "night" => (22, 29),
            "midnight" => (0, 1),
            _ => return None,
        };
        self.hours(date, from, to)
    }

    /// A night as one speaks of it the day after: from the evening on.
    fn night_of(&self, date: Date) -> Option<Period> {
        self.hours(date, 18, 29)
    }

    fn hours(&self, date: Date, from: i8, to: i8) -> Option<Period> {
        let at = |hour: i8| {
            let date = if hour >= 24 { date.tomorrow().ok()? } else { date };
            self.at_time(date.at(hour % 24, 0, 0, 0))
        };
        let start = at(from)?;
        Some(Period { start, end: Some(at(to)?), anchor: Some(start), is_instant: false })
    }

    /// `yesterday`, `monday`, `recently`, `now`…
    fn single(&self, words: &[&str]) -> Option<Period> {
        match words {
            ["now"] => Some(Period {
                start: self.now,
                end: Some(self.now),
                anchor: Some(self.now),
                is_instant: true,
            }),
            ["tonight"] => self.night_of(self.today),
            ["recently" | "lately" | "recent"] => {
                Some(Self::until_now(self.midnight(self.back(Unit::Day, RECENT_DAYS)?)?))
            }
            ["weekend"] => self
                .weekend()
                .filter(|w| w.start <= self.now)
                .or_else(|| self.weekend_of(self.back(Unit::Week, 1)?)),
            _ => self.day(self.day_of(words)?),
        }
    }

    fn weekend(&self) -> Option<Period> {
        self.weekend_of(self.today)
    }

    fn weekend_of(&self, date: Date) -> Option<Period> {
        let monday = first_day(Unit::Week, date)?;
        let saturday = monday.checked_add(Span::new().days(5)).ok()?;
        self.dates(saturday, monday.checked_add(Span::new().days(7)).ok()?)
    }

    /// The latest such day before today.
    fn latest_weekday_date(&self, weekday: Weekday) -> Option<Date> {
        self.today.nth_weekday(-1, weekday).ok()
    }

    fn latest_weekday(&self, weekday: Weekday) -> Option<Period> {
        self.day(self.latest_weekday_date(weekday)?)
    }

    /// `march`, `march 2025`, `5 march`, `christmas last year`, `first half of 2025`, `q1`…
    fn yearly(&self, words: &[&str]) -> Option<Period> {
        let (named, rest) = named_of(words)?;
        let when = match rest {
            [] => When::Latest,
            ["last" | "previous", "year"] => When::Year(self.today.year() - 1),
            ["this", "year"] => When::Year(self.today.year()),
            [year] => When::Year(year_of(year)?),
            _ => return None,
        };
        self.named(named, when)
    }

    fn named_exactly(&self, words: &[&str], when: When) -> Option<Period> {
        match named_of(words)? {
            (named, []) => self.named(named, when),
            _ => None,
        }
    }

    fn named(&self, named: Named, when: When) -> Option<Period> {
        let this_year = self.today.year();
        let mut latest = (0..=YEARS_BACK).filter_map(|n| self.in_year(named, this_year - n));
        match when {
            When::Year(year) => self.in_year(named, year),
            When::Latest => latest.find(|p| p.start <= self.now),
            When::LatestOver => latest.find(|p| p.end.is_some_and(|end| end <= self.now)),
        }
    }

    fn in_year(&self, named: Named, year: i16) -> Option<Period> {
        let date = |month, day| Date::new(year, month, day).ok();
        let months = |from: i8, n: i64| {
            let from = date(from, 1)?;
            self.dates(from, from.checked_add(Span::new().months(n)).ok()?)
        };
        let around = |middle: Date, days: i64| {
            let from = middle.checked_sub(Span::new().days(days)).ok()?;
            self.dates(from, middle.checked_add(Span::new().days(days + 1)).ok()?)
        };
        match named {
            Named::Day { month, day } => self.day(date(month, day)?),
            Named::Month(month) => months(month, 1),
            Named::Quarter(quarter) => months(quarter * 3 - 2, 3),
            Named::Half(half) => months(half * 6 - 5, 6),
            Named::Season { from, to } => {
                let end_year = if to > from { year } else { year.checked_add(1)? };
                self.dates(date(from.0, from.1)?, Date::new(end_year, to.0, to.1).ok()?)
            }
            Named::Around { month, day, days } => around(date(month, day)?, days),
            Named::Thanksgiving => {
                around(date(11, 1)?.nth_weekday_of_month(4, Weekday::Thursday).ok()?, 3)
            }
        }
    }
}

/// An instant with an offset, or a date with a time, which is UTC as in the Python service.
fn instant(words: &[&str]) -> Option<Period> {
    let text = match words {
        [word] => word.to_uppercase(),
        [date, time] => format!("{date}T{}", time.to_uppercase()),
        _ => return None,
    };
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || "-:.+TZ".contains(c));
    if !is_plain || !text.contains('T') || !text.contains(':') {
        return None;
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let time = text.parse::<DateTime>().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(Period { start: at, end: Some(at), anchor: Some(at), is_instant: true })
}

fn first_day(unit: Unit, date: Date) -> Option<Date> {
    match unit {
        Unit::Day => Some(date),
        Unit::Week => {
            let offset = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(Span::new().days(offset)).ok()
        }
        Unit::Month => Some(date.first_of_month()),
        Unit::Quarter => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok(),
        Unit::Year => Some(date.first_of_year()),
        Unit::Minute | Unit::Hour => None,
    }
}
