use super::BackupId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One backup of a VM, as its record says.
///
/// FiFo writes each key by itself as things happen, so any subset can be seen; `None` means that the key was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    pub id: BackupId,
    /// The comment it was created with; by it a policy's tier knows its own.
    pub comment: Option<Arc<str>>,
    /// When sniffle accepted it, by its clock, to the microsecond. Missing on what was deleted while it uploaded.
    pub timestamp: Option<DateTime<Utc>>,
    pub state: RecordedState,
    /// The backup that this one is an increment on; `None` on a full one, and on an incremental one until its upload begins.
    pub parent: Option<BackupId>,
    pub local: LocalState,
    /// Bytes the snapshot holds on the hypervisor, re-measured about every 15 minutes.
    pub local_size_bytes: Option<u64>,
    pub files: Vec<StoredFile>,
    /// The size at the record's top level (FiFo before 2016), in bytes.
    pub record_size_bytes: Option<u64>,
    /// Whether there is a SHA-1 at the record's top level (FiFo before 2016).
    pub has_record_checksum: bool,
    /// Whether its stored objects are known to be broken, which no record says: `verify` and runs with a store find it.
    #[serde(skip)]
    pub is_broken: bool,
}

impl Backup {
    /// Returns the stored size in bytes: the sum over the files where they have one, else the record's own.
    pub fn size_bytes(&self) -> Option<u64> {
        let mut sizes = self.files.iter().filter_map(|file| file.size_bytes).peekable();
        if sizes.peek().is_some() { Some(sizes.fold(0, u64::saturating_add)) } else { self.record_size_bytes }
    }

    /// Returns the size of the smallest stored object in bytes, where the files have one; else the record's own size.
    pub fn smallest_size_bytes(&self) -> Option<u64> {
        self.files.iter().filter_map(|file| file.size_bytes).min().or(self.record_size_bytes)
    }

    /// Says whether the hypervisor still holds its snapshot, according to the record.
    ///
    /// A record without `local` but with bytes on the hypervisor is a snapshot whose upload never got through.
    pub fn holds_snapshot(&self) -> bool {
        match self.local {
            LocalState::Present => true,
            LocalState::Absent => false,
            LocalState::Unknown => self.local_size_bytes.is_some_and(|bytes| bytes > 0),
        }
    }

    /// Names what FiFo has not recorded of its stored objects, `size` or `checksum`; `None` when each has both.
    pub fn missing_file_info(&self) -> Option<&'static str> {
        let is_told =
            |count: usize, of_all: bool| if count == 0 { of_all } else { count == self.files.len() };
        let sizes = self.files.iter().filter(|file| file.size_bytes.is_some()).count();
        let checksums = self.files.iter().filter(|file| file.has_checksum).count();
        if self.files.is_empty() || !is_told(sizes, self.record_size_bytes.is_some()) {
            return Some("size");
        }
        (!is_told(checksums, self.has_record_checksum)).then_some("checksum")
    }
}

/// The `local` of a backup's record: whether FiFo says that the snapshot is on the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LocalState {
    /// The key is missing: until the upload has ended, and sometimes for ever.
    Unknown,
    Absent,
    Present,
}

impl From<Option<bool>> for LocalState {
    fn from(local: Option<bool>) -> Self {
        local.map_or(Self::Unknown, |is_there| if is_there { Self::Present } else { Self::Absent })
    }
}

/// One stored object of a backup. Its name follows from those of the VM, the backup and the disk, and is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    #[serde(default)]
    pub disk: Disk,
    #[serde(default)]
    pub sha1: Option<[u8; 20]>,
    /// Bytes stored so far.
    pub size_bytes: Option<u64>,
    /// Whether FiFo has written its SHA-1, which it does when the upload succeeded.
    pub has_checksum: bool,
}

/// A disk of a VM, as the names of datasets and objects end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Disk {
    /// The zone itself: `zones/<vm>`, `<vm>/<backup>`.
    #[default]
    Zone,
    /// A disk of a KVM guest: `zones/<vm>-disk0`, `<vm>/<backup>-disk0`.
    Number(u16),
    /// A name of another form.
    Unknown,
}

impl Disk {
    const ID: usize = 36;

    /// Reads the end of an object's name: what stands behind its last slash and the backup's UUID.
    pub fn of_object(name: &str) -> Self {
        let file = name.rsplit('/').next().unwrap_or(name);
        match file.get(Self::ID..) {
            Some("") => Self::Zone,
            Some(end) => {
                let number = end.strip_prefix("-disk").and_then(|digits| digits.parse().ok());
                // Only the spelling that FiFo writes: not `-disk+1`, not `-disk01`.
                let disk = number.map_or(Self::Unknown, Self::Number);
                if disk.suffix() == end { disk } else { Self::Unknown }
            }
            None => Self::Unknown,
        }
    }

    /// Returns what stands behind a UUID in the names of datasets and objects.
    pub fn suffix(self) -> String {
        match self {
            Self::Zone | Self::Unknown => String::new(),
            Self::Number(number) => format!("-disk{number}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedState {
    /// No state: accepted, and not started (it may never start).
    Accepted,
    Uploading,
    /// FiFo says that it is complete; that does not mean that it is any good.
    Completed,
    /// Any state with "failed" in it.
    Failed,
    /// A word that is not known here; taken as still running.
    Other(String),
}

impl RecordedState {
    /// Reads FiFo's word for it; `None` is a record without `state`.
    pub fn from_wire(word: Option<&str>) -> Self {
        match word {
            None => Self::Accepted,
            Some("uploading") => Self::Uploading,
            Some("completed") => Self::Completed,
            Some(word) if word.contains("failed") => Self::Failed,
            Some(word) => Self::Other(word.to_owned()),
        }
    }

    /// Returns one word for it, for people and for fingerprints.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Uploading => "uploading",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Other(word) => word,
        }
    }
}
