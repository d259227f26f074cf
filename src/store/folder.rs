//! A store in a folder: a mirror of the bucket, or the bucket mounted.

use super::object::{Body, Object, Result, Store, StoreError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;

const PIECE_BYTES: u64 = 256 << 10;

pub struct Folder(pub PathBuf);

impl Store for Folder {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        each: &'a mut (dyn FnMut(Object) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (root, wanted) = (self.0.clone(), prefix.to_owned());
            let found = blocking(move || walk(&root, &wanted)).await?;
            found.map_err(|error| failed("list the store", &error))?.into_iter().for_each(each);
            Ok(())
        })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Body>> {
        Box::pin(async move {
            let (path, name) = (self.0.join(name), name.to_owned());
            let opened = blocking(move || open(&path, range.start)).await?;
            let file = opened.map_err(|error| match error.kind() {
                ErrorKind::NotFound => StoreError::Missing(name.clone()),
                _ => failed(&format!("read {name}"), &error),
            })?;
            let left = range.end.saturating_sub(range.start);
            let pieces = stream::try_unfold((file, left, name), |(mut file, left, name)| async move {
                if left == 0 {
                    return Ok(None);
                }
                let read = move || {
                    let mut piece = Vec::new();
                    (&mut file).take(left.min(PIECE_BYTES)).read_to_end(&mut piece).map(|_| (piece, file))
                };
                let (piece, file) =
                    blocking(read).await?.map_err(|error| failed(&format!("read {name}"), &error))?;
                if piece.is_empty() {
                    return Err(StoreError::Changed(name));
                }
                let left = left - piece.len() as u64;
                Ok(Some((Bytes::from(piece), (file, left, name))))
            });
            Ok(pieces.boxed())
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let gone =
        |_| StoreError::Wrong { doing: "read the store".to_owned(), why: "no thread for it".to_owned() };
    spawn_blocking(work).await.map_err(gone)
}

fn failed(doing: &str, error: &io::Error) -> StoreError {
    StoreError::Wrong { doing: doing.to_owned(), why: error.to_string() }
}

/// Opens a regular file at a position; anything else could block for ever.
fn open(path: &Path, at: u64) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    Ok(file)
}

/// Lists the regular files below a folder. Links to folders are not followed: they could lead in a circle.
fn walk(root: &Path, prefix: &str) -> io::Result<Vec<Object>> {
    let below = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (mut folders, mut found) = (vec![root.join(below)], Vec::new());
    if !fs::metadata(root)?.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_dir() {
                folders.push(path);
                continue;
            }
            let named = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned);
            let Some(name) = named.filter(|name| name.starts_with(prefix)) else { continue };
            // It can go while the folder is read.
            let Some(meta) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) else { continue };
            let modified = meta.modified().ok().map(DateTime::<Utc>::from);
            found.push(Object { name, size_bytes: meta.len(), modified });
        }
    }
    Ok(found)
}
