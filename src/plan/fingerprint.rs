//! A digest of the input of a decision, which shows later whether that has changed.

use crate::inventory::{LocalState, Vm};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// The SHA-256 of the input of a decision. As text it is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    /// Takes only what is written: a digit in upper case is an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let mut digest = [0; 32];
        let is_hex = hex::decode_to_slice(text.as_bytes(), &mut digest).is_ok();
        if !is_hex || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(D::Error::custom("a fingerprint has 64 lower-case hexadecimal digits"));
        }
        Ok(Self(digest))
    }
}

impl JsonSchema for Fingerprint {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Digests a VM's hypervisor, state and flags, and of each backup its UUID, comment, timestamp, state, parent and local.
///
/// Sizes are left out: they grow while nothing else changes.
pub fn fingerprint(vm: &Vm) -> Fingerprint {
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
    Fingerprint(Sha256::digest(text.0).into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::fixtures::mid_chain;

    #[test]
    fn a_fingerprint_is_read_back_as_it_was_written_and_nothing_else_is() {
        let made = fingerprint(&mid_chain().vm);
        let text = made.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(serde_json::to_string(&made).unwrap(), format!("\"{text}\""));
        let read = |text: &str| serde_json::from_str::<Fingerprint>(&format!("\"{text}\""));
        assert_eq!(read(&text).unwrap(), made);
        for other in
            [&text[1..], "", &text.to_uppercase(), &text.replace(|_| true, "g"), &format!("{text}00")]
        {
            assert!(read(other).is_err(), "{other}");
        }
    }
}
