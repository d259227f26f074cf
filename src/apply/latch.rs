//! The latch of a FiFo: a file that a cascade alarm writes. While it exists no run starts; a person lifts it.
//!
//! It is the one thing that is remembered from run to run, since each further run could delete another chain. Anything at
//! its path counts as set: a file that cannot be read, is empty, is cut short or is of another version.

use super::action::DeleteKind;
use super::lock::endpoint_digest;
use super::report::CascadeAlarm;
use crate::inventory::{BackupId, VmId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The format of this version's file.
const FORMAT: &str = "fifo-retain.latch/1";

/// The path of one FiFo's latch in a state folder.
#[derive(Clone, Debug)]
pub struct Latch {
    folder: PathBuf,
    endpoint: String,
    path: PathBuf,
    /// Where the file is written before it is renamed. It stays where that fails, and then counts as set too.
    draft: PathBuf,
}

/// A latch that is set: why no run may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SafetyStop {
    /// The file, for people.
    pub file: String,
    /// The alarms, as far as the file has them.
    pub alarms: Vec<LatchedAlarm>,
    /// Why the file does not have everything.
    pub unreadable: Option<String>,
}

/// A cascade alarm as the latch remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatchedAlarm {
    /// When it was raised, by the clock of the machine that ran.
    pub time: DateTime<Utc>,
    pub vm: VmId,
    pub alias: String,
    /// The kind of delete that was sent.
    #[serde(default)]
    pub after: DeleteKind,
    /// The backup that it names.
    pub backup: BackupId,
    /// The vanished backups.
    pub gone: Vec<BackupId>,
}

#[derive(Serialize, Deserialize)]
struct LatchFile {
    format: String,
    endpoint: String,
    alarms: Vec<LatchedAlarm>,
}

impl LatchedAlarm {
    /// Makes one from an alarm that was raised at an instant.
    pub fn new(time: DateTime<Utc>, alarm: &CascadeAlarm) -> Self {
        Self {
            time,
            vm: alarm.at.vm,
            alias: alarm.at.alias.clone(),
            after: alarm.after,
            backup: alarm.backup,
            gone: alarm.gone.clone(),
        }
    }
}

impl SafetyStop {
    fn at(path: &Path) -> Self {
        Self { file: path.display().to_string(), alarms: Vec::new(), unreadable: None }
    }

    /// Returns when the first alarm was raised, where that is known.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.alarms.iter().map(|alarm| alarm.time).min()
    }

    fn add(&mut self, alarms: impl IntoIterator<Item = LatchedAlarm>) {
        for alarm in alarms {
            if !self.alarms.contains(&alarm) {
                self.alarms.push(alarm);
            }
        }
    }
}

impl Latch {
    /// Returns the latch of an endpoint in a state folder; nothing is read yet.
    pub fn new(folder: &Path, endpoint: &str) -> Self {
        let name = format!("latch-{}.json", endpoint_digest(endpoint));
        Self {
            folder: folder.to_owned(),
            endpoint: endpoint.to_owned(),
            path: folder.join(&name),
            draft: folder.join(format!("{name}.new")),
        }
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; `None` only where there is certainly no file.
    pub fn read(&self) -> Option<SafetyStop> {
        let mut stop: Option<SafetyStop> = None;
        for path in [&self.path, &self.draft] {
            let content = match self.content(path) {
                Ok(None) => continue,
                content => content,
            };
            let stop = stop.get_or_insert_with(|| SafetyStop::at(path));
            match content {
                Ok(alarms) => stop.add(alarms.into_iter().flatten()),
                Err(why) => drop(stop.unreadable.get_or_insert(why)),
            }
        }
        stop
    }

    fn content(&self, path: &Path) -> Result<Option<Vec<LatchedAlarm>>, String> {
        // A link that leads nowhere counts too.
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
            Ok(_) => {}
        }
        // A pipe must not block the reader.
        if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let content: LatchFile = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if content.format != FORMAT {
            return Err(format!("its format is {:?}, not {FORMAT:?}", content.format));
        }
        if content.endpoint != self.endpoint {
            return Err(format!("it belongs to {:?}", content.endpoint));
        }
        if content.alarms.is_empty() {
            return Err("it contains no alarm".to_owned());
        }
        Ok(Some(content.alarms))
    }

