//! Reads the values of a YAML tree, noting every mistake and going on.
//!
//! A value that cannot be read is noted and then treated as if it were not there.

use super::source::{Report, Span, is_invisible, is_unusual, named, quoted};
use super::units::{DURATION_FORM, SIZE_FORM, duration, size};
use super::yaml::{Kind, Node, Scalar, Value};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Longer words than this are not looked up for what they may have been meant to be.
const SUGGESTED_CHARS_MAX: usize = 60;

/// A value, and the field that it is of, for messages.
#[derive(Clone, Copy)]
pub(super) struct At<'n> {
    pub(super) key: &'n str,
    pub(super) node: &'n Node,
    pub(super) report: &'n Report<'n>,
}

/// The fields of a map.
pub(super) struct Fields<'n> {
    pub(super) span: Span,
    report: &'n Report<'n>,
    values: BTreeMap<&'n str, &'n Node>,
    /// The known fields that unknown ones were most likely meant to be.
    mistaken: BTreeSet<&'n str>,
}

impl<'n> Fields<'n> {
    /// Returns the value of a field; `None` where it is left out. A field without a value is a mistake.
    pub(super) fn get(&self, key: &'n str) -> Option<At<'n>> {
        self.given(key, "give it a value, or leave the field out for its default")
    }

    /// Returns the value of a field that must be there. It is not reported as missing when a misspelt one has been
    /// reported instead.
    pub(super) fn need(&self, key: &'n str, hint: &str) -> Option<At<'n>> {
        if !self.values.contains_key(key) && !self.mistaken.contains(key) {
            self.report.error(self.span, format!("missing field `{key}`"), hint);
        }
        self.given(key, hint)
    }

    fn given(&self, key: &'n str, hint: &str) -> Option<At<'n>> {
        let at = At { key, node: self.values.get(key)?, report: self.report };
        match at.node.value {
            Value::Null => at.wrong(format!("`{key}` has no value"), hint),
            _ => Some(at),
        }
    }

    /// Returns where the value of a field stands; the whole map, where it is left out.
    pub(super) fn span(&self, key: &str) -> Span {
        self.values.get(key).map_or(self.span, |node| node.span)
    }

    /// Says whether a field is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Counts the known fields that are there.
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }
}

impl<'n> At<'n> {
    /// Notes a mistake at this value.
    pub(super) fn wrong<T>(self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.error(self.node.span, message, hint);
        None
    }

    /// Notes that this value is of the wrong kind.
    pub(super) fn expected<T>(self, what: &str, hint: impl Into<String>) -> Option<T> {
        self.wrong(format!("{} must be {what}, found {}", quoted(self.key), self.node.described()), hint)
    }

    /// Takes a map apart. Keys that are not `known` are mistakes; `elsewhere` says of a key where else it belongs.
    pub(super) fn fields(
        self,
        what: &str,
        known: &'static [&'static str],
        elsewhere: impl Fn(&str) -> String,
    ) -> Option<Fields<'n>> {
        let Value::Map(entries) = &self.node.value else {
            return self
                .wrong(format!("{what} must be a map of fields, found {}", self.node.described()), "");
        };
        let (mut values, mut mistaken) = (BTreeMap::new(), BTreeSet::new());
        for entry in entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                values.insert(key, &entry.value);
                continue;
            }
            let near = nearest(key, known.iter().copied());
            mistaken.extend(near);
            let mut hint = elsewhere(key);
            if let Some(other) = key.chars().find(|c| !c.is_ascii() && !is_unusual(*c)) {
                hint = format!("it contains {}: type it anew", named(other));
            } else if near.is_none() && hint.is_empty() {
                hint = format!("{what} has the fields {}", known.join(", "));
            }
            let message = format!("unknown field {}{}", quoted(key), did_you_mean(near));
            self.report.error(entry.key_span, message, hint);
        }
        Some(Fields { span: self.node.span, report: self.report, values, mistaken })
    }

    /// Reads text that is not empty. A number, `true` and `false` are not text unless quoted.
    pub(super) fn text(self) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.kind() != Kind::Text => {
                self.expected("text", format!("put it in quotes to make it text: \"{}\"", scalar.text))
            }
            Value::Scalar(scalar) if scalar.text.trim().is_empty() => {
                self.wrong(format!("{} is empty", quoted(self.key)), "")
            }
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => self.expected("text", ""),
        }
    }

    /// Reads text that is compared with what FiFo has, which an invisible character would prevent.
    pub(super) fn compared(self) -> Option<&'n str> {
        let text = self.text()?;
        self.warn_of_invisible(text);
        Some(text)
    }

    pub(super) fn warn_of_invisible(self, text: &str) {
        if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
            let message = format!("{} contains {}", quoted(self.key), named(c));
            let hint = "it matches only what contains the same character; type it anew if it is not intended";
            self.report.warning(self.node.span, message, hint);
        }
    }

    /// Reads a whole number within bounds.
    pub(super) fn whole<T: TryFrom<i64>>(self, bounds: RangeInclusive<i64>, below: &str) -> Option<T> {
        let Value::Scalar(scalar) = &self.node.value else { return self.expected("a whole number", "") };
        let key = self.key;
        match scalar.kind() {
            Kind::Whole(Some(number)) if bounds.contains(&number) => T::try_from(number).ok(),
            Kind::Whole(Some(number)) if number < *bounds.start() => {
                self.wrong(format!("`{key}` must be at least {}, found {number}", bounds.start()), below)
            }
            Kind::Whole(number) => {
                let found = number.map_or_else(|| quoted(&scalar.text), |number| number.to_string());
                self.wrong(format!("`{key}` must be at most {}, found {found}", bounds.end()), "")
            }
            Kind::Text if Scalar { quoted: false, ..scalar.clone() }.kind() != Kind::Text => {
                self.expected("a whole number", "remove the quotes")
            }
            _ => self.expected("a whole number", ""),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn switch(self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar(scalar) if let Kind::Switch(on) = scalar.kind() => Some(on),
            _ => self.expected("true or false", ""),
        }
    }

    /// Reads one of some words.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        let word = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        self.wrong(format!("`{}` must be {}, found {}", self.key, names.join(" or "), quoted(word)), "")
    }

    /// Reads a duration longer than nothing.
    pub(super) fn time(self) -> Option<TimeDelta> {
        self.measured(DURATION_FORM, duration)
    }

    /// Reads a size in bytes.
    pub(super) fn bytes(self) -> Option<u64> {
        self.measured(SIZE_FORM, size)
    }

    fn measured<T>(self, form: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let Value::Scalar(scalar) = &self.node.value else { return self.expected("a single value", form) };
        match read(&scalar.text) {
            Ok(value) => Some(value),
            Err(why) => self.wrong(format!("`{}` {why}: {}", self.key, quoted(&scalar.text)), form),
        }
    }

    /// Reads a list that is not empty.
    pub(super) fn list(self) -> Option<impl Iterator<Item = Self>> {
        match &self.node.value {
            Value::List(items) if items.is_empty() => {
                self.wrong(format!("{} is an empty list", quoted(self.key)), "")
            }
            Value::List(items) => Some(self.each(items)),
            Value::Scalar(scalar) => self.expected("a list", format!("write [{}]", scalar.text)),
            Value::Map(_) | Value::Null => self.expected("a list", ""),
        }
    }

    /// Reads a list that is not empty, or takes a single value as a list of one.
    pub(super) fn one_or_list(self) -> Option<impl Iterator<Item = Self>> {
        match &self.node.value {
            Value::List(_) => self.list().map(|_| self.each(self.items())),
            _ => Some(self.each(self.items())),
        }
    }

    fn items(self) -> &'n [Node] {
        match &self.node.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self.node),
        }
    }

    fn each(self, items: &'n [Node]) -> impl Iterator<Item = Self> {
        items.iter().map(move |node| Self { node, ..self })
    }
}

/// Asks after the name that an unknown one was most likely meant to be.
pub(super) fn did_you_mean(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean `{near}`?"))
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
