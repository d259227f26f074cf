//! The plan as a unified diff: each VM's backups as they are against as they will be.

use super::doc::Tone;
use super::escape::visible;
use super::layout::{padded, width};
use super::words::vm_name;
use crate::inventory::{Backup, BackupId, Inventory, Vm};
use crate::plan::{Action, DeleteCloud, Plan, VmPlan, bytes_text, projection};
use crate::policy::{Policies, Policy, Zone, minute_text};
use chrono::{DateTime, Utc};
use similar::{ChangeTag, TextDiff};
use std::array;
use uuid::Uuid;

/// The placeholder UUID of the backup to be created, which has no UUID yet.
const NEW_BACKUP: BackupId = BackupId::new(Uuid::max());
const CONTEXT: usize = 3;

/// Returns the lines of one diff for each VM that will change. Suspended actions are left out.
pub fn lines(plan: &Plan, policies: &Policies, inventory: &Inventory) -> Vec<(Tone, String)> {
    let mut lines = Vec::new();
    for planned in plan.vms.iter().filter(|planned| !planned.due_actions().is_empty()) {
        let vm = planned.uuid.and_then(|id| inventory.vms.get(&id));
        let policy = policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref());
        if let (Some(vm), Some(policy)) = (vm, policy) {
            let desired = projection::executed(vm, planned.due_actions(), NEW_BACKUP, plan.at);
            let is_pruned = |id| cloud_deletes(planned).any(|delete| delete.backup == id);
            let name = format!("{}  {}  {}", vm_name(&vm.alias, Some(vm.id)), vm.id.short(), policy.name);
            let list = |vm| listing(vm, policy, policies.display_zone(), is_pruned);
            compared(&name, &list(vm), &list(&desired), &mut lines);
        }
    }
    lines
}

fn cloud_deletes(planned: &VmPlan) -> impl Iterator<Item = &DeleteCloud> {
    planned.due_actions().iter().filter_map(Action::as_cloud_delete)
}

/// What stands behind a backup that is deleted from storage: a line that goes for good looks like one that changes.
const PRUNED: &str = "deleted from storage, for good";

/// One backup's line, in columns: tier, time, UUID, kind, where its snapshot is, state, size, and whether it is deleted from
/// storage.
type Line = [String; 8];

fn compared(name: &str, now: &[Line], then: &[Line], lines: &mut Vec<(Tone, String)>) {
    // Both sides share their widths, so that only what changes differs.
    let widths: [usize; 8] =
        array::from_fn(|column| now.iter().chain(then).map(|line| width(&line[column])).max().unwrap_or(0));
    let (now, then) = (aligned(now, widths), aligned(then, widths));
    let diff = TextDiff::from_lines(now.as_str(), then.as_str());
    lines.push((Tone::Fine, format!("--- {name}  (actual)")));
    lines.push((Tone::Fine, format!("+++ {name}  (desired)")));
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        lines.push((Tone::Plain, hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let tone = match change.tag() {
                ChangeTag::Equal => Tone::Plain,
                ChangeTag::Delete if change.value().trim_end().ends_with(PRUNED) => Tone::Destroy,
                ChangeTag::Delete => Tone::Delete,
                ChangeTag::Insert => Tone::Create,
            };
            lines.push((tone, format!("{}{}", change.tag(), change.value().trim_end())));
        }
    }
}

fn aligned(lines: &[Line], widths: [usize; 8]) -> String {
    let mut text = String::new();
    for line in lines {
        let cells: [String; 8] = array::from_fn(|column| padded(&line[column], widths[column]));
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Lists a VM's backups, oldest first, those without a timestamp before all others.
fn listing(vm: &Vm, policy: &Policy, zone: &Zone, is_pruned: impl Fn(BackupId) -> bool) -> Vec<Line> {
    let mut backups: Vec<&Backup> = vm.backups.values().collect();
    backups.sort_by_key(|backup| (backup.timestamp, backup.id));
    backups.into_iter().map(|backup| line(backup, policy, zone, is_pruned(backup.id))).collect()
}

fn line(backup: &Backup, policy: &Policy, zone: &Zone, is_pruned: bool) -> Line {
    let is_new = backup.id == NEW_BACKUP;
    let name = match (policy.tier_of(backup.comment.as_deref()), backup.comment.as_deref()) {
        (Some(tier), _) => visible(&policy.tiers[tier].name),
        (None, Some(comment)) => format!("\"{}\"", visible(comment)),
        (None, None) => "(no comment)".to_owned(),
    };
    let taken = |taken: DateTime<Utc>| minute_text(zone.moment(taken));
    let kind = match backup.parent {
        None => "full".to_owned(),
        Some(parent) => format!("incremental on {}", parent.short()),
    };
    let size = match backup.size_bytes() {
        _ if is_new => String::new(),
        Some(bytes) => bytes_text(bytes),
        None => "size unknown".to_owned(),
    };
    [
        name,
        backup.timestamp.map_or_else(|| "(no timestamp)".to_owned(), taken),
        if is_new { "(new)".to_owned() } else { backup.id.short() },
        kind,
        if backup.holds_snapshot() { "local" } else { "not local" }.to_owned(),
        visible(backup.state.as_str()),
        size,
        if is_pruned { PRUNED.to_owned() } else { String::new() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{LocalState, RecordedState};
    use crate::policy::{SourceFile, parse};

    const POLICY: &str = r#"
version: 1
policy: daily
select: { all: true }
timezone: Europe/Berlin
tiers:
  - { name: daily, schedule: "0 1 * * *", type: full }
"#;

    fn backup(n: u128, comment: Option<&str>, taken: Option<&str>) -> Backup {
        Backup {
            id: BackupId::new(Uuid::from_u128(n << 96)),
            comment: comment.map(Into::into),
            timestamp: taken.map(|taken| taken.parse().unwrap()),
            state: RecordedState::Completed,
            parent: None,
            local: LocalState::Present,
            local_size_bytes: None,
            files: Vec::new(),
            record_size_bytes: Some(3 << 30),
            has_record_checksum: false,
            is_broken: false,
        }
    }

    fn lines(backups: impl IntoIterator<Item = Backup>) -> Vec<String> {
        let bytes = POLICY.as_bytes().to_vec();
        let loaded = parse(&[SourceFile { name: "daily.yaml".to_owned(), bytes }]).unwrap();
        let policy = loaded.policies.iter().next().unwrap();
        backups
            .into_iter()
            .map(|backup| line(&backup, policy, &policy.zone, false)[..7].join(" | "))
            .collect()
    }

    #[test]
    fn every_backup_has_a_line_whatever_its_record_lacks() {
        let mut increment = backup(2, Some("by hand\n\u{1b}[2J"), Some("2026-11-22T00:02:00Z"));
        increment.parent = Some(BackupId::new(Uuid::from_u128(1 << 96)));
        increment.local = LocalState::Unknown;
        increment.state = RecordedState::Other("odd".to_owned());
        let mut without_timestamp = backup(3, None, None);
        without_timestamp.record_size_bytes = None;
        let daily = backup(1, Some("daily"), Some("2026-11-22T00:01:00Z"));
        assert_eq!(
            lines([daily, increment, without_timestamp]),
            [
                r"daily | 2026-11-22 01:01 | 00000001 | full | local | completed | 3.0 GiB",
                r#""by hand\n\u{1b}[2J" | 2026-11-22 01:02 | 00000002 | incremental on 00000001 | not local | odd | 3.0 GiB"#,
                r"(no comment) | (no timestamp) | 00000003 | full | local | completed | size unknown",
            ]
        );
    }
}
