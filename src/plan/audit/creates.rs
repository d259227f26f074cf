//! What must never be true of a create, or of its absence.

use super::case::{AuditCase, TierState};
use super::records::Row;
use crate::plan::changeset::{BackupKind, Create};
use crate::policy::{TierIndex, TierKind};

/// Finds what is wrong with a create.
pub(super) fn create_broken(case: &AuditCase<'_>, create: &Create) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |what: &str| found.push(what.to_owned());
    if case.something_runs() {
        report("a create while another backup runs, or is dated ahead");
    }
    let Some(tier) = case.policy.tiers.iter().position(|tier| *tier.name == *create.tier) else {
        report("a create of a tier that the policy does not have");
        return found;
    };
    if create.comment != case.policy.tiers[tier].comment {
        report("a create whose comment is not its tier's");
    }
    if case.due_since(tier) != Some(create.due_since.to_utc()) {
        report("a create for something else than the tier's last occurrence");
    }
    match case.tier_state(tier) {
        TierState::Fresh | TierState::Again => {}
        TierState::NothingDue => report("a create for an occurrence that has its backup"),
        TierState::Pausing | TierState::PausingForLong => {
            report("a create before the pause after a failed attempt is over");
        }
        TierState::NoParent => report("a full create where the policy says to block"),
    }
    let is_again = case.tier_state(tier) == TierState::Again;
    let comes_first = |other: TierIndex| match case.tier_state(other) {
        TierState::Fresh => is_again || other < tier,
        TierState::Again => is_again && other < tier,
        TierState::NothingDue | TierState::Pausing | TierState::PausingForLong | TierState::NoParent => false,
    };
    if (0..case.policy.tiers.len()).any(comes_first) {
        report("a create although another one comes first");
    }
    let parent = create.parent.and_then(|parent| case.get(parent));
    if let Some(what) = type_or_parent_broken(case, tier, create, parent) {
        report(what);
    }
    let parents_tier =
        parent.and_then(|parent| parent.tier).map(|tier| case.policy.tiers[tier].name.as_str());
    let parents_time = parent.and_then(|parent| parent.backup.timestamp);
    if create.parent_tier.as_deref() != parents_tier
        || create.parent_taken.map(|time| time.to_utc()) != parents_time
    {
        report("a create whose parent is shown as another one");
    }
    found
}

fn type_or_parent_broken(
    case: &AuditCase<'_>,
    tier: TierIndex,
    create: &Create,
    parent: Option<&Row<'_>>,
) -> Option<&'static str> {
    match (&case.policy.tiers[tier].kind, create.kind, parent) {
        (_, BackupKind::Full, _) if create.parent.is_some() => Some("a full create with a parent"),
        (TierKind::Full, BackupKind::Full, _) => None,
        (TierKind::Full, BackupKind::Incremental, _) => Some("an incremental create for a full tier"),
        (TierKind::Incremental { .. }, BackupKind::Full, _) => {
            case.takes_an_increment(tier).then_some("a full create although there is a parent")
        }
        (TierKind::Incremental { .. }, BackupKind::Incremental, None) => {
            Some("an incremental create without a parent that is there")
        }
        (TierKind::Incremental { .. }, BackupKind::Incremental, Some(parent)) => {
            if !case.is_best_parent(parent, tier) {
                Some("a create whose parent is not the newest local, restorable one")
            } else if case.came_out_empty(parent) {
                Some("a create on a parent of which the last increment came out empty")
            } else {
                None
            }
        }
    }
}

/// Says that a backup is missing that nothing stands in the way of: silently not making one must not happen either.
pub(super) fn nothing_created_although_due(case: &AuditCase<'_>) -> Option<String> {
    if !case.can_be_backed_up() || case.something_runs() {
        return None;
    }
    (0..case.policy.tiers.len())
        .find(|&tier| matches!(case.tier_state(tier), TierState::Fresh | TierState::Again))
        .map(|tier| format!("no create although a {} is due", case.policy.tiers[tier].name))
}
