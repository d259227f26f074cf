//! The metrics for Prometheus, served or written to a file.
//!
//! Every series is made anew from the [`RunHistory`] each time, so that a VM that has vanished, or a tier that was renamed,
//! leaves nothing behind. [`METRICS`] lists all there are; `docs/metrics.md` describes them.

mod table;

pub use table::METRICS;

use crate::run::RunHistory;
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;

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
    let families = METRICS.iter().map(|metric| Family { metric: *metric, samples: (metric.samples)(&scene) });
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families.collect())));
    let mut out = String::new();
    match dialect {
        Dialect::Prometheus => prometheus_text::encode(&mut out, &registry)?,
        Dialect::OpenMetrics => text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

#[derive(Debug)]
struct Families(Vec<Family>);

struct Family {
    metric: Metric,
    samples: Vec<Sample>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.metric.name).field("samples", &self.samples).finish()
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.0
            .iter()
            .filter(|family| !family.samples.is_empty())
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let Metric { name, kind, labels, help, .. } = self.metric;
        let (name, kind) = match kind {
            MetricKind::Gauge => (name, MetricType::Gauge),
            // The encoder puts the ending back where the format wants it.
            MetricKind::Counter => (name.strip_suffix("_total").unwrap_or(name), MetricType::Counter),
        };
        let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
        for sample in &self.samples {
            let labels: Vec<(&str, &str)> =
                labels.iter().copied().zip(sample.labels.iter().map(String::as_str)).collect();
            let encoder = encoder.encode_family(&labels)?;
            match (self.metric.kind, &sample.value) {
                (MetricKind::Counter, Value::Integer(count)) => {
                    ConstCounter::new(u64::try_from(*count).unwrap_or(0)).encode(encoder)?;
                }
                (MetricKind::Counter, Value::Float(count)) => ConstCounter::new(*count).encode(encoder)?,
                (MetricKind::Gauge, Value::Integer(value)) => ConstGauge::new(*value).encode(encoder)?,
                (MetricKind::Gauge, Value::Float(value)) => ConstGauge::new(*value).encode(encoder)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
