//! Notes on the local deletes in flight, so that a run that is killed in the middle of one loses no alarm.
//!
//! A local delete whose body is lost takes a whole chain. The run that sent it compares the VM with what it was before; when
//! that run is killed, the next one must be able to. So a note with the VM's whole records is on disk before the delete is
//! sent, and stays until its effect is confirmed. When to compare is for the executor to decide.

use super::file;
use crate::inventory::{Backup, BackupId, Backups, LocalState, RecordedState, StoredFile, Vm, VmId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The format of this version's notes.
const FORMAT: &str = "fifo-retain.in-flight/1";

/// The notes of one FiFo in a state folder: a file for each VM with a local delete in flight.
#[derive(Clone, Debug)]
pub struct InFlight {
    folder: PathBuf,
    endpoint: String,
    /// What the names of its files start with.
    prefix: String,
}

/// A local delete in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteNote {
    /// When it was about to be sent, by the clock of this machine.
    pub time: DateTime<Utc>,
    /// The VM.
    pub vm: VmId,
    /// Its alias.
    pub alias: String,
    /// The backup that it names.
    pub backup: BackupId,
    /// All of the VM's records as they were before.
    pub records: Backups,
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
        Self { time, vm: vm.id, alias: vm.alias.clone(), backup, records: vm.backups.clone() }
    }

    /// Returns the VM with its records as they were before the delete, and everything else as it is today: what would be
    /// kept is a question to the policy that matches it today.
    pub fn before(&self, today: &Vm) -> Vm {
        Vm { backups: self.records.clone(), ..today.clone() }
    }
}

impl InFlight {
    /// Returns the notes of an endpoint in a state folder; nothing is read yet.
    pub fn new(folder: &Path, endpoint: &str) -> Self {
        let prefix = format!("in-flight-{}-", file::endpoint_digest(endpoint));
        Self { folder: folder.to_owned(), endpoint: endpoint.to_owned(), prefix }
    }

    /// Returns the path of a VM's note.
    pub fn path(&self, vm: VmId) -> PathBuf {
        self.folder.join(format!("{}{vm}.json", self.prefix))
    }

    /// Takes note of a delete. When this returns, the note is on disk, and the delete may be sent.
    ///
    /// # Errors
    ///
    /// The VM has a note already, which stays; or the note could not be written, and the delete must not be sent. The
    /// error names the file.
    pub fn note(&self, note: &DeleteNote) -> io::Result<()> {
        let path = self.path(note.vm);
        let json = serde_json::to_vec(&Content {
            format: FORMAT.to_owned(),
            endpoint: self.endpoint.clone(),
            time: note.time,
            vm: note.vm,
            alias: note.alias.clone(),
            backup: note.backup,
            records: note.records.values().map(Record::from).collect(),
        })?;
        match file::is_there(&path) {
            Ok(true) => {
                let error =
                    io::Error::new(ErrorKind::AlreadyExists, "another delete of this VM is in flight");
                return Err(file::named(&path, &error));
            }
            Ok(false) => {}
            Err(error) => return Err(file::named(&path, &error)),
        }
        file::write_whole(&path, &json).map_err(|error| {
            // Nothing is sent, so there is nothing to compare.
            drop(file::remove(&[path.clone(), file::draft_of(&path)]));
            file::named(&path, &error)
        })
    }

    /// Removes a VM's note, since the effect of its delete is confirmed.
    ///
    /// # Errors
    ///
    /// The file could not be removed; the error names it.
    pub fn remove(&self, vm: VmId) -> io::Result<()> {
        file::remove(&[self.path(vm)])
    }

