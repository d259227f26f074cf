//! `plan`: shows what there is to do, and saves it where that is wished.

use super::args::{Format, PlanArgs};
use super::connection::Chosen;
use super::context::Context;
use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::files;
use super::planning::{self, Planned};
use super::policies;
use crate::plan::Plan;
use crate::render;
use std::path::Path;

/// Runs the command.
///
/// # Errors
///
/// See [`planning::make`]; or the plan cannot be written.
pub(super) async fn run(args: &PlanArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json])?;
    let is_json = context.global.format == Format::Json;
    if args.diff && is_json {
        return Err(CliError::new(Kind::Usage, "--diff is text: it does not go with --format json"));
    }
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?.open(context).await?;
    let Planned { plan, inventory } =
        planning::make(context, &policies, &fifo, &args.planning, args.at).await?;
    fifo.close().await?;

    // Saved before it is shown: whoever closes the pipe early still finds the file.
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
    context.print(|out| {
        if is_json {
            return render::json::plan(&plan, out);
        }
        if args.diff && !plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
            render::diff::plan(&plan, &policies, &inventory, &context.look.styles, out)?;
            writeln!(out)?;
        }
        render::text::plan(&plan, &context.look, out)
    })?;
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Outcome::Changes } else { Outcome::Done })
}

/// Writes a plan to a file that only its owner may read, whole or not at all.
fn save(plan: &Plan, path: &Path) -> Result<(), CliError> {
    let saved = files::put(path, files::PRIVATE, |out| render::json::plan(plan, out));
    saved.map_err(|error| {
        CliError::new(Kind::Files, format!("could not save the plan to {}", path.display())).because(error)
    })?;
    let until = plan.valid_until.map_or_else(String::new, |until| {
        format!("; from {} on it would be another one", until.format("%Y-%m-%d %H:%M:%S UTC"))
    });
    tracing::info!("saved the plan to {}{until}", path.display());
    Ok(())
}
