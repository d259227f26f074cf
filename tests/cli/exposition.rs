//! A strict little reader of Prometheus' text format 0.0.4, for what the program writes: everything that the format
//! leaves open and this does not write is refused.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of an exposition, by `name{labels}`.
#[derive(Debug)]
pub(crate) struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    /// Reads it, and fails with the line that is wrong.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut current) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help in {line}"));
                assert!(helped.insert(name.to_owned()), "{name} is there twice");
                assert!(!help.is_empty() && !help.contains('\\'), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type in {line}"));
                assert!(matches!(kind, "gauge" | "counter"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(helped.contains(name), "{name} has no help before its type");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line} is there twice");
                name.clone_into(&mut current);
            } else {
                let (series, value) = sample(line);
                let name = series.split('{').next().unwrap_or_default();
                assert_eq!(name, current, "{line} stands among the samples of another metric");
                assert!(samples.insert(series, value).is_none(), "{line} is there twice");
            }
        }
        Self(samples)
    }

    /// Returns a sample's value.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Returns the series of a metric.
    pub(crate) fn of(&self, name: &str) -> Vec<(&str, f64)> {
        let is_it = |series: &str| series.split('{').next() == Some(name);
        self.0
            .iter()
            .filter(|(series, _)| is_it(series))
            .map(|(series, value)| (series.as_str(), *value))
            .collect()
    }
}

/// Reads `name{label="value",…} number`.
#[track_caller]
fn sample(line: &str) -> (String, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value in {line}"));
    let (name, mut rest) = line.split_at(end);
    let is_name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    assert!(is_name(name), "{line}");
    if let Some(mut labels) = rest.strip_prefix('{') {
        let mut names = BTreeSet::new();
        loop {
            let (label, value) = labels.split_once("=\"").unwrap_or_else(|| panic!("no label in {line}"));
            assert!(is_name(label) && names.insert(label.to_owned()), "{line}");
            let after = after_quote(value).unwrap_or_else(|| panic!("a label does not end in {line}"));
            match (after.strip_prefix(','), after.strip_prefix('}')) {
                (Some(more), _) => labels = more,
                (_, Some(end)) => {
                    rest = end;
                    break;
                }
                _ => panic!("{line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no blank before the value of {line}"));
    let number: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
    assert!(number.is_finite(), "{line}");
    (line.strip_suffix(rest).unwrap_or_default().to_owned(), number)
}

/// Returns what comes after the quote that ends a label's value.
fn after_quote(value: &str) -> Option<&str> {
    let mut letters = value.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return value.get(place + 1..),
            '\\' => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n'))), "a bad escape in {value}"),
            _ => {}
        }
    }
    None
}
