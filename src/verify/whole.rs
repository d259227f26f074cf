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
/// How many pieces wait between the connection and the unpacking.
const PIECES: usize = 16;

/// What was read of an object.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) begin: Option<Begin>,
    pub(super) damage: Option<Damage>,
    /// Where all of it was read.
    pub(super) sha1: Option<[u8; 20]>,
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
    let is_whole = at == there.size_bytes;
    let damage = if is_whole { reader.finish() } else { reader.damage() };
    let begin = reader.begin().cloned();
    Ok(Read { begin, damage, sha1: is_whole.then(|| digest.finalize().into()) })
}

/// Reads an object to its end. The bytes are unpacked on a thread of its own while the next ones come in.
pub(super) async fn whole(
    store: &dyn Store,
    object: &Expected,
    there: There,
    throttle: &Throttle,
    each: &(dyn Fn(u64) + Sync),
) -> Result<Read> {
    let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
    let unpacking = spawn_blocking(move || {
        let mut reader = StreamReader::default();
        while let Some(piece) = queue.blocking_recv() {
            reader.push(&piece);
        }
        (reader.begin().cloned(), reader.finish())
    });
    let mut digest = Sha1::new();
    if there.size_bytes > 0 {
        let mut body = store.get(&object.name(), 0..there.size_bytes).await?;
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
    let (begin, damage) = unpacking.await.map_err(gone)?;
    Ok(Read { begin, damage, sha1: Some(digest.finalize().into()) })
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
