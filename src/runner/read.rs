//! Reads FiFo once and plans each VM as it comes in, for `plan`, the reports and the commands that carry plans out.

use super::fifo::Fifo;
use super::host::Host;
use crate::apply::{CLOCK_SKEW_MAX, WITNESSES, has_upload};
use crate::fifo::{ListSummary, VmVisitor};
use crate::insight::{self, Comparison, Estimate, Overview, OverviewBuilder, PolicySide};
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use crate::plan::{self, Plan, Planner, Prune, Request, VmPlan};
use crate::policy::{Match, Pattern, Policies, Policy};
use crate::run::Failure;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A server's clock further off than this is warned about.
pub const SKEW_WARN: TimeDelta = TimeDelta::minutes(5);

/// Which VMs are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// By UUID or alias; none means all.
    pub vms: Vec<Pattern>,
    /// Whether an inventory without any VM is taken for what it seems to be.
    pub allow_empty: bool,
}

/// A plan with what is kept of that it was made from.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    /// The VMs that are kept.
    pub inventory: Inventory,
    /// How the VMs stand, where that is asked for.
    pub overview: Option<Overview>,
    /// As whom FiFo was read: `as `ops`, API version 3`.
    pub identity: String,
    /// The VMs without a restorable backup as young as their policy wants it.
    pub too_old: BTreeSet<VmId>,
    /// What the plan was asked for.
    pub request: Request,
    /// The last instant since which a backup is due by the later one of the two clocks and not by the earlier.
    last_due: Option<DateTime<Utc>>,
    /// What is moved of each VM that something is done to.
    estimates: BTreeMap<VmId, Estimate>,
}

impl Planned {
    /// Returns how long it takes until what is due by one of the two clocks is due by the slower one as well, at most an hour:
    /// a backup that FiFo stamps before its due time does not count for it. `None` where nothing is.
    pub fn wait_for_clocks(&self) -> Option<Duration> {
        // The server's date has whole seconds.
        let wait = (self.last_due? - self.request.due_at).min(CLOCK_SKEW_MAX) + TimeDelta::seconds(1);
        wait.to_std().ok()
    }

    /// Estimates what a plan moves: this one, or a part of it.
    pub fn estimate(&self, plan: &Plan) -> Estimate {
        let of_vm = |vm: &VmPlan| self.estimates.get(&vm.uuid?).copied();
        plan.vms.iter().filter_map(of_vm).fold(Estimate::default(), Estimate::plus)
    }
}

/// Which VMs stay in memory once they are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptVms {
    None,
    /// Those that something is done to.
    Changed,
    /// What a run needs: those that something is done to, those with an upload, whichever VMs were asked for, and a few
    /// others by which an empty list is noticed.
    ForRun,
    /// All that were asked for.
    All,
}

/// What FiFo is read for.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub host: &'a Host,
    pub policies: &'a Policies,
    pub fifo: &'a Fifo,
    pub selection: &'a Selection,
    /// The instant planned for. Without it, those of our clock and the server's count when the answer begins: see [`Request`].
    pub at: Option<DateTime<Utc>>,
    /// What the command says of deletes from storage.
    pub prune: Prune,
}

impl<'a> Query<'a> {
    /// Reads FiFo once and plans each VM as it comes in. Warns about clocks and idle policies.
    ///
    /// # Errors
    ///
    /// FiFo cannot be read, shows no VM, or its clock is too far off; a wanted VM is not there.
    pub async fn plan(self, vms: KeptVms, overview: bool) -> Result<Planned, Failure> {
        let (reading, unreadable) = self.read(Kept { plans: true, vms, overview }, true).await?;
        Ok(reading.into_planned(unreadable))
    }

    /// Reads FiFo once, as [`Query::plan`] does, and keeps of each VM only how it stands. A second time nothing is warned about.
    ///
    /// # Errors
    ///
    /// Those of [`Query::plan`]; without warnings those of the clocks are left out.
    pub async fn look(self, warns: bool) -> Result<Overview, Failure> {
        let keeps = Kept { plans: false, vms: KeptVms::None, overview: true };
        let (reading, unreadable) = self.read(keeps, warns).await?;
        Ok(reading.into_overview(&unreadable))
    }

    /// Returns what was read, with the VMs that were asked for and could not be.
    async fn read(self, keeps: Kept, warns: bool) -> Result<(Reading<'a>, Vec<UnreadableVm>), Failure> {
        let before = self.host.now();
        let mut reading = Reading { query: self, keeps, seen: Seen::new(self, keeps, (before, None)) };
        let listed = self.fifo.visit(&mut reading).await?;
        if warns {
            if let Some(server) = listed.server_date {
                judge_clocks(server, before, reading.seen.began, self.at.is_some())?;
            }
            if listed.unreadable.is_empty() {
                reading.seen.warn_of_idle_policies();
            }
        }
        let unreadable = reading.judge(listed)?;
        Ok((reading, unreadable))
    }
}

