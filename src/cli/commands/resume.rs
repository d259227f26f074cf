//! `resume`: lifts the safety stop that an alarm has left.

use crate::apply::{Event, EventKind, InFlight, Journal, Observer as _};
use crate::cli::args::{ResumeArgs, TextOnly};
use crate::cli::connection::PendingConnection;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute;
use crate::cli::exit::Outcome;
use crate::cli::safety_stop;
use crate::render::safety_stop::{details, headline, text};
use std::io;
use std::path::Path;
use uuid::Uuid;

/// Runs the command. FiFo is not asked anything.
///
/// # Errors
///
/// No FiFo is configured; there is no terminal to ask on; the question was answered with no; a run is under way; or the
/// safety stop cannot be removed.
pub(in crate::cli) fn run(args: &ResumeArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOnly>()?;
    let endpoint = PendingConnection::name_alone(context)?;
    let folder = context.state_dir()?;
    let stop_file = safety_stop::of(context, &endpoint)?;
    let Some(stop) = stop_file.read() else {
        context.print(|out| {
            writeln!(out, "No safety stop is set for {endpoint} in the state folder {}.", folder.display())
        })?;
        return Ok(Outcome::Done);
    };
    if !args.auto_approve && !context.can_ask() {
        let mut message = format!("there is no terminal to ask on. {}", headline(&stop));
        for line in details(&stop) {
            message.push_str(&format!("\n  {line}"));
        }
        return Err(CliError::new(Kind::Usage, message)
            .hint("give --auto-approve to lift it without asking, once the cause is found"));
    }
    if args.auto_approve {
        context.print(|out| text(&stop, &context.text_options.styles, out))?;
    } else {
        text(&stop, &context.error_styles, &mut io::stderr().lock()).map_err(|error| {
            CliError::new(Kind::Files, "failed to show the safety stop on standard error").because(error)
        })?;
        if !context.ask("Has the cause been found and removed, and may runs begin again?")? {
            return Err(CliError::new(Kind::Declined, "the safety stop stays"));
        }
    }
    let _lock = execute::lock(context, &endpoint, "resume")?;
    if stop_file.read().is_some_and(|now| now != stop) {
        return Err(CliError::new(Kind::Declined, "the safety stop has changed meanwhile, and stays")
            .hint("run `fifo-retain resume` again to see what it is by now"));
    }
    // The safety stop last: until it is gone too, nothing goes on.
    let in_flight = InFlight::new(&folder, &endpoint);
    in_flight.remove_all().and_then(|()| stop_file.lift()).map_err(|error| {
        CliError::new(Kind::Files, "failed to lift the safety stop").because(error).hint(
            "remove what the error names by hand, as the user of the runs; then run `fifo-retain resume` again",
        )
    })?;
    note(context, &folder);
    context.print(|out| writeln!(out, "The safety stop is lifted: the next run goes on."))?;
    Ok(Outcome::Done)
}

/// Enters it in the journal, beside the alarm. Whether that works changes nothing.
fn note(context: &Context, folder: &Path) {
    let what =
        EventKind::Warning { at: None, message: "the safety stop was lifted with `resume`".to_owned() };
    match Journal::open(&folder.join("journal.jsonl"), Uuid::new_v4()) {
        Ok(journal) => journal.observe(&Event { time: context.now(), what }),
        Err(error) => tracing::warn!("the journal cannot be opened: {error}"),
    }
}
