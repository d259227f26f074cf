//! The command line as it is written: raw arguments, before anything is made of them. One file a command.

mod carry;
mod completions;
mod global;
mod help;
mod planning;
mod resume;
mod sandbox;
mod schema;
mod show;
mod status;
mod telling;
mod validate;
mod value;

pub use carry::{ApplyArgs, CarryArgs, ReconcileArgs};
pub use completions::{CompletionsArgs, ManArgs};
pub use global::{Color, Format, GlobalArgs, LogFormat};
pub use planning::{PlanArgs, PlanningArgs};
pub use resume::ResumeArgs;
pub use sandbox::{SandboxArgs, Style};
pub use schema::{SchemaArgs, SchemaOf};
pub use show::ShowArgs;
pub use status::StatusArgs;
pub use telling::TellingArgs;
pub use validate::ValidateArgs;
pub use value::VmPattern;

use clap::{Parser, Subcommand};
use help::{AFTER_HELP, AFTER_LONG_HELP, VERSION};

/// Keeps the backups of every VM in a Project FiFo cloud the way YAML files say they should be.
#[derive(Debug, Parser)]
#[command(
    name = "fifo-retain",
    version = VERSION.as_str(),
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP
)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the policies, without asking FiFo anything
    Validate(ValidateArgs),
    /// Show what there is to do, without doing it
    Plan(PlanArgs),
    /// Carry out a saved plan, or make one, show it, ask, and carry that out
    Apply(ApplyArgs),
    /// Plan and carry out without asking, for cron and timers
    Reconcile(ReconcileArgs),
    /// After a safety stop: show which backups vanished, ask, and let runs begin again
    Resume(ResumeArgs),
    /// Show how every VM stands: would its backups have saved it?
    Status(StatusArgs),
    /// Show a VM's backups as a tree of chains, and why each is kept
    Show(ShowArgs),
    /// Print the JSON Schema of a policy file, by which editors complete and check
    Schema(SchemaArgs),
    /// Print a script by which a shell completes commands and options
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them
    Man(ManArgs),
    /// Serve a simulated FiFo on a loopback address
    Sandbox(SandboxArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
