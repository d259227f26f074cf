//! The status of VMs, as a table.

use super::escape::{escaped, origin};
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::render::text::status as words;
use std::io::{self, Write};

/// Writes the status of VMs: the counts, a table of those that need attention with advice, and the others folded.
///
/// # Errors
///
/// Those of writing.
pub fn status(health: &Health, identity: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "**{}**\n\n{}",
        words::totals(health),
        origin(&health.endpoint, identity, &health.timezone)
    )?;
    let (out_of_date, fine): (Vec<&VmHealth>, Vec<&VmHealth>) =
        health.vms.iter().partition(|vm| vm.verdict.is_out());
    if !out_of_date.is_empty() {
        writeln!(out)?;
        table(&out_of_date, out)?;
        problems(&out_of_date, out)?;
    }
    let fine: Vec<&VmHealth> = fine.into_iter().filter(|vm| vm.verdict == BackupHealth::Safe).collect();
    if !fine.is_empty() {
        writeln!(out, "\n<details><summary>{} safe</summary>\n", fine.len())?;
        table(&fine, out)?;
        problems(&fine, out)?;
        writeln!(out, "\n</details>")?;
    }
    Ok(())
}

/// Lists what is wrong, and what to do about it.
fn problems(vms: &[&VmHealth], out: &mut dyn Write) -> io::Result<()> {
    let mut is_first = true;
    for vm in vms {
        for note in &vm.notes {
            let Some(advice) = note.advice else { continue };
            if std::mem::take(&mut is_first) {
                writeln!(out)?;
            }
            let (message, advice) = (escaped(&note.to_string()), escaped(advice));
            writeln!(out, "- {}: {message} → {advice}", escaped(&vm.alias))?;
        }
    }
    Ok(())
}

fn table(vms: &[&VmHealth], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| VM | policy | stands | newest restorable | age | restore | gaps |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for vm in vms {
        let stands = match vm.verdict {
            BackupHealth::Safe => "safe",
            BackupHealth::TooOld => "too old",
            BackupHealth::NoBackup => "no backup",
            BackupHealth::Conflict => "conflict",
            BackupHealth::Unreadable => "unreadable",
            BackupHealth::Unprotected => "unprotected",
        };
        let newest = vm.newest.as_ref();
        writeln!(
            out,
            "| {} `{}` | {} | {stands} | {} | {} | {} | {} |",
            escaped(&vm.alias),
            vm.uuid.map_or_else(String::new, |id| id.short()),
            escaped(vm.policy.as_deref().unwrap_or_default()),
            newest.map_or_else(String::new, |newest| escaped(&words::name_of(newest))),
            newest.map_or_else(String::new, |newest| words::age_text(newest.age_secs)),
            newest.map_or_else(String::new, words::restore_text),
            vm.gaps.len(),
        )?;
    }
    Ok(())
}
