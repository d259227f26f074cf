//! The texts around the options: examples, signing in, the environment, the exit codes.

use crate::policy::Zone;
use std::sync::LazyLock;

pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
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
  fifo-retain reconcile --every 15m     do so again and again, as a service
  fifo-retain status                    would these backups have saved us?

"
    };
}

pub(super) const AFTER_HELP: &str =
    concat!(examples!(), "Run with --help for signing in, the environment and the exit codes.");

pub(super) const AFTER_LONG_HELP: &str = concat!(
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
  FIFO_RETAIN_NOTIFY_URL   --notify-url, and with _FILE a file to read it from
  FIFO_RETAIN_PING_URL     --ping-url, likewise
  NO_COLOR                 no colour with --color auto
  COLUMNS                  the width of the output

Exit codes:
  0    done, or nothing to do
  1    could not: mistakes in policies, no connection, refused sign-in, no VM
       to be seen, files
  2    with --detailed-exitcode: there are changes; with status --check:
       something is out
  3    apply and reconcile: some VMs failed, gave up, are in conflict or
       unreadable, or had changed since the plan; the others were done
  4    a safety stop: clocks an hour apart, a plan that breaks a rule, or backups
       that vanished after a local delete
  5    another run for the same FiFo is under way
  64   wrong usage
  130  interrupted (143 when terminated); nothing is lost, the next run goes on"
);
