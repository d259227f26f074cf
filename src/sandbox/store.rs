//! The world's file: read at the start, written after every request that may have changed something.

use super::world::World;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Locks a world's file against other sandboxes ([`io::ErrorKind::ResourceBusy`]), until the given file is dropped or the
/// process ends. It is a file beside the world's, since that one is replaced at every writing.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    fs::create_dir_all(folder_of(path))?;
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("another sandbox is using the world in {}", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn load(path: &Path) -> io::Result<Option<World>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let path = path.display();
        let text = format!("{path} does not hold a sandbox world (start afresh to replace it): {error}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Writes a world's bytes in place of its file: whole or not at all.
pub(super) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Shape;

    #[test]
    fn a_world_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/world.json");
        let locked = lock(&path).unwrap();
        let error = lock(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("world.json"), "{error}");
        drop(locked);
        let _locked = lock(&path).unwrap();
        assert_eq!(load(&path).unwrap(), None);
        let mut world = World::new(Shape::default(), 7);
        let vm = world.new_uuid();
        world.vms.insert(vm, super::super::vm::Vm::new("web-1", "hv-1"));
        save(&path, &serde_json::to_vec(&world).unwrap()).unwrap();
        assert_eq!(load(&path).unwrap(), Some(world));
    }

    #[test]
    fn another_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.json");
        fs::write(&path, "policy: grandfather").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("world.json does not hold a sandbox world"), "{error}");
    }
}
