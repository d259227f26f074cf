//! `check`: can this machine and this user do the work? Reads only; every finding is one line.

use super::connect;
use super::context::{Context, Format};
use super::policies::{self, count_text, counted, plural};
use crate::apply::{CLOCK_SKEW_MAX, Lock, StopFile, open_state_file};
use crate::fifo::{FifoError, Listing};
use crate::inventory::Inventory;
use crate::policy::{Match, Policies, Severity};
use crate::report::check::{Checks, Finding};
use crate::report::stop::headline;
use crate::report::{Exit, Failure, span_text};
use crate::runner::fifo::{FAIL_FAST, Fifo, Target};
use crate::runner::journal::Journal;
use crate::runner::read::{SKEW_WARN, skew};
use chrono::{DateTime, Utc};
use clap::Args;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/check.txt"))]
pub struct CheckArgs {}

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json])?;
    let mut checks = Checks::default();
    let (mut endpoint, mut listing) = (None, None);
    match connect::target(context) {
        Ok(target) => {
            checks.ok("endpoint", format!("{}, {}", target.name(), target.identity()));
            listing = remote(&target, context, &mut checks).await;
            endpoint = Some(target.name());
        }
        Err(failure) => checks.fail("endpoint", &failure, None),
    }
    let policies = available(context, &mut checks);
    if let (Some(policies), Some(listing)) = (&policies, &listing) {
        selected(policies, &listing.inventory, &mut checks);
    }
    if let Some(endpoint) = &endpoint {
        state(context, endpoint, &mut checks);
    }
    context.print(|| checks.document(), |out| checks.json(endpoint.as_deref(), out))?;
    Ok(if checks.count(Finding::Problem) == 0 { Exit::Done } else { Exit::Failed })
}

/// Makes the checks for which FiFo is asked, up to the first problem that leaves nothing more to ask.
async fn remote(target: &Target, context: &Context, checks: &mut Checks) -> Option<Listing> {
    let opened = target.open(&context.host, FAIL_FAST).await;
    let fifo = opened.map_err(|failure| checks.fail("connection", &failure, None)).ok()?;
    let listing = asked(&fifo, context, checks).await;
    if let Err(failure) = fifo.close().await {
        checks.fail("connection", &failure, None);
    }
    listing
}

async fn asked(fifo: &Fifo, context: &Context, checks: &mut Checks) -> Option<Listing> {
    let before = context.host.now();
    match fifo.client.backend().await {
        Ok(server) => {
            checks.ok("connection", "FiFo answers, and all of its subsystems are up");
            clock(server, before, context.host.now(), checks);
        }
        Err(error) => {
            let advice = "is this the address of FiFo's API, and are all of its services running?";
            checks.fail("connection", &fifo.failure(&error), Some(advice));
            return None;
        }
    }
    if let Err(error) = fifo.client.sign_in().await {
        let advice = "check FIFO_USER and FIFO_PASSWORD, FIFO_TOKEN or the profile";
        checks.fail("sign-in", &fifo.failure(&error), Some(advice));
        return None;
    }
    let listed = fifo.client.list().await;
    // A given token is sent for the first time with the list.
    let is_refused = listed.as_ref().is_err_and(FifoError::is_refusal);
    if !is_refused {
        checks.ok("sign-in", "FiFo accepts these credentials");
    }
    match listed {
        Ok(listing) => {
            readable(&listing, checks);
            Some(listing)
        }
        Err(error) => {
            checks.fail(if is_refused { "sign-in" } else { "permissions" }, &fifo.failure(&error), None);
            None
        }
    }
}

fn clock(server: Option<DateTime<Utc>>, before: DateTime<Utc>, after: DateTime<Utc>, checks: &mut Checks) {
    let Some(server) = server else {
        let advice = "compare the clocks by hand: due times follow from both";
        return checks.add("clock", Finding::Unverified, "FiFo does not say what time it is there", advice);
    };
    let skew = skew(server, before, after);
    let apart = span_text(skew.num_seconds().abs());
    // A server's date is cut to the second, so that one second behind says nothing.
    let message = match skew.num_seconds() {
        1.. => format!("FiFo is {apart} ahead of this machine"),
        ..=-1 => format!("FiFo is {apart} behind this machine"),
        0 => "FiFo and this machine agree".to_owned(),
    };
    if skew.abs() > CLOCK_SKEW_MAX {
        let advice = "nothing is planned with more than an hour between the clocks: set the wrong one";
        checks.add("clock", Finding::Problem, message, advice);
    } else if skew.abs() > SKEW_WARN {
        checks.add("clock", Finding::Warning, message, "due times shift by as much: set the wrong one");
    } else {
        checks.ok("clock", message);
    }
}

fn readable(listing: &Listing, checks: &mut Checks) {
    let vms = plural(listing.visible, "VM");
    let message = format!("the user may list VMs (cloud→vms→list) and read {vms} (vms→<uuid>→get)");
    let advice = "grant vms→<uuid>→get; a user who may see no VM looks just like an empty cloud";
    checks.add("permissions", Finding::Problem.unless(listing.visible > 0), message, advice);
    let unreadable = listing.inventory.unreadable.len();
    if unreadable > 0 {
        let message = format!("{} cannot be read completely", plural(unreadable, "VM"));
        let advice = "`fifo-retain plan` says why for each; nothing is done to them";
        checks.add("permissions", Finding::Problem, message, advice);
    }
    checks.add(
        "permissions",
        Finding::Unverified,
        format!("vms→<uuid>→backup and vms→<uuid>→backup_delete for {vms}"),
        "FiFo does not show a client its permissions, and only a create or a delete would show: look the user's up in \
         FiFo, or run `fifo-retain apply --vm` for one VM; a missing one is named then",
    );
}

