//! Reads FiFo once and plans each VM as it comes in, for `plan`, the reports and the commands that carry plans out.

use super::fifo::Fifo;
use super::host::Host;
use super::proofs::Proofs;
use crate::apply::{CLOCK_SKEW_MAX, Proof as _, WITNESSES, has_upload};
use crate::fifo::{ListSummary, VmVisitor};
use crate::insight::status::{Health, HealthBuilder};
use crate::insight::{self, Comparison, Estimate, PolicySide};
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use crate::plan::{self, Plan, Planner, Prune, Request, VmPlan};
use crate::policy::{Match, Pattern, Policies, Policy};
use crate::report::Failure;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A server's clock further off than this is warned about.
pub const SKEW_WARN: TimeDelta = TimeDelta::minutes(5);

#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub vms: Vec<Pattern>,
    /// Whether an inventory without any VM is taken for what it seems to be.
    pub allow_empty: bool,
}

impl Selection {
    fn has(&self, id: Option<VmId>, alias: &str) -> bool {
        self.vms.is_empty() || self.vms.iter().any(|pattern| pattern.means(id, alias))
    }
}

#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    pub inventory: Inventory,
    /// How the VMs stand, where that is asked for.
    pub overview: Option<Health>,
    /// As whom FiFo was read: `as `ops`, API version 3`.
    pub identity: String,
    /// The VMs without a restorable backup as young as their policy wants it.
    pub too_old: BTreeSet<VmId>,
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

    pub fn estimate(&self, plan: &Plan) -> Estimate {
        let of_vm = |vm: &VmPlan| self.estimates.get(&vm.uuid?).copied();
        plan.vms.iter().filter_map(of_vm).fold(Estimate::default(), Estimate::plus)
    }
}

/// What of the VMs stays in memory once they are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptVms {
    /// How each stands; of plans nothing.
    Overview,
    /// Their plans.
    None,
    /// And the VMs that something is done to.
    Changed,
    /// And what a run needs: those that something is done to, those with an upload, whichever VMs were asked for, and a few
    /// others by which an empty list is noticed; how all stand as well where that is reported.
    ForRun { overview: bool },
    /// All that were asked for.
    All,
}

#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub host: &'a Host,
    pub policies: &'a Policies,
    pub fifo: &'a Fifo,
    /// What is known to be broken.
    pub proofs: &'a Proofs,
    pub selection: &'a Selection,
    /// The instant planned for. Without it, those of our clock and the server's count when the answer begins: see [`Request`].
    pub at: Option<DateTime<Utc>>,
    pub prune: Prune,
    /// Whether clocks and idle policies are warned about: once is enough.
    pub warns: bool,
}

impl Query<'_> {
    /// Reads FiFo once and plans each VM as it comes in. An error: FiFo cannot be read, shows no VM, or its clock is too far off;
    /// a wanted VM is not there.
    pub async fn plan(self, kept: KeptVms) -> Result<Planned, Failure> {
        let before = self.host.now();
        let mut reading = Reading::new(self, kept, before, None);
        let listed = self.fifo.client.visit(&mut reading).await;
        let listed = listed.map_err(|error| self.fifo.failure(&error))?;
        if self.warns {
            if let Some(server) = listed.server_date {
                judge_clocks(server, before, reading.began, self.at.is_some())?;
            }
            if listed.unreadable.is_empty() {
                reading.warn_of_idle_policies();
            }
        }
        let unreadable = reading.judge(listed)?;
        let (name, identity) = (&self.fifo.name, self.fifo.identity.clone());
        let Reading { planner, plans, kept, overview, too_old, last_due, estimates, .. } = reading;
        let request = planner.request();
        let overview = overview.map(|vms| vms.finish(&planner, name, &unreadable));
        let plan = planner.finish(name.to_owned(), plans, &unreadable);
        let inventory = Inventory { endpoint: name.to_owned(), vms: kept, unreadable };
        Ok(Planned { plan, inventory, overview, identity, too_old, request, last_due, estimates })
    }
}

/// Returns how it fails that no VM is meant by a pattern.
pub(super) fn not_there(pattern: &Pattern) -> Failure {
    Failure::new(format!("{pattern}: no VM that this user can see is meant")).hint(
        "name its whole UUID, or its alias with * and ? for what may vary, upper and lower case as they are",
    )
}

/// Plans the same VMs at the same instant with other policies, and compares.
pub fn compare_with(before: &Policies, after: &Policies, planned: &Planned) -> Comparison {
    let plan = plan::plan(before, &planned.inventory, planned.request);
    let before = PolicySide { policies: before, plan: &plan };
    let years = insight::year_changes(before.policies, after, planned.plan.at);
    let after = PolicySide { policies: after, plan: &planned.plan };
    Comparison { years, ..insight::compare(before, after, &planned.inventory) }
}

/// One reading of the list: each VM is planned as it comes in, and dropped unless it is kept. Where an answer is cut, the next
/// one begins anew.
struct Reading<'a> {
    query: Query<'a>,
    keeps: KeptVms,
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
    overview: Option<HealthBuilder>,
    unmatched: Vec<&'a Policy>,
    /// The entries of suspensions that match no VM of their policy, with that policy.
    idle_entries: Vec<(&'a Policy, &'a Pattern)>,
    missing: Vec<&'a Pattern>,
}

