//! What people read while a run goes on, written by a thread of its own: a terminal that nobody reads stops no backup.
//!
//! Before [`start`] everything is written at once by whoever has something to say, and so it is by all other commands.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How much may be behind until what merely passes by is left out.
const PASSING_MAX: usize = 1_000;

/// How much may be behind at all, so that a process of months does not run out of memory. The journal has it anyway.
const BEHIND_MAX: usize = 100_000;

/// How long nothing at all may get through at the end until the rest is given up.
const PATIENCE: Duration = Duration::from_secs(5);

type Words = Box<dyn FnOnce() + Send>;

struct Voice {
    queue: Sender<Words>,
    behind: Arc<AtomicUsize>,
}

static VOICE: OnceLock<Option<Voice>> = OnceLock::new();

/// Has everything from now on written by a thread. Where none can be had, it is written at once as before.
pub(super) fn start() {
    VOICE.get_or_init(|| {
        let (queue, words) = mpsc::channel::<Words>();
        let behind = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&behind);
        let speak = move || {
            for word in words {
                word();
                count.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let thread = thread::Builder::new().name("voice".to_owned()).spawn(speak);
        thread.ok().map(|_| Voice { queue, behind })
    });
}

/// Writes something, after everything that was said before.
pub(super) fn say(words: impl FnOnce() + Send + 'static) {
    enqueue(BEHIND_MAX, words);
}

/// Writes something that is of no use later, unless much is behind already.
pub(super) fn say_in_passing(words: impl FnOnce() + Send + 'static) {
    enqueue(PASSING_MAX, words);
}

fn enqueue(behind_max: usize, words: impl FnOnce() + Send + 'static) {
    let Some(voice) = VOICE.get().and_then(Option::as_ref) else { return words() };
    if voice.behind.fetch_add(1, Ordering::SeqCst) < behind_max && voice.queue.send(Box::new(words)).is_ok() {
        return;
    }
    voice.behind.fetch_sub(1, Ordering::SeqCst);
}

/// Waits until everything is written, as long as somebody reads it.
pub(super) fn drain() {
    let Some(voice) = VOICE.get().and_then(Option::as_ref) else { return };
    let behind = || voice.behind.load(Ordering::SeqCst);
    let (mut last, mut since) = (behind(), Instant::now());
    while last > 0 && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
        let now = behind();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