    /// Sets it, or adds to what it holds. When this returns, the file is on disk.
    ///
    /// # Errors
    ///
    /// The file could not be written whole. What there was stays; so does the part that could be written, which counts as
    /// set.
    pub fn set(&self, alarms: &[LatchedAlarm]) -> io::Result<()> {
        let mut stop = self.read().unwrap_or_else(|| SafetyStop::at(&self.path));
        stop.add(alarms.iter().cloned());
        let content =
            LatchFile { format: FORMAT.to_owned(), endpoint: self.endpoint.clone(), alarms: stop.alarms };
        let mut json = serde_json::to_vec_pretty(&content)?;
        json.push(b'\n');
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.draft)?;
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(&self.draft, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Lifts it. The caller holds the lock, so that no run is in progress.
    ///
    /// # Errors
    ///
    /// The file could not be removed.
    pub fn lift(&self) -> io::Result<()> {
        // The draft last: until both are removed it counts as set.
        for path in [&self.path, &self.draft] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const FIFO: &str = "https://fifo.example.com";

    fn alarm(number: u128) -> LatchedAlarm {
        let id = |offset| BackupId::new(Uuid::from_u128(number * 10 + offset));
        LatchedAlarm {
            time: "2026-11-22T01:00:00Z".parse().unwrap(),
            vm: VmId::new(Uuid::from_u128(number)),
            alias: format!("web-{number}"),
            after: DeleteKind::DeleteCloud,
            backup: id(1),
            gone: vec![id(1), id(2)],
        }
    }

    #[test]
    fn it_holds_every_alarm_until_it_is_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        assert_eq!(latch.read(), None);
        latch.lift().unwrap();
        latch.set(&[alarm(1)]).unwrap();
        // A second one comes with those before it.
        latch.set(&[alarm(1), alarm(2)]).unwrap();
        let stop = Latch::new(folder.path(), FIFO).read().unwrap();
        assert_eq!((stop.alarms, stop.unreadable), (vec![alarm(1), alarm(2)], None));
        assert_eq!(Latch::new(folder.path(), "https://other.example.com").read(), None);
        latch.lift().unwrap();
        assert_eq!(latch.read(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn an_alarm_without_the_kind_of_its_delete_is_of_a_local_one() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        latch.set(&[alarm(1)]).unwrap();
        let text = fs::read_to_string(latch.path()).unwrap();
        let old = text.replace("\"after\": \"delete_cloud\",", "");
        assert_ne!(old, text);
        fs::write(latch.path(), old).unwrap();
        let stop = latch.read().unwrap();
        assert_eq!((stop.alarms[0].after, stop.unreadable), (DeleteKind::DeleteLocal, None));
    }

    #[test]
    fn whatever_else_lies_in_its_place_counts_as_set() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        latch.set(&[alarm(1)]).unwrap();
        let whole = fs::read_to_string(latch.path()).unwrap();
        let cases = [
            (String::new(), "it is empty"),
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            ("{}".to_owned(), "missing field"),
            (whole.replace("latch/1", "latch/2"), "its format is"),
            (whole.replace(FIFO, "https://other.example.com"), "it belongs to"),
            (
                format!("{{\"format\":\"{FORMAT}\",\"endpoint\":\"{FIFO}\",\"alarms\":[]}}"),
                "contains no alarm",
            ),
        ];
        for (text, why) in cases {
            // In its place, and where it is written before.
            for path in [&latch.path, &latch.draft] {
                latch.lift().unwrap();
                fs::write(path, &text).unwrap();
                let error = latch.read().unwrap().unreadable.unwrap();
                assert!(error.contains(why), "{error}");
            }
        }
        latch.lift().unwrap();
        fs::write(&latch.draft, &whole).unwrap();
        assert_eq!(latch.read().unwrap().alarms, [alarm(1)], "killed right before it took its place");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_and_a_folder_count_as_set_too() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        std::os::unix::fs::symlink("nowhere", latch.path()).unwrap();
        assert!(latch.read().unwrap().unreadable.is_some());
        latch.lift().unwrap();
        fs::create_dir(latch.path()).unwrap();
        assert!(latch.read().unwrap().unreadable.is_some());
        assert!(latch.lift().is_err() && latch.read().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_cannot_be_looked_up_counts_as_set_too() {
        let folder = tempfile::tempdir().unwrap();
        let no_folder = folder.path().join("state");
        fs::write(&no_folder, "").unwrap();
        let why = Latch::new(&no_folder, FIFO).read().unwrap().unreadable.unwrap();
        assert!(why.contains("Not a directory"), "{why}");
    }

    #[test]
    fn what_cannot_be_written_leaves_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        latch.set(&[alarm(1)]).unwrap();
        fs::create_dir(&latch.draft).unwrap();
        assert!(latch.set(&[alarm(2)]).is_err());
        assert_eq!(latch.read().unwrap().alarms, [alarm(1)]);
        assert!(Latch::new(&folder.path().join("not-there"), FIFO).set(&[alarm(1)]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), FIFO);
        latch.set(&[alarm(1)]).unwrap();
        assert_eq!(fs::metadata(latch.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