    /// Returns the notes that are there. The caller holds the lock, so that they are of a run that has ended, or of its own.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        match self.files() {
            // Nothing was sent as long as the note was a draft.
            Ok(paths) => {
                paths.into_iter().filter(|path| !is_draft(path)).map(|path| self.read(path)).collect()
            }
            Err(error) => vec![LeftBehind {
                path: self.folder.clone(),
                vm: None,
                time: None,
                note: Err(error.to_string()),
            }],
        }
    }

    /// Removes all notes, those that cannot be read included. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// One could not be removed; the error names it.
    pub fn remove_all(&self) -> io::Result<()> {
        file::remove(&self.files().map_err(|error| file::named(&self.folder, &error))?)
    }

    /// Returns the files of this endpoint, drafts included, by name.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn read(&self, path: PathBuf) -> LeftBehind {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let id = name.strip_prefix(&self.prefix).and_then(|name| name.strip_suffix(".json"));
        let vm: Option<VmId> = id.and_then(|id| id.parse().ok());
        let note = match file::read(&path) {
            Ok(Some(bytes)) => self.parse(&bytes),
            // It was there a moment ago.
            Ok(None) => Err("it is gone".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let note = note.and_then(|note| match vm {
            Some(vm) if vm == note.vm => Ok(note),
            _ => Err(format!("it is about the VM {}, which its name does not say", note.vm)),
        });
        let time = match &note {
            Ok(note) => Some(note.time),
            Err(_) => fs::symlink_metadata(&path).and_then(|found| found.modified()).ok().map(Into::into),
        };
        LeftBehind { path, vm, time, note }
    }

    fn parse(&self, bytes: &[u8]) -> Result<DeleteNote, String> {
        let content: Content = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if content.format != FORMAT {
            return Err(format!("its format is {:?}, not {FORMAT:?}", content.format));
        }
        if content.endpoint != self.endpoint {
            return Err(format!("it belongs to {:?}", content.endpoint));
        }
        let Content { time, vm, alias, backup, records, .. } = content;
        let records: Backups = records.into_iter().map(Backup::from).collect();
        match records.contains(backup) {
            true => Ok(DeleteNote { time, vm, alias, backup, records }),
            false => Err(format!("it has no record of the backup {backup} that it is about")),
        }
    }
}

fn is_draft(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(".json.new")
}

/// A note as its file has it.
#[derive(Serialize, Deserialize)]
struct Content {
    format: String,
    endpoint: String,
    time: DateTime<Utc>,
    vm: VmId,
    alias: String,
    backup: BackupId,
    records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    backup: BackupId,
    comment: Option<String>,
    timestamp: Option<DateTime<Utc>>,
    /// FiFo's word; null as long as there is none.
    state: Option<String>,
    parent: Option<BackupId>,
    local: Option<bool>,
    local_size: Option<u64>,
    /// Of each file its size, and whether it has a checksum.
    files: Vec<(Option<u64>, bool)>,
    size: Option<u64>,
    has_checksum: bool,
}

// Both ways name every field, so that one that is added cannot be forgotten here.

impl From<&Backup> for Record {
    fn from(backup: &Backup) -> Self {
        let Backup { id, comment, timestamp, state, parent, local, local_size_bytes, files, .. } = backup;
        let Backup { record_size_bytes, has_record_checksum, .. } = backup;
        Self {
            backup: *id,
            comment: comment.as_deref().map(str::to_owned),
            timestamp: *timestamp,
            state: (*state != RecordedState::Accepted).then(|| state.as_str().to_owned()),
            parent: *parent,
            local: match local {
                LocalState::Unknown => None,
                LocalState::Absent => Some(false),
                LocalState::Present => Some(true),
            },
            local_size: *local_size_bytes,
            files: files.iter().map(|file| (file.size_bytes, file.has_checksum)).collect(),
            size: *record_size_bytes,
            has_checksum: *has_record_checksum,
        }
    }
}

