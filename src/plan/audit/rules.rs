//! What must never be true of a plan.

use super::case::Case;
use crate::inventory::{Backup, BackupId};
use crate::plan::assume;
use crate::plan::changeset::{Action, BackupKind, Create, DeleteLocal, Status, VmPlan};
use crate::plan::due::Calendar;
use crate::policy::{MissingParent, TierKind};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Finds every rule that is broken by what is planned for a VM.
pub(super) fn broken(case: &Case<'_>, planned: &VmPlan) -> Vec<String> {
    let mut found = Vec::new();
    let creates: Vec<&Create> = planned
        .actions
        .iter()
        .filter_map(|action| if let Action::Create(create) = action { Some(create) } else { None })
        .collect();
    let deletes: Vec<&DeleteLocal> = planned
        .actions
        .iter()
        .filter_map(|action| if let Action::DeleteLocal(delete) = action { Some(delete) } else { None })
        .collect();

    if creates.len() > 1 {
        found.push("more than one create".to_owned());
    }
    match creates.first() {
        Some(create) => found.extend(create_broken(case, create)),
        None => found.extend(nothing_created_although_due(case)),
    }
    if !planned.actions.is_empty() && !case.can_be_backed_up() {
        found.push("something is planned while it cannot be backed up".to_owned());
    }
    if planned.policy.as_deref() != Some(&case.policy.name) {
        found.push("it is planned under another policy than its own".to_owned());
    }
    if (planned.status == Status::Changes) == planned.actions.is_empty() {
        found.push("its status does not fit its actions".to_owned());
    }
    let suspended = case
        .policy
        .suspend
        .as_ref()
        .is_some_and(|suspend| suspend.is_for(case.vm) && case.now < suspend.until_instant);
    if suspended != planned.is_suspended() {
        found.push("it is shown as suspended and is not, or the other way round".to_owned());
    }

    let mut seen: BTreeSet<BackupId> = BTreeSet::new();
    for delete in &deletes {
        if !seen.insert(delete.backup) {
            found.push(format!("backup {} is deleted twice", delete.backup));
        }
        let broken = delete_broken(case, delete, creates.first().copied());
        found.extend(broken.into_iter().map(|what| format!("backup {}: {what}", delete.backup)));
    }
    found.extend(too_many_kept(case, &seen, creates.first().copied()));
    found
}

fn create_broken(case: &Case<'_>, create: &Create) -> Vec<String> {
    let mut found = Vec::new();
    let mut tell = |what: &str| found.push(what.to_owned());
    if case.all().any(|backup| case.may_run(backup)) {
        tell("a create while another backup runs");
    }
    let Some(tier) = case.policy.tiers.iter().position(|tier| tier.name == create.tier) else {
        tell("a create of a tier that the policy does not have");
        return found;
    };
    let rules = &case.policy.tiers[tier];
    if create.comment != rules.comment {
        tell("a create whose comment is not its tier's");
    }
    let calendar = Calendar::new(case.policy, case.now);
    let due_since = calendar.last(tier, case.vm.id);
    if due_since != Some(create.due_since.to_utc()) {
        tell("a create for something else than the tier's last occurrence");
    }
    let satisfied = case.all().any(|backup| {
        case.counts(backup)
            && backup.timestamp >= due_since
            && case.tier(backup).is_some_and(|own| own <= tier)
    });
    if satisfied {
        tell("a create for an occurrence that has its backup");
    }
    match (&rules.kind, create.kind, create.parent.and_then(|parent| case.get(parent))) {
        (_, BackupKind::Full, _) if create.parent.is_some() => tell("a full create with a parent"),
        (TierKind::Full, BackupKind::Full, _) => {}
        (TierKind::Full, BackupKind::Incremental, _) => tell("an incremental create for a full tier"),
        (TierKind::Incremental { .. }, BackupKind::Full, _) => {
            if case.policy.missing_parent == MissingParent::Block {
                tell("a full create where the policy says to block");
            }
            if case.all().any(|backup| case.is_best_parent(backup, tier)) {
                tell("a full create although there is a parent");
            }
        }
        (TierKind::Incremental { .. }, BackupKind::Incremental, None) => {
            tell("an incremental create without a parent that is there");
        }
        (TierKind::Incremental { .. }, BackupKind::Incremental, Some(parent)) => {
            if !case.is_best_parent(parent, tier) {
                tell("a create whose parent is not the newest local, restorable one");
            }
        }
    }
    let new = BackupId::new(Uuid::max());
    let vm = assume::created(case.vm, create, new, case.now);
    let wanted = vm
        .backups
        .get(&new)
        .is_some_and(|new| !still_wanted(&Case::new(&vm, case.policy, case.now), new).is_empty());
    if wanted != create.stays_local {
        tell("a create whose own snapshot would stay unneeded, or go although it is needed");
    }
    let attempts = failed_attempts(case, &calendar, tier);
    if attempts.len() >= case.policy.retry.attempts as usize {
        tell("a create after the last attempt");
    }
    if attempts
        .iter()
        .any(|backup| backup.timestamp.is_some_and(|time| case.now < time + case.policy.retry.backoff))
    {
        tell("a create before the pause after a failed attempt is over");
    }
    found
}

