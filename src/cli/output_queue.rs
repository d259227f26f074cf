//! Writes the output of a run from a thread of its own, so that a terminal without a reader stops no backup.
//!
//! Before [`start`], and in all other commands, output is written at once by the caller.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The queue length above which progress output is dropped.
const IDLE_BACKLOG_MAX: usize = 1_000;

/// The largest queue length, so that a process that runs for months does not run out of memory. The journal has everything.
const BACKLOG_MAX: usize = 100_000;

/// How long the end waits for a reader that reads nothing, until the rest is dropped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

type Task = Box<dyn FnOnce() + Send>;

struct OutputQueue {
    queue: Sender<Task>,
    backlog: Arc<AtomicUsize>,
}

static QUEUE: OnceLock<Option<OutputQueue>> = OnceLock::new();

/// Lets a thread write everything from now on. If no thread starts, output is written at once as before.
pub(super) fn start() {
    QUEUE.get_or_init(|| {
        let (queue, words) = mpsc::channel::<Task>();
        let backlog = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&backlog);
        let work = move || {
            for word in words {
                word();
                count.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let thread = thread::Builder::new().name("voice".to_owned()).spawn(work);
        thread.ok().map(|_| OutputQueue { queue, backlog })
    });
}

/// Writes something, after everything that was said before.
pub(super) fn write(words: impl FnOnce() + Send + 'static) {
    enqueue(BACKLOG_MAX, words);
}

/// Writes progress output, unless the queue is long already.
pub(super) fn write_if_idle(words: impl FnOnce() + Send + 'static) {
    enqueue(IDLE_BACKLOG_MAX, words);
}

fn enqueue(behind_max: usize, words: impl FnOnce() + Send + 'static) {
    let Some(output_queue) = QUEUE.get().and_then(Option::as_ref) else { return words() };
    if output_queue.backlog.fetch_add(1, Ordering::SeqCst) < behind_max
        && output_queue.queue.send(Box::new(words)).is_ok()
    {
        return;
    }
    output_queue.backlog.fetch_sub(1, Ordering::SeqCst);
}

/// Waits until everything is written, as long as the reader keeps reading.
pub(super) fn drain() {
    let Some(output_queue) = QUEUE.get().and_then(Option::as_ref) else { return };
    let backlog = || output_queue.backlog.load(Ordering::SeqCst);
    let (mut last, mut since) = (backlog(), Instant::now());
    while last > 0 && since.elapsed() < DRAIN_TIMEOUT {
        thread::sleep(Duration::from_millis(5));
        let now = backlog();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