impl From<Record> for Backup {
    fn from(record: Record) -> Self {
        let file = |(size_bytes, has_checksum)| StoredFile { size_bytes, has_checksum };
        Self {
            id: record.backup,
            comment: record.comment.map(Into::into),
            timestamp: record.timestamp,
            state: RecordedState::from_wire(record.state.as_deref()),
            parent: record.parent,
            local: record.local.into(),
            local_size_bytes: record.local_size,
            files: record.files.into_iter().map(file).collect(),
            record_size_bytes: record.size,
            has_record_checksum: record.has_checksum,
        }
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
            id(4).to_string(): { "state": "accepted" },
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
    fn a_note_gives_back_every_record_and_goes_when_its_delete_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        assert_eq!(in_flight.left_behind(), []);
        for number in [8, 9] {
            in_flight.note(&note(number)).unwrap();
        }
        assert_eq!(notes(&InFlight::new(folder.path(), FIFO)), [note(8), note(9)]);
        let today = Vm { alias: "renamed".to_owned(), backups: Backups::default(), ..vm(8) };
        assert_eq!(note(8).before(&today), Vm { alias: "renamed".to_owned(), ..vm(8) });
        in_flight.remove(note(8).vm).unwrap();
        in_flight.remove(note(8).vm).unwrap();
        assert_eq!(notes(&in_flight), [note(9)]);
        let nowhere = InFlight::new(&folder.path().join("not-there"), FIFO);
        assert_eq!(nowhere.left_behind(), []);
        nowhere.remove_all().unwrap();
        assert!(nowhere.note(&note(8)).is_err());
    }

    #[test]
    fn a_vm_has_one_note_at_a_time_and_the_first_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        let second = DeleteNote { backup: BackupId::new(id(2)), ..note(8) };
        in_flight.note(&note(8)).unwrap();
        let error = in_flight.note(&second).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().starts_with(in_flight.path(note(8).vm).to_str().unwrap()), "{error}");
        assert_eq!(notes(&in_flight), [note(8)]);
        in_flight.remove(note(8).vm).unwrap();
        in_flight.note(&second).unwrap();
        assert_eq!(notes(&in_flight), [second]);
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
        let whole = fs::read_to_string(&path).unwrap();
        let edited = |edit: &dyn Fn(&mut Value)| {
            let mut json: Value = serde_json::from_str(&whole).unwrap();
            edit(&mut json);
            json.to_string()
        };
        for (text, why) in [
            (String::new(), "it is empty"),
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            ("{}".to_owned(), "missing field"),
            (edited(&|json| json["format"] = json!("fifo-retain.in-flight/2")), "its format is"),
            (edited(&|json| json["endpoint"] = json!("https://other")), "it belongs to \"https://other\""),
            (edited(&|json| json["vm"] = json!(id(9))), "which its name does not say"),
            (edited(&|json| json["backup"] = json!(id(77))), "it has no record of the backup"),
        ] {
            fs::write(&path, text).unwrap();
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

    #[cfg(unix)]
    #[test]
    fn a_link_and_a_folder_that_cannot_be_read_are_never_none_either() {
        let folder = tempfile::tempdir().unwrap();
        let in_flight = InFlight::new(folder.path(), FIFO);
        let path = in_flight.path(note(8).vm);
        in_flight.note(&note(8)).unwrap();
        let other = folder.path().join("other");
        fs::rename(&path, &other).unwrap();
        for target in [&other, Path::new("nowhere")] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            let [left] = in_flight.left_behind().try_into().unwrap();
            assert_eq!(left.note.unwrap_err(), "it is a symbolic link, which is not followed");
            in_flight.remove(note(8).vm).unwrap();
        }
        // The draft as a link: nothing is written through it, and nothing is noted.
        std::os::unix::fs::symlink(&other, file::draft_of(&path)).unwrap();
        let error = in_flight.note(&note(8)).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.starts_with(path.to_str().unwrap()), "{error}");
        assert_eq!(in_flight.left_behind(), []);
        assert!(fs::metadata(&other).unwrap().len() > 0);
        let [left] = InFlight::new(&other, FIFO).left_behind().try_into().unwrap();
        assert!(left.path == other && left.vm.is_none() && left.note.is_err());
    }
}
