//! `status`: whether the backups would save every VM.

use crate::cli::args::{ReportFormat, StatusArgs};
use crate::cli::connection::{FirstContact, PendingConnection};
use crate::cli::context::Context;
use crate::cli::daemon::reporting;
use crate::cli::error::CliError;
use crate::cli::exit::Outcome;
use crate::cli::planning;
use crate::cli::policies;
use crate::cli::safety_stop;
use crate::render::{self, text::StatusView};
use crate::run::RunHistory;

pub(in crate::cli) async fn run(args: &StatusArgs, context: &Context) -> Result<Outcome, CliError> {
    let format = context.format()?;
    let policies = policies::load(context)?;
    let fifo = PendingConnection::of(context)?;
    let stop = safety_stop::shown(context, fifo.name());
    let fifo = fifo.open(context, FirstContact::FailFast).await?;
    let overview = planning::look(context, &policies, &fifo, &args.planning, args.at).await?;
    let identity = fifo.identity().to_owned();
    fifo.close().await?;
    let health = &overview.health;
    context.print(|out| match format {
        ReportFormat::Json => render::json::status(health, stop.as_ref(), out),
        ReportFormat::Markdown => {
            safety_stop::write_shown_markdown(stop.as_ref(), out)?;
            render::markdown::status(health, Some(&identity), out)
        }
        ReportFormat::Text => {
            safety_stop::write_shown(stop.as_ref(), context, out)?;
            let view = if args.problems { StatusView::ProblemsOnly } else { StatusView::All };
            render::text::status(health, view, Some(&identity), &context.text_options, out)
        }
    })?;
    // While no backups are made, the status is not good, however young the backups still are.
    let is_out = stop.is_some() || health.vms.iter().any(|vm| vm.verdict.is_out());
    if let Some(path) = &args.metrics_file {
        let history = RunHistory { overview: Some(overview), safety_stop: stop, ..RunHistory::default() };
        reporting::write_metrics(context, path, &history)?;
    }
    Ok(if args.check && is_out { Outcome::OutOfDate } else { Outcome::Done })
}
