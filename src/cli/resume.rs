//! `resume`: lifts the safety stop that an alarm has left.

use super::connect;
use super::context::Context;
use super::options::Format;
use crate::apply::{Event, EventKind, InFlight, Observer as _};
use crate::report::stop::{details, document, headline};
use crate::report::text::{self, TextOptions};
use crate::report::{Exit, Failure};
use crate::runner::journal::Journal;
use crate::runner::output::{ask, can_ask, print};
use clap::Args;
use std::io::{self, Write as _};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/resume.txt"))]
pub struct ResumeArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
}

/// Runs the command. FiFo is not asked anything.
pub(super) fn run(args: &ResumeArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let endpoint = connect::endpoint(context)?;
    let folder = context.host.state_dir()?;
    let stop_file = context.host.stop_file(&endpoint)?;
    let Some(stop) = stop_file.read() else {
        print(|out| {
            writeln!(out, "No safety stop is set for {endpoint} in the state folder {}.", folder.display())
        })?;
        return Ok(Exit::Done);
    };
    if !args.auto_approve && !can_ask() {
        let mut message = format!("there is no terminal to ask on. {}", headline(&stop));
        for line in details(&stop) {
            message.push_str(&format!("\n  {line}"));
        }
        return Err(Failure::usage(message)
            .hint("give --auto-approve to lift it without asking, once the cause is found"));
    }
    let shown = document(&stop);
    if args.auto_approve {
        print(|out| context.write(&shown, out).and_then(|()| writeln!(out)))?;
    } else {
        let (options, mut err) = (
            TextOptions { styles: context.host.output.error_styles, ..*context.text() },
            io::stderr().lock(),
        );
        text::write(&shown, &options, &mut err).and_then(|()| writeln!(err)).map_err(|error| {
            Failure::new("failed to show the safety stop on standard error").because(error)
        })?;
        if !ask("Has the cause been found and removed, and may runs begin again?")? {
            return Err(Failure::ending(Exit::Declined, "the safety stop stays"));
        }
    }
    let _lock = context.host.lock(&endpoint, "resume")?;
    if stop_file.read().is_some_and(|now| now != stop) {
        return Err(Failure::ending(Exit::Declined, "the safety stop has changed meanwhile, and stays")
            .hint("run `fifo-retain resume` again to see what it is by now"));
    }
    // The safety stop last: until it is gone too, nothing goes on.
    let in_flight = InFlight::new(folder, &endpoint);
    in_flight.remove_all().and_then(|()| stop_file.lift()).map_err(|error| {
        Failure::new("failed to lift the safety stop").because(error).hint(
            "remove what the error names by hand, as the user of the runs; then run `fifo-retain resume` again",
        )
    })?;
    note(context, folder);
    print(|out| writeln!(out, "The safety stop is lifted: the next run goes on."))?;
    Ok(Exit::Done)
}

/// Enters it in the journal, beside the alarm. Whether that works changes nothing.
fn note(context: &Context, folder: &Path) {
    let what =
        EventKind::Warning { at: None, message: "the safety stop was lifted with `resume`".to_owned() };
    if let Some(journal) = Journal::of_run(folder) {
        journal.observe(&Event { time: context.host.now(), what });
    }
}
