//! What `check` finds out on this machine: the policies and the state folder.

use super::report::{Checks, Finding};
use crate::apply::{Lock, StopFile, open_state_file};
use crate::cli::context::Context;
use crate::cli::policies::{self, Available, counted, plural};
use crate::inventory::Inventory;
use crate::policy::{Match, Policies, Severity};
use crate::report::stop::headline;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

/// Reads the policies; `None` where there are none to count VMs for, and why.
pub(super) fn policies(context: &Context, checks: &mut Checks) -> Option<Policies> {
    match policies::available(context) {
        Available::None => {
            let message = "there is no folder `policies` here, and none was given";
            let advice = "write a first policy with `fifo-retain init`, or name a place with --policies";
            checks.add("policies", Finding::Skipped, message, advice);
            None
        }
        Available::Invalid(mistakes) => {
            let message = format!("{} in the policies", counted(mistakes.diagnostics(), Severity::Error));
            checks.add("policies", Finding::Problem, message, "`fifo-retain validate` shows each");
            None
        }
        Available::Loaded { loaded, is_built_in } => {
            let count = loaded.policies.iter().count();
            let policies = if count == 1 { "1 policy".to_owned() } else { format!("{count} policies") };
            let warnings = counted(&loaded.warnings, Severity::Warning);
            let examples = if is_built_in { "the built-in examples, " } else { "" };
            let message = format!("{examples}{policies}, {warnings}");
            if loaded.warnings.is_empty() {
                checks.ok("policies", message);
            } else {
                checks.add("policies", Finding::Warning, message, "`fifo-retain validate` shows each");
            }
            Some(loaded.policies)
        }
    }
}

/// Says how many VMs each policy selects, how many none selects, and how many are in conflict.
pub(super) fn selected(policies: &Policies, inventory: &Inventory, checks: &mut Checks) {
    let mut counts: BTreeMap<&str, usize> = policies.iter().map(|policy| (policy.name.as_str(), 0)).collect();
    let (mut unprotected, mut in_conflict) = (0, 0);
    for vm in inventory.vms.values() {
        match policies.policy_for(vm) {
            Match::One(policy) => *counts.entry(policy.name.as_str()).or_default() += 1,
            Match::Unprotected => unprotected += 1,
            Match::Conflict(_) => in_conflict += 1,
        }
    }
    for (name, count) in counts {
        let message = format!("`{name}` is the policy of {}", plural(count, "VM"));
        if count == 0 {
            let advice =
                "compare its `select` with the VMs' metadata and aliases, and the `priority` of others";
            checks.add("selected", Finding::Warning, message, advice);
        } else {
            checks.ok("selected", message);
        }
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

/// Says where lock, journal and safety stop are kept, whether they can be written, and whether a safety stop is set.
pub(super) fn state(context: &Context, endpoint: &str, checks: &mut Checks) {
    let folder = match context.host.state_dir() {
        Ok(folder) => folder,
        Err(failure) => return checks.fail("state", &failure, None),
    };
    let stop_file = StopFile::new(folder, endpoint);
    let files = [Lock::path(folder, endpoint), folder.join("journal.jsonl"), stop_file.path().to_owned()];
    let written = files.iter().try_for_each(|file| can_write(file)).and_then(|()| can_make_files(folder));
    let kept = format!("lock, journal and safety stop are kept in {}", folder.display());
    match written {
        Ok(()) => checks.ok("state", format!("{kept}, which can be written")),
        Err((path, error)) => checks.add(
            "state",
            Finding::Problem,
            format!("{kept}, and cannot be written: {path}: {error}"),
            "run as the user who owns it, or name another folder with --state-dir or FIFO_RETAIN_STATE_DIR",
        ),
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
    tempfile::NamedTempFile::new_in(existing)
        .map(drop)
        .map_err(|error| (existing.display().to_string(), error))
}
