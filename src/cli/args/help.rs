//! The texts around the options: examples, signing in, the environment, the exit codes.
//!
//! No line is longer than 60 columns, so that none is broken on a narrow terminal. A test runs every example.

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
  fifo-retain --sandbox reconcile
      try it out, without any FiFo
  fifo-retain init
      write a first policy
  fifo-retain validate policies/
      check the policies, offline
  fifo-retain plan --out plan.json
      what would be done, saved to a file
  fifo-retain apply plan.json
      do what it says, as far as it still holds
  fifo-retain plan --against main/policies
      what a change of policies does
  fifo-retain reconcile
      plan and do it at once, from cron
  fifo-retain reconcile --every 15m
      do so again and again, as a service
  fifo-retain status
      would these backups have saved us?
  fifo-retain simulate
      what the policies come to over a year

"
    };
}

pub(super) const AFTER_HELP: &str = concat!(
    examples!(),
    "\
Run with --help for signing in, the environment and the
exit codes."
);

pub(super) const AFTER_LONG_HELP: &str = concat!(
    examples!(),
    "\
Signing in:
  Secrets come from the environment or a profile, never
  from the command line. The first that is there counts:
    1. FIFO_TOKEN
    2. FIFO_USER and FIFO_PASSWORD
    3. the profile
  Each variable has a form with _FILE behind it
  (FIFO_PASSWORD_FILE, ...) that names a file to read it
  from; a line break at its end is left out. Setting both
  forms is an error.
  The endpoint is --endpoint, else FIFO_ENDPOINT, else the
  profile's. A profile is used for its own host only: its
  secrets are sent nowhere else.

Environment (an option goes before its variable; an empty
one counts as none):
  FIFO_ENDPOINT          --endpoint
  FIFO_PROFILE           --profile
  FIFO_CONFIG            the file with profiles, instead of
                         ~/.fifo
  FIFO_RETAIN_POLICIES   --policies; several paths are
                         separated by `:`
  FIFO_RETAIN_STATE_DIR  --state-dir
  FIFO_RETAIN_NOTIFY_URL --notify-url, and with _FILE a
                         file to read it from
  FIFO_RETAIN_PING_URL   --ping-url, likewise
  NO_COLOR               no colour with --color auto
  COLUMNS                the width of the output

Exit codes:
  0    done, or nothing to do
  1    failed: mistakes in policies, no connection,
       refused sign-in, no VM to be seen, files
  2    with --detailed-exitcode: there are changes; with
       status --check: something is out
  3    apply and reconcile: some VMs failed, gave up, are in
       conflict or unreadable, or had changed since the
       plan; the others were done
  4    a safety stop: backups vanished after a delete, in
       this run or in an earlier one; `resume` lifts it. Or
       --prune would delete too many backups from storage,
       and deleted none
  5    another run for the same FiFo is in progress
  64   wrong usage
  130  interrupted (143 when terminated); nothing is lost,
       the next run goes on"
);

pub(super) const INIT: &str = "\
Examples:
  fifo-retain init
      ask, and write policies/NAME.yaml
  fifo-retain init --select metadata.fifo.backup=1 --out -
      the usual scheme for marked VMs, to standard output
  fifo-retain init --all --name all --out all.yaml
      the usual scheme for every VM
  crontab -l | fifo-retain init --from-crontab -
      what the old backup script does

Without --select, --all or --from-crontab it asks on the terminal. The usual scheme has monthly full, weekly and \
daily incremental backups.

--from-crontab takes over each line whose command has one of the words monthly, weekly and daily and the UUIDs of \
VMs, and each line that runs the command named by --wrapper. Every other line is reported with its number. Cron runs in the \
machine's time zone: give it with --timezone, unless CRON_TZ is set above the lines.";

pub(super) const VALIDATE: &str = "\
Examples:
  fifo-retain validate
      the policies in policies/
  fifo-retain validate --strict policies/grandfather.yaml
      one file; warnings are failures, too
  fifo-retain --format github validate
      annotations for a GitHub workflow";

pub(super) const CHECK: &str = "\
Examples:
  fifo-retain check
      can this machine and user do the work?
  fifo-retain --format json check
      the same for programs

Each line is one check. It sends GET requests and the sign-in only. FiFo does not show a client its own \
permissions, and there is no harmless way to try a create or a delete, so the permissions for these are \
`unverified` until the first run. Exit code 1: there is a problem.";

pub(super) const PLAN: &str = "\
Examples:
  fifo-retain plan
      what would be done now, and why
  fifo-retain plan --vm 'web-*' --diff
      backups as they are against as they will be
  fifo-retain plan --out plan.json --detailed-exitcode
      save it, and exit with 2 when there are changes
  fifo-retain plan --at 2031-03-01T06:00:00Z
      what would be done then, were nothing done until then
  fifo-retain --format markdown plan --against main/policies
      what a change of policies does, for a pull request
  fifo-retain plan --prune
      also which expired backups would be deleted for good

The plan is made for the later one of two instants: ours, and the server's by its `Date`. FiFo stamps \
backups with its own clock, so one that it has just made never counts as future-dated. --at sets another instant.

--against compares with the policies of the target branch, say: what this change of policies causes, what is due anyway, \
which VMs change their protection, and a simulated year of each policy that differs. --out and --detailed-exitcode are about \
the plan itself all the same.

--prune plans deletes from storage where the policy says `prune: true`. A plan with more of them than one run may send \
is shown, and the exit code is 4.

