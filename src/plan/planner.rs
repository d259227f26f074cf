//! Plans VM after VM, so that no more than one of them has to be in memory.

use super::audit;
use super::changeset::{Action, FORMAT, Plan, PolicyRef, SnapshotUsage, Status, Summary, TOOL, VmPlan};
use super::decide::{decide_under, untouched, without_policy};
use super::due::Occurrences;
use super::fingerprint::fingerprint;
use super::note::{Note, NoteCode};
use super::request::Request;
use super::standing::VmView;
use super::validity::valid_until;
use crate::inventory::{UnreadableVm, Vm, VmId};
use crate::policy::{Match, Policies, Policy};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug)]
pub struct Planner<'p> {
    policies: &'p Policies,
    request: Request,
    occurrences_by_policy: BTreeMap<&'p str, Occurrences<'p>>,
    /// The earliest instant so far at which some VM would be decided otherwise.
    valid_until: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub struct DecidedVm<'v> {
    pub plan: VmPlan,
    /// The VM under its policy, as it was judged for the plan; `None` where no policy or several claim it.
    pub judged: Option<JudgedVm<'v>>,
}

/// A VM under its policy, with the occurrences of the policy's schedules.
#[derive(Debug)]
pub struct JudgedVm<'v> {
    pub view: VmView<'v>,
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
    pub fn new(policies: &'p Policies, request: impl Into<Request>) -> Self {
        let request = request.into();
        let of = |policy: &'p Policy| (&*policy.name, Occurrences::new(policy, request.due_at));
        let occurrences_by_policy = policies.iter().map(of).collect();
        Self { policies, request, occurrences_by_policy, valid_until: None }
    }

    pub fn request(&self) -> Request {
        self.request
    }

    pub(crate) fn timezone(&self) -> String {
        self.policies.display_zone().name().to_owned()
    }

    /// Decides on a VM. Where the plan breaks a rule the VM is left out, as [`Status::Fault`].
    pub fn decide<'v>(&'v mut self, vm: &'v Vm) -> DecidedVm<'v> {
        let &mut Self { policies, request, .. } = self;
        let (mut plan, judged) = match policies.policy_for(vm) {
            Match::One(policy) => {
                let occurrences = &self.occurrences_by_policy[&*policy.name];
                let view = VmView::one_of(vm, policies, policy, request);
                let plan = decide_under(&view, occurrences);
                self.valid_until = valid_until(&view, occurrences, &plan, self.valid_until);
                (plan, Some(JudgedVm { view, occurrences }))
            }
            claims => (without_policy(vm, &claims), None),
        };
        let broken = audit::audit_vm(&plan, vm, policies, request);
        if !broken.is_empty() {
            plan = left_out(&plan, vm, &broken, policies, request);
        }
        plan.fingerprint = Some(fingerprint(vm));
        DecidedVm { plan, judged }
    }

    /// Makes a plan of what was decided for each VM, in whatever order, and of the VMs that could not be read.
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
            valid_until: self.valid_until,
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

