//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Who may read a file: only its owner.
pub(super) const PRIVATE: u32 = 0o600;
/// Who may read a file: everybody.
pub(super) const PUBLIC: u32 = 0o644;

/// Puts a file in the place of what there was, with these permissions whatever the process's mask says. What a link leads
/// to is written, and the link stays; so do pipes and devices, which are written into.
///
/// # Errors
///
/// It could not be written; then what there was is still there.
pub(super) fn put(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let target = meant(path);
    if is_special(&target) {
        // A file in its place, `/dev/stdout` say, would break it for all processes.
        return write_to(&mut OpenOptions::new().write(true).open(&target)?, write);
    }
    replace(&target, mode, write)
}

/// The same where only a file will do: a write to a pipe without a reader would block indefinitely.
///
/// # Errors
///
/// There is something else than a file, or it could not be written; then what there was is still there.
pub(super) fn put_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let target = meant(path);
    if is_special(&target) {
        return Err(io::Error::other("it is there and is no regular file"));
    }
    replace(&target, mode, write)
}

/// The same for a file that must not be there yet.
///
/// # Errors
///
/// There is something, or it could not be written; then there is no new file.
pub(super) fn put_new(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = made(path, mode, write)?;
    file.persist_noclobber(path)?;
    File::open(folder_of(path))?.sync_all()
}

/// Returns what a link leads to. A link to nothing returns the path itself.
fn meant(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn is_special(target: &Path) -> bool {
    fs::metadata(target).is_ok_and(|it| !it.is_file())
}

fn replace(target: &Path, mode: u32, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    made(target, mode, write)?.persist(target)?;
    File::open(folder_of(target))?.sync_all()
}

fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file without its name, which it only takes over when all of it is on disk.
fn made(
    target: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(folder_of(target))?;
    write_to(&mut file, write)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn write_to(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_there_whole_or_not_at_all_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let torn = put_new(&path, PUBLIC, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(torn.is_err() && fs::read_dir(folder.path()).unwrap().count() == 0);
        put_new(&path, PUBLIC, |out| out.write_all(b"whole")).unwrap();
        let again = put_new(&path, PUBLIC, |out| out.write_all(b"other")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
