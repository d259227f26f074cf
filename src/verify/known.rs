//! What is remembered from one verification to the next, in one file of the state folder.
//!
//! Losing it costs the order in which objects are read, and findings until they are found again: never a backup.

use super::listing::Listing;
use super::report::{Depth, Finding, Proof, Report};
use crate::inventory::{BackupId, Vm, VmId};
use crate::store::{Store, StoreError};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const FORMAT: &str = "fifo-retain.verified/1";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    format: String,
    endpoint: String,
    store: String,
    pub vms: BTreeMap<VmId, KnownVm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownVm {
    /// When each object was last read whole, by its name without the VM's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, ReadWhole>,
    /// What is broken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<BackupId, Vec<Finding>>,
    #[serde(default)]
    pub proof: Proof,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
}

/// An object that was read whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadWhole {
    pub at: DateTime<Utc>,
    pub size_bytes: u64,
    pub modified: Option<DateTime<Utc>>,
}

/// A restore that was rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub backup: BackupId,
    pub at: DateTime<Utc>,
    pub took_secs: u64,
    pub size_bytes: u64,
}

impl Known {
    pub fn new(endpoint: &str, store: &str) -> Self {
        let (endpoint, store) = (endpoint.to_owned(), store.to_owned());
        Self { format: FORMAT.to_owned(), endpoint, store, vms: BTreeMap::new() }
    }

    /// Returns where it is kept for a FiFo.
    pub fn path(state_dir: &Path, endpoint: &str) -> PathBuf {
        let digest = hex::encode(Sha256::digest(endpoint));
        state_dir.join(format!("verified-{}.json", &digest[..16]))
    }

    /// Reads what is known of a FiFo and, with one given, of a store; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// There is something that cannot be read.
    pub fn read(state_dir: &Path, endpoint: &str, store: Option<&str>) -> Result<Option<Self>, String> {
        let path = Self::path(state_dir, endpoint);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut bytes = Vec::new();
        match options.open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
            Ok(_) => {}
        }
        let known: Self =
            serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_meant = known.format == FORMAT && known.endpoint == endpoint;
        Ok(Some(known).filter(|known| is_meant && store.is_none_or(|store| known.store == store)))
    }

    /// Writes it in place of what there is.
    ///
    /// # Errors
    ///
    /// It could not be written whole; what there was stays.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        fs::create_dir_all(state_dir)?;
        let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.as_file().sync_all()?;
        file.persist(Self::path(state_dir, &self.endpoint))?;
        Ok(())
    }

    /// Marks the backups of a VM that are known to be broken.
    pub fn mark(&self, vm: &mut Vm) {
        for &id in self.vms.get(&vm.id).iter().flat_map(|known| known.broken.keys()) {
            if let Some(backup) = vm.backups.get_mut(id) {
                backup.is_broken = true;
            }
        }
    }

    /// Forgets what was found about objects that have another size or date by now; says whether there were any. Those that are
    /// not there at all are as broken as before.
    ///
    /// # Errors
    ///
    /// The store cannot be read; all that is known stays.
    pub async fn forget_replaced(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        let mut is_changed = false;
        for (&id, vm) in self.vms.iter_mut().filter(|(_, vm)| !vm.broken.is_empty()) {
            let mut listing = Listing::default();
            listing.refresh(store, id).await?;
            let is_same = |finding: &Finding| {
                let there = finding.object.split_once('/').and_then(|(_, file)| listing.get(id, file));
                there.is_none_or(|it| {
                    (finding.size_bytes, finding.modified) == (Some(it.size_bytes), it.modified)
                })
            };
            vm.broken.values_mut().for_each(|findings| {
                let before = findings.len();
                findings.retain(is_same);
                is_changed |= findings.len() < before;
            });
            vm.broken.retain(|_, findings| !findings.is_empty());
        }
        Ok(is_changed)
    }

    /// Enters what a run has found out about a backup.
    pub fn enter_broken(&mut self, vm: VmId, backup: BackupId, findings: Vec<Finding>) {
        self.vms.entry(vm).or_default().broken.insert(backup, findings);
    }

    /// Takes over what runs have found since `before` was read.
    pub fn take_over(&mut self, before: &Self, now: Self) {
        for (id, vm) in now.vms {
            let before = before.vms.get(&id);
            let is_new = |backup: &BackupId| before.is_none_or(|vm| !vm.broken.contains_key(backup));
            let mut new = vm.broken.into_iter().filter(|(backup, _)| is_new(backup)).peekable();
            if new.peek().is_some() {
                self.vms.entry(id).or_default().broken.extend(new);
            }
        }
    }

    /// Enters the result of a verification. Of the VMs that it was not about everything stays.
    pub fn enter(&mut self, report: &Report) {
        for vm in &report.vms {
            let known = self.vms.entry(vm.uuid).or_default();
            let broken = vm.backups.iter().filter(|backup| !backup.findings.is_empty());
            known.broken = broken.map(|backup| (backup.backup, backup.findings.clone())).collect();
            known.proof = vm.proof;
        }
    }
}

impl KnownVm {
    /// Returns when an object was read whole, if it is still the same.
    pub fn read_at(
        &self,
        file: &str,
        size_bytes: u64,
        modified: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let read = self.read.get(file)?;
        (read.size_bytes == size_bytes && read.modified == modified).then_some(read.at)
    }

    /// Returns what was found about an object that is still the same, as far as a check of this depth does not notice it.
    pub(super) fn still_broken<'a>(
        &'a self,
        backup: BackupId,
        object: &'a str,
        size_bytes: u64,
        modified: Option<DateTime<Utc>>,
        depth: Depth,
    ) -> impl Iterator<Item = &'a Finding> {
        let is_same = move |finding: &&Finding| {
            finding.object == object
                && (finding.size_bytes, finding.modified) == (Some(size_bytes), modified)
                && Depth::noticing(finding.code) > depth
        };
        self.broken.get(&backup).into_iter().flatten().filter(is_same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stream::Code;

    fn known(backups: &[u128]) -> Known {
        let mut known = Known::new("fifo", "s3://fifo");
        let (code, object, message) = (Code::Name, "x/y".to_owned(), String::new());
        let finding = Finding { code, object, message, size_bytes: None, modified: None };
        let id = |n| uuid::Uuid::from_u128(n);
        for &n in backups {
            known.enter_broken(VmId::new(id(1)), BackupId::new(id(n)), vec![finding.clone()]);
        }
        known
    }

    #[test]
    fn what_a_run_finds_during_a_verification_is_not_lost_and_what_is_whole_again_does_not_come_back() {
        let (before, meanwhile) = (known(&[1, 2]), known(&[1, 2, 3]));
        let mut verified = known(&[2]);
        verified.take_over(&before, meanwhile);
        assert_eq!(verified, known(&[2, 3]));
        verified.take_over(&known(&[]), known(&[]));
        assert_eq!(verified, known(&[2, 3]));
    }
}
