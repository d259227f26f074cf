//! What the coordinator does when it is asked to create or to delete a backup.

use super::progress::forget_snapshot;
use super::script::{UploadOutcome, UploadScript};
use super::upload::{Upload, usual_bytes};
use super::vm::{Record, Vm};
use super::world::{DESTROY_AFTER_US, World};
use serde::Deserialize;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a create asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackupRequest {
    pub comment: String,
    /// The backup to take an increment on; a full one without.
    pub parent: Option<String>,
    /// Whether to remove a snapshot afterwards: the parent's, or without a parent the new one.
    pub delete: bool,
}

/// Why the coordinator refused; the API answers all of it with a bare 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NoVm,
    /// The VM is on no hypervisor.
    NoHypervisor,
    /// Its hypervisor's agent does not answer.
    AgentDown,
    DelegatedDatasets,
    /// No backup store is configured.
    NoStore,
    /// The parent is not recorded as local.
    ParentNotLocal,
}

impl World {
    /// Accepts a backup and starts it, by the next fate in the VM's queue. Returns its UUID.
    ///
    /// Of a parent nothing is asked but that its record says `local`; whether its upload went well, or its own
    /// chain is whole, does not matter to FiFo.
    ///
    /// # Errors
    ///
    /// Refuses as FiFo does, see [`Refused`]; nothing has happened then.
    pub fn create_backup(
        &mut self,
        vm_id: Uuid,
        order: &BackupRequest,
        now_us: i64,
    ) -> Result<Uuid, Refused> {
        let vm = self.vms.get(&vm_id).ok_or(Refused::NoVm)?;
        let hypervisor = vm.hypervisor().ok_or(Refused::NoHypervisor)?;
        if vm.has_delegated_datasets() {
            return Err(Refused::DelegatedDatasets);
        }
        if !self.store_configured {
            return Err(Refused::NoStore);
        }
        let parent = match &order.parent {
            None => None,
            Some(parent) => Some(local_parent(vm, parent).ok_or(Refused::ParentNotLocal)?),
        };
        let unreachable = self.agents_down.contains(hypervisor);
        let backup = self.new_uuid();
        let Some(vm) = self.vms.get_mut(&vm_id) else { return Err(Refused::NoVm) };
        let of_full = vm.full_outcome.filter(|_| parent.is_none());
        let usual = of_full.or(vm.outcome).unwrap_or(self.outcome);
        let mut fate = vm.fates.pop_front().unwrap_or_else(|| UploadScript::from(usual));
        if unreachable {
            fate.outcome = UploadOutcome::NeverStarts;
        } else if fate.outcome == UploadOutcome::Complete
            && parent.is_some_and(|parent| !vm.snapshots.contains_key(&parent))
        {
            // The record says `local`, but the snapshot is not there: `zfs send` has nothing to start from.
            fate.outcome = UploadOutcome::Hollow;
        }
        let snapshot = vm.snapshot();
        let mut record = Record {
            comment: Some(order.comment.clone()),
            timestamp: Some(now_us.saturating_add(self.stamps_ahead_s.saturating_mul(1_000_000))),
            pending: Some(true),
            ..Record::default()
        };
        match fate.outcome {
            UploadOutcome::NeverStarts => {}
            UploadOutcome::SnapshotOnly => {
                record.local_size = Some(snapshot.bytes);
                vm.snapshots.insert(backup, snapshot);
            }
            outcome => {
                vm.snapshots.insert(backup, snapshot);
                let upload_ms = fate.upload_ms.unwrap_or(self.upload_ms);
                let upload = Upload {
                    vm: vm_id,
                    parent,
                    delete: order.delete,
                    outcome,
                    started_us: now_us,
                    duration_us: i64::try_from(upload_ms).unwrap_or(i64::MAX).saturating_mul(1_000),
                    bytes: fate.size_bytes.unwrap_or_else(|| usual_bytes(vm, parent)),
                    steps_done: 0,
                    written_bytes: 0,
                };
                self.uploads.insert(backup, upload);
            }
        }
        vm.backups.insert(backup, record);
        Ok(backup)
    }

    /// Removes a backup from the hypervisor: the record says so at once, the snapshot goes a little later.
    ///
    /// # Errors
    ///
    /// Refuses when there is no such VM, when it is on no hypervisor, or when the agent does not answer.
    pub fn delete_local(&mut self, vm_id: Uuid, backup: Uuid, now_us: i64) -> Result<(), Refused> {
        let vm = self.vms.get_mut(&vm_id).ok_or(Refused::NoVm)?;
        let hypervisor = vm.hypervisor().ok_or(Refused::NoHypervisor)?;
        if self.agents_down.contains(hypervisor) {
            return Err(Refused::AgentDown);
        }
        if let Some(record) = vm.backups.get_mut(&backup) {
            forget_snapshot(record);
            self.destroys.insert((now_us + DESTROY_AFTER_US, vm_id, backup));
        }
        Ok(())
    }

    /// Removes a backup and every one that descends from it, snapshots and stored files alike. Returns their UUIDs.
    ///
    /// On a VM that is on no hypervisor only the stored files go, and every record stays as it was. While the agent
    /// does not answer, the snapshots stay, and no record names them.
    pub fn delete_cloud(&mut self, vm_id: Uuid, backup: Uuid, now_us: i64) -> BTreeSet<Uuid> {
        let Some(vm) = self.vms.get_mut(&vm_id) else { return BTreeSet::new() };
        let gone = with_descendants(vm, backup);
        let hypervisor = vm.hypervisor().map(str::to_owned);
        for id in &gone {
            vm.stored.remove(id);
            let Some(hypervisor) = &hypervisor else { continue };
            vm.backups.remove(id);
            if !self.agents_down.contains(hypervisor) {
                self.destroys.insert((now_us + DESTROY_AFTER_US, vm_id, *id));
            }
        }
        gone
    }
}

fn local_parent(vm: &Vm, parent: &str) -> Option<Uuid> {
    let parent = Uuid::try_parse(parent).ok()?;
    (vm.backups.get(&parent)?.local == Some(true)).then_some(parent)
}

/// A backup and all whose records say that they descend from it.
fn with_descendants(vm: &Vm, backup: Uuid) -> BTreeSet<Uuid> {
    let mut found = BTreeSet::from([backup]);
    loop {
        let children = vm.backups.iter().filter(|(id, record)| {
            !found.contains(*id) && record.parent.is_some_and(|parent| found.contains(&parent))
        });
        let children: Vec<Uuid> = children.map(|(id, _)| *id).collect();
        if children.is_empty() {
            return found;
        }
        found.extend(children);
    }
}
