//! One run at a time for each machine and endpoint.

use super::file::{self, endpoint_digest};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// A lock that is held until this is dropped or the process ends, in whatever way.
///
/// The operating system holds it, so there are no stale locks to remove: the file stays, and means nothing by itself.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub command: String,
    pub since: DateTime<Utc>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.format("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "process {} ({}), since {since}", self.pid, self.command)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it; the holder is `None` when the file does not say.
    #[error(
        "another run for {endpoint} is under way: {}",
        holder.as_ref().map_or_else(|| "its process is unknown".to_owned(), ToString::to_string)
    )]
    Held { endpoint: String, holder: Option<Holder> },
    #[error("cannot use the lock file {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Lock {
    pub fn path(folder: &Path, endpoint: &str) -> PathBuf {
        folder.join(format!("run-{}.lock", endpoint_digest(endpoint)))
    }

    /// Takes the lock for an endpoint in a folder, or fails at once with its holder.
    /// An error: [`LockError::Held`], or [`LockError::Io`] when the file cannot be made or locked, or is a
    /// symbolic link.
    pub fn take(folder: &Path, endpoint: &str, holder: &Holder) -> Result<Self, LockError> {
        let path = Self::path(folder, endpoint);
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = file::open(&mut options, &path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = serde_json::from_reader(&file).ok();
                return Err(LockError::Held { endpoint: endpoint.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        let written = written.and_then(|()| file.write_all(&serde_json::to_vec(holder)?));
        // The holder's name is only information: on a full disk the lock itself is still good.
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the lock is held, but writing its holder into it failed");
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { pid: 7, command: "reconcile".to_owned(), since: "2026-11-22T01:00:00Z".parse().unwrap() }
    }

    #[test]
    fn the_second_is_reported_who_holds_it_and_another_endpoint_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let take = |endpoint| Lock::take(folder.path(), endpoint, &holder());
        let first = take("https://a.example.com").unwrap();
        let message = take("https://a.example.com").unwrap_err().to_string();
        assert_eq!(
            message,
            "another run for https://a.example.com is under way: process 7 (reconcile), since 2026-11-22 01:00:00 UTC"
        );
        let _other = take("https://b.example.com").unwrap();
        drop(first);
        take("https://a.example.com").unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Lock::take(Path::new("/nonexistent/folder"), "x", &holder()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/folder/run-"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_an_error_that_names_it_and_its_target_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (other, path) = (folder.path().join("other"), Lock::path(folder.path(), "x"));
        std::fs::write(&other, "untouched").unwrap();
        for target in ["other", "not-there"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            let error = Lock::take(folder.path(), "x", &holder()).unwrap_err();
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(why, "it is a symbolic link, which is not followed");
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "untouched");
        assert!(!folder.path().join("not-there").exists());
    }
}
