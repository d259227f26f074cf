//! The result of a verification, as data; its JSON is what `verify --merge` reads back.

use crate::inventory::{BackupId, VmId};
use crate::store::stream::Code;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub const FORMAT: &str = "fifo-retain.verify/1";

/// How much of each object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Nothing: is it there, with its size?
    Objects,
    /// The beginning: which snapshot is it of, and which one does it start from?
    Headers,
    /// All of it.
    Full,
}

impl Depth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Headers => "headers",
            Self::Full => "full",
        }
    }

    /// Returns the least depth at which a fault is noticed for sure.
    pub(super) fn noticing(code: Code) -> Self {
        match code {
            Code::Missing | Code::Size => Self::Objects,
            Code::NoStream | Code::Name | Code::Link => Self::Headers,
            Code::Gzip | Code::Truncated | Code::Checksum | Code::Sha1 => Self::Full,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// From 1.
    index: u32,
    of: u32,
}

impl Shard {
    /// Says whether it has a VM, or, without one, what belongs to no VM.
    pub fn has(self, vm: Option<VmId>) -> bool {
        let part = vm.map_or(0, |vm| vm.uuid().as_u128() % u128::from(self.of));
        part == u128::from(self.index - 1)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if 1 <= index && index <= of => Ok(Self { index, of }),
            _ => Err("write it like 3/10: the third of ten parts"),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub format: String,
    pub endpoint: String,
    pub store: String,
    pub depth: Depth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    pub at: DateTime<Utc>,
    /// By alias, then UUID.
    pub vms: Vec<VmReport>,
    /// The VMs that FiFo does not show whole: nothing is known of their backups.
    pub unreadable_vms: Vec<String>,
    /// Objects that could not be read, which says nothing about what is in them.
    pub unread: Vec<Unread>,
    pub unknown_objects: Vec<UnknownObject>,
    pub summary: Summary,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmReport {
    pub uuid: VmId,
    pub alias: String,
    /// Those that FiFo calls completed, oldest first.
    pub backups: Vec<BackupReport>,
    pub proof: Proof,
}

/// What is proven of a VM's newest backup that is not known to be broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub backup: Option<BackupId>,
    /// Of all its backups' objects, how many the records promise and how many there are, and when that was.
    pub objects: usize,
    pub objects_there: usize,
    pub listed_at: Option<DateTime<Utc>>,
    /// When the beginnings of its chain's objects were last seen to fit together.
    pub connects_at: Option<DateTime<Utc>>,
    /// Since when each object of its chain has been read whole.
    pub read_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub backup: BackupId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether nothing is known against it and everything that it rests on.
    pub restorable: bool,
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub code: Code,
    pub object: String,
    pub message: String,
    /// What the object was when this was found: another size or date is another object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    pub object: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnknownObject {
    pub object: String,
    pub size_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub vms: usize,
    pub backups: usize,
    pub restorable: usize,
    pub broken: usize,
    pub findings: usize,
    pub objects: usize,
    pub headers_read: usize,
    pub read: usize,
    pub read_bytes: u64,
    pub left: usize,
    pub left_bytes: u64,
    pub unread: usize,
    pub unreadable_vms: usize,
    pub unknown_objects: usize,
    pub unknown_bytes: u64,
}

impl Report {
    /// Says whether anything is not as it should be.
    pub fn is_out(&self) -> bool {
        self.summary.findings + self.summary.unread + self.summary.unreadable_vms > 0
    }

    /// Counts what the lists say; what was read is known already.
    pub(super) fn count(&mut self) {
        let backups = || self.vms.iter().flat_map(|vm| &vm.backups);
        self.summary = Summary {
            vms: self.vms.len(),
            backups: backups().count(),
            restorable: backups().filter(|backup| backup.restorable).count(),
            broken: backups().filter(|backup| !backup.findings.is_empty()).count(),
            findings: backups().map(|backup| backup.findings.len()).sum(),
            unread: self.unread.len(),
            unreadable_vms: self.unreadable_vms.len(),
            unknown_objects: self.unknown_objects.len(),
            unknown_bytes: self.unknown_objects.iter().map(|object| object.size_bytes).sum(),
            ..self.summary
        };
    }

    pub(super) fn sort(&mut self) {
        self.vms.sort_by(|one, other| (&one.alias, one.uuid).cmp(&(&other.alias, other.uuid)));
        self.unknown_objects.sort();
        self.unread.sort_by(|one, other| one.object.cmp(&other.object));
        self.unreadable_vms.sort();
        self.unreadable_vms.dedup();
    }
}

/// Puts the reports of several parts together. An error: they do not belong together, or one is missing, since what is not
/// known must not look good.
pub fn merge(reports: Vec<Report>) -> Result<Report, String> {
    let mut shards = BTreeSet::new();
    if let Some(shard) = reports.iter().filter_map(|report| report.shard).find(|it| !shards.insert(*it)) {
        return Err(format!("the part {shard} is in two of the reports"));
    }
    if let Some(of) = shards.iter().map(|shard| shard.of).max() {
        let missing = (1..=of).map(|index| Shard { index, of }).find(|shard| !shards.contains(shard));
        if let Some(missing) = missing {
            return Err(format!("the part {missing} is missing"));
        }
    }
    let mut reports = reports.into_iter();
    let mut all = reports.next().ok_or("there is nothing to merge")?;
    for report in reports {
        let differs = [
            (all.endpoint != report.endpoint, "FiFos"),
            (all.store != report.store, "stores"),
            (all.depth != report.depth, "depths"),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Err(format!("the reports are of different {what}"));
        }
        all.at = all.at.min(report.at);
        all.vms.extend(report.vms);
        all.unread.extend(report.unread);
        all.unknown_objects.extend(report.unknown_objects);
        all.unreadable_vms.extend(report.unreadable_vms);
        let (sum, more) = (&mut all.summary, report.summary);
        sum.objects += more.objects;
        sum.headers_read += more.headers_read;
        (sum.read, sum.read_bytes) = (sum.read + more.read, sum.read_bytes + more.read_bytes);
        (sum.left, sum.left_bytes) = (sum.left + more.left, sum.left_bytes + more.left_bytes);
    }
    all.shard = None;
    all.sort();
    let mut seen = BTreeSet::new();
    if let Some(twice) = all.vms.iter().find(|vm| !seen.insert(vm.uuid)) {
        return Err(format!("the VM {} is in two of the reports", twice.uuid));
    }
    all.count();
    Ok(all)
}