--format markdown is for a comment on a pull request. Its first line is <!-- fifo-retain plan -->, by which a job finds \
the comment to update.";

pub(super) const APPLY: &str = "\
Examples:
  fifo-retain apply plan.json
      what `plan --out plan.json` has saved
  fifo-retain apply --auto-approve --vm 'web-*'
      make a plan and carry it out without a question
  fifo-retain apply --prune --auto-approve
      also delete expired backups from storage, for good

With --prune there is a second question, which only the number of the deletes from storage answers. Any other answer \
leaves them out.

A saved plan is carried out as far as a plan made now agrees with it: nothing is added, a VM that has changed \
since is left out (exit 3), and what is no longer wanted is dropped. Applying it a second time does nothing.";

pub(super) const RECONCILE: &str = "\
Examples:
  fifo-retain reconcile
      plan and carry it out, until every upload has ended
  fifo-retain --quiet reconcile --no-wait
      start what is due; the next run continues
  fifo-retain --format json reconcile
      one event a line, for programs
  fifo-retain reconcile --every 15m --listen 127.0.0.1:9797
      stay as a service, with a page, /healthz and /metrics
  fifo-retain reconcile --prune --allow-mass-prune 40
      delete expired backups from storage too, up to 40

With --every, a run begins that long after the last one began, and up to a tenth later by chance; what a run \
still waits for when the next one is due, it leaves to that. No failure ends the repetition. After backups have vanished no \
run begins until `fifo-retain resume`: with --listen that is shown and waited for, without it the program ends (exit 4). The policies are read for each run; SIGHUP reads them and begins a run now. SIGINT and SIGTERM end it: with 0 \
between two runs, with 130 or 143 in the middle of one.";

pub(super) const RESUME: &str = "\
Examples:
  fifo-retain resume
      show which backups vanished and when, and ask
  fifo-retain resume --auto-approve
      the same without a question

Once backups have vanished after a delete, `apply` and `reconcile` refuse (exit 4), since another run could \
take more. What is remembered of that lies in the state folder, so this needs the same user, --state-dir and endpoint as \
those runs. FiFo is not asked anything. docs/safety.md says what to look at before.";

pub(super) const STATUS: &str = "\
Examples:
  fifo-retain status
      a table of all VMs, those in trouble first, and what to do about these
  fifo-retain status --problems
      those in trouble alone
  fifo-retain --verbose status
      every VM with its snapshots, restore and notes
  fifo-retain status --check
      exit with 2 when one is out, for a nightly check
  fifo-retain --format markdown status --vm 'web-*'
      some of them, for an issue or a job summary

A VM is safe while its newest restorable backup is no older than its policy's `max_age`, whatever is due or waiting. \
What restoring takes is shown for the case that nothing is left on the hypervisor.";

pub(super) const SHOW: &str = "\
Examples:
  fifo-retain show web-1
      the backups of one VM, and why each is kept
  fifo-retain --quiet show 'web-*'
      of several, the trees alone
  fifo-retain --format json show web-1
      the same for programs

Each VM that is meant is shown. An increment stands below the backup that it was taken from.";

pub(super) const SIMULATE: &str = "\
Examples:
  fifo-retain simulate
      400 days from now: what there would be
  fifo-retain simulate --down 2027-03-01..2027-03-15
      with two weeks without runs
  fifo-retain simulate --uploads-fail 2027-03-01..2027-03-08
      with a week in which every upload fails
  fifo-retain simulate --prune --against main/policies
      before and after a change of policies
  fifo-retain --format json simulate --days 30
      day by day, for programs

It begins with the VMs as they are; where no FiFo is named, with one VM a policy that has no backup. A run does what `reconcile` \
does, at each instant at which its plan may change; every upload succeeds at once. What is blocked now stays blocked, and no VM \
is moved, created or deleted. Nothing is sent but the sign-in and reads.

New backups are as large as the median of their tier's own. Where there are none, a full one is as large as --vm-size, \
and an increment as --change-rate makes it over the days since its parent.";

pub(super) const SCHEMA: &str = "\
Examples:
  fifo-retain schema > policies/policy.schema.json
      for an editor: begin each policy with the line
      # yaml-language-server: $schema=policy.schema.json
  fifo-retain schema plan
      of what `plan --out` and `--format json` write";

pub(super) const COMPLETIONS: &str = "\
Examples:
  fifo-retain completions bash > fifo-retain.bash
      then: source fifo-retain.bash, or put it into
      ~/.local/share/bash-completion/completions/fifo-retain
  fifo-retain completions zsh > _fifo-retain
      into a folder of $fpath
  fifo-retain completions fish > fifo-retain.fish
      into ~/.config/fish/completions/";

pub(super) const MAN: &str = "\
Examples:
  fifo-retain man --out man1
      all pages; man -l man1/fifo-retain-plan.1 reads one
  fifo-retain man plan
      one page, to standard output";

pub(super) const SANDBOX: &str = "\
Examples:
  fifo-retain sandbox
      serve it on 127.0.0.1:8080 until Ctrl-C
  fifo-retain sandbox --listen 127.0.0.1:0 --vms 500
      a larger one, on a port that is free
  fifo-retain sandbox --vms 500 --list-limit 5s
      one that cuts its list of VMs, as FiFo of 2016 does with large clouds
  fifo-retain sandbox --state world.json
      keep the world from run to run

Other commands use a simulated FiFo of their own with --sandbox.";
