//! `status`: would these backups have saved us?

use super::args::{Format, StatusArgs};
use super::connection::Chosen;
use super::context::Context;
use super::error::CliError;
use super::exit::Outcome;
use super::planning::{self, Planned};
use super::policies;
use crate::plan::health::health;
use crate::render;

/// Runs the command.
///
/// # Errors
///
/// See [`planning::make`]; or it cannot be written.
pub(super) async fn run(args: &StatusArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json, Format::Markdown])?;
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?.open(context).await?;
    let Planned { plan, inventory } =
        planning::make(context, &policies, &fifo, &args.planning, args.at).await?;
    fifo.close().await?;
    let health = health(&plan, &policies, &inventory);
    context.print(|out| match context.global.format {
        Format::Json => render::json::status(&health, out),
        Format::Markdown => render::markdown::status(&health, out),
        Format::Text | Format::Github => render::text::status(&health, &context.look, out),
    })?;
    let is_out = health.vms.iter().any(|vm| vm.verdict.is_out());
    Ok(if args.check && is_out { Outcome::OutOfDate } else { Outcome::Done })
}
