//! `plan`: shows the plan, and saves it with `--out`.

use super::connect;
use super::context::Context;
use super::files::{self, Put};
use super::options::Format;
use super::policies;
use super::store::StoreArgs;
use super::value::{instant, max_bytes};
use crate::plan::{Plan, Prune};
use crate::policy::Pattern;
use crate::report::markdown::{self, MARKER, MAX_BYTES_DEFAULT};
use crate::report::plan::{PlanParts, document};
use crate::report::{Exit, Failure};
use crate::report::{change, diff, json};
use crate::runner::fifo::FirstContact;
use crate::runner::output::print;
use crate::runner::proofs::Proofs;
use crate::runner::read::{KeptVms, Planned, Query, Selection, compare_with};
use chrono::{DateTime, Utc};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct PlanningArgs {
    /// Only this VM, by UUID, or those with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    vms: Vec<Pattern>,

    /// Go on when this user can see no VM at all
    #[arg(long)]
    allow_empty: bool,
}

impl PlanningArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { vms: self.vms.clone(), allow_empty: self.allow_empty }
    }
}

#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct PruneArgs {
    /// Delete expired backups from storage too, for good, where the policy says `prune: true`
    #[arg(long, help_heading = "Pruning")]
    pub(super) prune: bool,

    /// So many backups of each VM may be deleted from storage at once, where the limit is lower
    #[arg(long, value_name = "COUNT", requires = "prune", help_heading = "Pruning")]
    pub(super) allow_mass_prune: Option<usize>,
}

impl PruneArgs {
    pub(super) fn switch(self) -> Prune {
        Prune { is_requested: self.prune, mass_allowed: self.allow_mass_prune.unwrap_or(0) }
    }
}

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
    #[arg(long, value_name = "BYTES", value_parser = max_bytes, help_heading = "Output")]
    max_bytes: Option<usize>,

    /// Show actual against desired backups as a unified diff as well
    #[arg(long)]
    diff: bool,
}

pub(super) async fn run(args: &PlanArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Markdown])?;
    refuse_what_does_not_go_together(args, format)?;
    let before = policies::load_against(context, &args.against)?;
    let policies = policies::load_for(context, args.prune.prune)?;
    let target = connect::target(context)?;
    let stop = context.host.safety_stop(&target.name());
    let fifo = target.open(&context.host, FirstContact::FailFast).await?;
    let selection = args.planning.selection();
    let proofs = Proofs::open(&context.host, &target.name(), args.store.open_if_given(context)?);
    proofs.refresh(false).await;
    let query = Query {
        host: &context.host,
        policies: &policies,
        fifo: &fifo,
        proofs: &proofs,
        selection: &selection,
        at: args.at,
        prune: args.prune.switch(),
    };
    let planned = query.plan(kept(args), false).await?;
    fifo.close().await?;
    let compared = before.map(|before| compare_with(&before, &policies, &planned));
    let estimate = planned.estimate(&planned.plan);
    let Planned { plan, inventory, identity, .. } = planned;

    // Saved before it is shown: the file is written even if the pipe is closed early.
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
    let parts = PlanParts {
        stop: stop.as_ref(),
        identity: Some(&identity),
        estimate: Some(&estimate),
        has_details: format == Format::Markdown,
        diff: if args.diff { diff::lines(&plan, &policies, &inventory) } else { Vec::new() },
    };
    let doc = || match &compared {
        Some(compared) => change::document(&plan, compared, parts, context.detail()),
        None => document(&plan, parts, context.detail()),
    };
    if args.out.as_deref() != Some(Path::new("-")) {
        print(|out| match (format, &compared) {
            (Format::Json, None) => json::plan(&plan, stop.as_ref(), out),
            (Format::Json, Some(compared)) => json::comparison(&plan, compared, stop.as_ref(), out),
            (Format::Markdown, _) => {
                let max_bytes = args.max_bytes.unwrap_or(MAX_BYTES_DEFAULT);
                out.write_all(markdown::written(&doc(), Some(MARKER), Some(max_bytes)).as_bytes())
            }
            _ => context.write(&doc(), out),
        })?;
    }
    // A fault of this program shows in the exit code, with or without --detailed-exitcode.
    if plan.summary.fault > 0 {
        return Ok(Exit::SomeFailed);
    }
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Exit::Changes } else { Exit::Done })
}

fn kept(args: &PlanArgs) -> KeptVms {
    if !args.against.is_empty() {
        KeptVms::All
    } else if args.diff {
        KeptVms::Changed
    } else {
        KeptVms::None
    }
}

fn refuse_what_does_not_go_together(args: &PlanArgs, format: Format) -> Result<(), Failure> {
    let refuse = |message: &str| Err(Failure::usage(message));
    match format {
        Format::Json if args.diff => refuse("--diff is for people: it does not go with --format json"),
        Format::Text | Format::Github | Format::Json if args.max_bytes.is_some() => {
            refuse("--max-bytes is for --format markdown: nothing else is ever cut")
        }
        _ if args.diff && args.out.as_deref() == Some(Path::new("-")) => {
            refuse("--diff is for people: it does not go with --out -, which writes the plan alone")
        }
        _ => Ok(()),
    }
}

/// Writes a plan to a file that only its owner may read, whole or not at all; or to standard output.
fn save(plan: &Plan, path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        return print(|out| json::plan(plan, None, out));
    }
    let saved = files::put(path, files::PRIVATE, Put::Over, |out| json::plan(plan, None, out));
    saved.map_err(|error| {
        Failure::new(format!("failed to save the plan to {}", path.display())).because(error)
    })?;
    let until = plan.valid_until.map_or_else(String::new, |until| {
        format!("; from {} on it would be another one", until.format("%Y-%m-%d %H:%M:%S UTC"))
    });
    tracing::info!("saved the plan to {}{until}", path.display());
    Ok(())
}
