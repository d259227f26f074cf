//! Cron expressions on a clock that never changes: which minutes of which days they mean.
//!
//! Times are seconds on the wall clock since its 1 January 1970. How clock changes affect them is the
//! business of [`super::schedule`].

use chrono::{Datelike as _, NaiveDate};
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};
use std::ops::Range;

/// The seconds of a day on the wall clock.
pub(super) const DAY_SECS: i64 = 86_400;

/// Why a text is no usable schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    /// What is wrong.
    message: String,
    /// What would be right.
    pub hint: String,
}

impl ScheduleError {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// A field of an expression: its name, its numbers, and the names of these, if there are any.
struct Field {
    name: &'static str,
    numbers: Range<usize>,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", numbers: 0..60, names: &[] },
    Field { name: "hour", numbers: 0..24, names: &[] },
    Field { name: "day-of-month", numbers: 1..32, names: &[] },
    Field {
        name: "month",
        numbers: 1..13,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field { name: "day-of-week", numbers: 0..7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] },
];

const FORM: &str = "the fields are minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC) and day of week \
                    (0-7 or SUN-SAT)";

#[derive(Debug)]
pub(super) struct Cron {
    pattern: CronPattern,
    /// The minutes of the day, of those days that fit.
    minutes: Vec<i64>,
    /// Whether the hour is `*` or a step through all hours.
    any_hour: bool,
}

impl Cron {
    /// Reads a cron expression; that it comes on some day is not sure yet.
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let texts: Vec<&str> = text.split_whitespace().collect();
        if texts.len() != FIELDS.len() {
            let found = texts.len();
            let message = format!(
                "a schedule has five fields (minute, hour, day of month, month, day of week), found {found}"
            );
            return Err(
                zone_inside(&texts).unwrap_or_else(|| ScheduleError::new(message, five_fields(&texts)))
            );
        }
        let cannot = |(field, text): (&Field, &str), reason: &str| {
            let message = format!("the {} field `{text}` cannot be read: {reason}", field.name);
            ScheduleError::new(message, field.hint(text).unwrap_or_else(|| FORM.to_owned()))
        };
        let fields = || FIELDS.iter().zip(texts.iter().copied());
        // The parser would ignore it, but it was probably meant to say something.
        if let Some(field) =
            fields().find(|(_, text)| text.contains(',') && text.split(',').any(str::is_empty))
        {
            return Err(cannot(field, "the list has an empty element"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|whole| {
            // Each field is tried alone among stars, so that the message can name the one that is wrong.
            let found = fields().enumerate().find_map(|(place, field)| {
                let mut alone = ["*"; 5];
                alone[place] = field.1;
                parser.parse(&alone.join(" ")).err().map(|error| cannot(field, &plain(&error)))
            });
            found.unwrap_or_else(|| ScheduleError::new(plain(&whole), FORM))
        })?;
        let pattern = pattern.pattern;
        let hours = pattern.hours.values();
        let minutes = hours.iter().flat_map(|hour| {
            pattern.minutes.values().into_iter().map(move |minute| i64::from(hour * 60 + minute))
        });
        let (minutes, hour) = (minutes.collect(), texts[1]);
        let any_hour = hour.starts_with('*') && !hour.contains(',');
        Ok(Self { pattern, minutes, any_hour })
    }

    pub(super) fn as_str(&self) -> &str {
        self.pattern.as_str()
    }

    /// Says whether the hour is `*` or a step through all hours (`*/6`), and not named.
    pub(super) fn has_any_hour(&self) -> bool {
        self.any_hour
    }

    /// Returns the hours of the day.
    pub(super) fn hours(&self) -> Vec<u16> {
        self.pattern.hours.values()
    }

    /// Returns the minutes of the day, earliest first, on days that fit.
    pub(super) fn minutes(&self) -> &[i64] {
        &self.minutes
    }

    /// Says whether both day fields are restricted without a `+`, so that a day that fits either is meant.
    pub(super) fn means_either_day(&self) -> bool {
        let pattern = &self.pattern;
        !pattern.is_dom_wildcard() && !pattern.is_dow_wildcard() && !pattern.matches_dom_and_dow()
    }

    /// Says which seven days of a month the day-of-month field means: 1 for the first to the seventh, and so on to 4;
    /// `None` for any others.
    pub(super) fn seventh_of_month(&self) -> Option<u16> {
        let days = &self.pattern.days;
        let nth = (1..=4).find(|nth| days.values().into_iter().eq(7 * nth - 6..=7 * nth))?;
        (!days.has_modifiers()).then_some(nth)
    }

    /// Finds a day of the month without which it does not come in some month that it names: the first of those that it
    /// names, where that month may end before it.
    pub(super) fn day_that_some_months_lack(&self) -> Option<u16> {
        let days = &self.pattern.days;
        let day = *days.values().first()?;
        let is_short = |month: &u16| match month {
            2 => day > 28,
            4 | 6 | 9 | 11 => day > 30,
            _ => false,
        };
        let by_day_only = !self.means_either_day() && !days.has_modifiers();
        (by_day_only && self.pattern.months.values().iter().any(is_short)).then_some(day)
    }

    /// Says whether it comes on a day, counted from 1 January 1970.
    pub(super) fn is_on(&self, day: i64) -> bool {
        let Some(date) = i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days) else { return false };
        let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
        let (year, month, day) = (date.year(), date.month(), date.day());
        self.pattern.month_match(month).unwrap_or(false)
            && self.pattern.day_match(year, month, day, weekday).unwrap_or(false)
    }

