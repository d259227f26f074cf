//! The metrics for Prometheus, served or written to a file.
//!
//! Every series is made anew from the [`RunHistory`] each time, so that a VM that has vanished, or a tier that was renamed,
//! leaves nothing behind. [`METRICS`] lists all there are; `docs/metrics.md` describes them.

mod table;

pub use table::METRICS;

use super::escape::visible;
use crate::report::RunHistory;
use chrono::{DateTime, Utc};
use std::fmt::{self, Write as _};

/// The ways of writing metrics down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' text format 0.0.4; the only one for files.
    Prometheus,
    /// OpenMetrics 1.0.0, for clients that accept it.
    OpenMetrics,
}

impl Dialect {
    /// Returns the value for `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A metric: its name, its meaning and the source of its values.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its full name, with unit and `_total`.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
    samples: fn(&Scene<'_>) -> Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It goes up and down.
    Gauge,
    /// It only grows, from 0 at the start of the process.
    Counter,
}

/// The sources of the values.
struct Scene<'a> {
    history: &'a RunHistory,
    /// The health of the VMs, aged to the present instant.
    health: Option<crate::insight::status::Health>,
}

#[derive(Debug)]
struct Sample {
    /// The labels' values, in the order of their names.
    labels: Vec<String>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Integer(i64),
    Float(f64),
}

/// Writes everything that is known. The instant is needed since backups age between readings.
///
/// # Errors
///
/// None in practice: writing to a `String` cannot fail.
pub fn text(history: &RunHistory, now: DateTime<Utc>, dialect: Dialect) -> Result<String, fmt::Error> {
    let health = history.overview.as_ref().map(|overview| overview.health.aged(now));
    let scene = Scene { history, health };
    let mut out = String::new();
    for Metric { name, kind, labels, help, samples } in METRICS {
        let samples = samples(&scene);
        if samples.is_empty() {
            continue;
        }
        let (family, kind) = match (kind, dialect) {
            (MetricKind::Gauge, _) => (name, "gauge"),
            (MetricKind::Counter, Dialect::Prometheus) => (name, "counter"),
            (MetricKind::Counter, Dialect::OpenMetrics) => (name.trim_end_matches("_total"), "counter"),
        };
        writeln!(out, "# HELP {family} {help}.\n# TYPE {family} {kind}")?;
        for Sample { labels: values, value } in samples {
            let pair = |(label, value): (&&str, &String)| format!("{label}=\"{}\"", quoted(value));
            let labels: Vec<String> = labels.iter().zip(&values).map(pair).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            match value {
                Value::Integer(value) => writeln!(out, "{name}{labels} {value}")?,
                Value::Float(value) => writeln!(out, "{name}{labels} {value:?}")?,
            }
        }
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    Ok(out)
}

/// Writes a label's value as both dialects quote it. An alias is free text.
fn quoted(value: &str) -> String {
    visible(value).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
