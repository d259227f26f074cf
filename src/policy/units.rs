//! Durations and sizes as policies write them.

use chrono::TimeDelta;

const DURATION_DAYS_MAX: i64 = 3_650;
const DURATION_UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// How durations are written, for hints.
pub(super) const DURATION_FORM: &str = "write a duration such as 90s, 15m, 4h, 2d or 1h30m";
/// How sizes are written, for hints.
pub(super) const SIZE_FORM: &str = "write a size such as 64KiB, 1 MiB or a plain number of bytes";

/// Reads a duration longer than nothing: whole numbers with the units `d`, `h`, `m` and `s`, each at most once, the longer
/// first. A day is 24 hours. The error is the end of a sentence that begins with its name.
pub fn duration(text: &str) -> Result<TimeDelta, &'static str> {
    if text.starts_with('-') {
        return Err("cannot be negative");
    }
    let mut secs: i64 = 0;
    let mut units = DURATION_UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_after(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_after(after, |c| c.is_ascii_alphabetic());
        match unit {
            _ if number.is_empty() => return Err("is not a duration"),
            "" if after.is_empty() => return Err("has no unit"),
            "mo" | "month" | "months" | "y" | "year" | "years" => {
                return Err("cannot be in months or years, whose lengths vary");
            }
            _ => {}
        }
        let (_, unit_secs) = units.find(|(name, _)| *name == unit).ok_or("is not a duration")?;
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(*unit_secs));
        secs = part.and_then(|part| secs.checked_add(part)).ok_or("is longer than ten years")?;
        rest = after;
    }
    match secs {
        0 if text.is_empty() => Err("is not a duration"),
        0 => Err("must be longer than zero"),
        _ if secs > DURATION_DAYS_MAX * 86_400 => Err("is longer than ten years"),
        _ => Ok(TimeDelta::seconds(secs)),
    }
}

/// Reads a size in bytes: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB` or `TiB`. Errors as of [`duration`].
pub fn size(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = split_after(text, |c| c.is_ascii_digit());
    let shift = match unit.trim_start_matches(' ') {
        _ if text.starts_with('-') => return Err("cannot be negative"),
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "k" | "K" | "kB" | "KB" | "M" | "MB" | "G" | "GB" | "T" | "TB" => {
            return Err("has an ambiguous unit, 1000 or 1024");
        }
        _ => return Err("is not a size"),
    };
    if number.is_empty() {
        return Err("is not a size");
    }
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or("is far too large")
}

fn split_after(text: &str, is_of_kind: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_of_kind(c)).unwrap_or(text.len()))
}

/// Writes a duration as policies do: `1d2h`, `90m` as `1h30m`.
pub fn duration_text(duration: TimeDelta) -> String {
    let mut secs = duration.num_seconds();
    let mut out = String::new();
    for (unit, unit_secs) in DURATION_UNITS {
        if secs >= unit_secs {
            out += &format!("{}{unit}", secs / unit_secs);
            secs %= unit_secs;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        let secs = |text| duration(text).unwrap().num_seconds();
        assert_eq!([secs("90s"), secs("15m"), secs("4h"), secs("2d")], [90, 900, 14_400, 172_800]);
        assert_eq!([secs("1h30m"), secs("1d12h"), secs("0h5m")], [5_400, 129_600, 300]);
        assert_eq!(duration_text(duration("1d2h90s").unwrap()), "1d2h1m30s");
    }

    #[test]
    fn what_is_no_duration_is_reported_why() {
        let why = |text| duration(text).unwrap_err();
        assert_eq!(why("12"), "has no unit");
        assert_eq!(why("-1h"), "cannot be negative");
        assert_eq!(why("0h0m"), "must be longer than zero");
        assert_eq!(why("1mo"), "cannot be in months or years, whose lengths vary");
        assert_eq!(why("3651d"), "is longer than ten years");
        assert_eq!(why("99999999999999999999s"), "is longer than ten years");
        assert_eq!(why("106751991167300d1s"), "is longer than ten years");
        for text in ["", "h", "1x", "30m1h", "1h1h", "1h 30m", "1.5h", "1hour", "ä", "1ä", "+1h"] {
            assert_eq!(why(text), "is not a duration", "{text}");
        }
    }

    #[test]
    fn sizes_are_in_bytes() {
        let bytes = |text| size(text).unwrap();
        assert_eq!(
            [bytes("0"), bytes("65536"), bytes("64KiB"), bytes("64 KiB")],
            [0, 65_536, 65_536, 65_536]
        );
        assert_eq!([bytes("1MiB"), bytes("1GiB"), bytes("2TiB")], [1 << 20, 1 << 30, 2 << 40]);
        assert_eq!(size("64KB"), Err("has an ambiguous unit, 1000 or 1024"));
        assert_eq!(size("99999999TiB"), Err("is far too large"));
        for text in ["", "KiB", "1.5KiB", "64kib", "1ä", "64KiBx"] {
            assert_eq!(size(text), Err("is not a size"), "{text}");
        }
    }
}
