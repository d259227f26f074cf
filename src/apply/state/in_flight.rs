//! Notes on the local deletes in flight, so that a run that is killed in the middle of one loses no alarm.
//!
//! A local delete whose body is lost takes a whole chain. The run that sent it compares the VM with what it was before; when
//! that run is killed, the next one must be able to. So a note with the VM's whole records is on disk before the delete is
//! sent, and stays until its effect is confirmed.

use super::file;
use crate::inventory::{Backup, BackupId, Vm, VmId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const FORMAT: &str = "fifo-retain.in-flight/2";

/// Where notes are kept. They outlive a run that is killed.
pub trait Notes: Send + Sync {
    /// Takes note of a delete that is about to be sent. When this returns, the note survives a kill.
    /// An error: the VM has a note already, which stays; or it could not be written. The delete must not be sent.
    fn note(&self, note: &DeleteNote) -> io::Result<()>;

    /// Removes a VM's note, since the effect of its delete is known.
    /// An error: it could not be removed.
    fn remove(&self, vm: VmId) -> io::Result<()>;

    /// Returns the notes that are there. The caller holds the lock, so that they are of a run that has ended, or of its own.
    fn left_behind(&self) -> Vec<LeftBehind>;
}

/// The notes of one FiFo in a state folder: a file for each VM with a local delete in flight.
#[derive(Clone, Debug)]
pub struct InFlight {
    folder: PathBuf,
    endpoint: String,
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteNote {
    /// When it was about to be sent, by the clock of this machine.
    pub time: DateTime<Utc>,
    pub vm: VmId,
    pub alias: String,
    pub backup: BackupId,
    /// All of the VM's records as they were before.
    pub records: Vec<Backup>,
}

/// A note that an earlier run left behind: the effect of its delete is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The file; where the folder itself cannot be read, the folder.
    pub path: PathBuf,
    /// The VM, by the file's name; `None` where that names none.
    pub vm: Option<VmId>,
    /// When it was written: by the note, or, where that cannot be read, by the file system.
    pub time: Option<DateTime<Utc>>,
    /// The note, or why it cannot be read. One that cannot be read is one that cannot be compared, not none.
    pub note: Result<DeleteNote, String>,
}

impl DeleteNote {
    /// Makes one of a delete that is about to be sent, with the VM as it was read last.
    pub fn new(time: DateTime<Utc>, backup: BackupId, vm: &Vm) -> Self {
        let records = vm.backups.values().cloned().collect();
        Self { time, vm: vm.id, alias: vm.alias.clone(), backup, records }
    }
}

impl InFlight {
    /// Returns the notes of an endpoint in a state folder; nothing is read yet.
    pub fn new(folder: &Path, endpoint: &str) -> Self {
        let prefix = format!("in-flight-{}-", file::endpoint_digest(endpoint));
        Self { folder: folder.to_owned(), endpoint: endpoint.to_owned(), prefix }
    }

    pub fn path(&self, vm: VmId) -> PathBuf {
        self.folder.join(format!("{}{vm}.json", self.prefix))
    }

    /// Removes all notes, those that cannot be read included. The caller holds the lock.
    /// An error: one could not be removed; the error names it.
    pub fn remove_all(&self) -> io::Result<()> {
        file::remove(&self.files().map_err(|error| file::named(&self.folder, &error))?)
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?.collect::<io::Result<Vec<_>>>()?,
        };
        let is_of_it = |name: OsString| name.to_string_lossy().starts_with(&self.prefix);
        let of_it = entries.iter().filter(|entry| is_of_it(entry.file_name()));
        Ok(of_it.map(fs::DirEntry::path).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn read(&self, path: PathBuf) -> LeftBehind {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let id = name.strip_prefix(&self.prefix).and_then(|name| name.strip_suffix(".json"));
        let vm: Option<VmId> = id.and_then(|id| id.parse().ok());
        let read = file::read::<DeleteNote>(&path, &[FORMAT], &self.endpoint);
        // It was there a moment ago.
        let note = read.and_then(|note| note.ok_or_else(|| "it is gone".to_owned())).and_then(|note| {
            if vm != Some(note.vm) {
                Err(format!("it is about the VM {}, which its name does not say", note.vm))
            } else if note.records.iter().all(|record| record.id != note.backup) {
                Err(format!("it has no record of the backup {} that it is about", note.backup))
            } else {
                Ok(note)
            }
        });
        let written = || path.symlink_metadata().and_then(|found| found.modified()).ok().map(Into::into);
        let time = note.as_ref().map_or_else(|_| written(), |note| Some(note.time));
        LeftBehind { path, vm, time, note }
    }
}

impl Notes for InFlight {
    fn note(&self, note: &DeleteNote) -> io::Result<()> {
        let path = self.path(note.vm);
        if path.symlink_metadata().is_ok() {
            let error = io::Error::new(ErrorKind::AlreadyExists, "another delete of this VM is in flight");
            return Err(file::named(&path, &error));
        }
        file::write(&path, FORMAT, &self.endpoint, note).map_err(|error| {
            // Nothing is sent, so there is nothing to compare.
            drop(file::remove(&[path.clone(), file::draft_of(&path)]));
            file::named(&path, &error)
        })
    }

    fn remove(&self, vm: VmId) -> io::Result<()> {
        file::remove(&[self.path(vm)])
    }

    fn left_behind(&self) -> Vec<LeftBehind> {
        // Nothing was sent as long as the note was a draft.
        let is_draft = |path: &PathBuf| path.to_string_lossy().ends_with(".json.new");
        let files = self.files().map(|mut paths| {
            paths.retain(|path| !is_draft(path));
            paths.into_iter().map(|path| self.read(path)).collect()
        });
        files.unwrap_or_else(|error| {
            let (path, note) = (self.folder.clone(), Err(error.to_string()));
            vec![LeftBehind { path, vm: None, time: None, note }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::read_vm;
    use serde_json::{Value, json};
    use std::time::{Duration, SystemTime};
    use uuid::Uuid;

    const FIFO: &str = "https://fifo.example.com";

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// A VM with records of every form.
    fn vm(number: u128) -> Vm {
        let records = json!({
            id(1).to_string(): { "comment": "monthly", "timestamp": 1_763_773_200_123_456_u64, "state": "completed",
                "local": false, "local_size": 7, "files": { "a": { "size": 5, "sha1": "00" }, "b": { "size": 6 } } },
            id(2).to_string(): { "comment": "", "timestamp": 1_763_773_200_000_000_u64, "state": "upload failed",
                "parent": id(1).to_string(), "local": true },
            id(3).to_string(): { "comment": "daily", "size": 9, "sha1": "00", "files": ["a"], "state": "uploading" },
            id(4).to_string(): { "state": "a new word" },
            id(5).to_string(): {},
        });
        let vm = json!({ "uuid": id(number).to_string(), "alias": "web\u{1b}", "backups": records });
        read_vm(vm.to_string().as_bytes()).unwrap()
    }

    fn note(number: u128) -> DeleteNote {
        let time = "2026-11-22T01:00:00.123456789Z".parse().unwrap();
        DeleteNote::new(time, BackupId::new(id(1)), &vm(number))
    }

    fn notes(in_flight: &InFlight) -> Vec<DeleteNote> {
        in_flight.left_behind().into_iter().map(|left| left.note.unwrap()).collect()
    }

    #[test]
    fn a_note_has_every_record_stays_until_its_delete_is_confirmed_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        assert_eq!(in_flight.left_behind(), []);
        for number in [8, 9] {
            in_flight.note(&note(number)).unwrap();
        }
        assert_eq!(notes(&InFlight::new(folder.path(), FIFO)), [note(8), note(9)]);
        let second = DeleteNote { backup: BackupId::new(id(2)), ..note(8) };
        let error = in_flight.note(&second).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().starts_with(in_flight.path(note(8).vm).to_str().unwrap()), "{error}");
        in_flight.remove(note(8).vm).unwrap();
        in_flight.remove(note(8).vm).unwrap();
        assert_eq!(notes(&in_flight), [note(9)]);
        in_flight.note(&second).unwrap();
        assert_eq!(notes(&in_flight), [second, note(9)]);
        let nowhere = InFlight::new(&folder.path().join("not-there"), FIFO);
        assert_eq!(nowhere.left_behind(), []);
        nowhere.remove_all().unwrap();
        assert!(nowhere.note(&note(8)).is_err());
    }

    #[test]
    fn removing_all_takes_drafts_and_unreadable_ones_and_nothing_of_another_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        let other = InFlight::new(folder.path(), "https://other.example.com");
        for of in [&in_flight, &other] {
            of.note(&note(8)).unwrap();
        }
        fs::write(in_flight.path(note(9).vm), "").unwrap();
        fs::write(file::draft_of(&in_flight.path(note(9).vm)), "{").unwrap();
        fs::write(folder.path().join("journal.jsonl"), "").unwrap();
        assert_eq!(in_flight.left_behind().len(), 2, "nothing was sent where there is only a draft");
        in_flight.remove_all().unwrap();
        assert_eq!(in_flight.left_behind(), []);
        assert_eq!(notes(&other), [note(8)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        fs::create_dir(in_flight.path(note(8).vm)).unwrap();
        let error = in_flight.remove_all().unwrap_err().to_string();
        assert!(error.starts_with(in_flight.path(note(8).vm).to_str().unwrap()), "{error}");
    }

    #[test]
    fn one_that_cannot_be_read_is_never_none() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        let path = in_flight.path(note(8).vm);
        in_flight.note(&note(8)).unwrap();
        let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (key, value, why) in [
            ("format", json!("fifo-retain.in-flight/3"), "its format is"),
            ("vm", json!(id(9)), "which its name does not say"),
            ("backup", json!(id(77)), "it has no record of the backup"),
        ] {
            let mut json = whole.clone();
            json[key] = value;
            fs::write(&path, json.to_string()).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_773_200);
            fs::File::options().append(true).open(&path).unwrap().set_modified(written).unwrap();
            let [left] = in_flight.left_behind().try_into().unwrap();
            assert_eq!((&left.path, left.vm), (&path, Some(note(8).vm)));
            assert_eq!(left.time, Some(written.into()));
            let error = left.note.unwrap_err();
            assert!(error.contains(why), "{error}");
            // It is not overwritten either.
            assert_eq!(in_flight.note(&note(8)).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        fs::rename(&path, in_flight.folder.join(format!("{}strange", in_flight.prefix))).unwrap();
        fs::create_dir(&path).unwrap();
        let left = in_flight.left_behind();
        assert_eq!(left.iter().map(|left| left.vm).collect::<Vec<_>>(), [Some(note(8).vm), None]);
        assert!(left.iter().all(|left| left.note.is_err()));
    }
}
