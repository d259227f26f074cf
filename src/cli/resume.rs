//! `resume`: lifts the safety stop that an alarm has left. FiFo is not asked anything.

use super::connect;
use super::context::{Context, Format};
use crate::apply::{Event, EventKind, InFlight, Observer as _};
use crate::report::stop::{self, document};
use crate::report::text::{self, TextOptions};
use crate::report::{Exit, Failure, failed};
use crate::runner::journal::Journal;
use crate::runner::output::{ask, can_ask, print, print_text};
use clap::Args;
use std::io::{self, Write as _};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/resume.txt"))]
pub struct ResumeArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
}

pub(super) fn run(args: &ResumeArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let (host, endpoint) = (&context.host, connect::endpoint(context)?.ok_or_else(connect::none_named)?);
    let folder = host.state_dir()?;
    let stop_file = host.stop_file(&endpoint)?;
    let Some(stop) = stop_file.read() else {
        let place = format!("{endpoint} in the state folder {}", folder.display());
        print_text(&format!("No safety stop is set for {place}.\n"))?;
        return Ok(Exit::Done);
    };
    if !args.auto_approve && !can_ask() {
        return Err(Failure::usage(format!("there is no terminal to ask on. {}", stop::text(&stop)))
            .hint("give --auto-approve to lift it without asking, once the cause is found"));
    }
    let shown = document(&stop);
    if args.auto_approve {
        print(|out| text::write(&shown, context.text(), out).and_then(|()| writeln!(out)))?;
    } else {
        let options = TextOptions { styles: host.output.error_styles, ..*context.text() };
        let mut err = io::stderr().lock();
        let written = text::write(&shown, &options, &mut err).and_then(|()| writeln!(err));
        written.map_err(failed("failed to show the safety stop on standard error"))?;
        if !ask("Has the cause been found and removed, and may runs begin again?")? {
            return Err(Failure::ending(Exit::Declined, "the safety stop stays"));
        }
    }
    let _lock = host.lock(&endpoint, "resume")?;
    if stop_file.read().is_some_and(|now| now != stop) {
        return Err(Failure::ending(Exit::Declined, "the safety stop has changed meanwhile, and stays")
            .hint("run `fifo-retain resume` again to see what it is by now"));
    }
    // The safety stop last: until it is gone too, nothing goes on.
    let lifted = InFlight::new(folder, &endpoint).remove_all().and_then(|()| stop_file.lift());
    lifted.map_err(|error| {
        Failure::new("failed to lift the safety stop").because(error).hint(
            "remove what the error names by hand, as the user of the runs; then run `fifo-retain resume` again",
        )
    })?;
    // Beside the alarm. Whether that works changes nothing.
    let message = "the safety stop was lifted with `resume`".to_owned();
    let event = Event { time: host.now(), what: EventKind::Warning { at: None, message } };
    Journal::of_run(folder).iter().for_each(|journal| journal.observe(&event));
    print_text("The safety stop is lifted: the next run goes on.\n")?;
    Ok(Exit::Done)
}
