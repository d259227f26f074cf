//! The commands, and what they share.
//!
//! `commands` has one file or folder for each command, `daemon` what a run and its repetition need: schedule, state,
//! observers, reporting. Beside them: [`args`], the command line as written; [`context`], clock, environment and files;
//! [`connection`] and [`settings`], the FiFo to use; [`planning`] and `execute`, which make a plan and execute it; `safety_stop`,
//! the safety stop; [`error`] and [`exit`], how a command ends.

mod agree;
pub mod args;
mod commands;
pub mod connection;
pub mod context;
mod daemon;
pub mod error;
mod execute;
pub mod exit;
mod files;
mod interrupt;
mod log;
mod output_queue;
pub mod planning;
pub mod policies;
mod run_sequence;
mod safety_stop;
pub mod settings;
mod usage;

use args::{Arguments, Command};
use clap::FromArgMatches as _;
use context::Context;
use error::{CliError, Kind};
use exit::Outcome;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};

/// Runs the program; returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = args::command().term_width(context::help_columns());
    let line: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command.try_get_matches_from(&line).and_then(|it| Arguments::from_arg_matches(&it));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(message) => {
            let message = usage::with_hint(message, &line);
            // Help and version come this way too. Where they cannot be written, nothing else can be.
            let _ = message.print();
            return if message.use_stderr() { exit::WRONG_USAGE } else { exit::DONE };
        }
    };
    let context = Context::new(arguments.global);
    log::set_up(&context.global, context.error_styles, context.error_columns);
    let ended = guarded(|| dispatch(&arguments.command, &context));
    if let Err(error) = &ended {
        context.report_error(error);
    }
    output_queue::drain();
    exit::code(&ended)
}

/// Makes an error of a panic, with the place and without its text, which may hold anything, a secret too.
fn guarded(run: impl FnOnce() -> Result<Outcome, CliError>) -> Result<Outcome, CliError> {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!("fault in fifo-retain at {place}: please report it");
    }));
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(CliError::new(Kind::Internal, "stopped by a fault of this program")))
}

fn dispatch(command: &Command, context: &Context) -> Result<Outcome, CliError> {
    match command {
        Command::Init(args) => commands::init::run(args, context),
        Command::Validate(args) => commands::validate::run(args, context),
        Command::Check(args) => in_runtime(commands::check::run(args, context)),
        Command::Plan(args) => in_runtime(commands::plan::run(args, context)),
        Command::Apply(args) => in_runtime(commands::apply::run(args, context)),
        Command::Reconcile(args) => in_runtime(commands::reconcile::run(args, context)),
        Command::Resume(args) => commands::resume::run(args, context),
        Command::Status(args) => in_runtime(commands::status::run(args, context)),
        Command::Show(args) => in_runtime(commands::show::run(args, context)),
        Command::Simulate(args) => in_runtime(commands::simulate::run(args, context)),
        Command::Completions(args) => commands::completions::run(args, context),
        Command::Man(args) => commands::completions::man(args, context),
        Command::Schema(args) => commands::schema::run(args, context),
        Command::Sandbox(args) => in_runtime(commands::sandbox::run(args, context)),
    }
}

fn in_runtime(run: impl Future<Output = Result<Outcome, CliError>>) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed =
        |error| CliError::new(Kind::Internal, "failed to start the asynchronous runtime").because(error);
    runtime.map_err(failed)?.block_on(run)
}
