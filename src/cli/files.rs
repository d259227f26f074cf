//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

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

/// Returns what a link leads to. A link to nothing returns the path itself.
fn meant(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn is_special(target: &Path) -> bool {
    fs::metadata(target).is_ok_and(|it| !it.is_file())
}

fn replace(target: &Path, mode: u32, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The name is only taken over when all of it is on disk.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    write_to(&mut file, write)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(target)?;
    File::open(folder)?.sync_all()
}

fn write_to(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out)?;
    out.flush()
}
