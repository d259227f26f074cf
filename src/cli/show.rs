//! `show`: why every backup of a VM is where it is.

use super::args::{Format, PlanningArgs, ShowArgs};
use super::connection::{Chosen, Patience};
use super::context::Context;
use super::error::CliError;
use super::exit::Outcome;
use super::latch;
use super::planning::{self, Planned};
use super::policies;
use crate::plan::explain::explain;
use crate::render;

/// Runs the command.
///
/// # Errors
///
/// See [`planning::make`]; or it cannot be written.
pub(super) async fn run(args: &ShowArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json, Format::Markdown])?;
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?;
    let stop = latch::shown(context, fifo.name());
    let fifo = fifo.open(context, Patience::Short).await?;
    let wishes = PlanningArgs { vms: args.vms.clone(), allow_empty: false };
    let Planned { plan, inventory } = planning::make(context, &policies, &fifo, &wishes, args.at).await?;
    fifo.close().await?;
    let explained = explain(&plan, &policies, &inventory);
    context.print(|out| match context.global.format {
        Format::Json => render::json::show(&explained, stop.as_ref(), out),
        Format::Markdown => {
            latch::write_shown_markdown(stop.as_ref(), out)?;
            render::markdown::show(&explained, out)
        }
        Format::Text | Format::Github => {
            latch::write_shown(stop.as_ref(), context, out)?;
            render::text::show(&explained, &context.look, out)
        }
    })?;
    Ok(Outcome::Done)
}
