//! Plans VM after VM, so that no more than one of them has to be in memory.

use super::audit;
use super::changeset::{Action, FORMAT, Plan, PolicyRef, Status, Summary, TOOL, VmPlan};
use super::decide::{decide_under, without_policy};
use super::due::Occurrences;
use super::fault;
use super::fingerprint::fingerprint;
use super::note::{Note, NoteCode};
use super::request::Request;
use super::standing::VmView;
use super::validity::Validity;
use crate::inventory::{UnreadableVm, Vm, VmId};
use crate::policy::{Match, Policies, Policy};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Decides on one VM at a time, at one instant.
#[derive(Debug)]
pub struct Planner<'p> {
    policies: &'p Policies,
    request: Request,
    occurrences_by_policy: BTreeMap<&'p str, Occurrences<'p>>,
    validity: Validity,
}

/// What is decided for a VM.
#[derive(Debug)]
pub struct DecidedVm<'v> {
    /// Its plan.
    pub plan: VmPlan,
    /// The VM under its policy, as it was judged for the plan; `None` where no policy or several claim it.
    pub judged: Option<JudgedVm<'v>>,
}

/// A VM under its policy, with the occurrences of the policy's schedules.
#[derive(Debug)]
pub struct JudgedVm<'v> {
    /// Its backups, each judged.
    pub view: VmView<'v>,
    /// The due times.
    pub occurrences: &'v Occurrences<'v>,
}

impl JudgedVm<'_> {
    /// Says whether no restorable backup is as young as the policy wants the newest to be.
    pub fn is_too_old(&self) -> bool {
        let VmView { now, policy, .. } = self.view;
        self.view.newest_restorable().is_none_or(|newest| now - newest.taken > policy.max_age)
    }

    /// Returns the instant since which a backup would be made by the later one of the two clocks and not by the earlier.
    pub fn due_between_clocks(&self) -> Option<DateTime<Utc>> {
        let Self { view, occurrences } = self;
        let mut tiers = 0..view.policy.tiers.len();
        let is_between = |tier| occurrences.next(tier, view.vm.id).is_some_and(|due| due <= view.now);
        if view.now == occurrences.now() || !tiers.any(is_between) {
            return None;
        }
        let plan = decide_under(view, &Occurrences::new(view.policy, view.now));
        let due = plan.due_actions().iter().find_map(Action::as_create)?.due_since.to_utc();
        (due > occurrences.now()).then_some(due)
    }
}

impl<'p> Planner<'p> {
    /// Prepares to plan.
    pub fn new(policies: &'p Policies, request: impl Into<Request>) -> Self {
        let request = request.into();
        let of = |policy: &'p Policy| (policy.name.as_str(), Occurrences::new(policy, request.due_at));
        let occurrences_by_policy = policies.iter().map(of).collect();
        Self { policies, request, occurrences_by_policy, validity: Validity::default() }
    }

    /// Returns what is asked for.
    pub fn request(&self) -> Request {
        self.request
    }

    /// Returns the IANA name of the zone in which times are shown.
    pub(crate) fn timezone(&self) -> String {
        self.policies.display_zone().name().to_owned()
    }

    /// Decides on a VM. Where the plan breaks a rule the VM is left out, as [`Status::Fault`].
    pub fn decide<'v>(&'v mut self, vm: &'v Vm) -> DecidedVm<'v> {
        let &mut Self { policies, request, .. } = self;
        let (mut plan, judged) = match policies.policy_for(vm) {
            Match::One(policy) => {
                let occurrences = &self.occurrences_by_policy[policy.name.as_str()];
                let view = VmView::one_of(vm, policies, policy, request);
                let plan = decide_under(&view, occurrences);
                self.validity.narrow(&view, occurrences, &plan);
                (plan, Some(JudgedVm { view, occurrences }))
            }
            Match::Unprotected => (without_policy(vm, &[]), None),
            Match::Conflict(policies) => (without_policy(vm, &policies), None),
        };
        let broken = audit::audit_vm(&plan, vm, policies, request);
        if !broken.is_empty() {
            plan = fault::left_out(&plan, vm, &broken, policies, request);
        }
        plan.fingerprint = Some(fingerprint(vm));
        DecidedVm { plan, judged }
    }

    /// Makes a plan of what was decided for each VM, and of the VMs that could not be read. The plan is the same whatever
    /// order these are in.
    pub fn finish(self, endpoint: String, mut vms: Vec<VmPlan>, unreadable: &[UnreadableVm]) -> Plan {
        vms.extend(unreadable.iter().map(self::unreadable));
        vms.sort_unstable_by(|a, b| {
            sort_key(&a.alias, a.uuid, &a.notes).cmp(&sort_key(&b.alias, b.uuid, &b.notes))
        });
        let policies = self.policies.iter().map(|policy| PolicyRef {
            name: policy.name.to_string(),
            file: policy.source.file.clone(),
            sha256: policy.source.sha256.clone(),
        });
        let frame = Plan {
            format: FORMAT.to_owned(),
            tool: TOOL.to_owned(),
            at: self.request.now,
            valid_until: self.validity.until(),
            endpoint,
            timezone: self.timezone(),
            policies: policies.collect(),
            summary: Summary::default(),
            vms: Vec::new(),
            checksum: String::new(),
        };
        frame.limited_to(vms)
    }
}

impl Plan {
    /// Returns the same plan of these VMs alone, counted and signed anew.
    #[must_use]
    pub fn limited_to(&self, vms: Vec<VmPlan>) -> Self {
        let (summary, head) = (summary(&vms), Self { vms: Vec::new(), ..self.clone() });
        let mut plan = Self { summary, vms, ..head };
        plan.sign();
        plan
    }
}

/// Returns the plan of a VM that could not be read.
pub(crate) fn unreadable(vm: &UnreadableVm) -> VmPlan {
    let text = format!("could not be read completely: {}", vm.problems.join("; "));
    VmPlan::left_alone(vm.id, &vm.alias, Status::Unreadable, Note::vm(NoteCode::Unreadable, text))
}

/// Returns what VMs are sorted by: alias, then UUID. What is wrong with them distinguishes two unreadable VMs without
/// either, so that even their order is a function of the input.
pub(crate) fn sort_key<'n>(
    alias: &'n str,
    uuid: Option<VmId>,
    notes: &'n [Note],
) -> (&'n str, Option<VmId>, Option<&'n str>) {
    (alias, uuid, notes.first().map(|note| note.message.as_str()))
}

/// Counts what is planned for VMs.
fn summary(vms: &[VmPlan]) -> Summary {
    let mut summary = Summary::default();
    for vm in vms {
        summary.unmanaged = summary.unmanaged.plus(vm.unmanaged);
        summary.stored += vm.stored;
        for action in vm.due_actions() {
            summary.create += usize::from(action.is_create());
            summary.delete_local += usize::from(action.is_local_delete());
            summary.delete_cloud += usize::from(action.is_cloud_delete());
        }
        match vm.status {
            Status::Changes if vm.is_suspended() => summary.suspended += 1,
            Status::Changes => {}
            Status::Fault => summary.fault += 1,
            Status::Unreadable => summary.unreadable += 1,
            Status::Conflict => summary.conflict += 1,
            Status::Blocked => summary.blocked += 1,
            Status::Waiting => summary.waiting += 1,
            Status::Unprotected => summary.unprotected += 1,
            Status::UpToDate => summary.up_to_date += 1,
        }
    }
    summary
}
