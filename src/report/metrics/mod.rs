//! The metrics for Prometheus, served or written to a file.
//!
//! Every series is made anew from the [`RunHistory`] each time, so that a VM that has vanished, or a tier that was renamed,
//! leaves nothing behind. [`METRICS`] lists all there are; `docs/metrics.md` describes them.

mod table;

pub use table::METRICS;

use super::escape::visible;
use crate::insight::status::Health;
use crate::report::RunHistory;
use chrono::{DateTime, Utc};
use std::fmt::Display;

/// The ways of writing metrics down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' text format 0.0.4; the only one for files.
    Prometheus,
    /// OpenMetrics 1.0.0, for clients that accept it.
    OpenMetrics,
}

impl Dialect {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A metric: its name, its meaning and the source of its values. One that ends in `_total` is a counter, from 0 at the start
/// of the process; every other one is a gauge.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its full name, with unit and `_total`.
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    samples: fn(&Scene<'_>) -> Vec<Sample>,
}

struct Scene<'a> {
    history: &'a RunHistory,
    /// The health of the VMs, aged to the present instant.
    health: Option<Health>,
}

/// The values of the labels, in the order of their names, and the value itself.
type Sample = (Vec<String>, String);

/// Writes everything that is known. The instant is needed since backups age between readings.
pub fn text(history: &RunHistory, now: DateTime<Utc>, dialect: Dialect) -> String {
    let health = history.overview.as_ref().map(|health| health.aged(now));
    let scene = Scene { history, health };
    let mut out = String::new();
    for Metric { name, labels, help, samples } in METRICS {
        let counted = name.strip_suffix("_total");
        let kind = if counted.is_some() { "counter" } else { "gauge" };
        let family = counted.filter(|_| dialect == Dialect::OpenMetrics).unwrap_or(name);
        let samples = samples(&scene)
            .into_iter()
            .map(|(values, value)| (labels.iter().copied().zip(values).collect(), value));
        write(&mut out, (family, kind, help), name, samples);
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Writes a family by its name, kind and meaning, with its samples; nothing where there are none.
pub(super) fn write<V: Display>(
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

#[cfg(test)]
mod tests;
