//! The life of an upload, key by key, as it is written to the record.

use super::upload::{STEPS, Step, Upload, UploadOutcome};
use super::vm::{FileRecord, Record, Stored, object_name};
use super::world::{ApiStyle, DESTROY_AFTER_US, World};
use sha1::{Digest, Sha1};
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

    /// Writes how far an upload has come, where that is further than it was written before.
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

    /// Writes the files with so many bytes over all disks, and says how many it wrote.
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