fn failed_attempts<'a>(case: &Case<'a>, calendar: &Calendar<'_>, tier: usize) -> Vec<&'a Backup> {
    let latest = (0..case.policy.tiers.len()).filter_map(|tier| calendar.last(tier, case.vm.id)).max();
    case.all()
        .filter(|backup| case.tier(backup) == Some(tier) && !case.time_is_unusable(backup))
        .filter(|backup| backup.timestamp >= latest && !case.may_run(backup) && case.is_failure(backup))
        .collect()
}

/// Says that a backup is missing that nothing stands in the way of: silently not making one must not happen either.
fn nothing_created_although_due(case: &Case<'_>) -> Option<String> {
    if !case.can_be_backed_up() || case.all().any(|backup| case.may_run(backup)) {
        return None;
    }
    let calendar = Calendar::new(case.policy, case.now);
    (0..case.policy.tiers.len()).find_map(|tier| {
        let due_since = calendar.last(tier, case.vm.id)?;
        let has_backup = case.all().any(|backup| {
            case.counts(backup)
                && backup.timestamp >= Some(due_since)
                && case.tier(backup).is_some_and(|own| own <= tier)
        });
        let was_tried = !failed_attempts(case, &calendar, tier).is_empty();
        let waits_for_coarser = (0..tier).any(|coarser| {
            let failed = failed_attempts(case, &calendar, coarser);
            !failed.is_empty() && failed.len() < case.policy.retry.attempts as usize
        });
        let may_be_blocked = matches!(case.policy.tiers[tier].kind, TierKind::Incremental { .. })
            && case.policy.missing_parent == MissingParent::Block
            && !case.all().any(|backup| case.is_best_parent(backup, tier));
        (!has_backup && !was_tried && !waits_for_coarser && !may_be_blocked)
            .then(|| format!("no create although a {} is due", case.policy.tiers[tier].name))
    })
}