impl<'a> Reading<'a> {
    /// Begins an answer, at an instant of our clock and of the server's, if that is known.
    fn new(query: Query<'a>, keeps: KeptVms, began: DateTime<Utc>, server: Option<DateTime<Utc>>) -> Self {
        let overview = matches!(keeps, KeptVms::Overview | KeptVms::ForRun { overview: true });
        let mut request = Request::by_clocks(began, server, query.prune);
        request.now = request.now.trunc_subsecs(0);
        request.due_at = request.due_at.min(request.now);
        if let Some(at) = query.at {
            (request.now, request.due_at) = (at, at);
        }
        let entries = query.policies.iter().flat_map(|policy| {
            let vms = policy.suspend.iter().filter_map(|suspend| suspend.vms.as_ref()).flatten();
            vms.map(move |entry| (policy, entry))
        });
        Self {
            query,
            keeps,
            began,
            last_due: None,
            planner: Planner::new(query.policies, request),
            visible: 0,
            plans: Vec::new(),
            kept: BTreeMap::new(),
            too_old: BTreeSet::new(),
            estimates: BTreeMap::new(),
            overview: overview.then(HealthBuilder::default),
            unmatched: query.policies.iter().collect(),
            idle_entries: entries.collect(),
            missing: query.selection.vms.iter().collect(),
        }
    }

    fn warn_of_idle_policies(&self) {
        for policy in &self.unmatched {
            tracing::warn!("{}: no VM matches the policy `{}`", policy.source.file, policy.name);
        }
        // Of a policy that matches no VM that is enough to say.
        for (policy, entry) in self.idle_entries.iter().filter(|(it, _)| !self.unmatched.contains(it)) {
            let (file, name) = (&policy.source.file, &policy.name);
            tracing::warn!("{file}: `{entry}` in `suspend.vms` matches no VM of the policy `{name}`");
        }
    }

    /// Returns the VMs that were asked for and could not be read.
    fn judge(&mut self, listed: ListSummary) -> Result<Vec<UnreadableVm>, Failure> {
        let mut unreadable = listed.unreadable;
        let Query { policies, fifo, selection, .. } = self.query;
        if self.visible == 0 && unreadable.is_empty() && !policies.is_empty() && !selection.allow_empty {
            // To see no VM is never taken for that there are none.
            return Err(Failure::new(format!("{} shows this user no VM at all", fifo.name)).hint(
                "a user sees only the VMs it may `get`, and one that may see none looks just like an empty cloud; \
                 grant vms→…→get, or go on with --allow-empty",
            ));
        }
        self.missing.retain(|pattern| !unreadable.iter().any(|vm| pattern.means(vm.id, &vm.alias)));
        if let Some(missing) = self.missing.first() {
            return Err(not_there(missing));
        }
        unreadable.retain(|vm| selection.has(vm.id, &vm.alias));
        Ok(unreadable)
    }

    /// Decides on a VM, and returns its plan where plans are kept.
    fn decide(&mut self, vm: &Vm) -> Option<VmPlan> {
        let decided = self.planner.decide(vm);
        if let Some(judged) = &decided.judged {
            if judged.is_too_old() {
                self.too_old.insert(vm.id);
            }
            self.last_due = self.last_due.max(judged.due_between_clocks());
        }
        let plan = match &mut self.overview {
            None => Some(decided.plan),
            Some(overview) => {
                let plan = (self.keeps != KeptVms::Overview).then(|| decided.plan.clone());
                overview.add(vm, decided);
                plan
            }
        };
        if let Some(plan) = plan.as_ref().filter(|plan| !plan.due_actions().is_empty()) {
            self.estimates.insert(vm.id, Estimate::of(plan, vm));
        }
        plan
    }

    fn is_kept(&self, vm: &Vm, planned: Option<&VmPlan>) -> bool {
        let is_changed = planned.is_some_and(|planned| !planned.due_actions().is_empty());
        match self.keeps {
            KeptVms::Overview | KeptVms::None => false,
            KeptVms::Changed => is_changed,
            KeptVms::ForRun { .. } => is_changed || has_upload(vm) || self.kept.len() < WITNESSES,
            KeptVms::All => planned.is_some(),
        }
    }
}

impl VmVisitor for Reading<'_> {
    fn start(&mut self, server_date: Option<DateTime<Utc>>) {
        *self = Self::new(self.query, self.keeps, self.query.host.now(), server_date);
    }

    fn vm(&mut self, mut vm: Vm) {
        let Query { policies, selection, proofs, .. } = self.query;
        proofs.mark(&mut vm);
        self.unmatched.retain(|policy| !policy.matches(&vm));
        self.idle_entries.retain(|(policy, entry)| {
            !entry.means(Some(vm.id), &vm.alias) || policies.policy_for(&vm) != Match::One(policy)
        });
        self.missing.retain(|pattern| !pattern.means(Some(vm.id), &vm.alias));
        self.visible += 1;
        let planned = if selection.has(Some(vm.id), &vm.alias) { self.decide(&vm) } else { None };
        let is_kept = self.is_kept(&vm, planned.as_ref());
        self.plans.extend(planned);
        if is_kept {
            vm.backups.shrink_to_fit();
            self.kept.insert(vm.id, vm);
        }
    }

    fn forget(&mut self, id: VmId) -> String {
        self.kept.remove(&id);
        self.too_old.remove(&id);
        self.estimates.remove(&id);
        let plan = self.plans.iter().position(|vm| vm.uuid == Some(id));
        let planned = plan.map(|place| self.plans.swap_remove(place).alias);
        let looked_at = self.overview.as_mut().and_then(|overview| overview.forget(id));
        planned.or(looked_at).unwrap_or_default()
    }
}

/// Returns how far the server's clock is ahead of ours, which was read before and after the server read its own; negative
/// where it is behind.
pub fn skew(server: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if server < before { server - before } else { (server - after).max(TimeDelta::zero()) }
}

/// Compares the server's clock with ours. With `--at` both play no part in what is due, so then they are only warned about.
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
