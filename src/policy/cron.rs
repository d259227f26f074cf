//! Cron expressions on a wall clock that never changes, in seconds since its 1 January 1970.

use chrono::{Datelike as _, NaiveDate};
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};
use std::ops::Range;

pub(super) const DAY_SECS: i64 = 86_400;

/// Why a text is no usable schedule, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    pub message: String,
    pub hint: String,
}

/// A field of an expression: its name, its numbers, and the names of these, if there are any.
struct Field(&'static str, Range<usize>, &'static [&'static str]);

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIELDS: [Field; 5] = [
    Field("minute", 0..60, &[]),
    Field("hour", 0..24, &[]),
    Field("day-of-month", 1..32, &[]),
    Field("month", 1..13, &MONTHS),
    Field("day-of-week", 0..7, &WEEKDAYS),
];
const FORM: &str = "the fields are minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC) and day of week \
                    (0-7 or SUN-SAT)";

/// What to write for the words of other kinds of cron.
const WORDS: [(&str, &str); 5] = [
    ("daily midnight", r#"write "0 0 * * *" for every day at midnight, "0 1 * * *" for every day at 01:00"#),
    (
        "weekly",
        r#"write "0 0 * * SUN" for every Sunday at midnight, "0 1 * * SUN" for every Sunday at 01:00"#,
    ),
    (
        "monthly",
        r#"write "0 0 1 * *" for the first of every month at midnight, "0 1 1 * *" for 01:00 on that day"#,
    ),
    ("yearly annually", r#"write "0 0 1 1 *" for every 1st of January at midnight"#),
    ("hourly", r#"write "0 * * * *" for every hour"#),
];

#[derive(Debug)]
pub(super) struct Cron {
    pub(super) pattern: CronPattern,
    /// The minutes of the day, earliest first, of those days that fit.
    pub(super) minutes: Vec<i64>,
    /// Whether the hour is `*` or a step through all hours (`*/6`), and not named.
    pub(super) any_hour: bool,
}

impl Cron {
    /// Reads a cron expression; that it comes on some day is not sure yet.
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let texts: Vec<&str> = text.split_whitespace().collect();
        if texts.len() != FIELDS.len() {
            return Err(not_five(&texts));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        // Each field is tried alone among stars first, so that the message can name the one that is wrong.
        for (place, (field, text)) in FIELDS.iter().zip(&texts).enumerate() {
            let mut alone = ["*"; FIELDS.len()];
            alone[place] = text;
            let reason = match parser.parse(&alone.join(" ")) {
                // The parser would ignore it, but it was probably meant to say something.
                _ if text.split(',').any(str::is_empty) => "the list has an empty element".to_owned(),
                Err(error) => plain(&error),
                Ok(_) => continue,
            };
            let message = format!("the {} field `{text}` cannot be read: {reason}", field.0);
            return Err(ScheduleError { message, hint: field.hint(text) });
        }
        let whole = parser.parse(text);
        let whole = whole.map_err(|error| ScheduleError { message: plain(&error), hint: FORM.to_owned() })?;
        let (hours, minutes) = (whole.pattern.hours.values(), whole.pattern.minutes.values());
        let minutes = hours.iter().flat_map(|hour| minutes.iter().map(move |it| i64::from(hour * 60 + it)));
        let any_hour = texts[1].starts_with('*') && !texts[1].contains(',');
        Ok(Self { minutes: minutes.collect(), any_hour, pattern: whole.pattern })
    }

    /// Says whether both day fields are restricted without a `+`, so that a day that fits either is meant.
    pub(super) fn means_either_day(&self) -> bool {
        let pattern = &self.pattern;
        !pattern.is_dom_wildcard() && !pattern.is_dow_wildcard() && !pattern.matches_dom_and_dow()
    }

    /// Says which seven days of a month the day-of-month field means, from 1 (the first to the seventh) to 4.
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
        self.pattern.month_match(date.month()).unwrap_or(false)
            && self.pattern.day_match(date.year(), date.month(), date.day(), weekday).unwrap_or(false)
    }

    pub(super) fn is_at(&self, wall: i64) -> bool {
        self.minutes.binary_search(&(wall.rem_euclid(DAY_SECS) / 60)).is_ok() && self.is_on(day_of(wall))
    }

    pub(super) fn times_in(&self, walls: Range<i64>) -> impl DoubleEndedIterator<Item = i64> {
        let days = day_of(walls.start)..day_of(walls.end) + 1;
        let times = |day: i64| self.minutes.iter().map(move |minute| day * DAY_SECS + minute * 60);
        days.filter(|day| self.is_on(*day)).flat_map(times).filter(move |wall| walls.contains(wall))
    }
}

/// Returns the day that a time is on, counted from 1 January 1970.
fn day_of(wall: i64) -> i64 {
    wall.div_euclid(DAY_SECS)
}

impl Field {
    /// Returns what would be right, for slips that come from other kinds of cron.
    fn hint(&self, text: &str) -> String {
        if text.contains('H') && text.chars().all(|c| !c.is_ascii_alphabetic() || c == 'H') {
            let better = "write a time, and spread the VMs with `spread`, such as `spread: 4h`";
            return format!("`H` is known to Jenkins only: {better}");
        }
        let range = |from: &str, to: &str| if from == to { from.to_owned() } else { format!("{from}-{to}") };
        let round = |item: &str| {
            let (from, to) = item.split_once('-')?;
            let is_reversed = self.number(from)? > self.number(to)?;
            let (least, most) = (self.shown(self.1.start, from), self.shown(self.1.end - 1, from));
            is_reversed.then(|| format!("{},{}", range(from, &most), range(&least, to)))
        };
        let items = text.split(',').map(|item| round(item).unwrap_or_else(|| item.to_owned()));
        match items.collect::<Vec<_>>().join(",") {
            same if same == text => FORM.to_owned(),
            better => format!("a range cannot go past the last value: write `{better}`"),
        }
    }

    fn number(&self, text: &str) -> Option<usize> {
        let name = self.2.iter().position(|name| name.eq_ignore_ascii_case(text));
        name.map(|place| place + self.1.start).or_else(|| text.parse().ok())
    }

    /// Shows a number as a name if the one beside it is one.
    fn shown(&self, number: usize, beside: &str) -> String {
        let name = self.2.get(number - self.1.start).filter(|_| beside.parse::<usize>().is_err());
        name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
    }
}

/// Says what is wrong with an expression that has not five fields, and what is probably meant.
fn not_five(fields: &[&str]) -> ScheduleError {
    let first = fields.first().copied().unwrap_or_default();
    if let Some((name @ ("CRON_TZ" | "TZ"), zone)) = first.split_once('=') {
        let message = format!("a schedule has no time zone of its own, found `{name}={zone}`");
        let rest = fields[1..].join(" ");
        let beside = format!("`timezone: {zone}` beside `tiers`, for all tiers of the policy");
        return ScheduleError { message, hint: format!("write `schedule: \"{rest}\"`, and {beside}") };
    }
    let (found, word) = (fields.len(), first.trim_start_matches('@'));
    let inner = fields.get(1..6).map(|five| five.join(" ")).filter(|five| Cron::parse(five).is_ok());
    let known = WORDS.iter().find(|(words, _)| words.split(' ').any(|it| it.eq_ignore_ascii_case(word)));
    let hint = match (inner, found, known) {
        (Some(five), 6, _) => format!("there is no field for seconds: write \"{five}\""),
        (Some(five), 7, _) => format!("there are no fields for seconds and years: write \"{five}\""),
        (_, _, Some((_, hint))) => (*hint).to_owned(),
        _ => r#""0 1 * * *" is every day at 01:00, "0 1 * * SUN" every Sunday"#.to_owned(),
    };
    let form = "a schedule has five fields (minute, hour, day of month, month, day of week)";
    ScheduleError { message: format!("{form}, found {found}"), hint }
}

fn plain(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError as E;
    match error {
        E::IllegalCharacters(_) => "neither a number nor a known name".to_owned(),
        E::InvalidPattern(text) | E::ComponentError(text) => text.trim_end_matches('.').to_lowercase(),
        other => other.to_string().trim_end_matches('.').to_lowercase(),
    }
}
