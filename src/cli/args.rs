//! The command line: the options of every command, and the commands. What a command takes stands beside the command.

use super::value::{given, given_path, timeout};
use super::{
    apply, check, completions, init, plan, reconcile, resume, sandbox, schema, show, simulate, status,
    validate,
};
use crate::fifo::{ApiVersion, CertificatePin};
use crate::policy::Zone;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// A value that is none where it is empty: an empty variable counts as not set. By another name than `Option`, so that clap
/// takes the parser's own.
pub(super) type Given<T> = Option<T>;

/// Keeps the backups of every VM in a Project FiFo cloud the way YAML files say they should be.
#[derive(Debug, Parser)]
#[command(
    name = "fifo-retain",
    version = VERSION.as_str(),
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

/// The commands.
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
    /// Print the JSON Schema of a policy file, by which editors complete and check
    Schema(schema::SchemaArgs),
    /// Print a script by which a shell completes commands and options
    Completions(completions::CompletionsArgs),
    /// Serve a simulated FiFo on a loopback address
    Sandbox(sandbox::SandboxArgs),
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// A file or folder with policies; can be given several times [default: policies]
    #[arg(
        short,
        long,
        global = true,
        value_name = "PATH",
        env = "FIFO_RETAIN_POLICIES",
        hide_env_values = true,
        value_delimiter = ':',
        value_parser = given_path(),
        help_heading = "Policies"
    )]
    pub policies: Vec<Given<PathBuf>>,

    /// Where FiFo is, such as `https://fifo.example.com`
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "FIFO_ENDPOINT",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_parser = given(),
        help_heading = "Connection"
    )]
    pub endpoint: Given<String>,

    /// Use the built-in simulated FiFo; its world is kept in .fifo-retain/sandbox.json
    #[arg(long, global = true, help_heading = "Connection")]
    pub sandbox: bool,

    /// A profile of ~/.fifo, the file that pyfi keeps, instead of the active one
    #[arg(
        short = 'c',
        long,
        global = true,
        value_name = "NAME",
        env = "FIFO_PROFILE",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_parser = given(),
        help_heading = "Connection"
    )]
    pub profile: Given<String>,

    /// The version of FiFo's API: 3, 2 or 0.2.0 [default: the profile's, else 3]
    #[arg(long, global = true, value_name = "VERSION", help_heading = "Connection")]
    pub api_version: Option<ApiVersion>,

    /// A PEM file with certificates to trust beside the system's
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca_file: Option<PathBuf>,

    /// Trust exactly the certificate with this SHA-256 fingerprint, whatever is in it
    #[arg(long, global = true, value_name = "HEX", conflicts_with = "insecure", help_heading = "Connection")]
    pub pin_sha256: Option<CertificatePin>,

    /// Use TLS without checking who answers: anybody on the way can then read the password
    #[arg(long, global = true, help_heading = "Connection")]
    pub insecure: bool,

    /// How long a read of FiFo may take in all, with everything that is tried again
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = timeout,
        help_heading = "Connection"
    )]
    pub timeout: Duration,

    /// Where lock, journal and safety stop are kept [default: fifo-retain in the XDG state folder]
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "FIFO_RETAIN_STATE_DIR",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_parser = given_path(),
        help_heading = "State"
    )]
    pub state_dir: Given<PathBuf>,

    /// The form of what goes to standard output; github is for `validate`, markdown for `plan`, `status` and `show`
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    pub format: Format,

    /// When to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t = Color::Auto,
        help_heading = "Output"
    )]
    pub color: Color,

    /// Print more: every VM and note; twice: every attempt as well
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Print nothing when nothing is to do and nothing is wrong, else only counts and warnings; twice: errors only
    #[arg(
        short,
        long,
        global = true,
        action = clap::ArgAction::Count,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub quiet: u8,

    /// The form of what goes to standard error
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Text,
        help_heading = "Output"
    )]
    pub log_format: LogFormat,
}

/// The forms of output. A command refuses those that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Annotations for a GitHub workflow.
    Github,
    /// For comments and issues.
    Markdown,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The forms of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The options for the connection to FiFo.
const CONNECTION: [&str; 7] =
    ["endpoint", "profile", "api_version", "ca_file", "pin_sha256", "insecure", "timeout"];

/// The options that `--sandbox` takes the place of. Their variables may be set all the same, which clap's own conflicts do not
/// allow.
pub(super) const NOT_WITH_SANDBOX: [&str; 6] =
    ["endpoint", "profile", "api_version", "ca_file", "pin_sha256", "insecure"];

/// Returns the options that mean nothing to a command; they are accepted all the same, and left out of its help.
fn unused_options(command: &str) -> Vec<&'static str> {
    let also: &[&str] = match command {
        "validate" | "init" => &["sandbox", "state_dir"],
        "schema" | "completions" | "sandbox" => &["sandbox", "state_dir", "policies"],
        "resume" => return vec!["policies", "api_version", "ca_file", "pin_sha256", "insecure", "timeout"],
        _ => return Vec::new(),
    };
    CONNECTION.iter().chain(also).copied().collect()
}

/// Returns the command line, where each command's help leaves out the options that mean nothing to it.
pub fn command() -> clap::Command {
    let mut program = Arguments::command();
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
