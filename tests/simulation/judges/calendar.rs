//! When backups are due, by a calendar of the judges' own.

use crate::scenario::Rules;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Returns the last time at which a tier of a VM was due, in microseconds since the Unix epoch.
pub(super) fn last_due_us(rules: &Rules, vm: Uuid, comment: &str, now_us: i64) -> i64 {
    let zone = TimeZone::get(rules.zone).unwrap();
    let share_s = share_s(rules, vm);
    let now = Timestamp::from_microsecond(now_us).unwrap() - SignedDuration::from_secs(share_s);
    let mut day = now.to_zoned(zone.clone()).date();
    loop {
        let is_due = match comment {
            "monthly" => day.day() == 1,
            "weekly" => day.weekday() == Weekday::Sunday,
            _ => true,
        };
        // What a clock change skips comes at the change, what comes twice counts once, the first time.
        let at = day.at(i8::try_from(rules.due_hour).unwrap(), 0, 0, 0).to_zoned(zone.clone()).unwrap();
        if is_due && at.timestamp() <= now {
            return (at.timestamp() + SignedDuration::from_secs(share_s)).as_microsecond();
        }
        day = day.yesterday().unwrap();
    }
}

/// Returns the beginning of a day in the zone of the policies, in microseconds since the Unix epoch.
pub(super) fn day_us(rules: &Rules, days_since_epoch: i64) -> i64 {
    let epoch = jiff::civil::date(1970, 1, 1);
    let day = epoch + SignedDuration::from_hours(24 * days_since_epoch);
    day.to_zoned(TimeZone::get(rules.zone).unwrap()).unwrap().timestamp().as_microsecond()
}

/// How much later a VM is due than the schedule says, where due times are spread: a share that is fixed for each VM.
fn share_s(rules: &Rules, vm: Uuid) -> i64 {
    let spread_s = u128::from(rules.spread_hours.unwrap_or(0)) * 3_600;
    let draw = Sha256::digest(vm.as_bytes());
    let draw = u64::from_be_bytes(*draw.first_chunk().unwrap());
    i64::try_from((spread_s * u128::from(draw)) >> 64).unwrap()
}
