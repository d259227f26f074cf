//! Files that are written whole or not at all, and files that may be standard input.

use crate::report::Failure;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// The largest file that is read, in bytes: a plan of a hundred thousand VMs.
const INPUT_BYTES_MAX: u64 = 256 << 20;

pub const PRIVATE: u32 = 0o600;
pub const PUBLIC: u32 = 0o644;

/// What may be at a path before a file is put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    New,
    /// A file, which is replaced, or a link to one, which stays.
    OverFile,
    /// Anything; pipes and devices are written into. A file in the place of `/dev/stdout`, say, would break it for all
    /// processes.
    Over,
    /// Anything; a link is replaced itself: nobody else chooses which file of ours is written over.
    OverLink,
}

/// Puts a file somewhere, with these permissions whatever the process's mask says. It takes its name only when all of it is
/// on disk. An error: there is something that must not be, or the file could not be written; then what there was is still there.
pub fn put(
    path: &Path,
    mode: u32,
    put: Put,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // A link to nothing leads to itself.
    let target = match put {
        Put::New | Put::OverLink => path.to_owned(),
        Put::OverFile | Put::Over => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    };
    let is_special = fs::metadata(&target).is_ok_and(|it| !it.is_file());
    match put {
        Put::Over if is_special => {
            return write_to(&mut OpenOptions::new().write(true).open(&target)?, write);
        }
        // A write to a pipe without a reader would block indefinitely.
        Put::OverFile if is_special => return Err(io::Error::other("it is there and is no regular file")),
        _ => {}
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    write_to(&mut file, write)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    match put {
        Put::New => file.persist_noclobber(&target)?,
        Put::OverFile | Put::Over | Put::OverLink => file.persist(&target)?,
    };
    File::open(folder)?.sync_all()
}

fn write_to(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out)?;
    out.flush()
}

/// Reads a file, or standard input where its path is `-`, and returns what it is called and holds. `what` is it for?
pub fn read_input(what: &str, path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let failed = |error| Failure::new(format!("failed to read the {what} {name}")).because(error);
    let input: Box<dyn Read> =
        if is_stdin { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut bytes = Vec::new();
    input.take(INPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_there_whole_or_not_at_all_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let torn = put(&path, PUBLIC, Put::New, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(torn.is_err() && fs::read_dir(folder.path()).unwrap().count() == 0);
        put(&path, PUBLIC, Put::New, |out| out.write_all(b"whole")).unwrap();
        let again = put(&path, PUBLIC, Put::New, |out| out.write_all(b"other")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
