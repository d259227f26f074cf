//! What there is in the store, by VM.

use super::report::{Finding, UnknownObject};
use crate::inventory::VmId;
use crate::store::{Object, Result, Store};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct There {
    pub(super) size_bytes: u64,
    pub(super) modified: Option<DateTime<Utc>>,
}

impl There {
    /// Says whether a finding is about the object as it is now.
    pub(super) fn is_meant(self, by: &Finding) -> bool {
        (by.size_bytes, by.modified) == (Some(self.size_bytes), self.modified)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// By VM, and by name without the VM's.
    pub(super) vms: BTreeMap<VmId, HashMap<String, There>>,
    /// What lies below no VM.
    pub(super) others: Vec<UnknownObject>,
}

impl Listing {
    pub(super) async fn of_all(store: &dyn Store) -> Result<Self> {
        let mut all = Self::default();
        store.list("", &mut |object| all.add(object)).await?;
        Ok(all)
    }

    pub(super) async fn refresh(&mut self, store: &dyn Store, vm: VmId) -> Result<()> {
        let mut one = Self::default();
        store.list(&format!("{vm}/"), &mut |object| one.add(object)).await?;
        self.vms.insert(vm, one.vms.remove(&vm).unwrap_or_default());
        Ok(())
    }

    fn add(&mut self, Object { name, size_bytes, modified }: Object) {
        let parts = name.split_once('/').and_then(|(vm, file)| Some((vm.parse::<VmId>().ok()?, file)));
        match parts {
            Some((vm, file)) => {
                self.vms.entry(vm).or_default().insert(file.to_owned(), There { size_bytes, modified });
            }
            None => self.others.push(UnknownObject { object: name, size_bytes }),
        }
    }

    pub(super) fn get(&self, vm: VmId, file: &str) -> Option<There> {
        self.vms.get(&vm)?.get(file).copied()
    }
}
