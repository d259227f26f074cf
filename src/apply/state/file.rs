//! Files of the state folder: how they are named, read, written whole and removed.
//!
//! None is opened through a symbolic link: a user who may write to the folder must not choose which other file is overwritten.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

pub(super) fn endpoint_digest(endpoint: &str) -> String {
    hex::encode(&Sha256::digest(endpoint)[..8])
}

/// Opens a file without following a link and without waiting for the other end of a pipe. A file that this makes is
/// readable by its owner only.
/// An error: the path is a symbolic link, or the file cannot be opened. The path is not in the error.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let refused = || {
        let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        is_link.then(|| io::Error::other("it is a symbolic link, which is not followed"))
    };
    if let Some(error) = refused().filter(|_| cfg!(not(unix))) {
        return Err(error);
    }
    // Systems have different codes for it.
    options.open(path).map_err(|error| refused().unwrap_or(error))
}

/// Reads what [`write`] has written; `None` only where there is certainly nothing at the path.
/// An error: it cannot be read or understood, or is of another format or endpoint. The path is not in the error.
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
    formats: &[&str],
    endpoint: &str,
) -> Result<Option<T>, String> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        endpoint: String,
    }
    let Some(bytes) = read_bytes(path).map_err(|error| error.to_string())? else { return Ok(None) };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if !formats.contains(&head.format.as_str()) {
        return Err(format!("its format is {:?}, not {:?}", head.format, formats[0]));
    }
    if head.endpoint != endpoint {
        return Err(format!("it belongs to {:?}", head.endpoint));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
}

fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Of a link that leads nowhere the error is another one.
    let mut file = match open(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.is_empty() { Err(io::Error::other("it is empty")) } else { Ok(Some(bytes)) }
}

pub(super) fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    draft.into()
}

/// Writes a JSON object, with its format and endpoint, in place of any file at the path. When this returns, all of it is
/// on disk.
/// An error: it could not be written whole. What there was stays, and so may a part at the path of its draft.
pub(super) fn write(path: &Path, format: &str, endpoint: &str, content: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::to_value(content)?;
    json["format"] = format.into();
    json["endpoint"] = endpoint.into();
    let draft = draft_of(path);
    let mut file = open(OpenOptions::new().write(true).create(true).truncate(true), &draft)?;
    file.write_all(format!("{json:#}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder(path)
}

/// Removes files, as far as they are there, in this order. When this returns, that is on disk.
/// An error: one could not be removed; those after it stay.
pub(super) fn remove(paths: &[PathBuf]) -> io::Result<()> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(named(path, &error)),
            _ => {}
        }
    }
    paths
        .last()
        .filter(|path| path.parent().is_some_and(Path::exists))
        .map_or(Ok(()), |path| sync_folder(path))
}

/// Brings the names in a file's folder to disk. Windows opens no folder, and needs none.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|_| cfg!(unix));
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Number {
        number: u32,
    }

    fn write_number(path: &Path, number: u32) -> io::Result<()> {
        write(path, "format/1", "fifo", &Number { number })
    }

    fn read_number(path: &Path) -> Result<Option<Number>, String> {
        read(path, &["format/1"], "fifo")
    }

    #[test]
    fn what_is_written_is_whole_or_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_number(&path, 1).unwrap();
        write_number(&path, 2).unwrap();
        assert_eq!(read_number(&path), Ok(Some(Number { number: 2 })));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!draft_of(&path).exists());

        let other = folder.path().join("other");
        fs::write(&other, "untouched").unwrap();
        symlink(&other, draft_of(&path)).unwrap();
        assert!(write_number(&path, 3).unwrap_err().to_string().contains("symbolic link"));
        fs::remove_file(draft_of(&path)).unwrap();
        fs::create_dir(draft_of(&path)).unwrap();
        write_number(&path, 3).unwrap_err();
        assert_eq!(read_number(&path), Ok(Some(Number { number: 2 })));
        assert_eq!(fs::read_to_string(&other).unwrap(), "untouched");
    }

    #[test]
    fn only_a_path_at_which_nothing_is_counts_as_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        write_number(&path("file"), 1).unwrap();
        let whole = fs::read_to_string(path("file")).unwrap();
        for (name, text) in [
            ("empty", ""),
            ("cut", &whole[..whole.len() / 2]),
            ("headless", "{}"),
            ("other_format", &whole.replace("format/1", "format/2")),
            ("other_endpoint", &whole.replace("fifo", "https://other")),
            ("without_content", &whole.replace("number", "other")),
        ] {
            fs::write(path(name), text).unwrap();
        }
        fs::create_dir(path("folder")).unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(read_number(&path("missing")), Ok(None));
        for (name, why) in [
            ("empty", "it is empty"),
            ("cut", "EOF"),
            ("headless", "missing field"),
            ("other_format", "its format is \"format/2\""),
            ("other_endpoint", "it belongs to \"https://other\""),
            ("without_content", "missing field"),
            ("folder", "it is not a regular file"),
            ("link", "it is a symbolic link"),
            ("dangling", "it is a symbolic link"),
            ("socket", "os error"),
            ("file/below", "Not a directory"),
        ] {
            let error = read_number(&path(name)).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
