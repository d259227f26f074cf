//! The single values of a policy, each with the pattern that it must fit as far as a pattern can tell.

use schemars::JsonSchema;

/// One value, or a list of them that is not empty.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "OneOrMany{T}")]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(super) enum OneOrMany<T> {
    /// One value.
    One(T),
    /// A list of values, one of which has to match.
    Many(#[schemars(length(min = 1))] Vec<T>),
}

/// A single value of the metadata. Numbers and switches compare as text.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(super) enum Scalar {
    /// Text; `*` matches whatever is set.
    Text(String),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Switch(bool),
}

macro_rules! word {
    ($(#[$attribute:meta])* $name:ident, $pattern:expr) => {
        #[derive(JsonSchema)]
        $(#[$attribute])*
        #[expect(dead_code, reason = "only its schema is wanted")]
        pub(super) struct $name(#[schemars(regex(pattern = $pattern))] String);
    };
}

word! {
    /// Text with something in it.
    Text, r"\S"
}
word! {
    /// A name: small letters, digits and `-`, a letter or digit first.
    Name, "^[a-z0-9][a-z0-9-]*$"
}
word! {
    /// One plain line without blanks around it.
    Comment, r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
}
word! {
    /// A UUID of 36 characters.
    #[schemars(example = &"4fa44310-0000-4000-8000-000000000001")]
    Uuid, "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
}
word! {
    /// A day of the calendar.
    #[schemars(example = &"2026-12-24")]
    Day, "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
}
word! {
    /// A duration: whole numbers with `d`, `h`, `m` and `s`, the longer first. A day is 24 hours.
    #[schemars(example = &"90s", example = &"15m", example = &"4h", example = &"2d", example = &"1h30m")]
    Duration, r"^(?=.*[1-9])(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"
}
word! {
    /// Five-field cron: minute, hour, day of month, month, day of week. Lists, ranges, steps, names, `L` and `#` are
    /// understood. Where both day fields are restricted, a day that fits either is meant, and with a `+` before the day of
    /// week one that fits both. A time that a clock change skips is taken at the change, one that it repeats is taken once;
    /// where the hour is `*` or a step, the schedule runs by elapsed time.
    #[schemars(example = &"0 1 1 * *", example = &"0 1 * * SUN", example = &"0 1 * * *", example = &"15 */6 * * *")]
    Schedule, SCHEDULE
}

/// A size in bytes: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(JsonSchema)]
#[schemars(untagged, example = &"64KiB", example = 65_536)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(super) enum Size {
    /// With a unit.
    Text(#[schemars(regex(pattern = r"^\d+ *(B|KiB|MiB|GiB|TiB)?$"))] String),
    /// Of bytes.
    Bytes(u64),
}

/// One number of a field, or a range of them, or all, with a step where there may be one.
macro_rules! element {
    ($number:literal) => {
        concat!(r"([*?](/\d+)?|", $number, "(-", $number, r"(/\d+)?)?)")
    };
}

macro_rules! list {
    ($element:expr) => {
        concat!($element, "(,", $element, ")*")
    };
}

/// What the five fields can be made of. That numbers are in range and names are days is left to the checker, but for
/// minutes and hours, in which most mistakes are made. A step needs something to step through: `*` or a range.
const SCHEDULE: &str = concat!(
    r"^\s*",
    list!(element!("0*[1-5]?\\d")),
    r"\s+",
    list!(element!("0*(1?\\d|2[0-3])")),
    r"\s+",
    list!(r"([*?](/\d+)?|[0-9LWlw+]+|[0-9]+-[0-9]+(/\d+)?)"),
    r"\s+",
    list!(r"([*?](/\d+)?|[0-9A-Za-z]+|[0-9A-Za-z]+-[0-9A-Za-z]+(/\d+)?)"),
    r"\s+",
    list!(r"([*?](/\d+)?|[0-9A-Za-z#+]+|[0-9A-Za-z]+-[0-9A-Za-z]+([#/][0-9Ll]+)*)"),
    r"\s*$"
);