/// Plans the same VMs at the same instant with other policies, and compares.
pub fn compare_with(before: &Policies, after: &Policies, planned: &Planned) -> Comparison {
    let plan = plan::plan(before, &planned.inventory, planned.request);
    let before = PolicySide { policies: before, plan: &plan };
    let years = insight::year_changes(before.policies, after, planned.plan.at);
    let after = PolicySide { policies: after, plan: &planned.plan };
    Comparison { years, ..insight::compare(before, after, &planned.inventory) }
}

/// What stays in memory of a reading.
#[derive(Clone, Copy, Debug)]
struct Kept {
    plans: bool,
    vms: KeptVms,
    /// Whether it is asked for how the VMs stand.
    overview: bool,
}

/// One reading of the list: each VM is planned as it comes in, and dropped unless it is kept.
struct Reading<'a> {
    query: Query<'a>,
    keeps: Kept,
    seen: Seen<'a>,
}

/// What an answer has shown so far. Where it is cut, the next one begins anew.
struct Seen<'a> {
    /// When the answer began, by our clock.
    began: DateTime<Utc>,
    last_due: Option<DateTime<Utc>>,
    planner: Planner<'a>,
    /// How many VMs were read, asked for or not.
    visible: usize,
    plans: Vec<VmPlan>,
    kept: BTreeMap<VmId, Vm>,
    too_old: BTreeSet<VmId>,
    estimates: BTreeMap<VmId, Estimate>,
    overview: Option<OverviewBuilder>,
    /// The policies that match no VM.
    unmatched: Vec<&'a Policy>,
    /// The entries of suspensions that match no VM of their policy, with that policy.
    idle_entries: Vec<(&'a Policy, &'a Pattern)>,
    /// The patterns that no VM fits.
    missing: Vec<&'a Pattern>,
}

impl Reading<'_> {
    /// Returns the VMs that were asked for and could not be read.
    fn judge(&mut self, listed: ListSummary) -> Result<Vec<UnreadableVm>, Failure> {
        let mut unreadable = listed.unreadable;
        let Query { policies, fifo, selection: Selection { vms, allow_empty }, .. } = self.query;
        if self.seen.visible == 0 && unreadable.is_empty() && !policies.is_empty() && !allow_empty {
            return Err(nothing_visible(fifo));
        }
        if !vms.is_empty() {
            self.seen.missing.retain(|pattern| !unreadable.iter().any(|vm| pattern.means(vm.id, &vm.alias)));
            if let Some(missing) = self.seen.missing.first() {
                return Err(no_such_vm(missing));
            }
            unreadable.retain(|vm| vms.iter().any(|pattern| pattern.means(vm.id, &vm.alias)));
        }
        Ok(unreadable)
    }

    fn into_planned(self, unreadable: Vec<UnreadableVm>) -> Planned {
        let (name, identity) = (self.query.fifo.name(), self.query.fifo.identity().to_owned());
        let Seen { planner, plans, kept, overview, too_old, last_due, estimates, .. } = self.seen;
        let request = planner.request();
        let overview = overview.map(|vms| vms.finish(&planner, name, &unreadable));
        let plan = planner.finish(name.to_owned(), plans, &unreadable);
        let inventory = Inventory { endpoint: name.to_owned(), vms: kept, unreadable };
        Planned { plan, inventory, overview, identity, too_old, request, last_due, estimates }
    }

    fn into_overview(self, unreadable: &[UnreadableVm]) -> Overview {
        let vms = self.seen.overview.unwrap_or_default();
        vms.finish(&self.seen.planner, self.query.fifo.name(), unreadable)
    }

    /// Decides on a VM, and returns its plan where plans are kept.
    fn decide(&mut self, vm: &Vm) -> Option<VmPlan> {
        let seen = &mut self.seen;
        let decided = seen.planner.decide(vm);
        if decided.judged.as_ref().is_some_and(|judged| judged.is_too_old()) {
            seen.too_old.insert(vm.id);
        }
        seen.last_due =
            seen.last_due.max(decided.judged.as_ref().and_then(|judged| judged.due_between_clocks()));
        let plan = match &mut seen.overview {
            None => Some(decided.plan),
            Some(overview) => {
                let plan = self.keeps.plans.then(|| decided.plan.clone());
                overview.add(vm, decided);
                plan
            }
        };
        if let Some(plan) = plan.as_ref().filter(|plan| !plan.due_actions().is_empty()) {
            seen.estimates.insert(vm.id, Estimate::of(plan, vm));
        }
        plan
    }

    fn is_kept(&self, vm: &Vm, planned: Option<&VmPlan>) -> bool {
        let is_changed = planned.is_some_and(|planned| !planned.due_actions().is_empty());
        match self.keeps.vms {
            KeptVms::None => false,
            KeptVms::Changed => is_changed,
            KeptVms::ForRun => is_changed || has_upload(vm) || self.seen.kept.len() < WITNESSES,
            KeptVms::All => planned.is_some(),
        }
    }
}

