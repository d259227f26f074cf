//! What is no mistake and yet hardly meant: found without a clock and without FiFo, so that it is found alike everywhere.

use super::document::Document;
use super::text::{Report, Span};
use super::units::duration_text;
use super::{Policies, Policy, Tier, TierIndex, TierKind, minute_text};
use crate::inventory::Inventory;
use chrono::TimeDelta;
use std::collections::BTreeSet;

/// Finds the policies that match no VM of an inventory.
///
/// A VM that could not be read may be one that a policy matches, so with an unreadable one there is nothing to tell.
pub fn unmatched<'a>(policies: &'a Policies, inventory: &Inventory) -> Vec<&'a Policy> {
    if !inventory.unreadable.is_empty() {
        return Vec::new();
    }
    policies.iter().filter(|policy| !inventory.vms.values().any(|vm| policy.matches(vm))).collect()
}

/// Warns of what is doubtful in a policy that is free of mistakes.
pub(super) fn lint(document: &Document, policy: &Policy, report: &mut Report<'_>) {
    let spots: Vec<Spots> = document.tiers.iter().map(|tier| Spots::of(tier, document.span)).collect();
    for (index, tier) in policy.tiers.iter().enumerate() {
        covered(policy, index, spots[index].name, report);
        skipped_hour(tier, spots[index].schedule, report);
        keeps_more_locally(tier, spots[index].keep_local, report);
        kept_by_chains(policy, index, spots[index].keep, report);
    }
    stuck_late(document, policy, report);
    if let Some(max_age) = &document.max_age
        && let Some(finest) = policy.tiers.last()
        && max_age.value < finest.schedule.gap_max()
    {
        let gap = duration_text(finest.schedule.gap_max());
        report
            .warning(
                max_age.span,
                format!("`{}` is due {gap} apart at times: `max_age` is shorter", finest.name),
            )
            .hint(format!("set it to more than {gap}, or every VM is too old now and then"));
    }
}

/// Where the parts of a tier stand.
struct Spots {
    name: Span,
    schedule: Span,
    keep: Span,
    keep_local: Span,
}

impl Spots {
    fn of(tier: &super::document::TierDocument, otherwise: Span) -> Self {
        Self {
            name: tier.name.as_ref().map_or(otherwise, |it| it.span),
            schedule: tier.schedule.as_ref().map_or(otherwise, |it| it.span),
            keep: tier.keep.as_ref().map_or(otherwise, |it| it.span),
            keep_local: tier.keep_local.as_ref().map_or(otherwise, |it| it.span),
        }
    }
}

/// A coarser tier that is due at the same instants leaves a tier nothing to do. Tiers that are spread differently are
/// not compared: their instants differ from VM to VM.
fn covered(policy: &Policy, index: TierIndex, span: Span, report: &mut Report<'_>) {
    let tier = &policy.tiers[index];
    let coarser: Vec<&Tier> = policy.tiers[..index].iter().filter(|it| it.spread == tier.spread).collect();
    let mut with = BTreeSet::new();
    for instant in tier.schedule.occurrences() {
        match coarser.iter().find(|it| it.schedule.last_at_or_before(instant) == Some(instant)) {
            Some(coarser) => with.insert(format!("`{}`", coarser.name)),
            None => return,
        };
    }
    let with: Vec<String> = with.into_iter().collect();
    report
        .warning(
            span,
            format!("`{}` is never due without {}, which does for it", tier.name, with.join(" or ")),
        )
        .hint("list the tiers coarsest first, or leave this one out");
}

fn skipped_hour(tier: &Tier, span: Span, report: &mut Report<'_>) {
    if let Some((wanted, taken)) = tier.schedule.skipped_time() {
        let zone = tier.schedule.zone();
        let (day, wanted) = (wanted.format("%Y-%m-%d"), wanted.format("%H:%M"));
        report
            .warning(span, format!("clocks in {} skip {wanted} on some days, such as {day}", zone.name()))
            .hint(format!(
                "the backup is due at {} then; choose an hour that is never skipped",
                minute_text(zone.moment(taken))
            ));
    }
}

fn keeps_more_locally(tier: &Tier, span: Span, report: &mut Report<'_>) {
    if let Some(keep) = tier.keep
        && tier.keep_local > keep.get()
    {
        report
            .warning(span, format!("`keep_local` is more than the `keep: {keep}` beside it"))
            .hint("what stays on the hypervisor stays stored as well; raise `keep`, or lower `keep_local`");
    }
}

/// When the increments of some tier are kept for longer than a full tier's `keep` reaches back, older full backups stay
/// for their sake, whatever `keep` says.
fn kept_by_chains(policy: &Policy, full: TierIndex, span: Span, report: &mut Report<'_>) {
    let tier = &policy.tiers[full];
    let (TierKind::Full, Some(keep)) = (&tier.kind, tier.keep) else { return };
    let times = |gap: TimeDelta, count: u32| i64::from(count).saturating_mul(gap.num_seconds());
    let reach_secs = times(tier.schedule.gap_max(), keep.get());
    for hanging in hanging_on(policy, full) {
        let kept = match hanging.keep {
            Some(count) if times(hanging.schedule.gap_min(), count.get() - 1) <= reach_secs => continue,
            Some(count) => format!("the newest {count}"),
            None => "all".to_owned(),
        };
        report
            .warning(span, format!("`keep: {keep}` of `{}` is shorter than what hangs on it is kept", tier.name))
            .hint(format!(
                "`{}` keeps {kept}, and the full backups under them stay as long; keep more here, or fewer there",
                hanging.name
            ));
        return;
    }
}

/// The incremental tiers whose chains can lead to a full one, directly or by way of others.
fn hanging_on(policy: &Policy, full: TierIndex) -> Vec<&Tier> {
    let mut reached = BTreeSet::from([full]);
    for (index, tier) in policy.tiers.iter().enumerate() {
        if let TierKind::Incremental { from } = &tier.kind
            && from.iter().any(|it| reached.contains(it))
        {
            reached.insert(index);
        }
    }
    reached.remove(&full);
    reached.into_iter().map(|index| &policy.tiers[index]).collect()
}

fn stuck_late(document: &Document, policy: &Policy, report: &mut Report<'_>) {
    let tiers = policy.tiers.iter().zip(&document.tiers);
    let Some((tier, shape)) = tiers.min_by_key(|(tier, _)| tier.schedule.gap_min()) else { return };
    if policy.stuck_after <= tier.schedule.gap_min() {
        return;
    }
    let spot = document.stuck_after.as_ref().map(|it| it.span);
    let span = spot.or(shape.schedule.as_ref().map(|it| it.span)).unwrap_or(document.span);
    let (stuck, gap) = (duration_text(policy.stuck_after), duration_text(tier.schedule.gap_min()));
    report
        .warning(
            span,
            format!("`{}` is due every {gap}, and a backup counts as stuck only after {stuck}", tier.name),
        )
        .hint(format!("until then one that hangs holds up the next; set `stuck_after` to {gap} or less"));
}
