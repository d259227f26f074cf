//! Asks a person whether a plan is to be carried out; for deletes from storage a second time, by their number.

use super::context::Context;
use super::error::{CliError, Kind};
use crate::plan::{Plan, VmPlan};

/// Asks about a plan that was shown and that has something to do. Returns what was agreed to.
///
/// Deletes from storage cannot be taken back, so a yes to the plan is not enough for them: their number has to be typed. With
/// any other answer everything else is done.
///
/// # Errors
///
/// The answer was no, or nothing is left to do.
pub(super) fn asked(context: &Context, plan: Plan, question: &str) -> Result<Plan, CliError> {
    let nothing_done = || Err(CliError::new(Kind::Declined, "nothing was done"));
    if !context.ask(question)? {
        return nothing_done();
    }
    let deletes: usize = plan.vms.iter().map(VmPlan::cloud_deletes).sum();
    if deletes == 0 || has_typed(context, deletes)? {
        return Ok(plan);
    }
    let rest = without_prune(plan);
    if rest.vms.is_empty() {
        return nothing_done();
    }
    tracing::warn!("nothing is deleted from storage; everything else is done");
    Ok(rest)
}

fn has_typed(context: &Context, deletes: usize) -> Result<bool, CliError> {
    let backups = if deletes == 1 { "backup is" } else { "backups are" };
    let question =
        format!("{deletes} {backups} going to be deleted from storage, for good. Type {deletes} to go on: ");
    Ok(is_number(&context.ask_line(&question)?.unwrap_or_default(), deletes))
}

/// Says whether an answer is just that number.
fn is_number(answer: &str, number: usize) -> bool {
    answer.trim() == number.to_string()
}

fn without_prune(mut plan: Plan) -> Plan {
    let mut vms = std::mem::take(&mut plan.vms);
    vms.iter_mut().for_each(|vm| vm.actions.retain(|action| !action.is_cloud_delete()));
    vms.retain(|vm| !vm.actions.is_empty());
    plan.limited_to(vms)
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
