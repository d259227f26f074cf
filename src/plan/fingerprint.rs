//! A digest of the input of a decision, which shows later whether that has changed.

use crate::inventory::{LocalState, Vm};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Digests a VM's hypervisor, state and flags, and of each backup its UUID, comment, timestamp, state, parent and local.
///
/// Sizes are left out: they grow while nothing else changes. The result is the SHA-256 in hexadecimal digits.
pub fn fingerprint(vm: &Vm) -> String {
    // Every field is written with its length or in a form that cannot hold the separator, so that no two VMs that
    // differ are written alike.
    let mut text = String::new();
    let mut field = |value: Option<&str>| match value {
        Some(value) => _ = write!(text, "{}:{value};", value.len()),
        None => text.push_str("-;"),
    };
    field(Some(&vm.id.to_string()));
    field(vm.hypervisor.as_deref());
    field(Some(&vm.state));
    for flag in [vm.creating, vm.deleting, vm.delegated_datasets] {
        field(Some(if flag { "1" } else { "0" }));
    }
    for backup in vm.backups.values() {
        field(Some(&backup.id.to_string()));
        field(backup.comment.as_deref());
        field(backup.timestamp.map(|taken| taken.timestamp_micros().to_string()).as_deref());
        field(Some(backup.state.as_str()));
        field(backup.parent.map(|parent| parent.to_string()).as_deref());
        field(match backup.local {
            LocalState::Present => Some("1"),
            LocalState::Absent => Some("0"),
            LocalState::Unknown => None,
        });
    }
    hex::encode(Sha256::digest(text))
}
