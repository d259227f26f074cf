//! The command line as it is written: raw arguments, before anything is made of them.

use crate::fifo::ApiVersion;
use crate::inventory::{UnreadableVm, Vm, VmId};
use crate::policy::{Pattern, Zone, parse_duration};
use chrono::{DateTime, Datelike as _, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

/// The years that a plan can be made for.
const YEARS: RangeInclusive<i32> = 1970..=2999;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let zones = Zone::database_version().unwrap_or("of unknown release");
    format!("{} (tz database {zones})", env!("CARGO_PKG_VERSION"))
});

macro_rules! examples {
    () => {
        "\
Examples:
  fifo-retain --sandbox reconcile       try it out, without any FiFo
  fifo-retain validate policies/        check the policies, offline
  fifo-retain plan --out plan.json      what would be done, saved to a file
  fifo-retain apply plan.json           do what it says, as far as it still holds
  fifo-retain plan --detailed-exitcode  what would be done, with 2 for changes
  fifo-retain reconcile                 plan and do it at once, from cron

"
    };
}

const AFTER_HELP: &str =
    concat!(examples!(), "Run with --help for signing in, the environment and the exit codes.");

const AFTER_LONG_HELP: &str = concat!(
    examples!(),
    "\
Signing in:
  Secrets come from the environment or a profile, never from the command line.
  The first of these that is there counts:
    1. FIFO_TOKEN
    2. FIFO_USER and FIFO_PASSWORD
    3. the profile
  Each variable has a form with _FILE behind it (FIFO_PASSWORD_FILE, ...) that
  names a file to read it from; a line break at its end is left out. Setting
  both forms is an error.
  The endpoint is --endpoint, else FIFO_ENDPOINT, else the profile's. A profile
  is used for its own host only: its secrets are sent nowhere else.

Environment (an option goes before its variable; an empty one counts as none):
  FIFO_ENDPOINT            --endpoint
  FIFO_PROFILE             --profile
  FIFO_CONFIG              the file with profiles, instead of ~/.fifo
  FIFO_RETAIN_POLICIES     --policies; several paths are parted by `:`
  FIFO_RETAIN_STATE_DIR    --state-dir
  NO_COLOR                 no colour with --color auto
  COLUMNS                  the width of the output

Exit codes:
  0    done, or nothing to do
  1    could not: mistakes in policies, no connection, refused sign-in, no VM
       to be seen, files
  2    with --detailed-exitcode: there are changes
  3    apply and reconcile: some VMs failed, gave up, are in conflict or
       unreadable, or had changed since the plan; the others were done
  4    a safety stop: clocks an hour apart, a plan that breaks a rule, or backups
       that vanished after a local delete
  5    another run for the same FiFo is under way
  64   wrong usage
  130  interrupted (143 when terminated); nothing is lost, the next run goes on"
);

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
    /// Serve a simulated FiFo on a loopback address
    Sandbox(SandboxArgs),
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// A file or folder with policies; can be given several times [default: policies]
    #[arg(short, long, global = true, value_name = "PATH", help_heading = "Policies")]
    pub policies: Vec<PathBuf>,

    /// Where FiFo is, such as `https://fifo.example.com`
    #[arg(long, global = true, value_name = "URL", help_heading = "FiFo")]
    pub endpoint: Option<String>,

    /// Use the built-in simulated FiFo; its world is kept in .fifo-retain/sandbox.json
    #[arg(
        long,
        global = true,
        conflicts_with_all = ["endpoint", "profile", "api_version", "ca_file", "insecure"],
        help_heading = "FiFo"
    )]
    pub sandbox: bool,

    /// A profile of ~/.fifo, the file that pyfi keeps, instead of the active one
    #[arg(short = 'c', long, global = true, value_name = "NAME", help_heading = "FiFo")]
    pub profile: Option<String>,

    /// The version of FiFo's API: 3, 2 or 0.2.0 [default: the profile's, else 3]
    #[arg(long, global = true, value_name = "VERSION", help_heading = "FiFo")]
    pub api_version: Option<ApiVersion>,

    /// A PEM file with certificates to trust beside the system's
    #[arg(long, global = true, value_name = "FILE", help_heading = "FiFo")]
    pub ca_file: Option<PathBuf>,

    /// Use TLS without checking who answers: anybody on the way can then read the password
    #[arg(long, global = true, help_heading = "FiFo")]
    pub insecure: bool,

    /// How long a read of FiFo may take in all, with everything that is tried again
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = timeout,
        help_heading = "FiFo"
    )]
    pub timeout: Duration,

    /// Where lock and journal are kept [default: fifo-retain in the XDG state folder]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "FiFo")]
    pub state_dir: Option<PathBuf>,

    /// The form of what goes to standard output; github is for `validate`
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

    /// Tell more: every VM and note; twice, every attempt as well
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Tell less: counts and warnings only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

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

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Annotations for a GitHub workflow.
    Github,
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

/// The arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Files and folders with policies, instead of --policies
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// The arguments of every command that makes a plan.
#[derive(Debug, Args)]
pub struct PlanningArgs {
    /// Only this VM, by UUID, or those with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    pub vms: Vec<VmPattern>,

    /// Go on when this user can see no VM at all
    #[arg(long)]
    pub allow_empty: bool,
}

