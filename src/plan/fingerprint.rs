//! A digest of the input of a decision, which shows later whether that has changed.

use crate::inventory::{LocalState, Vm};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Digests a VM's hypervisor, state and flags, and of each backup its UUID, comment, timestamp, state, parent and local: the
/// SHA-256 in 64 lower-case hexadecimal digits.
///
/// Sizes are left out: they grow while nothing else changes.
pub fn fingerprint(vm: &Vm) -> String {
    let mut text = FingerprintText(String::with_capacity(160 * (vm.backups.len() + 1)));
    text.uuid(vm.id.uuid());
    text.field(vm.hypervisor.as_deref());
    text.field(Some(&vm.state));
    for flag in [vm.creating, vm.deleting, vm.delegated_datasets] {
        text.field(Some(if flag { "1" } else { "0" }));
    }
    for backup in vm.backups.values() {
        text.uuid(backup.id.uuid());
        text.field(backup.comment.as_deref());
        match backup.timestamp {
            Some(taken) => text.field(Some(itoa::Buffer::new().format(taken.timestamp_micros()))),
            None => text.field(None),
        }
        text.field(Some(backup.state.as_str()));
        match backup.parent {
            Some(parent) => text.uuid(parent.uuid()),
            None => text.field(None),
        }
        text.field(match backup.local {
            LocalState::Present => Some("1"),
            LocalState::Absent => Some("0"),
            LocalState::Unknown => None,
        });
    }
    hex::encode(Sha256::digest(text.0))
}

/// What is digested. Every field is written with its length or in a form that cannot hold the separator, so that no two
/// VMs that differ are written alike.
struct FingerprintText(String);

impl FingerprintText {
    fn field(&mut self, value: Option<&str>) {
        match value {
            Some(value) => {
                self.0.push_str(itoa::Buffer::new().format(value.len()));
                self.0.push(':');
                self.0.push_str(value);
                self.0.push(';');
            }
            None => self.0.push_str("-;"),
        }
    }

    fn uuid(&mut self, uuid: Uuid) {
        self.field(Some(uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())));
    }
}
