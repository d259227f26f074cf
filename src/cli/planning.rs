//! Makes the plan from the present inventory, for `plan` and the commands that carry it out.

use super::args::{PlanningArgs, VmPattern};
use super::connection::Connection;
use super::context::Context;
use super::error::{CliError, Kind};
use crate::apply::CLOCK_SKEW_MAX;
use crate::insight::{self, Comparison, PolicySide};
use crate::inventory::Inventory;
use crate::plan::{self, Plan, audit::Violation};
use crate::policy::{Policies, unmatched};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use std::borrow::Cow;

/// A server's clock further off than this is warned about.
pub(super) const SKEW_WARN: TimeDelta = TimeDelta::minutes(5);

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    /// What FiFo had, of all VMs, whichever were asked for.
    pub inventory: Inventory,
    /// As whom FiFo was read: `as `ops`, API version 3`.
    pub identity: String,
}

/// Reads FiFo once and plans.
///
/// The plan's instant is the later one of our clock and the server's, so that a backup which FiFo has just stamped is
/// never treated as future-dated; or `at`, where it is given.
///
/// # Errors
///
/// FiFo cannot be read, shows no VM, or its clock is too far off; a wanted VM is not there; the plan breaks a rule.
pub async fn make(
    context: &Context,
    policies: &Policies,
    fifo: &Connection,
    selection: &PlanningArgs,
    at: Option<DateTime<Utc>>,
) -> Result<Planned, CliError> {
    let before = context.now();
    let listing = fifo.list().await?;
    let after = context.now();
    if let Some(server) = listing.server_date {
        judge_clocks(server, before, after, at.is_some())?;
    }
    let inventory = listing.inventory;
    refuse_if_nothing_visible(&inventory, policies, fifo, selection)?;
    for policy in unmatched(policies, &inventory) {
        tracing::warn!("{}: no VM matches the policy `{}`", policy.source.file, policy.name);
    }
    let asked_for = narrowed(&inventory, &selection.vms)?;
    let now =
        at.unwrap_or_else(|| listing.server_date.map_or(after, |server| server.max(after)).trunc_subsecs(0));
    let plan = plan::plan(policies, &asked_for, now).map_err(|violations| broken(&violations))?;
    Ok(Planned { plan, inventory, identity: fifo.identity().to_owned() })
}

/// Plans the same VMs at the same instant with other policies, and compares.
pub fn compare_with(
    before: &Policies,
    after: &Policies,
    planned: &Planned,
    selection: &PlanningArgs,
) -> Result<Comparison, CliError> {
    let asked_for = narrowed(&planned.inventory, &selection.vms)?;
    let plan = plan::plan(before, &asked_for, planned.plan.at).map_err(|violations| broken(&violations))?;
    let before = PolicySide { policies: before, plan: &plan };
    Ok(insight::compare(before, PolicySide { policies: after, plan: &planned.plan }, &asked_for))
}

/// Reads FiFo once more after something was done, and plans, only to look at: nothing is warned about a second time.
///
/// # Errors
///
/// FiFo cannot be read or shows no VM, or the VMs that were asked for are no longer there.
pub async fn plan_again(
    context: &Context,
    policies: &Policies,
    fifo: &Connection,
    selection: &PlanningArgs,
) -> Result<Planned, CliError> {
    let listing = fifo.list().await?;
    let now = listing.server_date.map_or_else(|| context.now(), |server| server.max(context.now()));
    let inventory = listing.inventory;
    refuse_if_nothing_visible(&inventory, policies, fifo, selection)?;
    let asked_for = narrowed(&inventory, &selection.vms)?;
    let plan = plan::plan(policies, &asked_for, now.trunc_subsecs(0)).map_err(|it| broken(&it))?;
    Ok(Planned { plan, inventory, identity: fifo.identity().to_owned() })
}

/// Refuses an inventory without any VM: an empty list may mean missing permissions.
fn refuse_if_nothing_visible(
    inventory: &Inventory,
    policies: &Policies,
    fifo: &Connection,
    selection: &PlanningArgs,
) -> Result<(), CliError> {
    if !inventory.is_empty() || policies.is_empty() || selection.allow_empty {
        return Ok(());
    }
    Err(CliError::new(Kind::NothingVisible, format!("{} shows this user no VM at all", fifo.name())).hint(
        "a user sees only the VMs it may `get`, and one that may see none looks just like an empty cloud; \
         grant vms→…→get, or go on with --allow-empty",
    ))
}

