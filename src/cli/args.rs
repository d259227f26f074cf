//! The command line: the options of every command, and the commands. What a command takes stands beside the command.

use super::context::Global;
use super::{
    apply, check, completions, init, plan, reconcile, rehearse, resume, sandbox, schema, show, simulate,
    status, validate, verify,
};
use crate::policy::Zone;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::sync::LazyLock;

/// Keeps the backups of every VM in a Project FiFo cloud the way YAML files say they should be.
#[derive(Debug, Parser)]
#[command(
    name = "fifo-retain",
    version = VERSION.as_str(),
    // Longer lines are hard to read.
    max_term_width = 100,
    after_help = concat!(include_str!("help/program.txt"), include_str!("help/program_short.txt")),
    after_long_help = concat!(include_str!("help/program.txt"), include_str!("help/program_long.txt"))
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let zones = Zone::database_version().unwrap_or("of unknown release");
    format!("{} (tz database {zones})", env!("CARGO_PKG_VERSION"))
});

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first policy, after questions, from options or from a crontab
    Init(init::InitArgs),
    /// Check the policies, without asking FiFo anything
    Validate(validate::ValidateArgs),
    /// Check the connection to FiFo, permissions, clocks, policies and the state folder
    Check(check::CheckArgs),
    /// Show what there is to do, without doing it
    Plan(plan::PlanArgs),
    /// Carry out a saved plan, or make one, show it, ask, and carry that out
    Apply(apply::ApplyArgs),
    /// Plan and carry out without asking, for cron and timers
    Reconcile(reconcile::ReconcileArgs),
    /// After a safety stop: show which backups vanished, ask, and let runs begin again
    Resume(resume::ResumeArgs),
    /// Show how every VM stands: would its backups have saved it?
    Status(status::StatusArgs),
    /// Show a VM's backups as a tree of chains, and why each is kept
    Show(show::ShowArgs),
    /// Run the policies forward: what there would be on each day, and what a restore would read
    Simulate(simulate::SimulateArgs),
    /// Ask the backup storage itself: is every stored backup there, does its chain connect, is it whole?
    Verify(verify::VerifyArgs),
    /// Restore a VM's backup for real, into a dataset that is made for it, check it, and destroy it again
    Rehearse(rehearse::RehearseArgs),
    /// Print the JSON Schema of a policy file, by which editors complete and check
    Schema(schema::SchemaArgs),
    /// Print a script by which a shell completes commands and options
    Completions(completions::CompletionsArgs),
    /// Serve a simulated FiFo on a loopback address
    Sandbox(sandbox::SandboxArgs),
}

/// The options for the connection to FiFo. `--sandbox` takes the place of all but the last, which holds for both.
pub(super) const CONNECTION: [&str; 7] =
    ["endpoint", "profile", "api_version", "ca_file", "pin_sha256", "insecure", "timeout"];

/// Returns the options that mean nothing to a command; they are accepted all the same, and left out of its help.
fn unused_options(command: &str) -> Vec<&'static str> {
    let (connection, also): (_, &[&str]) = match command {
        "validate" | "init" => (&CONNECTION[..], &["sandbox", "state_dir"]),
        "schema" | "completions" | "sandbox" => (&CONNECTION[..], &["sandbox", "state_dir", "policies"]),
        "verify" | "rehearse" => (&[], &["policies"]),
        // It asks FiFo nothing, and has to know which one is meant.
        "resume" => (&CONNECTION[2..], &["policies"]),
        _ => return Vec::new(),
    };
    connection.iter().chain(also).copied().collect()
}

/// Returns the command line, where each command's help leaves out the options that mean nothing to it.
pub fn command() -> clap::Command {
    // The help is the same whatever the variables hold.
    let mut program = Arguments::command().mut_args(|option| option.hide_env_values(true));
    let options: Vec<clap::Arg> = program.get_arguments().cloned().collect();
    for command in program.get_subcommands_mut() {
        let unused = unused_options(command.get_name());
        let hidden = options.iter().filter(|option| unused.contains(&option.get_id().as_str()));
        // What a command has already is not given to it again by clap as one of the program's options.
        let hidden: Vec<clap::Arg> = hidden.map(|option| option.clone().hide(true)).collect();
        *command = std::mem::take(command).args(hidden);
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn an_option_that_means_nothing_is_accepted_and_not_in_the_help() {
        let mut program = command();
        let help = |program: &mut clap::Command, name: &str| {
            program.find_subcommand_mut(name).unwrap().render_long_help().to_string()
        };
        program.build();
        for name in ["validate", "init", "schema", "completions", "sandbox"] {
            let help = help(&mut program, name);
            assert!(!help.contains("--endpoint") && !help.contains("--timeout"), "{name}\n{help}");
        }
        for name in ["check", "plan", "apply", "reconcile", "status", "show", "resume"] {
            assert!(help(&mut program, name).contains("--endpoint"), "{name}");
        }
        for line in [
            &["fifo-retain", "--endpoint", "https://fifo", "validate"][..],
            &["fifo-retain", "validate", "--endpoint", "https://fifo"],
            &["fifo-retain", "plan", "--endpoint", "https://fifo"],
            &["fifo-retain", "--endpoint", "https://fifo", "plan"],
        ] {
            let matches = command().try_get_matches_from(line).unwrap();
            let endpoint = Arguments::from_arg_matches(&matches).unwrap().global.endpoint;
            assert_eq!(endpoint.as_deref(), Some("https://fifo"), "{line:?}");
        }
    }
}
