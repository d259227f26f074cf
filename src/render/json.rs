//! JSON: for programs; the plan's also to be saved and applied later.

use crate::plan::health::{Health, Verdict, VmHealth};
use crate::plan::{Comparison, Plan};
use serde::Serialize;
use std::io::{self, Write};

/// Writes a plan as indented JSON with a line end behind it. The same plan gives the same bytes.
///
/// # Errors
///
/// Those of writing.
pub fn plan(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, plan)?;
    out.write_all(b"\n")
}

/// Writes a plan with what a change of policies has to do with it, in the format `fifo-retain.comparison/1`: `plan` is to
/// the letter what [`plan()`] writes.
///
/// # Errors
///
/// Those of writing.
pub fn comparison(plan: &Plan, comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Compared<'a> {
        format: &'static str,
        plan: &'a Plan,
        #[serde(flatten)]
        comparison: &'a Comparison,
    }
    serde_json::to_writer_pretty(
        &mut *out,
        &Compared { format: "fifo-retain.comparison/1", plan, comparison },
    )?;
    out.write_all(b"\n")
}

/// Writes how VMs stand, in the format `fifo-retain.status/1`.
///
/// # Errors
///
/// Those of writing.
pub fn status(health: &Health, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Status<'a> {
        format: &'static str,
        #[serde(flatten)]
        health: &'a Health,
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
    let count = |is_it: &dyn Fn(&VmHealth) -> bool| health.vms.iter().filter(|vm| is_it(vm)).count();
    let of = |verdict: Verdict| count(&|vm| vm.verdict == verdict);
    let summary = Summary {
        safe: of(Verdict::Safe),
        too_old: of(Verdict::TooOld),
        no_backup: of(Verdict::NoBackup),
        conflict: of(Verdict::Conflict),
        unreadable: of(Verdict::Unreadable),
        unprotected: of(Verdict::Unprotected),
        suspended: count(&|vm| vm.is_suspended),
    };
    serde_json::to_writer_pretty(&mut *out, &Status { format: "fifo-retain.status/1", health, summary })?;
    out.write_all(b"\n")
}
