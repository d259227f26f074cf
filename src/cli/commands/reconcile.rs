//! `reconcile`: plans and executes without asking.

use crate::cli::args::{ReconcileArgs, TextOrJson};
use crate::cli::context::Context;
use crate::cli::daemon::schedule;
use crate::cli::daemon::single;
use crate::cli::error::CliError;
use crate::cli::exit::Outcome;
use crate::cli::interrupt::Interrupt;
use crate::cli::policies;

pub(in crate::cli) async fn run(args: &ReconcileArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOrJson>()?;
    if let Some(interval) = args.every {
        return schedule::run(args, interval, context).await;
    }
    let interrupt = Interrupt::listen()?;
    single::run_and_report(
        context,
        &args.reporting,
        "reconcile",
        Some(&interrupt),
        async |summary, monitor| {
            single::reconcile_once(
                args,
                context,
                &interrupt,
                policies::load_for(context, args.execute.prune),
                &mut single::RunMemory::default(),
                monitor,
                summary,
            )
            .await
        },
    )
    .await
}
