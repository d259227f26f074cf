//! VMs' backups with why they are kept, as tables.

use super::escape::{escaped, origin};
use crate::insight::show::{BackupExplanation, Explanation, VmExplanation};
use crate::plan::bytes_text;
use crate::render::text::{next_due_text, show as shown};
use std::io::{self, Write};

/// Writes VMs' backups with why they are kept: a table for each.
///
/// # Errors
///
/// Those of writing.
pub fn show(explained: &Explanation, identity: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}\n", origin(&explained.endpoint, identity, &explained.timezone))?;
    for (place, vm) in explained.vms.iter().enumerate() {
        let id = vm.uuid.map_or_else(String::new, |id| format!(" `{id}`"));
        let policy = vm.policy.as_deref().map_or_else(String::new, |policy| format!(", {}", escaped(policy)));
        writeln!(out, "{}**{}**{id}{policy}\n", if place == 0 { "" } else { "\n" }, escaped(&vm.alias))?;
        for note in &vm.notes {
            writeln!(out, "- {}", escaped(&note.to_string()))?;
        }
        if !vm.next_due.is_empty() {
            writeln!(out, "- next due: {}", escaped(&next_due_text(&vm.next_due)))?;
        }
        for storage in vm.tiers.iter().filter_map(shown::storage_text) {
            writeln!(out, "- storage: {}", escaped(&storage))?;
        }
        if !vm.notes.is_empty() || !vm.next_due.is_empty() {
            writeln!(out)?;
        }
        if vm.backups.is_empty() {
            writeln!(out, "No backup.")?;
            continue;
        }
        writeln!(out, "| backup | on | size | restore | local | stored |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        vm.backups.iter().try_for_each(|backup| backup_line(vm, backup, out))?;
    }
    Ok(())
}

fn backup_line(vm: &VmExplanation, backup: &BackupExplanation, out: &mut dyn Write) -> io::Result<()> {
    let list = |texts: Vec<String>| texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().join("<br>");
    writeln!(
        out,
        "| {}{} `{}` | {} | {} | {} | {} | {} |",
        shown::standing_text(backup),
        escaped(&shown::name_of(backup)),
        backup.backup.short(),
        backup.parent.map_or_else(|| "full".to_owned(), |parent| format!("`{}`", parent.short())),
        backup.size_bytes.map_or_else(|| "unknown".to_owned(), bytes_text),
        shown::restore_text(backup).map_or_else(String::new, |text| escaped(&text)),
        list(shown::local_texts(vm, backup)),
        list(shown::stored_texts(vm, backup)),
    )
}
