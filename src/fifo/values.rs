//! What both readers of a VM make of FiFo's values.

use super::json::Json;
use crate::inventory::{Metadata, StoredFile};
use chrono::{DateTime, Datelike as _, Utc};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// Up to here a float represents every whole number exactly.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// No instant beyond this year can be written in RFC 3339.
const LAST_YEAR: i32 = 9999;

/// Returns the instant that a record's timestamp stands for; `None` for one that no calendar has.
pub(super) fn instant(micros: u64) -> Option<DateTime<Utc>> {
    let instant = DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)?;
    (instant.year() <= LAST_YEAR).then_some(instant)
}

/// Takes the names from files, in the order of which they stand whatever order the record is written in; the error is a
/// name that is there twice.
pub(super) fn files_by_name(mut files: Vec<(Cow<'_, str>, StoredFile)>) -> Result<Vec<StoredFile>, String> {
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    match files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(pair[0].0.to_string()),
        None => Ok(files.into_iter().map(|(_, file)| file).collect()),
    }
}

/// Flattens metadata into dotted paths and texts, so that policies compare text with text.
///
/// An array is kept as its JSON; an empty one, which may be FiFo's empty object, and a `null` are not set.
pub(super) fn flat(object: Json<'_>) -> Metadata {
    fn add(path: String, value: Value, pairs: &mut Vec<(String, String)>) {
        let text = match value {
            Value::Null => return,
            Value::Array(values) if values.is_empty() => return,
            Value::Object(object) => {
                for (key, value) in object {
                    add(format!("{path}.{key}"), value, pairs);
                }
                return;
            }
            Value::String(text) => text,
            Value::Number(number) => plain(&number),
            Value::Bool(_) | Value::Array(_) => value.to_string(),
        };
        pairs.push((path, text));
    }

    let object = match Value::from(object) {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let mut pairs = Vec::new();
    for (key, value) in object {
        add(key, value, &mut pairs);
    }
    pairs.into_iter().collect()
}

/// Writes a number as it was, but `1.0` as `1`: FiFo's helper scripts and its web page spell the same mark in both ways.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            // Adding 0 turns -0 into 0.
            format!("{:.0}", float + 0.0)
        }
        _ => number.to_string(),
    }
}
