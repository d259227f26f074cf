//! The safety stop of a FiFo: a file that an alarm writes. While it exists no run starts; a person lifts it.
//!
//! Each further run could lose another chain, so anything at its path counts as set: a file that cannot be read, is empty,
//! is cut short or is of another version. So does anything at the paths that earlier versions used.

use super::file;
use crate::apply::outcome::{ActionKind, VmRef};
use crate::inventory::{BackupId, VmId, vm_name};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The format of this version's file, and those of earlier versions with the same fields.
const FORMATS: [&str; 2] = ["fifo-retain.safety-stop/1", "fifo-retain.latch/1"];

/// Why no run may go on: backups vanished after a delete and were to stay, or the body of a create was lost on the way, as
/// that of a delete would be.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Alarm {
    /// When it was raised, by the clock of the machine that ran. The event that carries it has it already.
    #[serde(skip_serializing)]
    pub time: DateTime<Utc>,
    /// The VM's UUID.
    pub vm: VmId,
    /// Its alias.
    pub alias: String,
    /// The kind of action after which it was raised; `create`: the body of the request was lost on the way.
    pub after: ActionKind,
    /// The backup that the delete names; after a create the one that FiFo has made with an empty comment.
    pub backup: BackupId,
    /// The backups that are gone; after a local delete including that one if it is. Empty after a create.
    pub gone: Vec<BackupId>,
}

/// A safety stop that is set, as reports show it. Its file has the same fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyStop {
    /// The file, for people; where one cannot be read, that one.
    #[serde(skip_deserializing)]
    pub file: String,
    /// The FiFo whose runs it stops.
    pub endpoint: String,
    #[serde(serialize_with = "with_times")]
    pub alarms: Vec<Alarm>,
    /// Why the file does not have everything.
    #[serde(skip_deserializing)]
    pub unreadable: Option<String>,
}

#[derive(Clone, Debug)]
pub struct StopFile {
    endpoint: String,
    /// Every path at which anything counts as set: the file, its draft, which stays where writing fails, and the same of
    /// earlier versions.
    paths: [PathBuf; 4],
}

impl Alarm {
    pub fn vanished(
        time: DateTime<Utc>,
        at: &VmRef,
        after: ActionKind,
        backup: BackupId,
        gone: Vec<BackupId>,
    ) -> Self {
        Self { time, vm: at.vm, alias: at.alias.clone(), after, backup, gone }
    }

    /// Makes one about a create whose body was lost on the way: FiFo accepted it, the backup that was asked for is not
    /// there, and a new full one with an empty comment is.
    pub fn body_lost(time: DateTime<Utc>, at: &VmRef, found: BackupId) -> Self {
        Self::vanished(time, at, ActionKind::Create, found, Vec::new())
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vm, backup, .. } = self;
        let name = vm_name(&self.alias, Some(*vm));
        let gone: Vec<String> = self.gone.iter().map(ToString::to_string).collect();
        let gone = gone.join(", ");
        match self.after {
            ActionKind::Create => write!(
                f,
                "the body of the request for a backup of VM {name} ({vm}) was lost on the way, and FiFo has started the \
                 full backup {backup} with an empty comment instead; a proxy between here and FiFo may be dropping the \
                 bodies of requests, and a delete would lose its body too"
            ),
            ActionKind::DeleteLocal => write!(
                f,
                "backups have vanished after the local delete of backup {backup} of VM {name} ({vm}): {gone}; a proxy \
                 between here and FiFo may be dropping the bodies of DELETE requests"
            ),
            ActionKind::DeleteCloud => write!(
                f,
                "backups have vanished after the delete from storage of backup {backup} of VM {name} ({vm}): {gone}; \
                 FiFo, or something between here and FiFo, may be deleting more than it is asked to, or another user \
                 deletes backups of this VM"
            ),
        }?;
        f.write_str(": find the cause before the next run")
    }
}

