//! `simulate`: what there would be, were the planner run forward.

use super::connect::{self, PlanningArgs, look};
use super::context::{Context, Format};
use super::policies;
use super::value::{address, change_rate, instant, interval, size, span};
use crate::plan::Prune;
use crate::policy::{Policies, parse};
use crate::report::html::simulation::page;
use crate::report::simulate::{Played, document};
use crate::report::{self, Exit, Failure};
use crate::runner::output::print_text;
use crate::runner::read::KeptVms;
use crate::runner::serve::desk::{self, Desk};
use crate::simulate::{Scenario, simulate_with_stories};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/simulate.txt"))]
pub struct SimulateArgs {
    #[command(flatten)]
    planning: PlanningArgs,

    /// How many days to run forward
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,

    /// Begin at that instant, such as 2026-12-01T01:00:00Z, and not now
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<DateTime<Utc>>,

    /// Begin a run that long after the last one began, and not whenever something becomes due
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    every: Option<Duration>,

    /// Delete expired backups from storage too, where the policy says `prune: true`
    #[arg(long)]
    prune: bool,

    /// Compare with the policies in that file or folder; can be given several times
    #[arg(long, value_name = "PATH")]
    against: Vec<PathBuf>,

    /// Serve the page on this address, such as 127.0.0.1:0, with the policies in an editor beside it
    #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "against")]
    listen: Option<String>,

    /// No runs in that time, such as 2026-12-01..2026-12-08; can be given several times
    #[arg(long, value_name = "FROM..TO", value_parser = span, help_heading = "Assumptions")]
    down: Vec<Range<DateTime<Utc>>>,

    /// Every upload fails in that time; can be given several times
    #[arg(long, value_name = "FROM..TO", value_parser = span, help_heading = "Assumptions")]
    uploads_fail: Vec<Range<DateTime<Utc>>>,

    /// The size of a full backup where a VM has none yet
    #[arg(long, value_name = "SIZE", default_value = "40GiB", value_parser = size, help_heading = "Assumptions")]
    vm_size: u64,

    /// How much of a VM changes in a day, for the size of increments where its tier has none yet
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = change_rate, help_heading = "Assumptions")]
    change_rate: u64,
}

pub(super) async fn run(args: &SimulateArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Markdown, Format::Html])?;
    let before = policies::load_against(context, &args.against)?;
    let files = args.listen.as_ref().map(|_| policies::sources(context)).transpose()?;
    let policies = match &files {
        // What is wrong with them is shown in the editor.
        Some(files) => parse(files).map(|loaded| loaded.policies).unwrap_or_default(),
        None => policies::load_for(context, args.prune)?,
    };
    let read = if connect::endpoint(context)?.is_some() {
        let (selection, prune) = (args.planning.selection(), Prune::default());
        Some(look(context, &policies, &selection, args.from, prune, KeptVms::All, None).await?)
    } else {
        tracing::info!("no FiFo is named: beginning with one VM a policy that has no backup");
        None
    };
    let now = || read.as_ref().map_or_else(|| context.host.now(), |read| read.plan.at).trunc_subsecs(0);
    let scenario = Scenario {
        every: args.every.and_then(|every| TimeDelta::from_std(every).ok()),
        down: args.down.clone(),
        uploads_fail: args.uploads_fail.clone(),
        vm_size_bytes: args.vm_size,
        change_ppm: args.change_rate,
        prune: Prune { is_requested: args.prune, ..Prune::default() },
        ..Scenario::new(args.from.unwrap_or_else(now), args.days)
    };
    let inventory = read.map(|read| read.inventory);
    if let Some((address, files)) = args.listen.as_ref().zip(files) {
        return desk::serve(address, Desk { files, inventory, scenario }).await;
    }
    let inventory = inventory.as_ref();
    let tell = |policies: &Policies| simulate_with_stories(policies, inventory, &scenario);
    let ((simulation, stories), before) = (tell(&policies), before.map(|before| (tell(&before), before)));
    let after = Played { simulation: &simulation, policies: &policies, stories: &stories };
    let before =
        before.as_ref().map(|((simulation, stories), policies)| Played { simulation, policies, stories });
    if format == Format::Html {
        print_text(&page(after, before, &scenario))?;
        return Ok(Exit::Done);
    }
    context.print(
        || document(after, before, context.drawn_columns()),
        |out| report::json::simulation(&simulation, before.map(|before| before.simulation), out),
    )?;
    Ok(Exit::Done)
}
