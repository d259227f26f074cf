//! `simulate`: what there would be, were the planner run forward.

use crate::cli::args::{PruneArgs, ReportFormat, SimulateArgs};
use crate::cli::connection::{FirstContact, PendingConnection};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Outcome;
use crate::cli::planning::{self, KeptVms, Planned, Wanted};
use crate::cli::policies;
use crate::plan::Prune;
use crate::policy::Policies;
use crate::render;
use crate::simulate::{Scenario, simulate};
use chrono::{SubsecRound as _, TimeDelta};

pub(in crate::cli) async fn run(args: &SimulateArgs, context: &Context) -> Result<Outcome, CliError> {
    let format = context.format()?;
    let prune = PruneArgs { prune: args.prune, allow_mass_prune: None };
    let before = match args.against.as_slice() {
        [] => None,
        paths => Some(policies::load_against(context, paths)?),
    };
    let policies = policies::load_for(context, prune)?;
    let read = if PendingConnection::is_named(context)? {
        Some(read(args, context, &policies).await?)
    } else {
        tracing::info!("no FiFo is named: beginning with one VM a policy that has no backup");
        None
    };
    let now = || read.as_ref().map_or_else(|| context.now(), |read| read.plan.at).trunc_subsecs(0);
    let scenario = Scenario {
        every: args.every.and_then(|every| TimeDelta::from_std(every).ok()),
        down: args.down.clone(),
        uploads_fail: args.uploads_fail.clone(),
        vm_size_bytes: args.vm_size,
        change_ppm: args.change_rate,
        prune: Prune { is_requested: args.prune, mass_allowed: 0 },
        ..Scenario::new(args.from.unwrap_or_else(now), args.days)
    };
    let inventory = read.as_ref().map(|read| &read.inventory);
    let after = simulate(&policies, inventory, &scenario);
    let before = before.map(|before| (simulate(&before, inventory, &scenario), before));
    context.print(|out| match format {
        ReportFormat::Json => {
            render::json::simulation(&after, before.as_ref().map(|(before, _)| before), out)
        }
        ReportFormat::Markdown => {
            let before = before.as_ref().map(|(before, policies)| (before, policies));
            render::simulation::markdown((&after, &policies), before, out)
        }
        ReportFormat::Text => {
            let before = before.as_ref().map(|(before, policies)| (before, policies));
            render::simulation::simulation((&after, &policies), before, &context.text_options, out)
        }
    })?;
    Ok(Outcome::Done)
}

/// Reads the VMs to begin with.
async fn read(args: &SimulateArgs, context: &Context, policies: &Policies) -> Result<Planned, CliError> {
    let fifo = PendingConnection::of(context)?.open(context, FirstContact::FailFast).await?;
    let wanted = Wanted { vms: KeptVms::All, overview: false, prune: Prune::default() };
    let read = planning::make(context, policies, &fifo, &args.planning, wanted, args.from).await?;
    fifo.close().await?;
    Ok(read)
}
