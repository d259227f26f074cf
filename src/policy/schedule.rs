//! Schedules: cron expressions in a time zone, also across clock changes.
//!
//! A schedule that names its hours is read in civil time: each time that the expression means is taken once, at the
//! change where a clock change skips it, and the first time where it comes twice. A schedule whose hour is `*` or a
//! step (`*/6`) runs by elapsed time: it comes whenever the wall clock shows such a time, in both passes of a repeated
//! hour, and never in a skipped one.
//!
//! Between two clock changes the wall clock runs evenly, so each of these [`OffsetSpan`]es is searched by itself.

use super::cron::{Cron, DAY_SECS};
use super::zone::OffsetSpan;
use super::{ScheduleError, Zone};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Gaps are measured over these days since 1 January 1970: fixed, so that a policy is checked alike for ever, and with
/// leap days and a change of zone rules ahead. From 31 December 2023, for twelve years.
const SCAN_DAYS: Range<i64> = 19_722..24_106;
/// For what comes less than twice within those, such as a 29 February that is a Monday.
const SCAN_DAYS_RARE: Range<i64> = 19_722..19_722 + 44_000;
/// Skipped hours are reported for schedules with a gap longer than this.
const SKIP_MATTERS_ABOVE: TimeDelta = TimeDelta::hours(3);

/// A five-field cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) cron: Arc<Cron>,
    zone: Zone,
    scan: Range<i64>,
    gaps: Gaps,
    /// Its gaps on the wall clock: what clock changes add or take is left out.
    pub(super) wall_gaps: Gaps,
}

impl Schedule {
    /// Reads a cron expression. Names (`SUN`, `JAN`), ranges, steps, lists, `L` (last) and `#` (nth) are understood. Where both day fields are
    /// restricted, a day that fits either is meant, as in cron; with a `+` before the day of week, one that fits both.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let cron = Arc::new(Cron::parse(text)?);
        let is_rare = SCAN_DAYS.filter(|day| cron.is_on(*day)).nth(1).is_none();
        let scan = if is_rare { SCAN_DAYS_RARE } else { SCAN_DAYS };
        let wall_gaps = Gaps::of(&cron, &Zone::UTC, &scan);
        if wall_gaps.last.is_none() {
            let message = "this schedule never occurs: no such day exists in any year".to_owned();
            return Err(ScheduleError { message, hint: "`L` is the last day of any month".to_owned() });
        }
        let gaps = if zone == Zone::UTC { wall_gaps } else { Gaps::of(&cron, &zone, &scan) };
        Ok(Self { scan, gaps, wall_gaps, cron, zone })
    }

    /// Returns the last occurrence at or before an instant; `None` when the calendar has none.
    pub fn last_at_or_before(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let second = instant.timestamp();
        let mut stretch = self.zone.span_at(second)?;
        loop {
            let walls = walls(&self.cron, &stretch);
            let end = walls.end.min(second + stretch.offset_secs + 1);
            if let Some(wall) = self.cron.times_in(walls.start..end).next_back() {
                return DateTime::from_timestamp(taken_at(wall, &stretch), 0);
            }
            stretch = self.zone.span_at(stretch.start - 1)?;
        }
    }

    /// Returns the first occurrence after an instant; `None` when the calendar has none.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let second = instant.timestamp();
        let mut stretch = self.zone.span_at(second)?;
        let mut after = second + stretch.offset_secs + 1;
        loop {
            let walls = walls(&self.cron, &stretch);
            if let Some(wall) = self.cron.times_in(walls.start.max(after)..walls.end).next() {
                return DateTime::from_timestamp(taken_at(wall, &stretch), 0);
            }
            stretch = self.zone.span_at(stretch.end)?;
            after = i64::MIN;
        }
    }

    /// Returns the shortest time between two occurrences in a row, over some years.
    pub fn gap_min(&self) -> TimeDelta {
        self.gaps.min
    }

    pub fn gap_max(&self) -> TimeDelta {
        self.gaps.max
    }

    /// Returns the shortest and the longest gap on the wall clock: what clock changes add or take is left out.
    pub fn wall_gaps(&self) -> (TimeDelta, TimeDelta) {
        (self.wall_gaps.min, self.wall_gaps.max)
    }

    /// Finds a time of this schedule that the wall clock never shows, over some years, and the clock change that skips it. One
    /// in civil time comes at the change instead, one that runs by elapsed time does not come.
    ///
    /// `None` too where that hardly matters, as the schedule comes every three hours or more often.
    pub(super) fn skipped_time(&self) -> Option<(NaiveDateTime, DateTime<Utc>)> {
        self.zone.spans(SCAN_DAYS.start * DAY_SECS, SCAN_DAYS.end * DAY_SECS).skip(1).find_map(|stretch| {
            let skipped = stretch.start + stretch.offset_before_secs..stretch.start + stretch.offset_secs;
            let wanted = DateTime::from_timestamp(self.cron.times_in(skipped).next()?, 0)?.naive_utc();
            let change = DateTime::from_timestamp(stretch.start, 0)?;
            let before = change - TimeDelta::seconds(1);
            let gap = match self.cron.any_hour {
                true => self.next_after(before)? - self.last_at_or_before(before)?,
                false => self.gap_max(),
            };
            (gap > SKIP_MATTERS_ABOVE).then_some((wanted, change))
        })
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the times on the wall clock over which its gaps are measured.
    pub(super) fn walls(&self) -> impl Iterator<Item = i64> {
        self.cron.times_in(self.scan.start * DAY_SECS..self.scan.end * DAY_SECS)
    }
}

