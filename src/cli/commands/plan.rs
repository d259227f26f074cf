//! `plan`: shows the plan, and saves it with `--out`.

use crate::cli::args::{PlanArgs, ReportFormat};
use crate::cli::connection::{FirstContact, PendingConnection};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::Outcome;
use crate::cli::files;
use crate::cli::planning::{self, KeptVms, Planned, Wanted};
use crate::cli::policies;
use crate::cli::safety_stop;
use crate::plan::Plan;
use crate::render::markdown::{MAX_BYTES_DEFAULT, PlanPageParts};
use crate::render::text::PlanExtras;
use crate::render::{self, Styles};
use std::path::Path;

pub(in crate::cli) async fn run(args: &PlanArgs, context: &Context) -> Result<Outcome, CliError> {
    let format = context.format()?;
    refuse_what_does_not_go_together(args, format)?;
    let before = match args.against.as_slice() {
        [] => None,
        paths => Some(policies::load_against(context, paths)?),
    };
    let policies = policies::load_for(context, args.prune)?;
    let fifo = PendingConnection::of(context)?;
    let stop = safety_stop::shown(context, fifo.name());
    let fifo = fifo.open(context, FirstContact::FailFast).await?;
    let wanted = Wanted { vms: kept(args), overview: false, prune: args.prune.switch() };
    let planned = planning::make(context, &policies, &fifo, &args.planning, wanted, args.at).await?;
    fifo.close().await?;
    let compared = before.map(|before| planning::compare_with(&before, &policies, &planned));
    let estimate = planned.estimate(&planned.plan);
    let Planned { plan, inventory, identity, .. } = planned;

    // Saved before it is shown: the file is written even if the pipe is closed early.
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
    context.print(|out| match (format, &compared) {
        (ReportFormat::Json, None) => render::json::plan(&plan, stop.as_ref(), out),
        (ReportFormat::Json, Some(compared)) => render::json::comparison(&plan, compared, stop.as_ref(), out),
        (ReportFormat::Markdown, compared) => {
            let mut diff = Vec::new();
            if args.diff {
                render::diff::plan(&plan, &policies, &inventory, &Styles::plain(), &mut diff)?;
            }
            let diff = String::from_utf8_lossy(&diff);
            let parts = PlanPageParts {
                comparison: compared.as_ref(),
                stop: stop.as_ref(),
                identity: Some(&identity),
                diff: &diff,
            };
            render::markdown::plan(&plan, &parts, args.max_bytes.unwrap_or(MAX_BYTES_DEFAULT), out)
        }
        (ReportFormat::Text, compared) => {
            safety_stop::write_shown(stop.as_ref(), context, out)?;
            if args.diff && !plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
                render::diff::plan(&plan, &policies, &inventory, &context.text_options.styles, out)?;
                writeln!(out)?;
            }
            let extras = PlanExtras { identity: Some(&identity), estimate: Some(&estimate) };
            match compared {
                Some(compared) => {
                    render::text::changed_plan(&plan, compared, extras, &context.text_options, out)
                }
                None => render::text::plan(&plan, extras, &context.text_options, out),
            }
        }
    })?;
    // A fault of this program shows in the exit code, with or without --detailed-exitcode.
    if plan.summary.fault > 0 {
        return Ok(Outcome::SomeFailed);
    }
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Outcome::Changes } else { Outcome::Done })
}

/// Returns which VMs are needed besides their plans.
fn kept(args: &PlanArgs) -> KeptVms {
    if !args.against.is_empty() {
        KeptVms::All
    } else if args.diff {
        KeptVms::Changed
    } else {
        KeptVms::None
    }
}

fn refuse_what_does_not_go_together(args: &PlanArgs, format: ReportFormat) -> Result<(), CliError> {
    let refuse = |message: &str| Err(CliError::new(Kind::Usage, message));
    match format {
        ReportFormat::Json if args.diff => refuse("--diff is for people: it does not go with --format json"),
        ReportFormat::Text | ReportFormat::Json if args.max_bytes.is_some() => {
            refuse("--max-bytes is for --format markdown: nothing else is ever cut")
        }
        _ => Ok(()),
    }
}

/// Writes a plan to a file that only its owner may read, whole or not at all.
fn save(plan: &Plan, path: &Path) -> Result<(), CliError> {
    let saved = files::put(path, files::PRIVATE, |out| render::json::plan(plan, None, out));
    saved.map_err(|error| {
        CliError::new(Kind::Files, format!("failed to save the plan to {}", path.display())).because(error)
    })?;
    let until = plan.valid_until.map_or_else(String::new, |until| {
        format!("; from {} on it would be another one", until.format("%Y-%m-%d %H:%M:%S UTC"))
    });
    tracing::info!("saved the plan to {}{until}", path.display());
    Ok(())
}