fn delete_broken(case: &Case<'_>, delete: &DeleteLocal, create: Option<&Create>) -> Vec<String> {
    let mut found = Vec::new();
    let mut tell = |what: &str| found.push(what.to_owned());
    let Some(backup) = case.get(delete.backup) else {
        tell("a local delete of a backup that is not there");
        return found;
    };
    let Some(tier) = case.tier(backup) else {
        tell("a local delete of an unmanaged backup");
        return found;
    };
    if case.policy.tiers[tier].name != delete.tier {
        tell("it is shown under another tier than its own");
    }
    if case.time_is_unusable(backup) {
        tell("a local delete of a backup whose time cannot be believed");
    }
    let on_hypervisor =
        backup.local == Some(true) || (backup.local.is_none() && backup.local_size_bytes > Some(0));
    if !on_hypervisor {
        tell("a local delete of a backup that is not local");
    }
    if case.may_run(backup) {
        tell("a local delete of a backup that runs");
    }
    for other in case.all().filter(|other| case.may_run(other)) {
        if other.parent == Some(backup.id) {
            tell("a local delete of the parent of a backup that runs");
        }
        if other.parent.is_none() && other.files.is_empty() && case.has_not_begun(other) {
            tell("a local delete while a backup runs whose parent is not known yet");
        }
    }
    match create {
        None if delete.after_create => tell("a local delete after a create that is not planned"),
        Some(create) if create.parent == Some(backup.id) && !delete.after_create => {
            tell("a local delete of the create's parent before it");
        }
        _ => {}
    }
    // Asked of the VM as it is for what goes at once, and of the VM with the new backup for what goes after it.
    match create.filter(|_| delete.after_create) {
        None => still_wanted(case, backup).into_iter().for_each(tell),
        Some(create) => {
            let vm = assume::created(case.vm, create, BackupId::new(Uuid::max()), case.now);
            still_wanted(&Case::new(&vm, case.policy, case.now), backup).into_iter().for_each(tell);
        }
    }
    found
}

/// Gives the reasons for which a snapshot must stay where it is.
fn still_wanted(case: &Case<'_>, backup: &Backup) -> Vec<&'static str> {
    let mut found = Vec::new();
    if (0..case.policy.tiers.len()).any(|tier| case.is_best_parent(backup, tier)) {
        found.push("a local delete of the next increment's parent");
    }
    if case.can_be_restored(backup) && is_kept_by_keep_local(case, backup) {
        found.push("a local delete of one of those that `keep_local` asks for");
    }
    let newest_lost = !case.can_be_restored(backup)
        && !case.is_outlived(backup)
        && !case.all().any(|other| {
            case.tier(other).is_some()
                && !case.time_is_unusable(other)
                && !case.can_be_restored(other)
                && !case.may_run(other)
                && case.is_newer(other, backup)
        });
    if newest_lost {
        found.push("a local delete of the only copy of its moment");
    }
    let may_still_run = |other: &&Backup| case.never_ended(other) && !case.is_outlived(other);
    if may_still_run(&backup) || case.all().filter(may_still_run).any(|other| other.parent == Some(backup.id))
    {
        found.push("a local delete of a stuck backup that may still run, or of its parent");
    }
    found
}

fn is_kept_by_keep_local(case: &Case<'_>, backup: &Backup) -> bool {
    let Some(tier) = case.tier(backup) else { return false };
    let newer = case
        .all()
        .filter(|other| case.tier(other) == Some(tier) && case.counts(other) && case.is_newer(other, backup))
        .count();
    newer < case.policy.tiers[tier].keep_local as usize
}

/// Says that more snapshots would stay than the scheme ever needs: one an incremental tier, what `keep_local` asks for,
/// one lost, and those that run or may be running with their parents.
fn too_many_kept(case: &Case<'_>, deleted: &BTreeSet<BackupId>, create: Option<&Create>) -> Option<String> {
    let undecided = case.all().any(|backup| case.may_run(backup) && case.has_not_begun(backup));
    if !case.can_be_backed_up() || undecided {
        return None;
    }
    let kept = case
        .all()
        .filter(|backup| {
            backup.local == Some(true) || (backup.local.is_none() && backup.local_size_bytes > Some(0))
        })
        .filter(|backup| case.tier(backup).is_some() && !case.time_is_unusable(backup))
        .filter(|backup| !deleted.contains(&backup.id))
        .count()
        + usize::from(create.is_some_and(|create| create.stays_local));
    let incremental =
        case.policy.tiers.iter().filter(|tier| matches!(tier.kind, TierKind::Incremental { .. })).count();
    let keep_local: usize = case.policy.tiers.iter().map(|tier| tier.keep_local as usize).sum();
    let running = case
        .all()
        .filter(|backup| case.may_run(backup) || (case.never_ended(backup) && !case.is_outlived(backup)));
    let allowed = incremental + keep_local + 2 * running.count() + 1;
    (kept > allowed).then(|| format!("{kept} snapshots would stay where at most {allowed} are needed"))
}