/// The arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
The plan is made for the later one of two instants: ours, and the server's as its `Date` tells. FiFo stamps \
backups with its own clock, so one that it has just made is never taken for future-dated. --at sets another instant.")]
pub struct PlanArgs {
    /// Which VMs, and whether there have to be any.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// Save the plan to a file, as JSON that can be applied later
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Plan as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub at: Option<DateTime<Utc>>,

    /// Show actual against desired backups as a unified diff as well
    #[arg(long)]
    pub diff: bool,
}

/// The arguments of every command that carries a plan out.
#[derive(Debug, Args)]
pub struct CarryArgs {
    /// How many uploads may run in all, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "8", help_heading = "Carrying out")]
    pub max_uploads: NonZeroUsize,

    /// How many uploads may run on one hypervisor, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "2", help_heading = "Carrying out")]
    pub max_uploads_per_hypervisor: NonZeroUsize,

    /// Start the creates and leave the rest, what comes after them too, to the next run
    #[arg(long, help_heading = "Carrying out")]
    pub no_wait: bool,
}

/// The arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
A saved plan is carried out as far as a plan made now agrees with it: nothing is added, a VM that has changed \
since is left out (exit 3), and what is no longer wanted is dropped. Applying it a second time does nothing.")]
pub struct ApplyArgs {
    /// A plan that `plan --out` saved; without one, a new plan is made, shown and asked about
    #[arg(value_name = "PLAN.json", conflicts_with_all = ["vms", "allow_empty"])]
    pub plan: Option<PathBuf>,

    /// Which VMs, and whether there have to be any.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,

    /// How it is carried out.
    #[command(flatten)]
    pub carry: CarryArgs,
}

/// The arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Which VMs, and whether there have to be any.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// How it is carried out.
    #[command(flatten)]
    pub carry: CarryArgs,
}

/// The arguments of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where to listen; only loopback addresses, since anybody may control it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// How many VMs there are at first [default: one of every kind]
    #[arg(long, value_name = "COUNT")]
    pub vms: Option<usize>,

    /// What all UUIDs and sizes come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// The generation of FiFo: v2 is 2015, v3 is 2016 and later
    #[arg(long, value_enum, value_name = "STYLE", default_value_t = Style::V3)]
    pub api_style: Style,

    /// How long an upload takes
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub upload_seconds: u32,

    /// Keep the world in this file from run to run
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Begin with the first world, whatever the file holds
    #[arg(long, requires = "state")]
    pub fresh: bool,
}

/// The generations of FiFo that the sandbox knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// 2015.
    V2,
    /// 2016 and later.
    V3,
}

/// Which VMs are meant: one, by its UUID, or those with a fitting alias.
#[derive(Clone, Debug)]
pub enum VmPattern {
    /// That one.
    Id(VmId),
    /// All with such an alias.
    Alias(Pattern),
}

impl VmPattern {
    /// Says whether a VM is meant.
    pub fn matches(&self, vm: &Vm) -> bool {
        self.fits(Some(vm.id), &vm.alias)
    }

    /// Says whether a VM that could not be read whole is meant, as far as can be told.
    pub fn matches_unreadable(&self, vm: &UnreadableVm) -> bool {
        self.fits(vm.id, &vm.alias)
    }

    fn fits(&self, id: Option<VmId>, alias: &str) -> bool {
        match self {
            Self::Id(wanted) => id == Some(*wanted),
            Self::Alias(pattern) => pattern.matches(alias),
        }
    }
}

impl FromStr for VmPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        Pattern::new(text).map(Self::Alias).map_err(|error| error.kind().to_string())
    }
}

impl fmt::Display for VmPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Alias(pattern) => pattern.fmt(f),
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|problem| format!("it {problem}; write it like 90s, 5m or 1h"))?;
    duration.to_std().map_err(|_| "it cannot be negative".to_owned())
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let moment = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "not an instant of RFC 3339: write it like 2026-12-01T01:00:00Z".to_owned())?;
    // Near the ends of the calendar schedules run out of occurrences, and nothing would be due.
    if YEARS.contains(&moment.year()) {
        Ok(moment.to_utc())
    } else {
        Err(format!("years from {} to {} can be planned for", YEARS.start(), YEARS.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_vm_is_meant_by_its_uuid_or_its_alias() {
        let id = "4fa44310-0000-4000-8000-000000000001";
        let by_id: VmPattern = id.parse().unwrap();
        let by_alias: VmPattern = "web-*".parse().unwrap();
        assert!(by_id.fits(Some(id.parse().unwrap()), "db-1") && !by_id.fits(None, id));
        assert!(by_alias.fits(None, "web-1") && !by_alias.fits(None, "my-web-1"));
        assert!("web-[".parse::<VmPattern>().is_err());
    }

    #[test]
    fn instants_need_their_offset() {
        assert_eq!(instant("2026-12-01T01:00:00+01:00").unwrap().to_rfc3339(), "2026-12-01T00:00:00+00:00");
        assert!(instant("2026-12-01 01:00").is_err());
        assert!(instant("9999-12-31T23:59:59Z").unwrap_err().contains("1970 to 2999"));
        assert!(instant("2026-12-01T01:00:00").is_err());
    }

    #[test]
    fn timeouts_need_their_unit() {
        assert_eq!(timeout("1m30s").unwrap(), Duration::from_secs(90));
        assert!(timeout("30").unwrap_err().contains("unit"));
        assert!(timeout("0s").is_err());
    }
}
