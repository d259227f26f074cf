//! What the coordinator does when it is asked to create or to delete a backup.

use super::vm::{
    FileRecord, Record, STEPS, Step, Stored, Upload, UploadOutcome, UploadScript, Vm, object_name,
};
use super::world::{ApiStyle, DESTROY_AFTER_US, World};
use serde::Deserialize;
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackupRequest {
    pub comment: String,
    pub parent: Option<String>,
    /// Whether to remove a snapshot afterwards: the parent's, or without a parent the new one.
    pub delete: bool,
}

/// Why the coordinator refused; the API answers all of it with a bare 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub(super) &'static str);

impl World {
    /// Accepts a backup and starts it, by the VM's next script. Returns its UUID.
    ///
    /// Of a parent nothing is asked but that its record says `local`; whether its upload went well, or its own
    /// chain is whole, does not matter to FiFo.
    pub fn create_backup(
        &mut self,
        vm_id: Uuid,
        order: &BackupRequest,
        now_us: i64,
    ) -> Result<Uuid, Refused> {
        let backup = self.new_uuid();
        let vm = self.vms.get_mut(&vm_id).ok_or(Refused("no such VM"))?;
        let hypervisor = vm.hypervisor().ok_or(Refused("on no hypervisor"))?;
        if vm.has_delegated_datasets() {
            return Err(Refused("delegated datasets"));
        }
        if !self.store_configured {
            return Err(Refused("no backup store"));
        }
        let parent = order.parent.as_ref().map(|parent| Uuid::try_parse(parent).unwrap_or_default());
        let is_local = |id| vm.backups.get(&id).is_some_and(|record| record.local == Some(true));
        if !parent.is_none_or(is_local) {
            return Err(Refused("the parent is not local"));
        }
        let unreachable = self.agents_down.contains(hypervisor);
        let of_full = vm.full_outcome.filter(|_| parent.is_none());
        let usual = of_full.or(vm.outcome).unwrap_or(self.outcome);
        let mut script = vm.scripts.pop_front().unwrap_or_else(|| UploadScript::from(usual));
        if unreachable {
            script.outcome = UploadOutcome::NeverStarts;
        } else if script.outcome == UploadOutcome::Complete
            && parent.is_some_and(|parent| !vm.snapshots.contains_key(&parent))
        {
            // The record says `local`, but the snapshot is not there: `zfs send` has nothing to start from.
            script.outcome = UploadOutcome::Hollow;
        }
        let snapshot = vm.snapshot();
        let mut record = Record {
            comment: Some(order.comment.clone()),
            timestamp: Some(now_us.saturating_add(self.stamps_ahead_s.saturating_mul(1_000_000))),
            pending: Some(true),
            ..Record::default()
        };
        match script.outcome {
            UploadOutcome::NeverStarts => {}
            UploadOutcome::SnapshotOnly => {
                record.local_size = Some(snapshot.bytes);
                vm.snapshots.insert(backup, snapshot);
            }
            outcome => {
                vm.snapshots.insert(backup, snapshot);
                let upload_ms = script.upload_ms.unwrap_or(self.upload_ms);
                let upload = Upload {
                    vm: vm_id,
                    parent,
                    delete: order.delete,
                    outcome,
                    started_us: now_us,
                    duration_us: i64::try_from(upload_ms).unwrap_or(i64::MAX).saturating_mul(1_000),
                    bytes: script.size_bytes.unwrap_or_else(|| vm.usual_bytes(parent)),
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
    pub fn delete_local(&mut self, vm_id: Uuid, backup: Uuid, now_us: i64) -> Result<(), Refused> {
        let vm = self.vms.get_mut(&vm_id).ok_or(Refused("no such VM"))?;
        let hypervisor = vm.hypervisor().ok_or(Refused("on no hypervisor"))?;
        if self.agents_down.contains(hypervisor) {
            return Err(Refused("the agent is down"));
        }
        if let Some(record) = vm.backups.get_mut(&backup) {
            record.forget_snapshot();
            self.destroys.insert((now_us + DESTROY_AFTER_US, vm_id, backup));
        }
        Ok(())
    }

    /// Removes a backup and all that descend from it, snapshots and stored files alike. Returns their UUIDs.
    ///
    /// On a VM that is on no hypervisor only the stored files go, and every record stays as it was. While the agent
    /// does not answer, the snapshots stay, and no record names them.
    pub fn delete_cloud(&mut self, vm_id: Uuid, backup: Uuid, now_us: i64) -> BTreeSet<Uuid> {
        let Some(vm) = self.vms.get_mut(&vm_id) else { return BTreeSet::new() };
        let gone = with_descendants(vm, backup);
        vm.stored.retain(|id, _| !gone.contains(id));
        let Some(agent_is_down) = vm.hypervisor().map(|name| self.agents_down.contains(name)) else {
            return gone;
        };
        vm.backups.retain(|id, _| !gone.contains(id));
        if !agent_is_down {
            self.destroys.extend(gone.iter().map(|id| (now_us + DESTROY_AFTER_US, vm_id, *id)));
        }
        gone
    }
}

fn with_descendants(vm: &Vm, backup: Uuid) -> BTreeSet<Uuid> {
    let (mut found, mut before) = (BTreeSet::from([backup]), 0);
    while found.len() > before {
        before = found.len();
        let is_child = |record: &Record| record.parent.is_some_and(|parent| found.contains(&parent));
        let children: Vec<_> = vm.backups.iter().filter(|(_, it)| is_child(it)).map(|(id, _)| *id).collect();
        found.extend(children);
    }
    found
}

/// What `zfs send` wrote to its standard error when it failed: it goes into the object as it is.
const SEND_FAILED: &str = "cannot send: snapshot has gone\n";

/// What is stored of a backup whose `zfs send` failed: the error message, and the 20 bytes of an empty gzip stream.
const HOLLOW_BYTES: u64 = SEND_FAILED.len() as u64 + 20;

/// The life of an upload, key by key, as it is written to the record.
impl World {
    /// Writes all that the uploads under way have to have written by an instant.
    pub(super) fn advance_uploads(&mut self, now_us: i64) {
        let under_way: Vec<Uuid> = self.uploads.keys().copied().collect();
        for backup in under_way {
            let Some(mut upload) = self.uploads.remove(&backup) else { continue };
            while let Some(&step) =
                STEPS.get(upload.steps_done).filter(|step| upload.due_us(**step) <= now_us)
            {
                self.grow(backup, &mut upload, now_us);
                upload.steps_done += 1;
                if upload.takes(step) {
                    self.take(step, backup, &upload);
                }
            }
            self.grow(backup, &mut upload, now_us);
            if !upload.is_over() {
                self.uploads.insert(backup, upload);
            }
        }
    }

    fn grow(&mut self, backup: Uuid, upload: &mut Upload, now_us: i64) {
        let bytes = upload.bytes_at(now_us);
        let is_on_record = !matches!(upload.outcome, UploadOutcome::NoFiles | UploadOutcome::NoBytes);
        if upload.grows() && is_on_record && bytes > upload.written_bytes {
            upload.written_bytes = bytes;
            self.write_files(backup, upload, bytes, false);
        }
    }

    fn take(&mut self, step: Step, backup: Uuid, upload: &Upload) {
        let has_failed = matches!(upload.outcome, UploadOutcome::Fail | UploadOutcome::FailForgotten);
        let state = match self.shape.style {
            _ if step == Step::Uploading => "uploading",
            _ if !has_failed => "completed",
            ApiStyle::V3 => "failed",
            ApiStyle::V2 => "upload failed",
        };
        match step {
            Step::Files => _ = self.write_files(backup, upload, 0, false),
            Step::Checksums => self.store(backup, upload),
            Step::Local => self.settle(backup, upload),
            Step::Parent if upload.parent.is_none() => {}
            Step::Parent | Step::Uploading | Step::Xml | Step::End => {
                let Some(vm) = self.vms.get_mut(&upload.vm) else { return };
                // A backup that was deleted meanwhile comes back with what is written.
                let record = vm.backups.entry(backup).or_default();
                match step {
                    Step::Parent => record.parent = upload.parent,
                    Step::Xml => record.xml = Some(true),
                    _ => record.state = Some(state.to_owned()),
                }
            }
        }
    }

    fn write_files(&mut self, backup: Uuid, upload: &Upload, bytes: u64, whole: bool) -> u64 {
        let Some(vm) = self.vms.get_mut(&upload.vm) else { return 0 };
        let share = bytes / u64::try_from(vm.disks.len()).unwrap_or(1).max(1);
        let (mut left, mut written) = (bytes, 0);
        let file = |(index, disk): (usize, &String)| {
            let is_last = index + 1 == vm.disks.len();
            let mut size = if is_last { left } else { share };
            left -= size;
            if is_last && upload.outcome == UploadOutcome::HollowDisk {
                size = size.min(HOLLOW_BYTES);
            }
            written += size;
            let name = object_name(upload.vm, backup, disk);
            let sha1 = whole.then(|| hex::encode(Sha1::digest(&name)));
            (name, FileRecord { size, sha1 })
        };
        let files = vm.disks.iter().enumerate().map(file).collect();
        vm.backups.entry(backup).or_default().files = Some(files);
        written
    }

    fn store(&mut self, backup: Uuid, upload: &Upload) {
        let (mut bytes, sound) = match upload.outcome {
            UploadOutcome::NoBytes => (0, false),
            UploadOutcome::Hollow => (HOLLOW_BYTES, false),
            outcome => (upload.bytes, outcome != UploadOutcome::HollowDisk),
        };
        if upload.outcome != UploadOutcome::NoFiles {
            bytes = self.write_files(backup, upload, bytes, upload.outcome != UploadOutcome::NoChecksums);
        }
        if let Some(vm) = self.vms.get_mut(&upload.vm) {
            let stderr = (!sound).then(|| SEND_FAILED.to_owned());
            vm.stored.insert(backup, Stored { bytes, base: upload.parent, sound, stderr });
        }
    }

    /// Writes what comes after the upload, whether or not it went well: `local: true`, or what `delete` asked for.
    fn settle(&mut self, backup: Uuid, upload: &Upload) {
        let Some(vm) = self.vms.get_mut(&upload.vm) else { return };
        let gone = upload.delete.then_some(upload.parent.unwrap_or(backup));
        if gone != Some(backup) {
            vm.backups.entry(backup).or_default().local = Some(true);
        }
        if let Some(gone) = gone {
            vm.backups.entry(gone).and_modify(Record::forget_snapshot);
            self.destroys.insert((upload.due_us(Step::Local) + DESTROY_AFTER_US, upload.vm, gone));
        }
    }
}
