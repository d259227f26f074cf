use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A text that is not a UUID in its hyphenated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID of 36 characters")]
pub struct NotAUuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Returns the first eight hexadecimal digits, enough to distinguish ids on a screen.
            pub fn short(self) -> String {
                format!("{:08x}", self.0.as_fields().0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAUuid;

            /// Reads the hyphenated form of 36 characters, the only one FiFo uses.
            fn from_str(text: &str) -> Result<Self, NotAUuid> {
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(NotAUuid),
                }
            }
        }
    };
}

id! {
    VmId
}
id! {
    /// A backup's UUID. Unique in the whole cloud; its snapshot and its stored files carry it as their name.
    BackupId
}

/// Names a VM: by its alias, or by the beginning of its UUID where that is empty.
pub fn vm_name(alias: &str, uuid: Option<VmId>) -> String {
    match (alias, uuid) {
        ("", Some(id)) => id.short(),
        ("", None) => "(no UUID)".to_owned(),
        (alias, _) => alias.to_owned(),
    }
}
