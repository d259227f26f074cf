use super::help;
use crate::policy::{Zone, is_name};
use clap::Args;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

/// The fields of a selector that hold one value or a list of them.
const FIELDS: [&str; 5] = ["alias", "uuid", "owner", "package", "dataset"];
const METADATA: &str = "metadata.";

#[derive(Debug, Args)]
#[command(after_help = help::INIT)]
pub struct InitArgs {
    /// Select VMs by metadata.PATH=VALUE, alias=GLOB, uuid, owner, package or dataset; can be given several times
    #[arg(long, value_name = "KEY=VALUE", help_heading = "VMs", conflicts_with_all = ["all", "from_crontab"])]
    pub select: Vec<Condition>,

    /// Select every VM
    #[arg(long, help_heading = "VMs", conflicts_with = "from_crontab")]
    pub all: bool,

    /// The policy's name [default: grandfather]
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    pub name: Option<String>,

    /// The IANA time zone of the schedules, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub timezone: Option<String>,

    /// The hour at which backups are due, from 0 to 23 [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=23), conflicts_with = "from_crontab")]
    pub hour: Option<u8>,

    /// How many monthly backups to keep stored [default: 12]
    #[arg(long, value_name = "COUNT", help_heading = "Tiers")]
    pub keep_monthly: Option<NonZeroU32>,

    /// How many weekly backups to keep stored [default: 5]
    #[arg(long, value_name = "COUNT", help_heading = "Tiers")]
    pub keep_weekly: Option<NonZeroU32>,

    /// How many daily backups to keep stored [default: 7]
    #[arg(long, value_name = "COUNT", help_heading = "Tiers")]
    pub keep_daily: Option<NonZeroU32>,

    /// Make the policy of the old backup script's lines in this crontab; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Crontab")]
    pub from_crontab: Option<PathBuf>,

    /// The command in the crontab that backs up every VM with metadata.fifo.backup = 1
    #[arg(long, value_name = "COMMAND", help_heading = "Crontab", requires = "from_crontab")]
    pub wrapper: Option<String>,

    /// Write to this file; - is standard output [default: NAME.yaml in the policies folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// One condition of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it looks at.
    pub key: SelectKey,
    /// The value that matches.
    pub value: String,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SelectKey {
    /// A field of the VM.
    Field(&'static str),
    /// A dotted path in the VM's metadata.
    Metadata(String),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("write it as KEY=VALUE, such as metadata.fifo.backup=1")?;
        if value.is_empty() {
            return Err("the value is empty".to_owned());
        }
        let key = match key.strip_prefix(METADATA) {
            Some(path) if !path.is_empty() => SelectKey::Metadata(path.to_owned()),
            _ => SelectKey::Field(FIELDS.into_iter().find(|field| *field == key).ok_or_else(|| {
                format!("`{key}` is not a key of `select`: use metadata.PATH, {}", FIELDS.join(", "))
            })?),
        };
        Ok(Self { key, value: value.to_owned() })
    }
}

/// Reads the name of a policy.
pub(crate) fn policy_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("use a-z, 0-9 and -, such as web-servers".to_owned())
    }
}

/// Reads the name of a time zone.
pub(crate) fn zone(text: &str) -> Result<String, String> {
    match Zone::find(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("not an IANA time zone; write it like Europe/Berlin".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_names_a_field_or_a_path_in_the_metadata() {
        let read = |text: &str| text.parse::<Condition>().map(|it| (it.key, it.value));
        let path = SelectKey::Metadata("fifo.backup".to_owned());
        assert_eq!(read("metadata.fifo.backup=1"), Ok((path, "1".to_owned())));
        assert_eq!(read("alias=web-*"), Ok((SelectKey::Field("alias"), "web-*".to_owned())));
        assert!(read("name=web").unwrap_err().contains("alias, uuid"));
        assert!(read("alias=").is_err() && read("alias").is_err() && read("metadata.=1").is_err());
    }

    #[test]
    fn names_are_those_of_policies() {
        assert!(policy_name("web-2").is_ok() && policy_name("2").is_ok());
        assert!(policy_name("-web").is_err() && policy_name("Web").is_err() && policy_name("").is_err());
        assert!(zone("Europe/Berlin").is_ok() && zone("Berlin").is_err());
    }
}
