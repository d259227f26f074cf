//! `apply`: executes a saved plan, or a new one that was shown and agreed to.

use crate::apply::ProgressTracker;
use crate::cli::args::{ApplyArgs, PruneArgs, TextOrJson};
use crate::cli::connection::FirstContact;
use crate::cli::context::Context;
use crate::cli::daemon::single;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::RunRequest;
use crate::cli::exit::Outcome;
use crate::cli::policies;
use crate::cli::run_sequence::{self, Approved};
use crate::plan::{Plan, VmPlan};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest file that is read as a plan, in bytes: a plan of a hundred thousand VMs.
const PLAN_BYTES_MAX: u64 = 256 << 20;

/// Runs the command.
///
/// # Errors
///
/// The saved plan cannot be used, another run is under way, no plan can be made, or the question was answered with no.
pub(in crate::cli) async fn run(args: &ApplyArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOrJson>()?;
    let is_asked = args.plan.is_none() && !args.auto_approve;
    if is_asked && !context.can_ask() {
        return Err(CliError::new(Kind::Usage, "there is no terminal to ask on")
            .hint("give --auto-approve to go on without asking, or use `reconcile`"));
    }
    single::run_and_report(context, &args.reporting, "apply", None, async |summary, monitor| {
        let saved = args.plan.as_deref().map(read_plan).transpose()?;
        if let (Some(plan), Some(path)) = (&saved, &args.plan) {
            refuse_deletes(plan, path, args.execute.prune)?;
        }
        let policies = policies::load_for(context, args.execute.prune)?;
        let mut last_shown = None;
        let approved = match (&saved, &args.plan) {
            (Some(plan), Some(path)) => Some(Approved::Saved { plan, path }),
            _ if args.auto_approve => Some(Approved::Everything { last_shown: &mut last_shown }),
            _ => None,
        };
        let request = RunRequest {
            command: "apply",
            first_contact: FirstContact::FailFast,
            args: &args.execute,
            handed_over_after: None,
            deadline: args.deadline,
            progress: &ProgressTracker::default(),
            selection: &args.planning,
            policies: &policies,
            interrupt: None,
        };
        run_sequence::run(&request, approved, context, monitor, summary).await
    })
    .await
}

/// Refuses a saved plan that deletes from storage where the command does not say so.
fn refuse_deletes(plan: &Plan, path: &Path, args: PruneArgs) -> Result<(), CliError> {
    let backups = match plan.vms.iter().map(VmPlan::cloud_deletes).sum() {
        0 => return Ok(()),
        _ if args.prune => return Ok(()),
        1 => "1 backup".to_owned(),
        count => format!("{count} backups"),
    };
    let message =
        format!("{} deletes {backups} from storage, for good, and --prune is not given", path.display());
    Err(CliError::new(Kind::Usage, message)
        .hint("give --prune to delete them, or make a plan without them: `fifo-retain plan --out FILE`"))
}

/// Reads a saved plan.
fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let unreadable = |error| {
        CliError::new(Kind::Files, format!("failed to read the plan {}", path.display())).because(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Plan::from_json(&bytes).map_err(|error| {
        CliError::new(Kind::SavedPlan, format!("{} cannot be applied", path.display()))
            .because(error)
            .hint("make a new plan with `fifo-retain plan --out FILE`")
    })
}
