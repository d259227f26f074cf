//! What of a plan made now is carried out, where that is not all of it: what a person has seen and agreed to, or what a saved
//! plan lists.

use super::files::read_input;
use super::output::{ask, ask_line};
use crate::plan::{ConfirmedPlan, Plan, SkipReason, VmPlan, confirm};
use crate::report::{Exit, Failure};
use std::path::Path;

/// A plan from before, and what it is called.
pub(super) struct Listed {
    plan: Plan,
    name: String,
    /// Whether it is from a file, and not the one that was just shown.
    pub(super) is_saved: bool,
}

impl Listed {
    /// Reads a saved plan; `-` is standard input. An error: it cannot be read, or it deletes from storage and the command does
    /// not say so.
    pub(super) fn read(path: &Path, may_prune: bool) -> Result<Self, Failure> {
        let (name, bytes) = read_input("plan", path)?;
        let plan = Plan::from_json(&bytes).map_err(|error| {
            Failure::new(format!("{name} cannot be applied"))
                .because(error)
                .hint("make a new plan with `fifo-retain plan --out FILE`")
        })?;
        let deletes = cloud_deletes(&plan);
        if deletes == 0 || may_prune {
            return Ok(Self { plan, name, is_saved: true });
        }
        let backups = if deletes == 1 { "backup" } else { "backups" };
        let message =
            format!("{name} deletes {deletes} {backups} from storage, for good, and --prune is not given");
        Err(Failure::usage(message)
            .hint("give --prune to delete them, or make a plan without them: `fifo-retain plan --out FILE`"))
    }

    pub(super) fn shown(plan: Plan) -> Self {
        Self { plan, name: "the plan that was shown".to_owned(), is_saved: false }
    }

    pub(super) fn refuse_other_endpoint(&self, endpoint: &str) -> Result<(), Failure> {
        if self.plan.endpoint == endpoint {
            return Ok(());
        }
        let message = format!("{} is a plan for {}, and this is {endpoint}", self.name, self.plan.endpoint);
        Err(Failure::new(message).hint("name the FiFo that the plan was made for"))
    }

    pub(super) fn work(&self, now: &Plan) -> ConfirmedPlan {
        let Self { plan, name, is_saved } = self;
        if plan.policies != now.policies {
            tracing::warn!("the policies are not those that {name} was made from");
        }
        if let Some(until) = plan.valid_until.filter(|&until| until <= now.at) {
            tracing::warn!(
                "{name} was made to hold until {}: what has come due since is not in it and is not done",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            );
        }
        let mut work = confirm(plan, now);
        let is_settled = work.skipped.iter().all(|skipped| skipped.why == SkipReason::NothingLeft);
        if *is_saved && work.vms.is_empty() && is_settled {
            tracing::info!("nothing is left to do: all of {name} is done or no longer wanted");
            // One line for the whole plan instead of one for each VM.
            work.skipped.clear();
        }
        work
    }
}

pub(super) fn everything(now: &Plan) -> ConfirmedPlan {
    let due = now.vms.iter().filter(|vm| !vm.due_actions().is_empty());
    ConfirmedPlan { vms: due.cloned().collect(), skipped: Vec::new() }
}

fn cloud_deletes(plan: &Plan) -> usize {
    plan.vms.iter().map(VmPlan::cloud_deletes).sum()
}

pub(super) fn skip_text(why: SkipReason) -> String {
    match why {
        SkipReason::Changed => "left out: it has changed since the plan; make a new one".to_owned(),
        SkipReason::NothingLeft => {
            "nothing to do: what the plan lists for it is no longer wanted, or is done".to_owned()
        }
        SkipReason::SomeDropped(1) => "one listed action is no longer wanted and is dropped".to_owned(),
        SkipReason::SomeDropped(count) => {
            format!("{count} listed actions are no longer wanted and are dropped")
        }
    }
}

/// Asks about a plan that was shown and that has something to do. Returns what was agreed to.
///
/// Deletes from storage cannot be taken back, so a yes to the plan is not enough for them: their number has to be typed. With
/// any other answer everything else is done. An error: the answer was no, or nothing is left to do.
pub(super) fn asked(mut plan: Plan, question: &str) -> Result<Plan, Failure> {
    let nothing_done = || Err(Failure::ending(Exit::Declined, "nothing was done"));
    if !ask(question)? {
        return nothing_done();
    }
    let deletes = cloud_deletes(&plan);
    let backups = if deletes == 1 { "backup is" } else { "backups are" };
    let question =
        format!("{deletes} {backups} going to be deleted from storage, for good. Type {deletes} to go on: ");
    if deletes == 0 || is_number(&ask_line(&question)?.unwrap_or_default(), deletes) {
        return Ok(plan);
    }
    let mut vms = std::mem::take(&mut plan.vms);
    vms.iter_mut().for_each(|vm| vm.actions.retain(|action| !action.is_cloud_delete()));
    vms.retain(|vm| !vm.actions.is_empty());
    if vms.is_empty() {
        return nothing_done();
    }
    tracing::warn!("nothing is deleted from storage; everything else is done");
    Ok(plan.limited_to(vms))
}

fn is_number(answer: &str, number: usize) -> bool {
    answer.trim() == number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_itself_is_an_agreement() {
        assert!(is_number("12\n", 12) && is_number(" 12 ", 12));
        for answer in ["", "\n", "y", "yes", "1", "120", "012", "+12", "12 backups", "all"] {
            assert!(!is_number(answer, 12), "{answer:?}");
        }
    }
}