/// Writes alarms with their times, for readers who have no event around them.
fn with_times<S: Serializer>(alarms: &[Alarm], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Timed<'a> {
        time: DateTime<Utc>,
        #[serde(flatten)]
        alarm: &'a Alarm,
    }
    serializer.collect_seq(alarms.iter().map(|alarm| Timed { time: alarm.time, alarm }))
}

impl SafetyStop {
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.alarms.iter().map(|alarm| alarm.time).min()
    }

    fn add(&mut self, alarms: &[Alarm]) {
        let new: Vec<_> = alarms.iter().filter(|alarm| !self.alarms.contains(alarm)).cloned().collect();
        self.alarms.extend(new);
    }
}

impl StopFile {
    /// Returns the safety stop of an endpoint in a state folder; nothing is read yet.
    pub fn new(folder: &Path, endpoint: &str) -> Self {
        let digest = file::endpoint_digest(endpoint);
        let [path, earlier] =
            ["safety-stop", "latch"].map(|name| folder.join(format!("{name}-{digest}.json")));
        let [draft, earlier_draft] = [&path, &earlier].map(|path| file::draft_of(path));
        Self { endpoint: endpoint.to_owned(), paths: [path, draft, earlier, earlier_draft] }
    }

    pub fn path(&self) -> &Path {
        &self.paths[0]
    }

    /// Reads it; `None` only where there is certainly nothing at any of its paths.
    pub fn read(&self) -> Option<SafetyStop> {
        let mut stop: Option<SafetyStop> = None;
        for path in &self.paths {
            let Some(found) = file::read::<SafetyStop>(path, &FORMATS, &self.endpoint).transpose() else {
                continue;
            };
            let stop = stop.get_or_insert_with(|| self.empty(path));
            let why = match found {
                Ok(found) if !found.alarms.is_empty() => {
                    stop.add(&found.alarms);
                    continue;
                }
                Ok(_) => "it contains no alarm".to_owned(),
                Err(why) => why,
            };
            if stop.unreadable.is_none() {
                (stop.file, stop.unreadable) = (path.display().to_string(), Some(why));
            }
        }
        stop
    }

    fn empty(&self, path: &Path) -> SafetyStop {
        let file = path.display().to_string();
        SafetyStop { file, endpoint: self.endpoint.clone(), alarms: Vec::new(), unreadable: None }
    }

    /// Sets it, or adds to what it holds. When this returns, the file is on disk.
    /// An error: it could not be written whole. What there was stays; so does the part that was written, which counts as set.
    pub fn set(&self, alarms: &[Alarm]) -> io::Result<()> {
        let mut stop = self.read().unwrap_or_else(|| self.empty(self.path()));
        stop.add(alarms);
        file::write(self.path(), FORMATS[0], &self.endpoint, &stop)
    }

