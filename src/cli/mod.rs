//! The commands, one file each with what it takes, and what they share.
//!
//! [`args`] is the command line, `value` reads values; `context` has the options of every command, clock, environment and files;
//! `connect` finds out which FiFo is meant and what to sign in with, and reads it; `policies` reads the policies; `log` and
//! `usage` are messages.

mod apply;
pub mod args;
mod check;
mod completions;
mod connect;
mod context;
mod init;
mod log;
mod plan;
mod policies;
mod reconcile;
mod rehearse;
mod resume;
mod sandbox;
mod schema;
mod show;
mod simulate;
mod status;
pub mod store;
mod usage;
mod validate;
mod value;
mod verify;

use crate::report::{Exit, Failure, failed};
use crate::runner::output;
use args::{Arguments, Command};
use clap::FromArgMatches as _;
use context::Context;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};

pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut command = args::command();
    let parsed = command.try_get_matches_from_mut(arguments).and_then(|matches| {
        usage::refuse_beside_sandbox(&matches, &mut command)?;
        Arguments::from_arg_matches(&matches)
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(message) => {
            let message = usage::with_hint(message);
            // Help and version come this way too. Where they cannot be written, nothing else can be.
            _ = message.print();
            return if message.use_stderr() { Exit::WrongUsage.code() } else { Exit::Done.code() };
        }
    };
    let context = Context::new(arguments.global);
    log::set_up(&context.global, &context.host.output);
    let ended = guarded(|| dispatch(&arguments.command, &context));
    let exit = ended.unwrap_or_else(|failure| {
        context.host.output.report(&failure);
        failure.exit
    });
    output::drain();
    exit.code()
}

/// Makes a failure of a panic, with the place and without its text, which may hold anything, a secret too.
fn guarded(run: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!("fault in fifo-retain at {place}: please report it");
    }));
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Failure::new("stopped by a fault of this program")))
}

fn dispatch(command: &Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Validate(args) => validate::run(args, context),
        Command::Check(_) => in_runtime(check::run(context)),
        Command::Plan(args) => in_runtime(plan::run(args, context)),
        Command::Apply(args) => in_runtime(apply::run(args, context)),
        Command::Reconcile(args) => in_runtime(reconcile::run(args, context)),
        Command::Resume(args) => resume::run(args, context),
        Command::Status(args) => in_runtime(status::run(args, context)),
        Command::Show(args) => in_runtime(show::run(args, context)),
        Command::Simulate(args) => in_runtime(simulate::run(args, context)),
        Command::Rehearse(args) => in_runtime(rehearse::run(args, context)),
        Command::Verify(args) => in_runtime(verify::run(args, context)),
        Command::Completions(args) => completions::run(args, &mut args::command(), context),
        Command::Schema(args) => schema::run(args, context),
        Command::Sandbox(args) => in_runtime(sandbox::run(args, context)),
    }
}

fn in_runtime(run: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed("failed to start the asynchronous runtime"))?.block_on(run)
}
