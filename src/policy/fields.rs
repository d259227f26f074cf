//! Reads the values of a YAML tree, noting every mistake and going on.
//!
//! A value that cannot be read is noted and then treated as if it were not there.

use super::source::{Report, Span, is_invisible, is_unusual, named, quoted};
use super::units::{DURATION_FORM, SIZE_FORM, duration, size};
use super::yaml::{Entry, Kind, Node, Value};
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

pub(super) struct Fields<'n> {
    span: Span,
    report: &'n Report<'n>,
    pub(super) values: BTreeMap<&'n str, &'n Node>,
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
        if !self.has(key) && !self.mistaken.contains(key) {
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

    /// Reads the value of a field; a default where it is left out, or wrong.
    pub(super) fn or<T>(&self, key: &'n str, default: T, read: impl FnOnce(At<'n>) -> Option<T>) -> T {
        self.get(key).and_then(read).unwrap_or(default)
    }

    /// Reads each value of a field that has a list or a single one; none where it is left out.
    pub(super) fn each<T>(&self, key: &'n str, read: impl Fn(At<'n>) -> Option<T>) -> Vec<T> {
        self.get(key).map_or_else(Vec::new, |at| at.each(read))
    }

    /// Returns where the value of a field stands; the whole map, where it is left out.
    pub(super) fn span(&self, key: &str) -> Span {
        self.values.get(key).map_or(self.span, |node| node.span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

impl<'n> At<'n> {
    pub(super) fn wrong<T>(self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.error(self.node.span, message, hint);
        None
    }

    fn expected<T>(self, what: &str, hint: impl Into<String>) -> Option<T> {
        self.wrong(format!("{} must be {what}, found {}", quoted(self.key), self.node.described()), hint)
    }

    pub(super) fn map(self, what: &str) -> Option<&'n [Entry]> {
        match &self.node.value {
            Value::Map(entries) => Some(entries),
            _ => self.wrong(format!("{what} must be a map of fields, found {}", self.node.described()), ""),
        }
    }

    /// Takes a map apart. Keys that are not `known` are mistakes; `elsewhere` says of a key where else it belongs.
    pub(super) fn fields(
        self,
        what: &str,
        known: &'static [&'static str],
        elsewhere: impl Fn(&str) -> String,
    ) -> Option<Fields<'n>> {
        let (mut values, mut mistaken) = (BTreeMap::new(), BTreeSet::new());
        for Entry { key, key_span, value } in self.map(what)? {
            if known.contains(&key.as_str()) {
                values.insert(key.as_str(), value);
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
            self.report.error(*key_span, message, hint);
        }
        Some(Fields { span: self.node.span, report: self.report, values, mistaken })
    }

    /// Reads text that is not empty. A number, `true` and `false` are not text unless quoted.
    pub(super) fn text(self) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar(text, Kind::Text) if text.trim().is_empty() => {
                self.wrong(format!("{} is empty", quoted(self.key)), "")
            }
            Value::Scalar(text, Kind::Text) => Some(text),
            Value::Scalar(text, _) => {
                self.expected("text", format!("put it in quotes to make it text: \"{text}\""))
            }
            _ => self.expected("text", ""),
        }
    }

    /// Reads text that is compared with what FiFo has.
    pub(super) fn compared(self) -> Option<&'n str> {
        self.text().inspect(|text| self.warn_of_invisible(text))
    }

    /// Warns of an invisible character, which prevents that a text is found equal to another one.
    pub(super) fn warn_of_invisible(self, text: &str) {
        if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
            let message = format!("{} contains {}", quoted(self.key), named(c));
            let hint = "it matches only what contains the same character; type it anew if it is not intended";
            self.report.warning(self.node.span, message, hint);
        }
    }

    pub(super) fn whole<T: TryFrom<i64>>(self, bounds: RangeInclusive<i64>, below: &str) -> Option<T> {
        let (key, least, most) = (self.key, bounds.start(), bounds.end());
        match &self.node.value {
            Value::Scalar(_, Kind::Whole(Some(number))) if bounds.contains(number) => {
                T::try_from(*number).ok()
            }
            Value::Scalar(_, Kind::Whole(Some(number))) if number < least => {
                self.wrong(format!("`{key}` must be at least {least}, found {number}"), below)
            }
            Value::Scalar(text, Kind::Whole(number)) => {
                let found = number.map_or_else(|| quoted(text), |number| number.to_string());
                self.wrong(format!("`{key}` must be at most {most}, found {found}"), "")
            }
            Value::Scalar(text, Kind::Text) if Kind::of(text) != Kind::Text => {
                self.expected("a whole number", "remove the quotes")
            }
            _ => self.expected("a whole number", ""),
        }
    }

    pub(super) fn switch(self) -> Option<bool> {
        match self.node.value {
            Value::Scalar(_, Kind::Switch(on)) => Some(on),
            _ => self.expected("true or false", ""),
        }
    }

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

    pub(super) fn bytes(self) -> Option<u64> {
        self.measured(SIZE_FORM, size)
    }

    fn measured<T>(self, form: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let Value::Scalar(text, _) = &self.node.value else { return self.expected("a single value", form) };
        match read(text) {
            Ok(value) => Some(value),
            Err(why) => self.wrong(format!("`{}` {why}: {}", self.key, quoted(text)), form),
        }
    }

    pub(super) fn list(self) -> Option<Vec<Self>> {
        match &self.node.value {
            Value::List(items) if items.is_empty() => {
                self.wrong(format!("{} is an empty list", quoted(self.key)), "")
            }
            Value::List(items) => Some(items.iter().map(|node| Self { node, ..self }).collect()),
            Value::Scalar(text, _) => self.expected("a list", format!("write [{text}]")),
            Value::Map(_) | Value::Null => self.expected("a list", ""),
        }
    }

    /// Reads each value of a list that is not empty, or a single value as a list of one.
    pub(super) fn each<T>(self, read: impl Fn(Self) -> Option<T>) -> Vec<T> {
        let is_list = matches!(self.node.value, Value::List(_));
        let items = if is_list { self.list().unwrap_or_default() } else { vec![self] };
        items.into_iter().filter_map(read).collect()
    }
}

pub(super) fn did_you_mean(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean `{near}`?"))
}

/// Finds the name that a word was most likely meant to be; `None` when none is near.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let distance = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
    let names = names.into_iter().filter(|_| length <= SUGGESTED_CHARS_MAX);
    let near = names.map(|name| (distance(name), name)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= length.div_ceil(3).min(3)).map(|(_, name)| name)
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
