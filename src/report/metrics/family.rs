//! One family of metrics in Prometheus' text formats.

use crate::report::escape::visible;
use std::fmt::Display;

/// Writes a family by its name, kind and meaning, with its samples; nothing where there are none.
pub(in crate::report) fn write<V: Display>(
    out: &mut String,
    (family, kind, help): (&str, &str, &str),
    name: &str,
    samples: impl Iterator<Item = (Vec<(&'static str, String)>, V)>,
) {
    for (at, (labels, value)) in samples.enumerate() {
        if at == 0 {
            out.push_str(&format!("# HELP {family} {help}.\n# TYPE {family} {kind}\n"));
        }
        let pair = |(label, value): &(&str, String)| format!("{label}=\"{}\"", quoted(value));
        let labels: Vec<String> = labels.iter().map(pair).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        out.push_str(&format!("{name}{labels} {value}\n"));
    }
}

/// Writes a label's value as both dialects quote it. An alias is free text.
fn quoted(value: &str) -> String {
    visible(value).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
