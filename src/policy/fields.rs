//! Reads the fields of a YAML map, noting every mistake and going on.
//!
//! A field that cannot be read is noted and then treated as if it were not there.

use super::node::{Kind, Node, Scalar, Value};
use super::text::{DiagnosticSink, Located, Span, quoted};
use super::units::{DURATION_FORM, SIZE_FORM, duration, size};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};

/// Longer words than this are not looked up for what they may have been meant to be.
const SUGGESTED_CHARS_MAX: usize = 60;

/// The fields of a map.
pub(super) struct Fields<'n> {
    pub(super) span: Span,
    values: BTreeMap<&'n str, &'n Node>,
    /// The known fields that unknown ones were most likely meant to be.
    mistaken: BTreeSet<String>,
}

impl<'n> Fields<'n> {
    /// Takes a map apart; `None` when it is no map. Keys that are not `known`, or repeated, are mistakes; `elsewhere` says
    /// of a key where else it belongs.
    pub(super) fn of(
        node: &'n Node,
        what: &str,
        known: &[&str],
        elsewhere: impl Fn(&str) -> Option<String>,
        report: &mut DiagnosticSink<'_>,
    ) -> Option<Self> {
        let mut values = BTreeMap::new();
        let mut mistaken = BTreeSet::new();
        for (key, key_span, value) in entries(node, what, report)? {
            if known.contains(&key) {
                values.insert(key, value);
                continue;
            }
            let near = nearest(key, known.iter().copied());
            mistaken.extend(near.map(str::to_owned));
            let guess = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
            let unknown = report.error(key_span, format!("unknown field {}{guess}", quoted(key)));
            match elsewhere(key) {
                Some(hint) => unknown.hint(hint),
                None if near.is_none() => unknown.hint(format!("{what} has the fields {}", known.join(", "))),
                None => unknown,
            };
        }
        Some(Self { span: node.span, values, mistaken })
    }

    /// Reads a field that may be left out.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str, &'n Node, &mut DiagnosticSink<'_>) -> Option<T>,
        report: &mut DiagnosticSink<'_>,
    ) -> Option<Located<T>> {
        self.read(key, "give it a value, or leave the field out for its default", read, report)
    }

    /// Reads a field that must be there. It is not reported as missing when a misspelt one has been reported instead.
    pub(super) fn required<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&str, &'n Node, &mut DiagnosticSink<'_>) -> Option<T>,
        report: &mut DiagnosticSink<'_>,
    ) -> Option<Located<T>> {
        if !self.values.contains_key(key) && !self.mistaken.contains(key) {
            report.error(self.span, format!("missing field `{key}`")).hint(hint);
        }
        self.read(key, hint, read, report)
    }

    fn read<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&str, &'n Node, &mut DiagnosticSink<'_>) -> Option<T>,
        report: &mut DiagnosticSink<'_>,
    ) -> Option<Located<T>> {
        let node = *self.values.get(key)?;
        if node.value == Value::Null {
            report.error(node.span, format!("`{key}` has no value")).hint(hint);
            return None;
        }
        read(key, node, report).map(|value| Located { span: node.span, value })
    }

    /// Returns the names of the fields that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = &'n str> {
        self.values.keys().copied()
    }
}

/// Returns the entries of a map in the file's order, each key once; `None` when it is no map.
pub(super) fn entries<'n>(
    node: &'n Node,
    what: &str,
    report: &mut DiagnosticSink<'_>,
) -> Option<Vec<(&'n str, Span, &'n Node)>> {
    let Value::Map(pairs) = &node.value else {
        report.error(node.span, format!("{what} must be a map of fields, found {}", node.described()));
        return None;
    };
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    let mut entries = Vec::new();
    for (key, value) in pairs {
        let Value::Scalar(Scalar { text, .. }) = &key.value else {
            report.error(key.span, format!("a field name must be text, found {}", key.described()));
            continue;
        };
        match first.get(text.as_str()) {
            Some(&before) => {
                let line = report.spot(before).line;
                report
                    .error(key.span, format!("duplicate field {}", quoted(text)))
                    .hint(format!("keep one of them; the first is on line {line}"));
            }
            None => {
                first.insert(text, key.span);
                entries.push((text.as_str(), key.span, value));
            }
        }
    }
    Some(entries)
}

fn expected(key: &str, what: &str, node: &Node, report: &mut DiagnosticSink<'_>, hint: Option<String>) {
    let error = report.error(node.span, format!("`{key}` must be {what}, found {}", node.described()));
    if let Some(hint) = hint {
        error.hint(hint);
    }
}

