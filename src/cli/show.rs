//! `show`: why every backup of a VM is where it is.

use super::connect::look;
use super::context::{Context, Format};
use super::policies;
use super::value::instant;
use crate::insight::show::{enter_expiry_dates, explain};
use crate::plan::Prune;
use crate::policy::Pattern;
use crate::report::html::vm;
use crate::report::{Detail, Exit, Failure, json, show, stop as safety_stop, verify as proofs};
use crate::runner::output::print_text;
use crate::runner::read::{KeptVms, Planned, Selection};
use chrono::{DateTime, Utc};
use clap::Args;

/// Of more VMs than this it is not worked out when their backups expire: a year of each is simulated for it.
const DATED_MAX: usize = 50;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/show.txt"))]
pub struct ShowArgs {
    /// Which VMs: by UUID, or all with such an alias
    #[arg(value_name = "UUID|ALIAS-GLOB", required = true)]
    vms: Vec<Pattern>,

    /// Explain as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<DateTime<Utc>>,
}

pub(super) async fn run(args: &ShowArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Markdown, Format::Html])?;
    let policies = policies::load(context)?;
    let selection = Selection { vms: args.vms.clone(), allow_empty: false };
    // What a run with `--prune` would do is told as well.
    let read = look(context, &policies, &selection, args.at, Prune::REQUESTED, KeptVms::All, None).await?;
    let Planned { plan, inventory, identity, request, .. } = read;
    let mut explained = explain(&plan, &policies, &inventory, request);
    if explained.vms.len() <= DATED_MAX {
        enter_expiry_dates(&mut explained, &policies, &inventory);
    }
    let stop = context.host.safety_stop(&plan.endpoint);
    if format == Format::Html {
        let alarms: Vec<String> = stop.iter().map(safety_stop::headline).collect();
        print_text(&vm::page(&explained, &alarms, Some(&identity), None))?;
        return Ok(Exit::Done);
    }
    let mut known = context.host.verified(&plan.endpoint);
    known.retain(|id, _| explained.vms.iter().any(|vm| vm.uuid == Some(*id)));
    let doc = || {
        let detail = if format == Format::Markdown { Detail::Full } else { context.detail() };
        let doc = show::document(&explained, stop.as_ref(), Some(&identity), detail, context.drawn_columns());
        let shown: Vec<_> = explained.vms.iter().filter_map(|vm| Some((vm.uuid?, &*vm.alias))).collect();
        proofs::with_proofs(doc, &known, &shown)
    };
    context.print(doc, |out| json::show(&explained, &known, stop.as_ref(), out))?;
    Ok(Exit::Done)
}