    /// Finds the first time within a range.
    pub(super) fn first_in(&self, walls: Range<i64>) -> Option<i64> {
        self.times_on_days_of(&walls).find(|wall| *wall >= walls.start).filter(|wall| *wall < walls.end)
    }

    /// Finds the last time within a range.
    pub(super) fn last_in(&self, walls: Range<i64>) -> Option<i64> {
        self.times_on_days_of(&walls).rev().find(|wall| *wall < walls.end).filter(|wall| *wall >= walls.start)
    }

    /// Returns the times on the days that a range has a part of.
    fn times_on_days_of(&self, walls: &Range<i64>) -> impl DoubleEndedIterator<Item = i64> {
        let days = day_of(walls.start)..day_of(walls.end) + 1;
        let times = |day: i64| self.minutes.iter().map(move |minute| day * DAY_SECS + minute * 60);
        days.filter(|day| self.is_on(*day)).flat_map(times)
    }
}

/// Returns the day that a time is on, counted from 1 January 1970.
pub(super) fn day_of(wall: i64) -> i64 {
    wall.div_euclid(DAY_SECS)
}

impl Field {
    /// Returns what would be right, for slips that come from other kinds of cron.
    fn hint(&self, text: &str) -> Option<String> {
        if text.contains('H') && text.chars().all(|c| !c.is_ascii_alphabetic() || c == 'H') {
            return Some(
                "`H` is known to Jenkins only: write a time, and spread the VMs with `spread`, such as `spread: 4h`"
                    .to_owned(),
            );
        }
        let round = |item: &str| {
            let (from, to) = item.split_once('-')?;
            let numbers = [self.number(from)?, self.number(to)?];
            let (least, most) =
                (self.shown(self.numbers.start, from), self.shown(self.numbers.end - 1, from));
            let range =
                |from: &str, to: &str| if from == to { from.to_owned() } else { format!("{from}-{to}") };
            (numbers[0] > numbers[1]).then(|| format!("{},{}", range(from, &most), range(&least, to)))
        };
        let items: Vec<String> =
            text.split(',').map(|item| round(item).unwrap_or_else(|| item.to_owned())).collect();
        let better = items.join(",");
        (better != text).then(|| format!("a range cannot go past the last value: write `{better}`"))
    }

    fn number(&self, text: &str) -> Option<usize> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        name.map(|place| place + self.numbers.start).or_else(|| text.parse().ok())
    }

    /// Shows a number as a name if the one beside it is one.
    fn shown(&self, number: usize, beside: &str) -> String {
        let name = self.names.get(number - self.numbers.start).filter(|_| beside.parse::<usize>().is_err());
        name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
    }
}

/// Finds the mistake of writing the zone into a schedule.
fn zone_inside(fields: &[&str]) -> Option<ScheduleError> {
    let (name, zone) =
        fields.first()?.split_once('=').filter(|(name, _)| matches!(*name, "CRON_TZ" | "TZ"))?;
    let rest = fields[1..].join(" ");
    Some(ScheduleError::new(
        format!("a schedule has no time zone of its own, found `{name}={zone}`"),
        format!(
            "write `schedule: \"{rest}\"`, and `timezone: {zone}` beside `tiers`, for all tiers of the policy"
        ),
    ))
}

/// Returns the five fields for what is probably meant.
fn five_fields(fields: &[&str]) -> String {
    let word = fields.first().unwrap_or(&"").trim_start_matches('@').to_ascii_lowercase();
    match word.as_str() {
        "daily" | "midnight" => "write \"0 0 * * *\" for every day at midnight, \"0 1 * * *\" for every day at 01:00",
        "weekly" => "write \"0 0 * * SUN\" for every Sunday at midnight, \"0 1 * * SUN\" for every Sunday at 01:00",
        "monthly" => {
            "write \"0 0 1 * *\" for the first of every month at midnight, \"0 1 1 * *\" for 01:00 on that day"
        }
        "yearly" | "annually" => "write \"0 0 1 1 *\" for every 1st of January at midnight",
        "hourly" => "write \"0 * * * *\" for every hour",
        _ if matches!(fields.len(), 6 | 7) && Cron::parse(&fields[1..6].join(" ")).is_ok() => {
            let none = if fields.len() == 6 { "no field for seconds" } else { "no fields for seconds and years" };
            return format!("there is {none}: write \"{}\"", fields[1..6].join(" "));
        }
        _ => "\"0 1 * * *\" is every day at 01:00, \"0 1 * * SUN\" every Sunday",
    }
    .to_owned()
}

fn plain(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError as E;
    match error {
        E::IllegalCharacters(_) => "neither a number nor a known name".to_owned(),
        E::InvalidPattern(text) | E::ComponentError(text) => text.trim_end_matches('.').to_lowercase(),
        other => other.to_string().trim_end_matches('.').to_lowercase(),
    }
}