/// Reads the policies; `None` where there are none to count VMs for, and why.
fn available(context: &Context, checks: &mut Checks) -> Option<Policies> {
    match policies::read(context) {
        (Ok(loaded), is_built_in) => {
            let examples = if is_built_in { "the built-in examples, " } else { "" };
            let warnings = counted(&loaded.warnings, Severity::Warning);
            let message = format!("{examples}{}, {warnings}", count_text(&loaded.policies));
            let finding = Finding::Warning.unless(loaded.warnings.is_empty());
            checks.add("policies", finding, message, "`fifo-retain validate` shows each");
            Some(loaded.policies)
        }
        (Err(_), _) if context.has_no_policies() => {
            let message = "there is no folder `policies` here, and none was given";
            let advice = "write a first policy with `fifo-retain init`, or name a place with --policies";
            checks.add("policies", Finding::Skipped, message, advice);
            None
        }
        (Err(mistakes), _) => {
            let message = format!("{} in the policies", counted(mistakes.diagnostics(), Severity::Error));
            checks.add("policies", Finding::Problem, message, "`fifo-retain validate` shows each");
            None
        }
    }
}

fn selected(policies: &Policies, inventory: &Inventory, checks: &mut Checks) {
    let mut counts: BTreeMap<&str, usize> = policies.iter().map(|policy| (&*policy.name, 0)).collect();
    let (mut unprotected, mut in_conflict) = (0, 0);
    for vm in inventory.vms.values() {
        match policies.policy_for(vm) {
            Match::One(policy) => *counts.entry(&*policy.name).or_default() += 1,
            Match::Unprotected => unprotected += 1,
            Match::Conflict(_) => in_conflict += 1,
        }
    }
    for (name, count) in counts {
        let message = format!("`{name}` is the policy of {}", plural(count, "VM"));
        let advice = "compare its `select` with the VMs' metadata and aliases, and the `priority` of others";
        checks.add("selected", Finding::Warning.unless(count > 0), message, advice);
    }
    if unprotected > 0 {
        let message = format!("{} without a policy", plural(unprotected, "VM"));
        let advice = "`fifo-retain plan` names them; their backups are left alone and none are made";
        checks.add("selected", Finding::Warning, message, advice);
    }
    if in_conflict > 0 {
        let message = format!("{} in conflict: two policies of one priority", plural(in_conflict, "VM"));
        let advice = "`fifo-retain plan` names them; give one of the policies a higher `priority`";
        checks.add("selected", Finding::Problem, message, advice);
    }
}

fn state(context: &Context, endpoint: &str, checks: &mut Checks) {
    let folder = match context.host.state_dir() {
        Ok(folder) => folder,
        Err(failure) => return checks.fail("state", &failure, None),
    };
    let stop_file = StopFile::new(folder, endpoint);
    let files = [Lock::path(folder, endpoint), Journal::path(folder), stop_file.path().to_owned()];
    let written = files.iter().try_for_each(|file| can_write(file)).and_then(|()| can_make_files(folder));
    let kept = format!("lock, journal and safety stop are kept in {}", folder.display());
    match written {
        Ok(()) => checks.ok("state", format!("{kept}, which can be written")),
        Err((path, error)) => {
            let message = format!("{kept}, and cannot be written: {path}: {error}");
            let advice = "run as the user who owns it, or name another folder with --state-dir or FIFO_RETAIN_STATE_DIR";
            checks.add("state", Finding::Problem, message, advice);
        }
    }
    if let Some(stop) = stop_file.read() {
        let advice = "find the cause first (docs/safety.md), then run `fifo-retain resume`";
        checks.add("safety-stop", Finding::Problem, headline(&stop), advice);
    }
}

type Unwritable = (String, io::Error);

/// Opens a file as a run would, and leaves it as it is. A file that does not exist yet is no problem.
fn can_write(file: &Path) -> Result<(), Unwritable> {
    match open_state_file(OpenOptions::new().read(true).append(true), file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((file.display().to_string(), error)),
        _ => Ok(()),
    }
}

/// Makes a file and removes it again: in the folder, or in the nearest one above it that exists.
///
/// The folder itself is not made. Made by a superuser who only checks, it would be closed to the service's own user.
fn can_make_files(folder: &Path) -> Result<(), Unwritable> {
    let mut above = folder.ancestors().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it });
    let existing = above.find(|it| it.exists()).unwrap_or(Path::new("."));
    let made = tempfile::NamedTempFile::new_in(existing);
    made.map(drop).map_err(|error| (existing.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn clocks_are_compared_in_either_direction() {
        let now: DateTime<Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
        for (skew_secs, finding, message) in [
            (2, "\"ok\"", "FiFo is 2 s ahead of this machine"),
            (0, "\"ok\"", "FiFo and this machine agree"),
            (-400, "\"warning\"", "FiFo is 6 min behind this machine"),
            (3_601, "\"problem\"", "FiFo is 1 h ahead"),
            (-3_601, "\"problem\"", "FiFo is 1 h behind"),
        ] {
            let (mut checks, mut out) = (Checks::default(), Vec::new());
            clock(Some(now + TimeDelta::seconds(skew_secs)), now, now, &mut checks);
            checks.json(None, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains(finding) && out.contains(message), "{skew_secs}: {out}");
        }
    }
}
