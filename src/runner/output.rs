//! Where output goes: standard output and standard error, in the order in which it was written, above the bars of running
//! uploads. From [`start`] on a thread writes it, so that a terminal without a reader stops no backup.

use crate::report::text::TextOptions;
use crate::report::{Detail, Exit, Failure, Styles, Tone, visible, wrapped};
use indicatif::{MultiProgress, ProgressDrawTarget, ProgressStyle};
use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The queue length above which progress output is dropped.
const PROGRESS_BACKLOG_MAX: usize = 1_000;

/// The largest queue length, so that a process that runs for months does not run out of memory. The journal has everything.
const BACKLOG_MAX: usize = 100_000;

/// How long the end waits for a reader that reads nothing, until the rest is dropped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub type Task = Box<dyn FnOnce() + Send>;

static QUEUE: OnceLock<Option<Sender<Task>>> = OnceLock::new();
static BACKLOG: AtomicUsize = AtomicUsize::new(0);

/// The bars of running uploads: none where standard error is no terminal.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

pub(super) type Writer = Box<dyn Fn(Stream, &str) + Send + Sync>;

/// How output looks and who reads it.
#[derive(Clone, Debug)]
pub struct Output {
    pub is_json: bool,
    pub text: TextOptions,
    pub error_styles: Styles,
    /// The columns of standard output and of standard error, where these are terminals.
    pub out_columns: Option<usize>,
    pub error_columns: Option<usize>,
    pub logs_json: bool,
}

/// Lets a thread write everything from now on. If no thread starts, output is written at once as before.
pub fn start() {
    QUEUE.get_or_init(|| {
        let (tasks, queued) = mpsc::channel::<Task>();
        let work = move || {
            for task in queued {
                task();
                BACKLOG.fetch_sub(1, Ordering::SeqCst);
            }
        };
        thread::Builder::new().name("output".to_owned()).spawn(work).ok().map(|_| tasks)
    });
}

/// Does something that writes, after everything that was written before; progress only where not much waits already.
pub fn enqueue(is_progress: bool, task: Task) {
    let Some(Some(queue)) = QUEUE.get() else { return task() };
    let backlog_max = if is_progress { PROGRESS_BACKLOG_MAX } else { BACKLOG_MAX };
    if BACKLOG.fetch_add(1, Ordering::SeqCst) >= backlog_max || queue.send(task).is_err() {
        BACKLOG.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until everything is written, as long as the reader keeps reading.
pub fn drain() {
    let (mut last, mut since) = (BACKLOG.load(Ordering::SeqCst), Instant::now());
    while last > 0 && since.elapsed() < DRAIN_TIMEOUT {
        thread::sleep(Duration::from_millis(5));
        let now = BACKLOG.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

pub fn bars() -> &'static MultiProgress {
    &BARS
}

pub fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

pub fn write_now(stream: Stream, text: &[u8]) -> io::Result<()> {
    bars().suspend(|| match stream {
        Stream::Out => {
            let mut out = io::stdout().lock();
            out.write_all(text).and_then(|()| out.flush())
        }
        Stream::Err => io::stderr().lock().write_all(text),
    })
}

/// Writes a text to standard error in its turn. Where that is closed, the text is lost.
pub fn say(text: Vec<u8>) {
    enqueue(false, Box::new(move || drop(write_now(Stream::Err, &text))));
}

/// Writes to standard output. A reader that closes it early is no error.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("failed to write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

pub fn print_text(text: &str) -> Result<(), Failure> {
    print(|out| out.write_all(text.as_bytes()))
}

/// Writes to standard output in its turn, where that stops nothing: that it cannot be written is only warned about.
pub fn print_or_warn(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut text = Vec::new();
    // A text takes everything that is written to it.
    drop(write(&mut text));
    let task = move || {
        if let Err(failure) = bars().suspend(|| print(|out| out.write_all(&text))) {
            tracing::warn!("{}; the run goes on", failure.text());
        }
    };
    enqueue(false, Box::new(task));
}

/// Says whether questions can be asked: standard input and standard error are both a terminal.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes or a no; anything but a clear yes is a no.
///
/// A whole line is read, and the terminal left as it is: no stray key is an answer, and Ctrl-C simply ends it.
pub fn ask(question: &str) -> Result<bool, Failure> {
    let answer = ask_line(&format!("{question} [y/N] "))?.unwrap_or_default();
    Ok(is_yes(&answer))
}

pub fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Asks for a line; `None` where the input has ended.
pub fn ask_line(question: &str) -> Result<Option<String>, Failure> {
    let gone = |error: io::Error| Failure::new("failed to ask on this terminal").because(error);
    let mut err = io::stderr().lock();
    write!(err, "{question}").and_then(|()| err.flush()).map_err(gone)?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer).map_err(gone)? == 0 {
        writeln!(err).map_err(gone)?;
        return Ok(None);
    }
    Ok(Some(answer))
}

impl Output {
    pub fn has_bars(&self) -> bool {
        self.error_columns.is_some() && !self.is_quiet()
    }

    /// Says whether routine is left out.
    pub fn is_quiet(&self) -> bool {
        self.text.detail <= Detail::Brief
    }

    pub fn report(&self, failure: &Failure) {
        // A timer that meets a long run every time it fires must not send a mail each time. The exit code is the same.
        if failure.exit == Exit::LockedBriefly && self.is_quiet() {
            return;
        }
        if self.logs_json {
            tracing::error!(exit_code = failure.exit.code(), hint = failure.hint, "{}", failure.text());
        } else {
            say(failure_text(failure, self.error_styles, self.error_columns).into_bytes());
        }
    }
}

fn failure_text(failure: &Failure, styles: Styles, columns: Option<usize>) -> String {
    let alarm = styles.of(Tone::Alarm);
    let mut text = String::new();
    for (place, cause) in failure.causes.iter().enumerate() {
        if place == 0 {
            let lines = lines(&format!("error: {cause}"), columns);
            text = format!("{alarm}error:{alarm:#}{}\n", lines.strip_prefix("error:").unwrap_or(&lines));
        } else {
            text.push_str(&format!("  {}\n", lines(&format!("caused by: {cause}"), columns)));
        }
    }
    text.extend(failure.hint.iter().map(|hint| format!("{}\n", lines(&format!("hint: {hint}"), columns))));
    text
}

/// Makes a text harmless that may contain an answer of a server; its line breaks stay. With `columns` longer lines are
/// wrapped, except indented ones, which are excerpts.
pub fn lines(text: &str, columns: Option<usize>) -> String {
    let line = |line: &str| match (visible(line), columns) {
        (line, Some(columns)) if !line.starts_with(' ') => wrapped(&line, columns).join("\n"),
        (line, _) => line,
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_written_with_each_cause_and_acts_on_no_screen() {
        let source = io::Error::other("disk \u{1b}[2J gone");
        let failure = Failure::new("failed to read the profiles in /x").because(source).hint("mount it");
        assert_eq!(
            failure_text(&failure, Styles::Plain, None),
            "error: failed to read the profiles in /x\n  caused by: disk \\u{1b}[2J gone\nhint: mount it\n"
        );
        let narrow = failure_text(&Failure::new("one two three\n  four five six"), Styles::Plain, Some(14));
        assert_eq!(narrow, "error: one two\nthree\n  four five six\n");
    }
}