impl<'a> Seen<'a> {
    /// Begins an answer, at an instant of our clock and of the server's, if that is known.
    fn new(
        Query { policies, selection, at, prune, .. }: Query<'a>,
        keeps: Kept,
        (began, server): (DateTime<Utc>, Option<DateTime<Utc>>),
    ) -> Self {
        let mut request = Request::by_clocks(began, server, prune);
        request.now = request.now.trunc_subsecs(0);
        request.due_at = request.due_at.min(request.now);
        if let Some(at) = at {
            (request.now, request.due_at) = (at, at);
        }
        Self {
            began,
            last_due: None,
            planner: Planner::new(policies, request),
            visible: 0,
            plans: Vec::new(),
            kept: BTreeMap::new(),
            too_old: BTreeSet::new(),
            estimates: BTreeMap::new(),
            overview: keeps.overview.then(OverviewBuilder::default),
            unmatched: policies.iter().collect(),
            idle_entries: suspended_entries(policies),
            missing: selection.vms.iter().collect(),
        }
    }

    fn warn_of_idle_policies(&self) {
        for policy in &self.unmatched {
            tracing::warn!("{}: no VM matches the policy `{}`", policy.source.file, policy.name);
        }
        for (policy, entry) in &self.idle_entries {
            // Of a policy that matches no VM that is enough to say.
            if !self.unmatched.contains(policy) {
                let (file, name) = (&policy.source.file, &policy.name);
                tracing::warn!("{file}: `{entry}` in `suspend.vms` matches no VM of the policy `{name}`");
            }
        }
    }
}

impl VmVisitor for Reading<'_> {
    fn start(&mut self, server_date: Option<DateTime<Utc>>) {
        self.seen = Seen::new(self.query, self.keeps, (self.query.host.now(), server_date));
    }

    fn vm(&mut self, mut vm: Vm) {
        let (policies, wanted, seen) = (self.query.policies, &self.query.selection.vms, &mut self.seen);
        seen.unmatched.retain(|policy| !policy.matches(&vm));
        seen.idle_entries.retain(|(policy, entry)| {
            !entry.means(Some(vm.id), &vm.alias) || policies.policy_for(&vm) != Match::One(policy)
        });
        seen.missing.retain(|pattern| !pattern.means(Some(vm.id), &vm.alias));
        seen.visible += 1;
        let is_selected =
            wanted.is_empty() || wanted.iter().any(|pattern| pattern.means(Some(vm.id), &vm.alias));
        let planned = if is_selected { self.decide(&vm) } else { None };
        let is_kept = self.is_kept(&vm, planned.as_ref());
        self.seen.plans.extend(planned);
        if is_kept {
            vm.backups.shrink_to_fit();
            self.seen.kept.insert(vm.id, vm);
        }
    }

    fn forget(&mut self, id: VmId) -> String {
        let seen = &mut self.seen;
        seen.kept.remove(&id);
        seen.too_old.remove(&id);
        seen.estimates.remove(&id);
        let plan = seen.plans.iter().position(|vm| vm.uuid == Some(id));
        let planned = plan.map(|place| seen.plans.swap_remove(place).alias);
        let looked_at = seen.overview.as_mut().and_then(|overview| overview.forget(id));
        planned.or(looked_at).unwrap_or_default()
    }
}

/// Lists the entries of all suspensions, each with its policy.
fn suspended_entries(policies: &Policies) -> Vec<(&Policy, &Pattern)> {
    let mut entries = Vec::new();
    for policy in policies.iter() {
        let vms = policy.suspend.iter().filter_map(|suspend| suspend.vms.as_ref()).flatten();
        entries.extend(vms.map(|entry| (policy, entry)));
    }
    entries
}

/// Reports an inventory without any VM: to see none is never taken for that there are none.
fn nothing_visible(fifo: &Fifo) -> Failure {
    Failure::new(format!("{} shows this user no VM at all", fifo.name())).hint(
        "a user sees only the VMs it may `get`, and one that may see none looks just like an empty cloud; \
         grant vms→…→get, or go on with --allow-empty",
    )
}

fn no_such_vm(missing: &Pattern) -> Failure {
    Failure::new(format!("{missing}: no VM that this user can see is meant")).hint(
        "name its whole UUID, or its alias with * and ? for what may vary, upper and lower case as they are",
    )
}

/// Returns how far the server's clock is ahead of ours, which was read before and after the server read its own; negative
/// where it is behind.
pub fn skew(server: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
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
) -> Result<(), Failure> {
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
    Err(Failure::new(format!("the clocks differ by more than an hour: {times}"))
        .hint("what is due would be wrong; set the wrong one of the two, and the next run goes on by itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skewed(minutes: i64, is_at_given: bool) -> Result<(), Failure> {
        let before: DateTime<Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
        let after = before + TimeDelta::seconds(30);
        let own = if minutes < 0 { before } else { after };
        judge_clocks(own + TimeDelta::minutes(minutes), before, after, is_at_given)
    }

    #[test]
    fn an_hour_between_the_clocks_is_too_much_in_either_direction() {
        assert!(skewed(60, false).is_ok() && skewed(-60, false).is_ok());
        for minutes in [61, -61] {
            assert!(skewed(minutes, false).is_err());
            assert!(skewed(minutes, true).is_ok());
        }
        let error = skewed(120, false).unwrap_err().text();
        assert!(error.contains("2026-11-22 20:00:30 UTC here and 2026-11-22 22:00:30 UTC on"), "{error}");
    }
}
