//! The nights of the scheme that people run by hand: `monthly` on the first, `weekly` on Sundays, `daily` on all others,
//! at 01:00 in Berlin.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeDelta, Utc, Weekday};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackupNight {
    /// Its tier, which is the comment as well.
    pub(super) tier: &'static str,
    /// When the create is accepted, in microseconds since the Unix epoch.
    pub(super) at_us: i64,
}

/// Returns the nights from the first of last month on whose run has started by an instant, oldest first.
pub(super) fn nights_before(now_us: i64) -> Vec<BackupNight> {
    let today = utc_date(now_us);
    let first = today.with_day(1).and_then(|day| day.checked_sub_months(Months::new(1))).unwrap_or(today);
    let days = first.iter_days().take_while(|day| *day <= next(today));
    days.filter_map(|day| night(day, now_us)).collect()
}

/// Returns the last nights whose run has started by an instant, oldest first.
pub(super) fn last_nights(now_us: i64, count: usize) -> Vec<BackupNight> {
    let days = std::iter::successors(Some(next(utc_date(now_us))), NaiveDate::pred_opt);
    let mut nights: Vec<_> = days.filter_map(|day| night(day, now_us)).take(count).collect();
    nights.reverse();
    nights
}

fn utc_date(now_us: i64) -> NaiveDate {
    DateTime::<Utc>::from_timestamp_micros(now_us).unwrap_or_default().date_naive()
}

/// The day after: Berlin is ahead of UTC, so that it may have started there already.
fn next(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

/// Returns the night of a date, if its run has started by an instant.
fn night(day: NaiveDate, now_us: i64) -> Option<BackupNight> {
    let due_us = one_in_berlin(day)?.timestamp_micros();
    let tier = match (day.day(), day.weekday()) {
        (1, _) => "monthly",
        (_, Weekday::Sun) => "weekly",
        _ => "daily",
    };
    // Cron takes a little while to come to each VM.
    (due_us <= now_us).then(|| BackupNight { tier, at_us: (due_us + 95 * 1_000_000).min(now_us) })
}

/// 01:00 in Berlin on a date. Summer time begins and ends after that hour, on the last Sundays of March and October.
fn one_in_berlin(day: NaiveDate) -> Option<DateTime<Utc>> {
    let last_sunday = |month| {
        let last = NaiveDate::from_ymd_opt(day.year(), month, 31)?;
        last.checked_sub_days(Days::new(u64::from(last.weekday().num_days_from_sunday())))
    };
    let summer = day > last_sunday(3)? && day <= last_sunday(10)?;
    let ahead = TimeDelta::hours(if summer { 2 } else { 1 });
    Some(day.and_hms_opt(1, 0, 0)?.and_utc() - ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(year: i32, month: u32, day: u32) -> String {
        let at = one_in_berlin(NaiveDate::from_ymd_opt(year, month, day).unwrap()).unwrap();
        at.format("%d %H:%M").to_string()
    }

    #[test]
    fn one_in_berlin_follows_both_changes() {
        assert_eq!(one(2026, 3, 29), "29 00:00", "the clocks change at two");
        assert_eq!(one(2026, 3, 30), "29 23:00");
        assert_eq!(one(2026, 10, 25), "24 23:00", "the clocks change at three");
        assert_eq!(one(2026, 10, 26), "26 00:00");
    }

    #[test]
    fn nights_are_those_of_last_month_and_this_one_up_to_now() {
        // Tuesday, 1 December 2026, 00:30 UTC: the monthly's time has come half an hour ago.
        let nights = nights_before(1_796_085_000_000_000);
        assert_eq!(nights.len(), 31);
        assert_eq!(nights.first().unwrap().tier, "monthly");
        assert_eq!(nights.last().unwrap().tier, "monthly");
        assert_eq!(
            nights.iter().filter(|night| night.tier == "weekly").count(),
            4,
            "and one Sunday was the first"
        );
        assert_eq!(nights_before(1_796_083_199_000_000).len(), 31 + 30, "a second before midnight");
    }
}