/// Returns the times on the wall clock that belong to a stretch.
///
/// For a schedule in civil time they go on where those of the stretch before ended: with the skipped times, and without
/// those that come again.
fn walls(cron: &Cron, stretch: &OffsetSpan) -> Range<i64> {
    let start_offset_secs = if cron.any_hour { stretch.offset_secs } else { stretch.offset_before_secs };
    stretch.start + start_offset_secs..stretch.end + stretch.offset_secs
}

/// Returns the second since the Unix epoch at which a time of a stretch is taken: the change, for a skipped one.
fn taken_at(wall: i64, stretch: &OffsetSpan) -> i64 {
    stretch.start.max(wall - stretch.offset_secs)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    pub(super) min: TimeDelta,
    pub(super) max: TimeDelta,
    last: Option<i64>,
}

impl Gaps {
    /// Measures an expression over some days in a zone.
    fn of(cron: &Cron, zone: &Zone, days: &Range<i64>) -> Self {
        let mut gaps = Self { min: TimeDelta::MAX, max: TimeDelta::zero(), last: None };
        let (from, until) = (days.start * DAY_SECS, days.end * DAY_SECS);
        for stretch in zone.spans(from, until) {
            let walls = walls(cron, &stretch);
            let start = walls.start.max(from + stretch.offset_secs);
            for wall in cron.times_in(start..walls.end.min(until + stretch.offset_secs)) {
                let instant = taken_at(wall, &stretch);
                let last = gaps.last.replace(instant);
                // Two that are taken at one change are the same.
                if let Some(last) = last.filter(|last| *last != instant) {
                    let gap = TimeDelta::seconds(instant - last);
                    (gaps.min, gaps.max) = (gaps.min.min(gap), gaps.max.max(gap));
                }
            }
        }
        gaps
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cron.pattern.as_str())
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.cron.pattern.as_str() == other.cron.pattern.as_str() && self.zone == other.zone
    }
}