/// Reads text that is not empty. A number, `true` and `false` are not text unless quoted.
pub(super) fn text(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) if scalar.kind() == Kind::Text => {
            if scalar.text.trim().is_empty() {
                report.error(node.span, format!("`{key}` is empty"));
                return None;
            }
            Some(scalar.text.clone())
        }
        Value::Scalar(scalar) => {
            let hint = format!("put it in quotes to make it text: \"{}\"", scalar.text);
            expected(key, "text", node, report, Some(hint));
            None
        }
        _ => {
            expected(key, "text", node, report, None);
            None
        }
    }
}

/// Reads a whole number within bounds.
pub(super) fn whole(
    bounds: std::ops::RangeInclusive<i64>,
    below: &'static str,
) -> impl Fn(&str, &Node, &mut DiagnosticSink<'_>) -> Option<i64> {
    move |key, node, report| {
        let Value::Scalar(scalar) = &node.value else {
            expected(key, "a whole number", node, report, None);
            return None;
        };
        let (least, most) = (*bounds.start(), *bounds.end());
        match scalar.kind() {
            Kind::Whole(Some(number)) if bounds.contains(&number) => Some(number),
            Kind::Whole(Some(number)) if number < least => {
                report
                    .error(node.span, format!("`{key}` must be at least {least}, found {number}"))
                    .hint(below);
                None
            }
            Kind::Whole(number) => {
                let found = number.map_or_else(|| quoted(&scalar.text), |number| number.to_string());
                report.error(node.span, format!("`{key}` must be at most {most}, found {found}"));
                None
            }
            Kind::Text if Scalar { quoted: false, ..scalar.clone() }.kind() != Kind::Text => {
                expected(key, "a whole number", node, report, Some("remove the quotes".to_owned()));
                None
            }
            _ => {
                expected(key, "a whole number", node, report, None);
                None
            }
        }
    }
}

/// Reads `true` or `false`.
pub(super) fn switch(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<bool> {
    if let Value::Scalar(scalar) = &node.value
        && let Kind::Switch(on) = scalar.kind()
    {
        return Some(on);
    }
    expected(key, "true or false", node, report, None);
    None
}

/// Reads one of some words.
pub(super) fn choice<T: Copy>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(&str, &Node, &mut DiagnosticSink<'_>) -> Option<T> {
    move |key, node, report| {
        let word = text(key, node, report)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        report.error(node.span, format!("`{key}` must be {}, found {}", names.join(" or "), quoted(&word)));
        None
    }
}

/// Reads a duration longer than nothing.
pub(super) fn time(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<TimeDelta> {
    measured(key, node, report, DURATION_FORM, duration)
}

/// Reads a size in bytes.
pub(super) fn bytes(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<u64> {
    measured(key, node, report, SIZE_FORM, size)
}

fn measured<T>(
    key: &str,
    node: &Node,
    report: &mut DiagnosticSink<'_>,
    form: &str,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<T> {
    let Value::Scalar(scalar) = &node.value else {
        expected(key, "a single value", node, report, Some(form.to_owned()));
        return None;
    };
    match read(&scalar.text) {
        Ok(value) => Some(value),
        Err(why) => {
            report.error(node.span, format!("`{key}` {why}: {}", quoted(&scalar.text))).hint(form);
            None
        }
    }
}

/// Reads a list that is not empty.
pub(super) fn list<'n>(key: &str, node: &'n Node, report: &mut DiagnosticSink<'_>) -> Option<&'n [Node]> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            report.error(node.span, format!("`{key}` is an empty list"));
            None
        }
        Value::List(items) => Some(items),
        Value::Scalar(scalar) => {
            expected(key, "a list", node, report, Some(format!("write [{}]", scalar.text)));
            None
        }
        Value::Map(_) | Value::Null => {
            expected(key, "a list", node, report, None);
            None
        }
    }
}

/// Returns the values of a list that is not empty, or a single value as a list of one.
pub(super) fn one_or_list<'n>(
    key: &str,
    node: &'n Node,
    report: &mut DiagnosticSink<'_>,
) -> Option<&'n [Node]> {
    match &node.value {
        Value::List(_) => list(key, node, report),
        _ => Some(std::slice::from_ref(node)),
    }
}

/// Finds the name that a word was most likely meant to be; `None` when none is near.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    if length > SUGGESTED_CHARS_MAX {
        return None;
    }
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= length.div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let names = ["tiers", "timezone", "select"];
        assert_eq!(nearest("tier", names), Some("tiers"));
        assert_eq!(nearest("timeZone", names), Some("timezone"));
        assert_eq!(nearest("slect", names), Some("select"));
        assert_eq!(nearest("schedule", names), None);
        assert_eq!(nearest(&"t".repeat(1_000), names), None);
    }
}
