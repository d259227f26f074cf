//! `status`: whether the backups would save every VM.

use super::connect::{PlanningArgs, look};
use super::context::{Context, Format};
use super::policies;
use super::value::instant;
use crate::inventory::VmId;
use crate::plan::Prune;
use crate::report::metrics::{self, Dialect};
use crate::report::page::status_page;
use crate::report::status::document;
use crate::report::{Detail, Exit, Failure, RunHistory, json, verify as proofs};
use crate::runner::output::print_text;
use crate::runner::read::{KeptVms, Planned};
use crate::runner::reporting::write_metrics;
use chrono::{DateTime, Utc};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/status.txt"))]
pub struct StatusArgs {
    #[command(flatten)]
    planning: PlanningArgs,

    /// Exit with 2 when a VM is too old, has no restorable backup, is in conflict or unreadable, when `verify` found one of its
    /// backups broken, or after a safety stop
    #[arg(long)]
    check: bool,

    /// Show only the VMs that are out, with what is wrong and what to do
    #[arg(long)]
    problems: bool,

    /// Judge as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<DateTime<Utc>>,

    /// Write metrics to this file, for node_exporter's textfile collector; exit with 1 when that fails
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    metrics_file: Option<PathBuf>,
}

pub(super) async fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Markdown, Format::Html])?;
    let policies = policies::load(context)?;
    let (selection, prune) = (args.planning.selection(), Prune::default());
    let read = look(context, &policies, &selection, args.at, prune, KeptVms::Overview, None).await?;
    let Planned { overview: Some(health), identity, .. } = read else {
        return Err(Failure::new("how the VMs stand was not read"));
    };
    let stop = context.host.safety_stop(&health.endpoint);
    let known = context.host.verified(&health.endpoint);
    if format == Format::Html {
        print_text(&status_page(&health, &known, stop.as_ref(), &identity))?;
    } else {
        let doc = || {
            let doc = document(&health, stop.as_ref(), args.problems, Some(&identity), context.detail());
            let shown: Vec<(VmId, &str)> = match context.detail() {
                Detail::Errors | Detail::Brief => Vec::new(),
                _ => health.vms.iter().filter_map(|vm| Some((vm.uuid?, &*vm.alias))).collect(),
            };
            proofs::with_proofs(doc, &known, &shown)
        };
        context.print(doc, |out| json::status(&health, &known, stop.as_ref(), out))?;
    }
    // While no backups are made, the status is not good, however young the backups still are.
    let is_broken = |id| known.get(&id).is_some_and(|vm| !vm.broken.is_empty());
    let is_out =
        stop.is_some() || health.vms.iter().any(|vm| vm.verdict.is_out() || vm.uuid.is_some_and(is_broken));
    if let Some(path) = &args.metrics_file {
        let history = RunHistory {
            overview: Some(health),
            verified: known,
            safety_stop: stop,
            ..RunHistory::default()
        };
        write_metrics(path, &metrics::text(&history, context.host.now(), Dialect::Prometheus))?;
    }
    Ok(if args.check && is_out { Exit::Changes } else { Exit::Done })
}