    /// Lifts it. The caller holds the lock, so that no run is in progress.
    /// An error: something could not be removed, and still counts as set; the error names it.
    pub fn lift(&self) -> io::Result<()> {
        file::remove(&self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use uuid::Uuid;

    const FIFO: &str = "https://fifo.example.com";

    fn alarm(number: u128) -> Alarm {
        let id = |offset| BackupId::new(Uuid::from_u128(number * 10 + offset));
        let at = VmRef { vm: VmId::new(Uuid::from_u128(number)), alias: format!("web-{number}") };
        let time = "2026-11-22T01:00:00Z".parse().unwrap();
        Alarm::vanished(time, &at, ActionKind::DeleteCloud, id(1), vec![id(1), id(2)])
    }

    #[test]
    fn it_holds_every_alarm_until_it_is_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let stop_file = StopFile::new(folder.path(), FIFO);
        assert_eq!(stop_file.read(), None);
        stop_file.lift().unwrap();
        stop_file.set(&[alarm(1)]).unwrap();
        // A second one comes with those before it.
        stop_file.set(&[alarm(1), alarm(2)]).unwrap();
        let stop = StopFile::new(folder.path(), FIFO).read().unwrap();
        assert_eq!((stop.alarms, stop.unreadable), (vec![alarm(1), alarm(2)], None));
        assert_eq!(StopFile::new(folder.path(), "https://other.example.com").read(), None);
        stop_file.lift().unwrap();
        assert_eq!(stop_file.read(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        assert_eq!(StopFile::new(&folder.path().join("not-there"), FIFO).read(), None);
    }

    #[test]
    fn whatever_lies_at_one_of_its_paths_counts_as_set_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stop_file = StopFile::new(folder.path(), FIFO);
        stop_file.set(&[alarm(1)]).unwrap();
        let whole = fs::read_to_string(stop_file.path()).unwrap();
        let none = json!({ "format": FORMATS[0], "endpoint": FIFO, "alarms": [] }).to_string();
        let cases = [
            (String::new(), Some("it is empty")),
            (whole.replace("safety-stop/1", "safety-stop/2"), Some("its format is")),
            (none, Some("contains no alarm")),
            // An earlier version wrote it, or a run was killed before the draft took its place.
            (whole.replace("safety-stop/1", "latch/1"), None),
            (whole, None),
        ];
        let names: Vec<_> =
            stop_file.paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        let digest = file::endpoint_digest(FIFO);
        assert_eq!(names[2..], [format!("latch-{digest}.json"), format!("latch-{digest}.json.new")]);
        for (path, (text, why)) in
            stop_file.paths.iter().flat_map(|path| cases.iter().map(move |case| (path, case)))
        {
            stop_file.lift().unwrap();
            fs::write(path, text).unwrap();
            let stop = stop_file.read().unwrap();
            match why {
                Some(why) => assert!(stop.unreadable.unwrap().contains(why), "{why}"),
                None => assert_eq!((stop.alarms, stop.unreadable), (vec![alarm(1)], None)),
            }
            assert_eq!(stop.file, path.display().to_string());
            // The new alarm is written whole beside what cannot be read.
            stop_file.set(&[alarm(2)]).unwrap();
            assert!(stop_file.read().unwrap().alarms.contains(&alarm(2)));
        }
        for path in &stop_file.paths {
            stop_file.lift().unwrap();
            fs::create_dir(path).unwrap();
            assert!(stop_file.read().unwrap().unreadable.unwrap().contains("not a regular file"));
            let error = stop_file.lift().unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && stop_file.read().is_some(), "{error}");
            fs::remove_dir(path).unwrap();
        }
    }

    #[test]
    fn the_sentence_says_after_which_action_it_was_raised() {
        let (time, at) = (alarm(1).time, VmRef { vm: alarm(1).vm, alias: "web-1".to_owned() });
        let [one, two] = [1, 2].map(|number| BackupId::new(Uuid::from_u128(number)));
        let vanished = |after| Alarm::vanished(time, &at, after, one, vec![one, two]).to_string();
        let vm = at.vm;
        for (text, start, cause) in [
            (
                vanished(ActionKind::DeleteLocal),
                format!(
                    "backups have vanished after the local delete of backup {one} of VM web-1 ({vm}): {one}, {two}; "
                ),
                "dropping the bodies of DELETE requests",
            ),
            (
                vanished(ActionKind::DeleteCloud),
                format!("backups have vanished after the delete from storage of backup {one} of VM web-1"),
                "another user deletes backups of this VM",
            ),
            (
                Alarm::body_lost(time, &at, two).to_string(),
                format!(
                    "the body of the request for a backup of VM web-1 ({vm}) was lost on the way, and FiFo has started \
                     the full backup {two} with an empty comment instead; "
                ),
                "a delete would lose its body too",
            ),
            (
                Alarm::body_lost(time, &VmRef { alias: String::new(), ..at.clone() }, two).to_string(),
                format!("the body of the request for a backup of VM {} ({vm}) was lost", vm.short()),
                "a delete would lose its body too",
            ),
        ] {
            assert!(text.starts_with(&start) && text.contains(cause), "{text}");
            assert!(text.ends_with(": find the cause before the next run"), "{text}");
        }
    }
}
