//! The journal: every action and its outcome, one JSON object a line. It is for people; nothing ever reads it back.

use crate::apply::{Event, EventKind, Observer, open_state_file};
use crate::report::json;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use uuid::Uuid;

/// The journal of a run.
///
/// The first line that cannot be written (a full disk, say) is logged. It does not stop the run: a backup that is not made
/// is worse than a line that is not written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    run: Uuid,
    /// The file, and whether its last line may lack its end: writing it failed, or a run was killed at it.
    file: Mutex<(File, bool)>,
    failure_log: Once,
}

#[derive(Serialize)]
struct Entry<'a> {
    run: Uuid,
    #[serde(flatten)]
    event: &'a Event,
}

impl Journal {
    /// Opens a journal for appending, and makes it, readable by its owner only, where there is none.
    fn open(path: &Path, run: Uuid) -> io::Result<Self> {
        let mut file = open_state_file(OpenOptions::new().read(true).append(true).create(true), path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let file = Mutex::new((file, last != [b'\n']));
        Ok(Self { path: path.to_owned(), run, file, failure_log: Once::new() })
    }

    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join("journal.jsonl")
    }

    /// Opens the journal in a state folder. Where that fails there is none, and it is only warned about: backups that are not
    /// made are worse than a journal that is not written.
    pub(crate) fn of_run(folder: &Path) -> Option<Self> {
        let path = Self::path(folder);
        let opened = Self::open(&path, Uuid::new_v4()).inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "the journal cannot be opened; all goes on without it");
        });
        opened.ok()
    }

    fn append(&self, event: &Event) -> io::Result<()> {
        let (file, is_torn) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = if *is_torn { vec![b'\n'] } else { Vec::new() };
        json::line(&Entry { run: self.run, event }, &mut line)?;
        *is_torn = true;
        file.write_all(&line)?;
        *is_torn = false;
        Ok(())
    }
}

impl Observer for Journal {
    fn observe(&self, event: &Event) {
        if matches!(event.what, EventKind::Progress { .. } | EventKind::Waiting(_)) {
            return;
        }
        if let Err(error) = self.append(event) {
            self.failure_log.call_once(|| {
                tracing::warn!(path = %self.path.display(), %error, "failed to write to the journal, which now lacks lines; the run continues");
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn warning(message: &str) -> Event {
        let time = "2026-11-22T01:00:00Z".parse().unwrap();
        Event { time, what: EventKind::Warning { at: None, message: message.to_owned() } }
    }

    #[test]
    fn a_torn_last_line_spoils_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        std::fs::write(&path, "{\"time\":\"2026-11-21T0").unwrap();
        let journal = Journal::open(&path, Uuid::nil()).unwrap();
        journal.observe(&warning("one"));
        journal.observe(&warning("two"));
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(whole.iter().map(|entry| &entry["message"]).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(whole[0]["event"], "warning");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_the_lines_that_cannot_be_written_the_first_is_logged() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = std::sync::Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        // See `fifo::tests::one_by_one`: with one subscriber, the thread of another test may decide that nothing is logged.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let _guard = tracing::subscriber::set_default(subscriber);
        tracing::callsite::rebuild_interest_cache();
        // A device that has no space left for any write.
        let journal = Journal::open(Path::new("/dev/full"), Uuid::nil()).unwrap();
        journal.observe(&warning("one"));
        journal.observe(&warning("two"));
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(text.matches("failed to write to the journal").count(), 1, "{text}");
    }
}
