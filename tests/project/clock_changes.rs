//! Schedules held against a second computation, which goes civil minute by civil minute and maps each to its instants.
//!
//! It shares no code with the program but the tz database: expressions are read here, and what a clock change does to a
//! minute is asked of `jiff` minute by minute.

use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::policy::{Schedule, Zone};
use jiff::civil::{Date, DateTime as Civil, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The years that are gone through. All in a debug build would take minutes; these few have a skipped day in them.
const YEARS: std::ops::Range<i16> = if cfg!(debug_assertions) { 2011..2013 } else { 2006..2036 };

const ZONES: [&str; 12] = [
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",    // changes at one minute past midnight until 2011
    "America/Havana",      // skips and repeats midnight
    "America/Santiago",    // southern, skips midnight
    "America/Caracas",     // moves by half an hour for good, twice
    "America/Vancouver",   // ends daylight saving in 2026
    "Australia/Lord_Howe", // shifts by half an hour
    "Africa/Cairo",        // abolishes, changes and takes up daylight saving
    "Africa/Casablanca",   // four changes a year, by the moon
    "Pacific/Apia",        // skips 30 December 2011
    "Asia/Kathmandu",      // never changes, and is off by a quarter
];

const SCHEDULES: [&str; 40] = [
    "0 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "1 0 * * *",
    "0 2,14 * * *",
    "0,30 2 * * *",
    "15,45 1,2 * * *",
    "0,20,40 0-3 * * 0,5",
    "*/10 2 * 3,4,10,11 *",
    "*/3 2 * * 0",
    "30 0-23/6 * * *",
    "0 0-23 * * 0",
    "7 23,0 * * *",
    "0 1 1 * *",
    "30 2 1 * *",
    "0 0 1 1 *",
    "0 1 31 * *",
    "0 1 30 12 *",
    "0 1 29 2 *",
    "30 2 * * 0",
    "30 2 * * 7",
    "0 1 * * 1-5",
    "0 0 * * 5,6",
    "30 2 * 3,10 *",
    "0 1 1-7 * 0",
    "30 2 8-14 3,11 *",
    "0 2 */10 * *",
    "0 1 15 * 3",
    "30 * * 2-4,9-11 *",
    "0 * 1-7 * *",
    "45 * * * 0",
    "*/5 * 1-7 3 *",
    "0 */2 * * *",
    "15 */6 * * *",
    "0 */12 * * *",
    "30 */24 * * *",
];

/// The schedules of [`SCHEDULES`] as bits: bit `n` of `minute[m]` says whether minute `m` is one of the `n`th.
struct Masks {
    minute: [u64; 60],
    hour: [u64; 24],
    day: [u64; 32],
    month: [u64; 13],
    weekday: [u64; 7],
    day_is_any: u64,
    weekday_is_any: u64,
    /// Those with `*` or a step in the hour.
    any_hour: u64,
}

impl Masks {
    fn new() -> Self {
        let mut masks = Self {
            minute: [0; 60],
            hour: [0; 24],
            day: [0; 32],
            month: [0; 13],
            weekday: [0; 7],
            day_is_any: 0,
            weekday_is_any: 0,
            any_hour: 0,
        };
        for (n, schedule) in SCHEDULES.iter().enumerate() {
            let bit = 1 << n;
            let fields: Vec<&str> = schedule.split(' ').collect();
            numbers(fields[0], 0, 59).for_each(|it| masks.minute[it] |= bit);
            numbers(fields[1], 0, 23).for_each(|it| masks.hour[it] |= bit);
            numbers(fields[2], 1, 31).for_each(|it| masks.day[it] |= bit);
            numbers(fields[3], 1, 12).for_each(|it| masks.month[it] |= bit);
            numbers(fields[4], 0, 7).for_each(|it| masks.weekday[it % 7] |= bit);
            masks.day_is_any |= if fields[2] == "*" { bit } else { 0 };
            masks.weekday_is_any |= if fields[4] == "*" { bit } else { 0 };
            masks.any_hour |=
                if matches!(fields[1], "*" | "*/2" | "*/6" | "*/12" | "*/24") { bit } else { 0 };
        }
        masks
    }

    fn of_day(&self, day: Date) -> u64 {
        let by_day = self.day[day.day() as usize];
        let by_weekday = self.weekday[day.weekday().to_sunday_zero_offset() as usize];
        let is_any = self.day_is_any | self.weekday_is_any;
        let fits = (is_any & by_day & by_weekday) | (!is_any & (by_day | by_weekday));
        fits & self.month[day.month() as usize]
    }
}

fn numbers(field: &str, least: usize, most: usize) -> impl Iterator<Item = usize> {
    let list: Vec<(usize, usize, usize)> = field
        .split(',')
        .map(|item| {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let (from, to) = match range.split_once('-') {
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None if range == "*" => (least, most),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            (from, to, step.parse().unwrap())
        })
        .collect();
    list.into_iter().flat_map(|(from, to, step)| (from..=to).step_by(step))
}

/// Lists the occurrences of all schedules in a zone, in seconds since the epoch.
fn occurrences(masks: &Masks, zone: &TimeZone) -> Vec<Vec<i64>> {
    let mut found: Vec<Vec<i64>> = vec![Vec::new(); SCHEDULES.len()];
    let mut day = date(YEARS.start, 1, 1);
    while day.year() < YEARS.end {
        let even = even_offset(zone, day);
        let midnight = seconds(day.at(0, 0, 0, 0));
        for hour in 0..24 {
            let of_hour = masks.of_day(day) & masks.hour[hour];
            if of_hour == 0 {
                continue;
            }
            for minute in 0..60 {
                let bits = of_hour & masks.minute[minute];
                if bits == 0 {
                    continue;
                }
                let wall = midnight + (hour * 3_600 + minute * 60) as i64;
                match even {
                    Some(offset) => note(&mut found, bits, wall - offset),
                    None => uneven(&mut found, masks, zone, bits, wall),
                }
            }
        }
        day = day.tomorrow().unwrap();
    }
    for times in &mut found {
        times.sort_unstable();
        times.dedup();
    }
    found
}

/// Returns a day's offset, if it is the same for all of its minutes.
fn even_offset(zone: &TimeZone, day: Date) -> Option<i64> {
    let offset = |at: Civil| match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => Some(i64::from(offset.seconds())),
        _ => None,
    };
    let midnight = day.at(0, 0, 0, 0);
    let at_start = offset(midnight)?;
    (offset(midnight.checked_add(SignedDuration::from_hours(24)).unwrap()) == Some(at_start))
        .then_some(at_start)
}

/// Notes a minute of a day with a clock change, as each schedule takes it.
fn uneven(found: &mut [Vec<i64>], masks: &Masks, zone: &TimeZone, bits: u64, wall: i64) {
    let (any_hour, named_hours) = (bits & masks.any_hour, bits & !masks.any_hour);
    match zone.to_ambiguous_timestamp(civil(wall)).offset() {
        AmbiguousOffset::Unambiguous { offset } => note(found, bits, wall - i64::from(offset.seconds())),
        AmbiguousOffset::Fold { before, after } => {
            note(found, bits, wall - i64::from(before.seconds()));
            note(found, any_hour, wall - i64::from(after.seconds()));
        }
        AmbiguousOffset::Gap { after, .. } => {
            // The first minute that is shown later than the one that is not shown.
            let mut instant = wall - i64::from(after.seconds());
            let shown = |instant| seconds(zone.to_datetime(Timestamp::from_second(instant).unwrap()));
            while shown(instant) <= wall {
                instant += 60;
            }
            note(found, named_hours, instant);
        }
    }
}

fn note(found: &mut [Vec<i64>], mut bits: u64, instant: i64) {
    while bits != 0 {
        found[bits.trailing_zeros() as usize].push(instant);
        bits &= bits - 1;
    }
}

fn seconds(civil: Civil) -> i64 {
    TimeZone::UTC.to_timestamp(civil).unwrap().as_second()
}

fn civil(seconds: i64) -> Civil {
    TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).unwrap())
}

