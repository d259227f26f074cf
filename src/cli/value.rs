//! Values of options, read from their text.

use crate::policy::{parse_duration, parse_size};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

const YEARS: RangeInclusive<i32> = 1970..=2999;

const INTERVAL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Reads a path, an empty one as well, which clap's own parser refuses.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads an address to listen on, with a host's name or number and a port.
pub(super) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write it like 127.0.0.1:9797, localhost:9797 or [::1]:9797".to_owned()),
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|problem| format!("it {problem}; write it like 90s, 5m or 1h"))?;
    duration.to_std().map_err(|_| "it cannot be negative".to_owned())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let duration = timeout(text)?;
    // A tenth more by chance, and three of them for the health, still have to be an instant.
    if duration <= INTERVAL_MAX { Ok(duration) } else { Err("runs can be up to 31 days apart".to_owned()) }
}

pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let moment = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "not an instant of RFC 3339: write it like 2026-12-01T01:00:00Z".to_owned())?;
    // Near the ends of the calendar schedules run out of occurrences, and nothing would be due.
    if YEARS.contains(&moment.year()) {
        Ok(moment.to_utc())
    } else {
        Err(format!("years from {} to {} can be planned for", YEARS.start(), YEARS.end()))
    }
}

/// Reads a time from one instant or day to another, in UTC: `2026-12-01..2026-12-08T06:00:00Z`.
pub(super) fn span(text: &str) -> Result<Range<DateTime<Utc>>, String> {
    let form = "write two instants or days, such as 2026-12-01..2026-12-08";
    let (from, to) = text.split_once("..").ok_or(form)?;
    let moment = |text: &str| match text.parse::<NaiveDate>() {
        Ok(day) => Ok(day.and_time(NaiveTime::MIN).and_utc()),
        Err(_) => instant(text).map_err(|_| format!("{text:?} is neither; {form}")),
    };
    let (from, to) = (moment(from)?, moment(to)?);
    if from < to { Ok(from..to) } else { Err("it ends before it begins".to_owned()) }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|problem| format!("it {problem}; write it like 40GiB"))
}

pub(super) fn rate(text: &str) -> Result<u64, String> {
    let bytes = text.strip_suffix("/s").ok_or("it has no `/s`; write it like 200MiB/s")?;
    size(bytes).and_then(|bytes| if bytes > 0 { Ok(bytes) } else { Err("it must be more than 0".to_owned()) })
}

/// Reads a share in percent, and returns it in millionths.
pub(super) fn change_rate(text: &str) -> Result<u64, String> {
    let percent = text.strip_suffix('%').ok_or("it has no unit; write it like 3% or 0.5%")?;
    let percent: f64 = percent.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&percent) {
        Ok((percent * 10_000.0).round() as u64)
    } else {
        Err("not a share from 0% to 100%".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_need_their_offset() {
        assert_eq!(instant("2026-12-01T01:00:00+01:00").unwrap().to_rfc3339(), "2026-12-01T00:00:00+00:00");
        assert!(instant("2026-12-01 01:00").is_err());
        assert!(instant("9999-12-31T23:59:59Z").unwrap_err().contains("1970 to 2999"));
        assert!(instant("2026-12-01T01:00:00").is_err());
    }

    #[test]
    fn times_are_of_days_or_instants_and_shares_are_in_percent() {
        let day = |text: &str| span(text).map(|span| (span.end - span.start).num_hours());
        assert_eq!((day("2026-12-01..2026-12-02"), day("2026-12-01..2026-12-01T06:00:00Z")), (Ok(24), Ok(6)));
        assert!(day("2026-12-02..2026-12-01").is_err() && day("2026-12-01").is_err() && day("a..b").is_err());
        assert_eq!(
            (change_rate("3%"), change_rate("0.25%"), change_rate("100%")),
            (Ok(30_000), Ok(2_500), Ok(1_000_000))
        );
        for wrong in ["3", "-1%", "101%", "NaN%", ".%", ""] {
            assert!(change_rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(size("40GiB"), Ok(40 << 30));
    }

    #[test]
    fn runs_are_a_second_to_a_month_apart() {
        assert_eq!(interval("15m").unwrap(), Duration::from_secs(900));
        assert!(interval("0s").is_err() && interval("32d").unwrap_err().contains("31 days"));
    }

    #[test]
    fn timeouts_need_their_unit() {
        assert_eq!(timeout("1m30s").unwrap(), Duration::from_secs(90));
        assert!(timeout("30").unwrap_err().contains("unit"));
        assert!(timeout("0s").is_err());
    }
}