impl Eq for Schedule {}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike as _, NaiveDate, Weekday};

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
    fn a_skipped_hour_is_found_where_it_matters() {
        let skipped = |text, zone| Schedule::parse(text, Zone::find(zone).unwrap()).unwrap().skipped_time();
        let (wanted, change) = skipped("30 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!(wanted.to_string(), "2024-03-31 02:30:00");
        assert_eq!(change, at("2024-03-31T01:00:00Z"));
        let lost = skipped("0 */6 * * *", "America/Havana").unwrap();
        assert_eq!(lost.0.to_string(), "2024-03-10 00:00:00");
        assert!(skipped("0 0,6,12,18 * * *", "America/Havana").is_some());
        assert!(skipped("0 2 * * SUN", "America/New_York").is_some());
        assert!(skipped("0 0 * * *", "America/Havana").is_some());
        for (text, zone) in [
            ("0 3 * * *", "Europe/Berlin"),
            ("59 1 * * *", "Europe/Berlin"),
            ("30 2 1 * *", "Europe/Berlin"),
            ("30 2 * * *", "UTC"),
            ("30 2 * * *", "Asia/Tokyo"),
            ("30 * * * *", "Europe/Berlin"),
            ("0 */2 * * *", "Europe/Berlin"),
            ("0 * * * SUN", "Europe/Berlin"),
        ] {
            assert_eq!(skipped(text, zone), None, "{text} {zone}");
        }
    }

    /// All occurrences from one instant up to another, found forwards and backwards alike.
    fn between(text: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
        let schedule = Schedule::parse(text, Zone::find(zone).unwrap()).unwrap();
        let (from, until) = (at(from), at(until));
        let mut forwards = Vec::new();
        let mut time = from;
        while let Some(next) = schedule.next_after(time).filter(|next| *next <= until) {
            forwards.push(next);
            time = next;
        }
        let mut backwards = Vec::new();
        let mut time = until;
        while let Some(last) = schedule.last_at_or_before(time).filter(|last| *last > from) {
            backwards.push(last);
            time = last - TimeDelta::seconds(1);
        }
        backwards.reverse();
        assert_eq!(forwards, backwards, "{text} {zone}");
        forwards.iter().map(|time| schedule.zone().moment(*time).format("%d %H:%M %z").to_string()).collect()
    }

    #[test]
    fn each_named_time_comes_once_on_the_days_of_a_clock_change() {
        let spring = |text| between(text, "Europe/Berlin", "2027-03-27T23:30:00Z", "2027-03-28T21:59:00Z");
        assert_eq!(spring("0 2,14 * * *"), ["28 03:00 +0200", "28 14:00 +0200"]);
        assert_eq!(spring("0,30 2 * * *"), ["28 03:00 +0200"]);
        assert_eq!(spring("30 1-3 * * *"), ["28 01:30 +0100", "28 03:00 +0200", "28 03:30 +0200"]);
        let autumn = |text| between(text, "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T22:59:00Z");
        assert_eq!(autumn("0 2,14 * * *"), ["25 02:00 +0200", "25 14:00 +0100"]);
        assert_eq!(autumn("30 2-3 * * *"), ["25 02:30 +0200", "25 03:30 +0100"]);
    }

    #[test]
    fn any_hour_comes_whenever_the_clock_shows_it() {
        let spring = |text| between(text, "Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T02:30:00Z");
        assert_eq!(spring("30 * * * *"), ["28 01:30 +0100", "28 03:30 +0200", "28 04:30 +0200"]);
        let autumn = |text| between(text, "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T02:30:00Z");
        let hourly = ["25 01:30 +0200", "25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"];
        assert_eq!(autumn("30 * * * *"), hourly);
        assert_eq!(autumn("0 */2 * * *"), ["25 02:00 +0200", "25 02:00 +0100"]);
    }

    #[test]
    fn a_day_that_a_zone_skips_is_taken_when_the_next_one_begins() {
        let apia = |text| between(text, "Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-31T09:59:00Z");
        assert_eq!(
            apia("0 1,13 * * *"),
            ["29 01:00 -1000", "29 13:00 -1000", "31 00:00 +1400", "31 01:00 +1400", "31 13:00 +1400"]
        );
        assert_eq!(apia("0 1 30 * *"), ["31 00:00 +1400"]);
    }

    #[test]
    fn a_shift_of_half_an_hour_skips_and_repeats_half_an_hour() {
        let spring =
            |text| between(text, "Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-03T16:30:00Z");
        assert_eq!(spring("15,45 2 * * *"), ["04 02:30 +1100", "04 02:45 +1100"]);
        let autumn =
            |text| between(text, "Australia/Lord_Howe", "2027-04-03T14:00:00Z", "2027-04-03T16:00:00Z");
        assert_eq!(autumn("15,45 1 * * *"), ["04 01:15 +1100", "04 01:45 +1100"]);
        assert_eq!(autumn("45 * * * *"), ["04 01:45 +1100", "04 01:45 +1030"]);
    }

    #[test]
    fn gaps_see_the_days_on_which_nothing_comes() {
        let gaps = |text: &str, zone: &str| {
            let schedule = Schedule::parse(text, Zone::find(zone).unwrap()).unwrap();
            [schedule.gap_min(), schedule.gap_max()].map(|gap| gap.num_minutes())
        };
        // From 23:55 of the seventh to 00:00 of the first, in the longest month.
        assert_eq!(gaps("*/5 * 1-7 * *", "UTC"), [5, 24 * 24 * 60 + 5]);
        assert_eq!(gaps("* * * * *", "Europe/Berlin"), [1, 1]);
        assert_eq!(gaps("0,30 2 * * *", "Europe/Berlin"), [30, 24 * 60 + 30]);
        assert_eq!(gaps("0 2,14 * * *", "Europe/Berlin"), [11 * 60, 13 * 60]);
        assert_eq!(gaps("15 2,3 * * *", "Europe/Berlin"), [15, 23 * 60]);
        // Midnight is skipped there: the first is taken at 01:00, a quarter of an hour before the second.
        assert_eq!(gaps("15 0,1 * * *", "America/Havana"), [15, 23 * 60]);
        assert_eq!(gaps("15 0,1 * * *", "Asia/Beirut"), [15, 24 * 60]);
        assert_eq!(gaps("0 */12 * * *", "America/Havana"), [60, 23 * 60]);
        assert_eq!(gaps("0 0 29 2 *", "UTC"), [1_461 * 24 * 60; 2]);
        // A 29 February that is a Monday: 28 years apart, and 40 over the year 2100.
        assert_eq!(gaps("0 0 29 2 +MON", "UTC"), [28 * 1_461 * 6 * 60, 40 * 1_461 * 6 * 60 - 24 * 60]);
    }

    #[test]
    fn gaps_on_the_wall_clock_know_no_clock_changes() {
        let twice = Schedule::parse("0 2,14 * * *", Zone::find("Europe/Berlin").unwrap()).unwrap();
        assert_eq!([twice.wall_gaps.min, twice.wall_gaps.max], [TimeDelta::hours(12); 2]);
    }

    #[test]
    fn the_calendar_ends_without_an_occurrence() {
        for zone in ["UTC", "Europe/Berlin", "Asia/Tokyo"] {
            let schedule = Schedule::parse("0 1 1 7 *", Zone::find(zone).unwrap()).unwrap();
            assert_eq!(schedule.next_after(at("9999-12-01T00:00:00Z")), None, "{zone}");
            assert_eq!(schedule.last_at_or_before(at("-9999-02-01T00:00:00Z")), None, "{zone}");
            assert_eq!(schedule.next_after(DateTime::<Utc>::MAX_UTC), None, "{zone}");
            assert_eq!(schedule.last_at_or_before(DateTime::<Utc>::MIN_UTC), None, "{zone}");
        }
    }

    #[test]
    fn the_next_and_the_last_are_found_from_any_hour_of_any_month() {
        type Comes = fn(NaiveDate) -> bool;
        let cases: [(&str, Comes); 4] = [
            ("0 1,13 1,31 * *", |day| [1, 31].contains(&day.day())),
            ("0 1,13 15 2,11 *", |day| [2, 11].contains(&day.month()) && day.day() == 15),
            ("0 1,13 29 2 *", |day| day.month() == 2 && day.day() == 29),
            ("0 1,13 1-7 7 +MON", |day| day.month() == 7 && day.day() <= 7 && day.weekday() == Weekday::Mon),
        ];
        let (from, until) = (at("2022-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
        for (text, comes) in cases {
            let schedule = Schedule::parse(text, Zone::UTC).unwrap();
            let times: Vec<DateTime<Utc>> = (from.date_naive().iter_days())
                .take_while(|day| *day < until.date_naive())
                .filter(|day| comes(*day))
                .flat_map(|day| [1, 13].map(|hour| day.and_hms_opt(hour, 0, 0).unwrap().and_utc()))
                .collect();
            let mut time = at("2024-01-01T00:00:00Z");
            while time < at("2026-01-01T00:00:00Z") {
                let passed = times.partition_point(|it| *it <= time);
                let (last, next) = (times[..passed].last().copied(), times.get(passed).copied());
                if last.is_some() {
                    assert_eq!(schedule.last_at_or_before(time), last, "{text} {time}");
                }
                assert_eq!(schedule.next_after(time), next, "{text} {time}");
                time += TimeDelta::hours(6) + TimeDelta::minutes(30);
            }
        }
    }

    #[test]
    fn schedules_are_the_same_by_expression_and_zone_and_shown_as_written() {
        let (one, berlin) = (daily("0 1", "UTC"), daily("0 1", "Europe/Berlin"));
        assert_eq!(one, daily("0 1", "UTC"));
        assert_ne!(one, daily("0 2", "UTC"));
        assert_ne!(one, berlin);
        assert_eq!(berlin.to_string(), "0 1 * * *");
    }

    #[test]
    fn what_is_wrong_is_named_and_what_would_be_right() {
        for (text, message, hint) in [
            ("0 1 31 2 *", "never occurs", "`L` is the last day"),
            ("0 25 * * *", "the hour field `25` cannot be read: number out of bounds", "hour (0-23)"),
            ("0 1 * * SNU", "the day-of-week field `SNU` cannot be read: neither a number", "SUN-SAT"),
            ("@daily", "found 1", "\"0 1 * * *\" for every day at 01:00"),
            ("0 0 1 * * *", "found 6", "there is no field for seconds: write \"0 1 * * *\""),
            ("0 0 1 ? * SUN *", "found 7", "no fields for seconds and years: write \"0 1 ? * SUN\""),
            ("0 1 * * * * * *", "found 8", "\"0 1 * * *\" is every day"),
            (
                "CRON_TZ=America/New_York 0 3 * * *",
                "no time zone of its own, found `CRON_TZ=America/New_York`",
                "write `schedule: \"0 3 * * *\"`, and `timezone: America/New_York` beside `tiers`",
            ),
            ("TZ=UTC 0 3 * * *", "found `TZ=UTC`", "`timezone: UTC`"),
            ("H 1 * * *", "the minute field `H` cannot be read", "`H` is known to Jenkins only"),
            ("0 H(1-5) * * *", "the hour field `H(1-5)` cannot be read", "`spread: 4h`"),
            ("0 1 * * FRI-MON", "the day-of-week field `FRI-MON`", "write `FRI-SAT,SUN-MON`"),
            ("0 1 * * 3,fri-mon", "the day-of-week field `3,fri-mon`", "write `3,fri-SAT,SUN-mon`"),
            ("0 22-4 * * *", "the hour field `22-4`", "write `22-23,0-4`"),
            ("0 1 * nov-2 *", "the month field `nov-2`", "write `nov-DEC,JAN-2`"),
        ] {
            let error = Schedule::parse(text, Zone::UTC).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert!(error.hint.contains(hint), "{text}: {}", error.hint);
        }
    }
}