#[test]
fn every_occurrence_is_the_one_that_counting_minutes_finds() {
    let masks = Masks::new();
    let instant = |second| DateTime::<Utc>::from_timestamp(second, 0).unwrap();
    let second = TimeDelta::seconds(1);
    // The twelve years over which a schedule's gaps are measured.
    let measured = instant(seconds(date(2023, 12, 31).at(0, 0, 0, 0)))
        ..instant(seconds(date(2036, 1, 1).at(0, 0, 0, 0)));
    let mut changes_seen = 0;
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        let start = Timestamp::from_second(seconds(date(YEARS.start, 1, 2).at(0, 0, 0, 0))).unwrap();
        let end = seconds(date(YEARS.end, 1, 1).at(0, 0, 0, 0));
        changes_seen += zone.following(start).take_while(|it| it.timestamp().as_second() < end).count();
        let found = occurrences(&masks, &zone);
        for (text, times) in SCHEDULES.iter().zip(found) {
            let schedule = Schedule::parse(text, Zone::find(name).unwrap()).unwrap();
            let (mut gap_min, mut gap_max) = (TimeDelta::MAX, TimeDelta::zero());
            for pair in times.windows(2) {
                let (last, next) = (instant(pair[0]), instant(pair[1]));
                assert_eq!(schedule.next_after(last), Some(next), "{text} in {name} after {last}");
                let before = schedule.last_at_or_before(next - second);
                assert_eq!(before, Some(last), "{text} in {name} before {next}");
                if measured.contains(&last) && measured.contains(&next) {
                    (gap_min, gap_max) = (gap_min.min(next - last), gap_max.max(next - last));
                }
            }
            if let Some(&first) = times.first() {
                assert_eq!(
                    schedule.last_at_or_before(instant(first)),
                    Some(instant(first)),
                    "{text} in {name}"
                );
            }
            if !cfg!(debug_assertions) {
                assert_eq!((schedule.gap_min(), schedule.gap_max()), (gap_min, gap_max), "{text} in {name}");
            }
        }
    }
    let changes_least = if cfg!(debug_assertions) { 30 } else { 500 };
    assert!(changes_seen > changes_least, "only {changes_seen} clock changes");
}
