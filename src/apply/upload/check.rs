//! Whether a backup that FiFo calls completed is good, and whether an upload that counts as stuck still moves.

use crate::apply::reader::VmReading;
use crate::inventory::{Backup, BackupId, LocalState, Vm, chain_of};
use crate::plan::standing::{STREAM_BYTES_MIN, Standing, VmView};
use crate::plan::{Create, bytes_text};
use crate::policy::{Policy, duration_text};
use chrono::{DateTime, TimeDelta, Utc};

pub(crate) enum Fault {
    /// It is not the backup that was asked for, or cannot be restored.
    Bad(String),
    /// FiFo reports this of each file of earlier backups, and not of each of this one: the next run sees.
    Unverified(&'static str),
    /// It is good, but FiFo reports no checksum or no snapshot yet.
    Lacks(&'static str),
}

impl Fault {
    /// Returns what a good backup lacks.
    pub(crate) fn lacks(self) -> &'static str {
        if let Self::Lacks(what) = self { what } else { "" }
    }
}

/// Checks a completed backup in a reading of its VM, by the planner's own judgement: otherwise its next plan would delete
/// what this one has kept.
pub(crate) fn check(
    vm: &Vm,
    id: BackupId,
    create: &Create,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Option<Fault> {
    if let Some(fault) = fault_of(vm, id, create, policy, now) {
        return Some(fault);
    }
    let backup = vm.backups.get(id)?;
    if backup.local != LocalState::Present {
        return Some(Fault::Lacks("; FiFo does not report its snapshot as local"));
    }
    // Without a checksum for any backup of this VM, FiFo is an old version; a new one may still write it.
    let lacks = Fault::Lacks("; FiFo reports no checksum to verify it with");
    backup.missing_file_info().map(|_| lacks)
}

fn fault_of(vm: &Vm, id: BackupId, create: &Create, policy: &Policy, now: DateTime<Utc>) -> Option<Fault> {
    let view = VmView::new(vm, policy, now);
    let bad = |text: String| Some(Fault::Bad(text));
    let Some(judged) = view.get(id) else {
        return bad("it has no timestamp: it was deleted during its upload".to_owned());
    };
    let backup = judged.backup;
    let tier = judged.tier.map(|tier| &*view.tier(tier).name);
    if backup.comment.as_deref() != Some(create.comment.as_str()) || tier != Some(&*create.tier) {
        let found = backup.comment.as_ref().map_or("none".to_owned(), |found| format!("`{found}`"));
        return bad(format!("its comment is {found}, not `{}`", create.comment));
    }
    if backup.parent != create.parent {
        let name = |id: Option<BackupId>| id.map_or("none".to_owned(), |id| id.to_string());
        return bad(format!("its parent is {}, not {}", name(backup.parent), name(create.parent)));
    }
    if let Some(ancestor) = chain_of(&vm.backups, id).and_then(|chain| chain.missing) {
        return bad(format!("backup {ancestor}, which a restore of it needs, is missing"));
    }
    match judged.standing {
        Standing::Restorable => None,
        Standing::Unrestorable => bad("a backup that a restore of it needs is no longer usable".to_owned()),
        Standing::Hollow => bad(hollow_text(backup, policy)),
        Standing::Broken => bad("its stored objects are broken".to_owned()),
        Standing::Unverified => Some(Fault::Unverified(backup.missing_file_info().unwrap_or("checksum"))),
        Standing::Failed | Standing::Stuck | Standing::InProgress | Standing::Unreadable => {
            bad("it is no longer completed".to_owned())
        }
    }
}

fn hollow_text(backup: &Backup, policy: &Policy) -> String {
    match backup.smallest_size_bytes().filter(|&bytes| bytes < STREAM_BYTES_MIN) {
        Some(bytes) => format!(
            "one of its stored files has only {}, too little for a stream: the export probably failed",
            bytes_text(bytes)
        ),
        None => format!(
            "its size of {} is below the minimum of {} that the policy sets for a full backup: the export probably failed",
            bytes_text(backup.size_bytes().unwrap_or(0)),
            bytes_text(policy.min_full_size_bytes)
        ),
    }
}

pub(crate) fn stuck(vm: &Vm, policy: &Policy, now: DateTime<Utc>) -> Vec<Backup> {
    let view = VmView::new(vm, policy, now);
    view.backups.iter().filter(|one| one.standing == Standing::Stuck).map(|one| one.backup.clone()).collect()
}

/// Says which of some uploads that count as stuck has moved by a later reading, and which `stuck_after` would be long enough.
///
/// `stuck_after` is a guess: a large VM's first full backup may take longer and still be good. A second one beside it would
/// slow it down, and take as long.
pub(crate) fn moving(
    before: &[Backup],
    seen: &VmReading,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Option<String> {
    before.iter().find_map(|old| {
        let new = seen.vm.backups.get(old.id)?;
        let (from, to) = (old.size_bytes().unwrap_or(0), new.size_bytes().unwrap_or(0));
        let change = if old.state != new.state {
            format!("its state changed from {} to {}", old.state.as_str(), new.state.as_str())
        } else if from != to {
            format!("it grew from {} to {} between two readings", bytes_text(from), bytes_text(to))
        } else {
            return None;
        };
        // Twice as long as it has taken so far, in whole hours.
        let age = old.timestamp.map_or(policy.stuck_after, |taken| now - taken);
        let advised = TimeDelta::hours(age.num_hours() * 2 + 2);
        Some(format!(
            "backup {} is older than the {} of `stuck_after` but not stuck, {change}; set `stuck_after` of policy {} to {}, \
             for example",
            old.id.short(),
            duration_text(policy.stuck_after),
            policy.name,
            duration_text(advised)
        ))
    })
}
