//! `status`: would these backups have saved us?

use super::args::{Format, StatusArgs};
use super::connection::Chosen;
use super::context::Context;
use super::error::CliError;
use super::exit::Outcome;
use super::planning::{self, Planned};
use super::policies;
use super::telling;
use crate::plan::Overview;
use crate::render::{self, Ledger};

/// Runs the command.
///
/// # Errors
///
/// See [`planning::make`]; or it, or the file with metrics, cannot be written.
pub(super) async fn run(args: &StatusArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json, Format::Markdown])?;
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?.open(context).await?;
    let Planned { plan, inventory } =
        planning::make(context, &policies, &fifo, &args.planning, args.at).await?;
    fifo.close().await?;
    let overview = Overview::of(&plan, &policies, &inventory);
    let health = &overview.health;
    context.print(|out| match context.global.format {
        Format::Json => render::json::status(health, out),
        Format::Markdown => render::markdown::status(health, out),
        Format::Text | Format::Github => render::text::status(health, &context.look, out),
    })?;
    let is_out = health.vms.iter().any(|vm| vm.verdict.is_out());
    if let Some(path) = &args.metrics_file {
        let ledger = Ledger { overview: Some(overview), ..Ledger::default() };
        telling::write_metrics(context, path, &ledger)?;
    }
    Ok(if args.check && is_out { Outcome::OutOfDate } else { Outcome::Done })
}