pub(crate) fn unreadable(vm: &UnreadableVm) -> VmPlan {
    let text = format!("could not be read completely: {}", vm.problems.join("; "));
    let (status, notes) = (Status::Unreadable, vec![Note::vm(NoteCode::Unreadable, text)]);
    VmPlan { uuid: vm.id, alias: vm.alias.clone(), status, notes, ..VmPlan::default() }
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

fn summary(vms: &[VmPlan]) -> Summary {
    let count = |is_of: &dyn Fn(&VmPlan) -> bool| vms.iter().filter(|vm| is_of(vm)).count();
    let with = |status| count(&|vm| vm.status == status);
    let actions = || vms.iter().flat_map(VmPlan::due_actions);
    Summary {
        create: actions().filter(|action| action.is_create()).count(),
        delete_local: actions().filter(|action| action.is_local_delete()).count(),
        delete_cloud: actions().filter(|action| action.is_cloud_delete()).count(),
        up_to_date: with(Status::UpToDate),
        waiting: with(Status::Waiting),
        blocked: with(Status::Blocked),
        unprotected: with(Status::Unprotected),
        conflict: with(Status::Conflict),
        fault: with(Status::Fault),
        unreadable: with(Status::Unreadable),
        suspended: count(&|vm| vm.status == Status::Changes && vm.is_suspended()),
        stored: vms.iter().map(|vm| vm.stored).sum(),
        unmanaged: vms.iter().map(|vm| vm.unmanaged).fold(SnapshotUsage::default(), SnapshotUsage::plus),
    }
}

/// Makes the plan of a VM that is left out, because what was planned for it breaks these rules. Its note has all that a person
/// needs to see why the decision went wrong: the rules, and what both readings of them rest on. The policy is known by its file;
/// metadata is left out, since it may hold secrets.
fn left_out(planned: &VmPlan, vm: &Vm, broken: &[String], policies: &Policies, request: Request) -> VmPlan {
    let policy = match policies.policy_for(vm) {
        Match::One(Policy { name, source, .. }) => format!("{name} of {} ({})", source.file, source.sha256),
        Match::Unprotected => "none".to_owned(),
        Match::Conflict(_) => "several".to_owned(),
    };
    let Vm { id, hypervisor, state, creating, deleting, delegated_datasets, .. } = vm;
    let mut text = format!(
        "left out, because its plan violates a rule: {}. This is a bug in the program; please report it with all of this, and \
         with the policy's file: {TOOL}, {request:?}; policy {policy}; {:?} {:?}; VM {id} on {hypervisor:?}, {state:?}, \
         creating {creating}, deleting {deleting}, delegated datasets {delegated_datasets}",
        broken.join("; "),
        planned.status,
        planned.actions,
    );
    for backup in vm.backups.values() {
        // Writing into a text cannot fail.
        _ = write!(text, "; {backup:?}");
    }
    let note = Note::vm(NoteCode::InternalError, text);
    VmPlan { policy: planned.policy.clone(), ..untouched(vm, Status::Fault, note) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::audit::audit_vm;
    use crate::plan::tests::fixtures::*;
    use crate::plan::tests::frame::{audit, frame_broken};
    use crate::plan::{Action, fingerprint};

    const WEDNESDAY: &str = "2026-11-18 01:00";

    /// A VM with a daily due, whose plan has its parent's snapshot deleted before it, and what stands in place of that plan.
    fn broken() -> (VmPlan, VmPlan) {
        let policies = Policies::new(vec![grandfather()]);
        let mut planned = mid_chain().plan(&grandfather(), WEDNESDAY);
        for action in &mut planned.actions {
            if let Action::DeleteLocal(delete) = action {
                delete.after_create = false;
            }
        }
        planned.actions.reverse();
        let vm = mid_chain().vm;
        let broken = audit_vm(&planned, &vm, &policies, at(WEDNESDAY));
        let fault = left_out(&planned, &vm, &broken, &policies, at(WEDNESDAY).into());
        (planned, VmPlan { fingerprint: Some(fingerprint(&vm)), ..fault })
    }

    #[test]
    fn a_vm_whose_plan_breaks_a_rule_is_left_out_and_counted() {
        let (planned, fault) = broken();
        assert_eq!((fault.status, fault.actions.len(), fault.notes.len()), (Status::Fault, 0, 1));
        assert_eq!(fault.uuid, planned.uuid);
        let plan = plan_all(&[grandfather()], [mid_chain()], at(WEDNESDAY)).limited_to(vec![fault]);
        assert_eq!((plan.summary.fault, plan.summary.create, plan.summary.delete_local), (1, 0, 0));
        let (policies, inventory) = (Policies::new(vec![grandfather()]), inventory([mid_chain()]));
        assert_eq!(frame_broken(&plan, &policies, &inventory), Vec::<String>::new());
        assert_eq!(audit(&plan, &policies, &inventory, at(WEDNESDAY).into()), Vec::<String>::new());
    }

    #[test]
    fn what_is_reported_of_it_is_all_that_a_report_needs() {
        let (_, fault) = broken();
        let message = fault.note(NoteCode::InternalError).unwrap().to_string();
        let parent = backup_id(3).to_string();
        for part in [
            "a local delete of the planned backup's parent before that is complete",
            TOOL,
            "2026-11-18T01:00:00",
            "policies/grandfather.yaml",
            "\"hv-1\"",
            parent.as_str(),
            "after_create: false",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
}
