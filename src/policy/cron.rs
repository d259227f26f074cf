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

/// Why a text is no usable schedule. The message says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It has not five fields.
    #[error("a schedule has five fields (minute, hour, day of month, month, day of week), found {0}")]
    Fields(usize),
    /// A field cannot be read.
    #[error("the {field} field `{text}` cannot be read: {reason}")]
    Field {
        /// Which of the five, by its name.
        field: &'static str,
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is well-formed and never comes, such as 31 February.
    #[error("this schedule never occurs: no such day exists in any year")]
    Never,
}

const FIELDS: [&str; 5] = ["minute", "hour", "day-of-month", "month", "day-of-week"];

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
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(ScheduleError::Fields(fields.len()));
        }
        for (&field, &text) in FIELDS.iter().zip(&fields) {
            // The parser would ignore it, but it was probably meant to say something.
            if text.contains(',') && text.split(',').any(str::is_empty) {
                let reason = "the list has an empty element".to_owned();
                return Err(ScheduleError::Field { field, text: text.to_owned(), reason });
            }
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|whole| {
            // Each field is tried alone among stars, so that the message can name the one that is wrong.
            for (place, (&field, &text)) in FIELDS.iter().zip(&fields).enumerate() {
                let mut alone = ["*"; 5];
                alone[place] = text;
                if let Err(error) = parser.parse(&alone.join(" ")) {
                    return ScheduleError::Field { field, text: text.to_owned(), reason: plain(&error) };
                }
            }
            ScheduleError::Field { field: "whole", text: text.to_owned(), reason: plain(&whole) }
        })?;
        let pattern = pattern.pattern;
        let hours = pattern.hours.values();
        let minutes = hours.iter().flat_map(|hour| {
            pattern.minutes.values().into_iter().map(move |minute| i64::from(hour * 60 + minute))
        });
        let (minutes, hour) = (minutes.collect(), fields[1]);
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

    /// Says whether it comes on a day, counted from 1 January 1970.
    pub(super) fn is_on(&self, day: i64) -> bool {
        date(day).is_some_and(|date| self.is_in_month(date) && self.is_on_date(date))
    }

    /// Finds the first day it comes on within a range of days.
    pub(super) fn first_day_in(&self, days: Range<i64>) -> Option<i64> {
        let mut day = days.start;
        while day < days.end {
            let date = date(day)?;
            if !self.is_in_month(date) {
                day += i64::from(date.num_days_in_month()) - i64::from(date.day0());
            } else if self.is_on_date(date) {
                return Some(day);
            } else {
                day += 1;
            }
        }
        None
    }

    /// Finds the last day it comes on within a range of days.
    fn last_day_in(&self, days: Range<i64>) -> Option<i64> {
        let mut day = days.end - 1;
        while day >= days.start {
            let date = date(day)?;
            if !self.is_in_month(date) {
                day -= i64::from(date.day());
            } else if self.is_on_date(date) {
                return Some(day);
            } else {
                day -= 1;
            }
        }
        None
    }

    /// Finds the first time within a range.
    pub(super) fn first_in(&self, walls: Range<i64>) -> Option<i64> {
        // That may be a day too many: what is found there is not within the range.
        let days_end = day_of(walls.end) + 1;
        let mut from = walls.start;
        loop {
            let midnight = self.first_day_in(day_of(from)..days_end)? * DAY_SECS;
            let passed = self.minutes.partition_point(|minute| midnight + minute * 60 < from);
            if let Some(minute) = self.minutes.get(passed) {
                return Some(midnight + minute * 60).filter(|wall| *wall < walls.end);
            }
            from = midnight + DAY_SECS;
        }
    }

    /// Finds the last time within a range.
    pub(super) fn last_in(&self, walls: Range<i64>) -> Option<i64> {
        let mut until = walls.end;
        loop {
            let midnight = self.last_day_in(day_of(walls.start)..day_of(until - 1) + 1)? * DAY_SECS;
            let passed = self.minutes.partition_point(|minute| midnight + minute * 60 < until);
            if let Some(minute) = self.minutes[..passed].last() {
                return Some(midnight + minute * 60).filter(|wall| *wall >= walls.start);
            }
            until = midnight;
        }
    }

    fn is_in_month(&self, date: NaiveDate) -> bool {
        self.pattern.month_match(date.month()).unwrap_or(false)
    }

    fn is_on_date(&self, date: NaiveDate) -> bool {
        let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
        self.pattern.day_match(date.year(), date.month(), date.day(), weekday).unwrap_or(false)
    }
}

/// Returns the day that a time is on, counted from 1 January 1970.
pub(super) fn day_of(wall: i64) -> i64 {
    wall.div_euclid(DAY_SECS)
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

fn plain(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError as E;
    match error {
        E::IllegalCharacters(_) => "neither a number nor a known name".to_owned(),
        E::InvalidPattern(text) | E::ComponentError(text) => text.trim_end_matches('.').to_lowercase(),
        other => other.to_string().trim_end_matches('.').to_lowercase(),
    }
}
