//! `plan`: shows the plan, and saves it with `--out`.

use super::connect::{PlanningArgs, PruneArgs, look};
use super::context::{Context, Format};
use super::policies;
use super::store::StoreArgs;
use super::value::instant;
use crate::plan::Plan;
use crate::report::markdown::{self, MARKER, MAX_BYTES_DEFAULT, MAX_BYTES_LEAST};
use crate::report::plan::{PlanParts, document};
use crate::report::{Exit, Failure, change, diff, failed, json};
use crate::runner::files::{self, Put};
use crate::runner::output::{print, print_text};
use crate::runner::read::{KeptVms, Planned, compare_with};
use chrono::{DateTime, Utc};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/plan.txt"))]
pub struct PlanArgs {
    #[command(flatten)]
    planning: PlanningArgs,

    #[command(flatten)]
    prune: PruneArgs,

    #[command(flatten)]
    store: StoreArgs,

    /// Save the plan to a file, as JSON that can be applied later; - is standard output, which then has nothing else
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Exit with 2 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,

    /// Plan as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<DateTime<Utc>>,

    /// Compare with the policies in that file or folder; can be given several times
    #[arg(long, value_name = "PATH", help_heading = "Comparison")]
    against: Vec<PathBuf>,

    /// With --format markdown: write no more bytes than that, and say what was left out [default: 65536]
    #[arg(long, value_name = "BYTES", help_heading = "Output")]
    #[arg(value_parser = clap::value_parser!(u32).range(MAX_BYTES_LEAST as i64..))]
    max_bytes: Option<u32>,

    /// Show actual against desired backups as a unified diff as well
    #[arg(long)]
    diff: bool,
}

pub(super) async fn run(args: &PlanArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Markdown])?;
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    refuse_what_does_not_go_together(args, format, to_stdout)?;
    let before = policies::load_against(context, &args.against)?;
    let policies = policies::load_for(context, args.prune.prune)?;
    let kept = match args.diff {
        _ if before.is_some() => KeptVms::All,
        true => KeptVms::Changed,
        false => KeptVms::None,
    };
    let selection = args.planning.selection();
    let (prune, store) = (args.prune.switch(), args.store.open_if_given(context)?);
    let planned = look(context, &policies, &selection, args.at, prune, kept, store).await?;
    let stop = context.host.safety_stop(&planned.plan.endpoint);
    let compared = before.map(|before| compare_with(&before, &policies, &planned));
    let estimate = planned.estimate(&planned.plan);
    let Planned { plan, inventory, identity, .. } = planned;

    // Saved before it is shown: the file is written even if the pipe is closed early.
    match &args.out {
        Some(_) if to_stdout => print(|out| json::document(&plan, None, out))?,
        Some(path) => save(&plan, path)?,
        None => {}
    }
    let doc = || {
        let parts = PlanParts {
            stop: stop.as_ref(),
            identity: Some(&identity),
            estimate: Some(&estimate),
            has_details: format == Format::Markdown,
            diff: if args.diff { diff::lines(&plan, &policies, &inventory) } else { Vec::new() },
        };
        match &compared {
            Some(compared) => change::document(&plan, compared, parts, context.detail()),
            None => document(&plan, parts, context.detail()),
        }
    };
    if format == Format::Markdown && !to_stdout {
        let max_bytes = args.max_bytes.map_or(MAX_BYTES_DEFAULT, |bytes| bytes as usize);
        print_text(&markdown::written(&doc(), Some(MARKER), Some(max_bytes)))?;
    } else if !to_stdout {
        context.print(doc, |out| match &compared {
            None => json::document(&plan, stop.as_ref(), out),
            Some(compared) => json::comparison(&plan, compared, stop.as_ref(), out),
        })?;
    }
    // A fault of this program shows in the exit code, with or without --detailed-exitcode.
    if plan.summary.fault > 0 {
        return Ok(Exit::SomeFailed);
    }
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Exit::Changes } else { Exit::Done })
}

fn refuse_what_does_not_go_together(args: &PlanArgs, format: Format, to_stdout: bool) -> Result<(), Failure> {
    Err(Failure::usage(match format {
        Format::Json if args.diff => "--diff is for people: it does not go with --format json",
        Format::Text | Format::Json if args.max_bytes.is_some() => {
            "--max-bytes is for --format markdown: nothing else is ever cut"
        }
        _ if args.diff && to_stdout => {
            "--diff is for people: it does not go with --out -, which writes the plan alone"
        }
        _ => return Ok(()),
    }))
}

/// Writes a plan to a file that only its owner may read, whole or not at all.
fn save(plan: &Plan, path: &Path) -> Result<(), Failure> {
    let saved = files::put(path, files::PRIVATE, Put::Over, |out| json::document(plan, None, out));
    saved.map_err(failed(format!("failed to save the plan to {}", path.display())))?;
    let until = plan.valid_until.map_or_else(String::new, |until| {
        format!("; from {} on it would be another one", until.format("%Y-%m-%d %H:%M:%S UTC"))
    });
    tracing::info!("saved the plan to {}{until}", path.display());
    Ok(())
}
