//! What is remembered from one verification to the next, in one file of the state folder.
//!
//! Losing it costs the order in which objects are read, and findings until they are found again: never a backup.

use super::listing::{Listing, There};
use super::report::{Depth, Finding, Proof, Report};
use crate::inventory::{BackupId, Vm, VmId};
use crate::store::{Store, StoreError};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<BackupId, Vec<Finding>>,
    #[serde(default)]
    pub proof: Proof,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadWhole {
    pub at: DateTime<Utc>,
    pub size_bytes: u64,
    pub modified: Option<DateTime<Utc>>,
}

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

    /// Says whether it is of this FiFo and, with one given, of this store.
    pub fn is_of(&self, endpoint: &str, store: Option<&str>) -> bool {
        self.format == FORMAT && self.endpoint == endpoint && store.is_none_or(|store| self.store == store)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
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
    /// not there at all are as broken as before. An error: the store cannot be read; all that is known stays.
    pub async fn forget_replaced(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        let mut is_changed = false;
        for (&id, vm) in self.vms.iter_mut().filter(|(_, vm)| !vm.broken.is_empty()) {
            let mut listing = Listing::default();
            listing.refresh(store, id).await?;
            let is_same = |finding: &Finding| {
                let there = finding.object.split_once('/').and_then(|(_, file)| listing.get(id, file));
                there.is_none_or(|there| there.is_meant(finding))
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
    pub(super) fn read_at(&self, file: &str, there: There) -> Option<DateTime<Utc>> {
        let read = self.read.get(file)?;
        ((read.size_bytes, read.modified) == (there.size_bytes, there.modified)).then_some(read.at)
    }

    /// Returns what was found about an object that is still the same, as far as a check of this depth does not notice it.
    pub(super) fn still_broken<'a>(
        &'a self,
        backup: BackupId,
        object: &'a str,
        there: There,
        depth: Depth,
    ) -> impl Iterator<Item = &'a Finding> {
        let is_same = move |finding: &&Finding| {
            finding.object == object && there.is_meant(finding) && Depth::noticing(finding.code) > depth
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