/// Returns how far the server's clock is ahead of ours, which was read before and after the server read its own; negative
/// where it is behind.
pub(super) fn skew(server: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if server < before { server - before } else { (server - after).max(TimeDelta::zero()) }
}

/// Compares the server's clock with ours, which was read before and after the server read its own.
///
/// With `--at` both clocks play no part in what is due, so then they are only warned about.
fn judge_clocks(
    server: DateTime<Utc>,
    before: DateTime<Utc>,
    after: DateTime<Utc>,
    is_at_given: bool,
) -> Result<(), CliError> {
    let skew = skew(server, before, after).abs();
    if skew <= SKEW_WARN {
        return Ok(());
    }
    let text = |instant: DateTime<Utc>| instant.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let times = format!("it is {} here and {} on the server", text(after), text(server));
    if skew <= CLOCK_SKEW_MAX || is_at_given {
        tracing::warn!("the clocks differ: {times}");
        return Ok(());
    }
    Err(CliError::new(Kind::Clocks, format!("the clocks differ by more than an hour: {times}"))
        .hint("what is due would be wrong; set the wrong one of the two, and the next run goes on by itself"))
}

/// Returns only the VMs that are wanted; all of them where none is named.
fn narrowed<'i>(inventory: &'i Inventory, wanted: &[VmPattern]) -> Result<Cow<'i, Inventory>, CliError> {
    if wanted.is_empty() {
        return Ok(Cow::Borrowed(inventory));
    }
    let is_there = |pattern: &&VmPattern| {
        inventory.vms.values().any(|vm| pattern.matches(vm))
            || inventory.unreadable.iter().any(|vm| pattern.matches_unreadable(vm))
    };
    if let Some(missing) = wanted.iter().find(|pattern| !is_there(pattern)) {
        return Err(CliError::new(
            Kind::Settings,
            format!("{missing}: no VM that this user can see is meant"),
        )
        .hint(
            "name its whole UUID, or its alias with * and ? for what may vary, upper and lower case as they are",
        ));
    }
    // Only what is wanted is copied: the rest of a large cloud need not stand in memory twice.
    let vms = inventory.vms.iter().filter(|(_, vm)| wanted.iter().any(|pattern| pattern.matches(vm)));
    let unreadable =
        inventory.unreadable.iter().filter(|vm| wanted.iter().any(|pattern| pattern.matches_unreadable(vm)));
    Ok(Cow::Owned(Inventory {
        endpoint: inventory.endpoint.clone(),
        vms: vms.map(|(id, vm)| (*id, vm.clone())).collect(),
        unreadable: unreadable.cloned().collect(),
    }))
}

fn broken(violations: &[Violation]) -> CliError {
    let mut message = "the plan breaks a rule, so it is neither shown nor carried out:".to_owned();
    for violation in violations {
        message.push_str(&format!("\n  {violation}"));
    }
    CliError::new(Kind::Audit, message).hint(
        "this is a fault of fifo-retain, not of yours: please report it, with all of this and the policies",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skewed(minutes: i64, is_at_given: bool) -> Result<(), CliError> {
        let before: DateTime<Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
        let after = before + TimeDelta::seconds(30);
        let own = if minutes < 0 { before } else { after };
        judge_clocks(own + TimeDelta::minutes(minutes), before, after, is_at_given)
    }

    #[test]
    fn an_hour_between_the_clocks_is_too_much_in_either_direction() {
        assert!(skewed(60, false).is_ok() && skewed(-60, false).is_ok());
        for minutes in [61, -61] {
            assert_eq!(skewed(minutes, false).unwrap_err().kind(), Kind::Clocks);
            assert!(skewed(minutes, true).is_ok());
        }
        let error = skewed(120, false).unwrap_err().chain().join("");
        assert!(error.contains("2026-11-22 20:00:30 UTC here and 2026-11-22 22:00:30 UTC on"), "{error}");
    }

    #[test]
    fn a_violation_is_reported_whole() {
        let violations = ["one", "two"].map(|what| Violation { vm: None, what: what.to_owned() });
        let error = broken(&violations);
        assert_eq!(error.kind(), Kind::Audit);
        assert_eq!(
            error.chain(),
            ["the plan breaks a rule, so it is neither shown nor carried out:\n  one\n  two"]
        );
    }
}
