//! The life of an upload, key by key, as it is written to the record.

use super::script::UploadOutcome;
use super::upload::{STEPS, Step, Upload};
use super::vm::{FileRecord, Record, Stored, object_name};
use super::world::{ApiStyle, DESTROY_AFTER_US, World};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What `zfs send` wrote to its standard error when it failed: it goes into the object as it is.
const SEND_FAILED: &str = "cannot send: snapshot has gone\n";

/// What is stored of a backup whose `zfs send` failed: the error message, and the 20 bytes of an empty gzip stream.
const HOLLOW_BYTES: u64 = SEND_FAILED.len() as u64 + 20;

impl World {
    /// Writes all that the uploads under way have to have written by an instant.
    pub(super) fn advance_uploads(&mut self, now_us: i64) {
        let under_way: Vec<Uuid> = self.uploads.keys().copied().collect();
        for backup in under_way {
            let Some(mut upload) = self.uploads.remove(&backup) else { continue };
            while let Some(&step) =
                STEPS.get(upload.steps_done).filter(|step| upload.due_us(**step) <= now_us)
            {
                if step == Step::Checksums {
                    self.grow(backup, &mut upload, now_us);
                }
                upload.steps_done += 1;
                if upload.takes(step) {
                    self.take(step, backup, &upload);
                }
            }
            if upload.has_done(Step::Files) && !upload.has_done(Step::Checksums) {
                self.grow(backup, &mut upload, now_us);
            }
            if !upload.is_over() {
                self.uploads.insert(backup, upload);
            }
        }
    }

    /// Writes how far an upload has come, where that is further than it was written before.
    fn grow(&mut self, backup: Uuid, upload: &mut Upload, now_us: i64) {
        let bytes = upload.bytes_at(now_us);
        if bytes > upload.written_bytes
            && !matches!(upload.outcome, UploadOutcome::NoFiles | UploadOutcome::NoBytes)
        {
            upload.written_bytes = bytes;
            self.write_files(backup, upload, bytes, false);
        }
    }

    fn take(&mut self, step: Step, backup: Uuid, upload: &Upload) {
        match step {
            Step::Parent => {
                if let Some(parent) = upload.parent {
                    self.write(backup, upload, |record| record.parent = Some(parent));
                }
            }
            Step::Uploading => {
                self.write(backup, upload, |record| record.state = Some("uploading".to_owned()))
            }
            Step::Files => _ = self.write_files(backup, upload, 0, false),
            Step::Checksums => self.store(backup, upload),
            Step::Xml => self.write(backup, upload, |record| record.xml = Some(true)),
            Step::End => {
                let word = match (upload.outcome, self.shape.style) {
                    (UploadOutcome::Fail | UploadOutcome::FailForgotten, ApiStyle::V3) => "failed",
                    (UploadOutcome::Fail | UploadOutcome::FailForgotten, ApiStyle::V2) => "upload failed",
                    _ => "completed",
                };
                self.write(backup, upload, |record| record.state = Some(word.to_owned()));
            }
            Step::Local => self.settle(backup, upload),
        }
    }

    /// Writes to a backup's record; one that was deleted meanwhile comes back with what is written.
    fn write(&mut self, backup: Uuid, upload: &Upload, change: impl FnOnce(&mut Record)) {
        if let Some(vm) = self.vms.get_mut(&upload.vm) {
            change(vm.backups.entry(backup).or_default());
        }
    }

    /// Writes the files with so many bytes over all disks, and says how many it wrote.
    fn write_files(&mut self, backup: Uuid, upload: &Upload, bytes: u64, whole: bool) -> u64 {
        let Some(vm) = self.vms.get_mut(&upload.vm) else { return 0 };
        let disks = u64::try_from(vm.disks.len()).unwrap_or(1).max(1);
        let (mut left, mut written) = (bytes, 0);
        let mut files = BTreeMap::new();
        for (index, disk) in vm.disks.iter().enumerate() {
            let last = index + 1 == vm.disks.len();
            let mut size = if last { left } else { bytes / disks };
            left -= size;
            if last && upload.outcome == UploadOutcome::HollowDisk {
                size = size.min(HOLLOW_BYTES);
            }
            written += size;
            let name = object_name(upload.vm, backup, disk);
            let sha1 = whole.then(|| hex::encode(Sha1::digest(&name)));
            files.insert(name, FileRecord { size, sha1 });
        }
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

    /// What comes after the upload, whether or not it went well: `local: true`, or what `delete` asked for.
    fn settle(&mut self, backup: Uuid, upload: &Upload) {
        let gone = if upload.delete { Some(upload.parent.unwrap_or(backup)) } else { None };
        if gone != Some(backup) {
            self.write(backup, upload, |record| record.local = Some(true));
        }
        if let Some(gone) = gone {
            if let Some(record) = self.vms.get_mut(&upload.vm).and_then(|vm| vm.backups.get_mut(&gone)) {
                forget_snapshot(record);
            }
            self.destroys.insert((upload.due_us(Step::Local) + DESTROY_AFTER_US, upload.vm, gone));
        }
    }
}

/// What a local delete writes at once, before the snapshot is gone.
pub(super) fn forget_snapshot(record: &mut Record) {
    record.local = Some(false);
    record.local_size = Some(0);
}
