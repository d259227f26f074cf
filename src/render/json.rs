//! JSON: for programs; the plan's also to be saved and applied later.

use crate::apply::SafetyStop;
use crate::insight::Comparison;
use crate::insight::show::Explanation;
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::plan::{Note, Plan};
use chrono::{DateTime, Utc};
use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::io::{self, Write};

/// Writes a plan as indented JSON with a line end behind it. The same plan gives the same bytes.
///
/// A safety stop follows in the field `safety_stop`; with it it is no longer a saved plan.
///
/// # Errors
///
/// Those of writing.
pub fn plan(plan: &Plan, stop: Option<&SafetyStop>, out: &mut dyn Write) -> io::Result<()> {
    write_with_stop(plan, stop, out)
}

/// Writes a document with a line end behind it, and with `safety_stop` where there is one.
fn write_document(
    document: &impl Serialize,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_with_stop(document, stop, out)
}

fn write_with_stop(
    document: &impl Serialize,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Hindered<'a, T> {
        #[serde(flatten)]
        document: &'a T,
        #[serde(skip_serializing_if = "Option::is_none")]
        safety_stop: Option<&'a SafetyStop>,
    }
    if stop.is_none() {
        // Without `flatten`, which holds the whole document in memory.
        serde_json::to_writer_pretty(&mut *out, document)?;
    } else {
        serde_json::to_writer_pretty(&mut *out, &Hindered { document, safety_stop: stop })?;
    }
    out.write_all(b"\n")
}

/// Writes a plan with the effect of a change of policies, in the format `fifo-retain.comparison/1`: `plan` is
/// exactly what [`plan()`] writes.
///
/// # Errors
///
/// Those of writing.
pub fn comparison(
    plan: &Plan,
    comparison: &Comparison,
    stop: Option<&SafetyStop>,
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Compared<'a> {
        format: &'static str,
        plan: &'a Plan,
        #[serde(flatten)]
        comparison: &'a Comparison,
    }
    write_with_stop(&Compared { format: "fifo-retain.comparison/1", plan, comparison }, stop, out)
}

/// Writes a JSON Schema, each description on one line.
///
/// # Errors
///
/// Those of writing.
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

/// Writes VMs' backups with why they are kept, in the format `fifo-retain.show/1`.
///
/// # Errors
///
/// Those of writing.
pub fn show(explained: &Explanation, stop: Option<&SafetyStop>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Show<'a> {
        format: &'static str,
        #[serde(flatten)]
        explained: &'a Explanation,
    }
    write_document(&Show { format: "fifo-retain.show/1", explained }, stop, out)
}

/// Writes the status of VMs, in the format `fifo-retain.status/1`.
///
/// # Errors
///
/// Those of writing.
pub fn status(health: &Health, stop: Option<&SafetyStop>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Status<'a> {
        format: &'static str,
        at: DateTime<Utc>,
        endpoint: &'a str,
        timezone: &'a str,
        #[serde(serialize_with = "vm_statuses")]
        vms: &'a [VmHealth],
        summary: Summary,
    }
    #[derive(Serialize)]
    struct Summary {
        safe: usize,
        too_old: usize,
        no_backup: usize,
        conflict: usize,
        unreadable: usize,
        unprotected: usize,
        suspended: usize,
    }
    let Health { at, endpoint, timezone, vms } = health;
    let count = |is_it: &dyn Fn(&VmHealth) -> bool| vms.iter().filter(|vm| is_it(vm)).count();
    let of = |verdict: BackupHealth| count(&|vm| vm.verdict == verdict);
    let summary = Summary {
        safe: of(BackupHealth::Safe),
        too_old: of(BackupHealth::TooOld),
        no_backup: of(BackupHealth::NoBackup),
        conflict: of(BackupHealth::Conflict),
        unreadable: of(BackupHealth::Unreadable),
        unprotected: of(BackupHealth::Unprotected),
        suspended: count(&|vm| vm.is_suspended),
    };
    write_document(
        &Status { format: "fifo-retain.status/1", at: *at, endpoint, timezone, vms, summary },
        stop,
        out,
    )
}

/// Writes VMs one after the other, so that only one of them is there with its advice.
fn vm_statuses<S: Serializer>(vms: &[VmHealth], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(vms.iter().map(VmStatus::of))
}

/// A VM with its notes that need action, each with the advice.
#[derive(Serialize)]
struct VmStatus<'a> {
    #[serde(flatten)]
    vm: &'a VmHealth,
    problems: Vec<BackupProblem<'a>>,
}

#[derive(Serialize)]
struct BackupProblem<'a> {
    #[serde(flatten)]
    note: &'a Note,
    advice: &'static str,
}

impl<'a> VmStatus<'a> {
    fn of(vm: &'a VmHealth) -> Self {
        let problems = vm.notes.iter().filter_map(|note| Some(BackupProblem { note, advice: note.advice? }));
        Self { problems: problems.collect(), vm }
    }
}
