//! A digest of the input of a decision, which shows later whether that has changed.

use crate::inventory::{LocalState, Vm};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Digests a VM as SHA-256, in 64 lower-case hexadecimal digits. Sizes are left out: they grow while nothing else changes.
pub fn fingerprint(vm: &Vm) -> String {
    let mut text = String::with_capacity(160 * (vm.backups.len() + 1));
    // Every field has its length or a form without the separator, so that no two VMs that differ are written alike.
    let mut field = |value: Option<&str>| match value {
        Some(value) => {
            text.push_str(itoa::Buffer::new().format(value.len()));
            text.push(':');
            text.push_str(value);
            text.push(';');
        }
        None => text.push_str("-;"),
    };
    let mut buffer = Uuid::encode_buffer();
    field(Some(vm.id.uuid().as_hyphenated().encode_lower(&mut buffer)));
    field(vm.hypervisor.as_deref());
    field(Some(&vm.state));
    for flag in [vm.creating, vm.deleting, vm.delegated_datasets] {
        field(Some(if flag { "1" } else { "0" }));
    }
    for backup in vm.backups.values() {
        field(Some(backup.id.uuid().as_hyphenated().encode_lower(&mut buffer)));
        field(backup.comment.as_deref());
        match backup.timestamp {
            Some(taken) => field(Some(itoa::Buffer::new().format(taken.timestamp_micros()))),
            None => field(None),
        }
        field(Some(backup.state.as_str()));
        match backup.parent {
            Some(parent) => field(Some(parent.uuid().as_hyphenated().encode_lower(&mut buffer))),
            None => field(None),
        }
        field(match backup.local {
            LocalState::Present => Some("1"),
            LocalState::Absent => Some("0"),
            LocalState::Unknown => None,
        });
        if backup.is_broken {
            field(Some("broken"));
        }
    }
    hex::encode(Sha256::digest(text))
}
