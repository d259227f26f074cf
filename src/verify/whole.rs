//! Reads objects: their beginnings, and whole.

use super::expected::Expected;
use super::listing::There;
use crate::store::stream::{Begin, Damage, StreamReader};
use crate::store::{Result, Store, StoreError};
use bytes::Bytes;
use futures::TryStreamExt as _;
use sha1::{Digest as _, Sha1};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// The beginning of an object that is read first: more than enough for the first record.
const HEAD_BYTES: u64 = 4 << 10;
/// The most that is read of a beginning.
const HEAD_BYTES_MAX: u64 = 64 << 10;
const PIECES: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) begin: Option<Begin>,
    pub(super) damage: Option<Damage>,
    /// Where all of it was read.
    pub(super) sha1: Option<[u8; 20]>,
    pub(super) stream_bytes: u64,
}

impl Read {
    fn of(reader: &StreamReader, sha1: Option<[u8; 20]>) -> Self {
        let damage = if sha1.is_some() { reader.finish() } else { reader.damage() };
        Self { begin: reader.begin().cloned(), damage, sha1, stream_bytes: reader.stream_bytes() }
    }
}

/// Reads the beginning of an object, up to its first record. One that is not longer is checked as a whole.
pub(super) async fn head(store: &dyn Store, object: &Expected, there: There) -> Result<Read> {
    let name = object.name();
    let mut reader = StreamReader::default();
    let mut at = 0;
    let mut digest = Sha1::new();
    for end in [HEAD_BYTES, HEAD_BYTES_MAX].map(|end| end.min(there.size_bytes)) {
        if at >= end {
            break;
        }
        let mut body = store.get(&name, at..end).await?;
        while let Some(piece) = body.try_next().await? {
            digest.update(&piece);
            reader.push(&piece);
        }
        at = end;
        if reader.begin().is_some() || reader.is_decided() {
            break;
        }
    }
    let sha1 = (at == there.size_bytes).then(|| digest.finalize().into());
    Ok(Read::of(&reader, sha1))
}

/// Reads an object to its end. The bytes are unpacked on a thread of its own while the next ones come in; `through` gets what
/// is unpacked there.
pub(super) async fn whole(
    store: &dyn Store,
    object: &Expected,
    size_bytes: u64,
    throttle: &Throttle,
    each: &(dyn Fn(u64) + Sync),
    mut through: impl FnMut(&[u8]) + Send + 'static,
) -> Result<Read> {
    let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
    let unpacking = spawn_blocking(move || {
        let mut reader = StreamReader::default();
        while let Some(piece) = queue.blocking_recv() {
            reader.push_through(&piece, &mut through);
        }
        reader
    });
    let mut digest = Sha1::new();
    if size_bytes > 0 {
        let mut body = store.get(&object.name(), 0..size_bytes).await?;
        while let Some(piece) = body.try_next().await? {
            digest.update(&piece);
            each(piece.len() as u64);
            throttle.take(piece.len()).await;
            // It ends only when this end is dropped.
            let _ = pieces.send(piece).await;
        }
    }
    drop(pieces);
    let gone = |_| StoreError::Wrong {
        doing: format!("read {}", object.name()),
        why: "its thread ended".to_owned(),
    };
    let reader = unpacking.await.map_err(gone)?;
    Ok(Read::of(&reader, Some(digest.finalize().into())))
}

/// Holds all readings together to a rate.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_sec: Option<u64>,
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(super) fn new(bytes_per_sec: Option<u64>) -> Self {
        Self { bytes_per_sec, free_at: Mutex::new(None) }
    }

    async fn take(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_sec else { return };
        let until = {
            let mut free_at = self.free_at.lock().await;
            let now = Instant::now();
            #[expect(clippy::cast_precision_loss, reason = "a pause needs no more digits")]
            let pause = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            let next = free_at.unwrap_or(now).max(now) + pause;
            *free_at = Some(next);
            next
        };
        sleep_until(until).await;
    }
}
