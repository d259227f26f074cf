//! JSON: for programs; the plan's also to be saved and applied later. Data is written as it is by its own [`Serialize`].
//! The errors are those of writing.

use super::escape::is_acted_on;
use super::history::KnownVms;
use super::run::Vms;
use super::verify::{Verified, verified};
use crate::apply::SafetyStop;
use crate::insight::Comparison;
use crate::insight::show::Explanation;
use crate::insight::status::{Health, VmHealth};
use crate::inventory::VmId;
use crate::plan::{Note, Plan};
use crate::simulate::Simulation;
use chrono::{DateTime, Utc};
use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes text inside JSON so that neither a terminal nor a CI system obeys it: what these would act on becomes an escape such
/// as `\u0023`, which is the same data. All of it can only be inside of strings.
pub struct Harmless<'w> {
    out: &'w mut dyn Write,
    /// Whether the last character was `#`: two of them may begin a command.
    is_after_hash: bool,
}

impl<'w> Harmless<'w> {
    /// Makes one that writes to `out`. What is written to it has to be JSON, in pieces that are whole characters.
    pub fn new(out: &'w mut dyn Write) -> Self {
        Self { out, is_after_hash: false }
    }
}

impl Write for Harmless<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let mut written = String::with_capacity(text.len());
        for letter in text.chars() {
            if (letter == '#' && self.is_after_hash) || (letter != '\n' && is_acted_on(letter)) {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    written.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                written.push(letter);
            }
            self.is_after_hash = letter == '#';
        }
        self.out.write_all(written.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a document, indented and with a line end behind it; with `safety_stop` in it where there is one. The same data gives the
/// same bytes. With a safety stop a plan is no longer a saved one.
pub fn document(document: &impl Serialize, stop: Option<&SafetyStop>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Hindered<'a, T> {
        #[serde(flatten)]
        document: &'a T,
        safety_stop: &'a SafetyStop,
    }
    let mut out = Harmless::new(out);
    match stop {
        // Without `flatten`, which holds the whole document in memory.
        None => serde_json::to_writer_pretty(&mut out, document)?,
        Some(safety_stop) => serde_json::to_writer_pretty(&mut out, &Hindered { document, safety_stop })?,
    }
    out.write_all(b"\n")
}

pub fn line(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Harmless::new(out);
    serde_json::to_writer(&mut out, document)?;
    out.write_all(b"\n")
}

/// Writes a document of two parts behind its format.
fn formatted(
    format: &'static str,
    first: impl Serialize,
    second: impl Serialize,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Formatted<A, B> {
        format: &'static str,
        #[serde(flatten)]
        first: A,
        #[serde(flatten)]
        second: B,
    }
    document(&Formatted { format, first, second }, stop, out)
}

/// Writes a plan with the effect of a change of policies.
pub fn comparison(
    plan: &Plan,
    comparison: &Comparison,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    formatted("fifo-retain.comparison/1", BTreeMap::from([("plan", plan)]), comparison, stop, out)
}

/// Writes VMs' backups with why they are kept, and under `verified` what is proven of them, where there is anything.
pub fn show(
    explained: &Explanation,
    known: &KnownVms,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let known = Some(("verified", verified(known))).filter(|_| !known.is_empty());
    formatted("fifo-retain.show/1", explained, BTreeMap::from_iter(known), stop, out)
}

/// Writes a simulation; with `against` that of the policies before as well.
pub fn simulation(
    simulation: &Simulation,
    against: Option<&Simulation>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let against = against.map(|against| ("against", &against.policies));
    formatted("fifo-retain.simulation/1", simulation, BTreeMap::from_iter(against), None, out)
}

/// Writes the status of VMs, and under `verified` what is proven of them, where there is anything.
pub fn status(
    health: &Health,
    known: &KnownVms,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Status<'a> {
        format: &'static str,
        at: DateTime<Utc>,
        endpoint: &'a str,
        timezone: &'a str,
        #[serde(serialize_with = "vm_statuses")]
        vms: &'a [VmHealth],
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        verified: BTreeMap<VmId, Verified<'a>>,
        summary: Summary,
    }
    #[derive(Serialize)]
    struct Summary {
        #[serde(flatten)]
        vms: Vms,
        suspended: usize,
    }
    let Health { at, endpoint, timezone, vms } = health;
    let suspended = vms.iter().filter(|vm| vm.is_suspended).count();
    let summary = Summary { vms: Vms::of(health), suspended };
    let (format, verified) = ("fifo-retain.status/1", verified(known));
    document(&Status { format, at: *at, endpoint, timezone, vms, verified, summary }, stop, out)
}

/// Writes VMs one after the other, so that only one of them is there with its advice.
fn vm_statuses<S: Serializer>(vms: &[VmHealth], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct VmStatus<'a> {
        #[serde(flatten)]
        vm: &'a VmHealth,
        problems: Vec<VmProblem<'a>>,
    }
    #[derive(Serialize)]
    struct VmProblem<'a> {
        #[serde(flatten)]
        note: &'a Note,
        advice: &'static str,
    }
    serializer.collect_seq(vms.iter().map(|vm| {
        let problems = vm.notes.iter().filter_map(|note| Some(VmProblem { note, advice: note.advice? }));
        VmStatus { vm, problems: problems.collect() }
    }))
}

/// Writes a JSON Schema, each description on one line.
pub fn schema(mut schema: Schema, out: &mut dyn Write) -> io::Result<()> {
    unbroken(&mut schema);
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    out.write_all(b"\n")
}

/// Turns Rust doc comments into prose: these break where a source line ends, link to names, and have `None`
/// where JSON has `null`.
fn unbroken(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        *text = line.replace("[`", "`").replace("`]", "`").replace("`None`", "`null`");
    }
    transform_subschemas(&mut unbroken, schema);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_the_same_data_and_nothing_acts_on_it() {
        let foreign = "##[group]\u{202e}\u{9b}\u{2028}##vso[task] # ## é\n\u{1b}\u{e0041}";
        let mut out = Vec::new();
        line(&foreign, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), foreign);
        assert!(!text.contains("##") && text.contains(" # ") && text.contains('é'), "{text}");
        assert!(!text.trim_end().chars().any(is_acted_on), "{text}");
    }
}
