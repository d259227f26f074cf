//! `status`: whether the backups would save every VM.

use super::apply::write_metrics;
use super::connect;
use super::context::Context;
use super::options::Format;
use super::plan::PlanningArgs;
use super::policies;
use super::value::instant;
use crate::inventory::VmId;
use crate::plan::Prune;
use crate::report::page::status_page;
use crate::report::status::{StatusView, document};
use crate::report::text::Detail;
use crate::report::{Exit, Failure, RunHistory};
use crate::report::{json, verify as proofs};
use crate::runner::fifo::FirstContact;
use crate::runner::output::print;
use crate::runner::proofs::Proofs;
use crate::runner::read::Query;
use crate::runner::reporting::metrics_text;
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
    let target = connect::target(context)?;
    let stop = context.host.safety_stop(&target.name());
    let fifo = target.open(&context.host, FirstContact::FailFast).await?;
    let (host, selection) = (&context.host, args.planning.selection());
    let query = Query {
        host,
        policies: &policies,
        fifo: &fifo,
        proofs: &Proofs::open(host, &target.name(), None),
        selection: &selection,
        at: args.at,
        prune: Prune::default(),
    };
    let overview = query.look(true).await?;
    let identity = fifo.identity().to_owned();
    fifo.close().await?;
    let health = &overview.health;
    let known = context.host.verified(&target.name());
    print(|out| {
        if format == Format::Json {
            return json::status(health, &known, stop.as_ref(), out);
        }
        if format == Format::Html {
            return out.write_all(status_page(health, &known, stop.as_ref(), &identity).as_bytes());
        }
        let view = if args.problems { StatusView::ProblemsOnly } else { StatusView::All };
        let doc = document(health, stop.as_ref(), view, Some(&identity), context.detail());
        let shown: Vec<(VmId, &str)> = match context.detail() {
            Detail::Errors | Detail::Brief => Vec::new(),
            _ => health.vms.iter().filter_map(|vm| Some((vm.uuid?, &*vm.alias))).collect(),
        };
        context.write(&proofs::with_proofs(doc, &known, &shown), out)
    })?;
    // While no backups are made, the status is not good, however young the backups still are.
    let is_broken = |id| known.get(&id).is_some_and(|vm| !vm.broken.is_empty());
    let is_out =
        stop.is_some() || health.vms.iter().any(|vm| vm.verdict.is_out() || vm.uuid.is_some_and(is_broken));
    if let Some(path) = &args.metrics_file {
        let history = RunHistory {
            overview: Some(overview),
            verified: known,
            safety_stop: stop,
            ..RunHistory::default()
        };
        write_metrics(path, &metrics_text(&context.host, &history))?;
    }
    Ok(if args.check && is_out { Exit::Changes } else { Exit::Done })
}
