//! `show`: why every backup of a VM is where it is.

use crate::cli::args::{PlanningArgs, ReportFormat, ShowArgs};
use crate::cli::connection::{FirstContact, PendingConnection};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Outcome;
use crate::cli::planning::{self, KeptVms, Planned, Wanted};
use crate::cli::policies;
use crate::cli::safety_stop;
use crate::insight::show::{enter_expiry_dates, explain};
use crate::render;

/// Of more VMs than this it is not worked out when their backups expire: a year of each is simulated for it.
const DATED_MAX: usize = 50;

pub(in crate::cli) async fn run(args: &ShowArgs, context: &Context) -> Result<Outcome, CliError> {
    let format = context.format()?;
    let policies = policies::load_as_pruning(context)?;
    let fifo = PendingConnection::of(context)?;
    let stop = safety_stop::shown(context, fifo.name());
    let fifo = fifo.open(context, FirstContact::FailFast).await?;
    let selection = PlanningArgs { vms: args.vms.clone(), allow_empty: false };
    let wanted = Wanted { vms: KeptVms::All, overview: false };
    let Planned { plan, inventory, identity, .. } =
        planning::make(context, &policies, &fifo, &selection, wanted, args.at).await?;
    fifo.close().await?;
    let mut explained = explain(&plan, &policies, &inventory);
    if explained.vms.len() <= DATED_MAX {
        enter_expiry_dates(&mut explained, &policies, &inventory);
    }
    context.print(|out| match format {
        ReportFormat::Json => render::json::show(&explained, stop.as_ref(), out),
        ReportFormat::Markdown => {
            safety_stop::write_shown_markdown(stop.as_ref(), out)?;
            render::markdown::show(&explained, Some(&identity), out)
        }
        ReportFormat::Text => {
            safety_stop::write_shown(stop.as_ref(), context, out)?;
            render::text::show(&explained, Some(&identity), &context.text_options, out)
        }
    })?;
    Ok(Outcome::Done)
}
