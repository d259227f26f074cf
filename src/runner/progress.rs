//! What a person sees of a run: a line for each result, and a bar for each running upload; without a terminal, a line about the
//! running uploads from time to time.

use super::output::{self, Output, Stream, Writer, style_of};
use crate::apply::{ActionKind, ActionOutcome, ActionRef, Event, EventKind, Observer, RunCounts, VmRef};
use crate::inventory::{BackupId, VmId};
use crate::plan::bytes_text;
use crate::report::{Detail, Tone, action_text, counts_text, span_text, visible, vm_name, word, wrapped};
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often running uploads are reported where there is no terminal to draw bars on.
const REPORT_EVERY: TimeDelta = TimeDelta::seconds(30);
const TICK: Duration = Duration::from_millis(200);
/// The bar of an upload whose size is known, of one whose size is not, and the line below them.
const BAR_OF_KNOWN: &str = "  [{bar:10}]  {binary_bytes:>10}  {eta:>4} left  {wide_msg}";
const BAR_OF_UNKNOWN: &str = "  {spinner:<12}  {binary_bytes:>10}  {elapsed:>9}  {wide_msg}";
const BELOW: &str = "  {wide_msg}";

/// Writes events as text: results to standard output, progress and warnings to standard error.
///
/// [`Detail::Brief`] leaves out progress and what ended as planned; [`Detail::Errors`] the warnings as well.
pub(super) struct Progress {
    shown: Output,
    write: Writer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    uploads: BTreeMap<(VmId, BackupId), Upload>,
    /// What ended uploads were expected to store, in bytes.
    ended_bytes: u64,
    /// The line below the bars: the progress of the whole run, and what it waits for.
    overall: Option<ProgressBar>,
    waiting: String,
    reported_at: Option<DateTime<Utc>>,
    /// How many backups are to be created, how many bytes these are likely to have, and how many creates have ended.
    to_create: usize,
    expected_bytes: Option<u64>,
    created: usize,
    /// The VMs for which an action was sent to FiFo, and those for which none was when the run was stopped.
    started: BTreeSet<VmId>,
    not_started: BTreeSet<VmId>,
    /// How often an action of a kind that was not done has ended alike on a VM: the first is a line, and so is the number
    /// of the others.
    alike: BTreeMap<(String, VmId, ActionKind, ActionOutcome), usize>,
}

struct Upload {
    name: String,
    since: DateTime<Utc>,
    expected_bytes: Option<u64>,
    /// What is stored by the last reading, and when that was.
    bytes: u64,
    read_at: DateTime<Utc>,
    bar: Option<ProgressBar>,
}

fn name(at: &VmRef) -> String {
    visible(&vm_name(&at.alias, Some(at.vm)))
}

/// Writes how long bytes take at a rate: `about 4 min left`; `None` where there is no rate.
fn left_text(bytes: u64, bytes_per_sec: f64) -> Option<String> {
    let secs = bytes as f64 / bytes_per_sec;
    // Such an estimate is no more precise than a minute.
    let secs = if secs < 120.0 { secs.ceil() } else { (secs / 60.0).ceil() * 60.0 };
    secs.is_finite().then(|| format!("about {} left", span_text(secs as i64)))
}

fn clear<'b>(bars: impl IntoIterator<Item = &'b ProgressBar>) {
    bars.into_iter().for_each(ProgressBar::finish_and_clear);
}

impl Upload {
    fn bytes_per_sec(&self) -> f64 {
        let secs = (self.read_at - self.since).as_seconds_f64();
        if secs > 0.0 { self.bytes as f64 / secs } else { 0.0 }
    }

    /// Writes how far it is: `web-1 daily 1.2 GiB of about 3.4 GiB, about 4 min left`; what is not known is left out.
    fn text(&self) -> String {
        let mut text = format!("{} {}", self.name, bytes_text(self.bytes));
        // An upload that is larger than expected shows that the estimate was wrong.
        if let Some(expected) = self.expected_bytes.filter(|&expected| expected > self.bytes) {
            text.push_str(&format!(" of about {}", bytes_text(expected)));
            let left = left_text(expected - self.bytes, self.bytes_per_sec());
            text.extend(left.map(|left| format!(", {left}")));
        }
        text
    }
}

impl State {
    /// Says how far the whole run is: `5 of 92 backups done, 4 uploading, 83 waiting; about 25 min left`.
    fn overall_text(&self) -> String {
        let (done, uploading) = (self.created, self.uploads.len());
        let waiting = self.to_create.saturating_sub(done + uploading);
        let stored =
            self.uploads.values().map(|upload| upload.bytes).fold(self.ended_bytes, u64::saturating_add);
        let rate = self.uploads.values().map(Upload::bytes_per_sec).sum();
        let left = self.expected_bytes.and_then(|bytes| left_text(bytes.saturating_sub(stored), rate));
        let left = left.map_or_else(String::new, |left| format!("; {left}"));
        format!("{done} of {} backups done, {uploading} uploading, {waiting} waiting{left}", self.to_create)
    }

    fn waiting_text(&self) -> String {
        let gap = if self.waiting.is_empty() { "" } else { "; " };
        format!("{}{gap}{}", self.overall_text(), self.waiting)
    }

    /// Takes the uploads of a VM out, or the one of a backup where that is known.
    fn end_upload(&mut self, vm: VmId, backup: Option<BackupId>) {
        let has_ended = |key: &(VmId, BackupId)| key.0 == vm && backup.is_none_or(|backup| key.1 == backup);
        for (_, upload) in self.uploads.extract_if(.., |key, _| has_ended(key)) {
            self.ended_bytes = self.ended_bytes.saturating_add(upload.expected_bytes.unwrap_or(0));
            clear(&upload.bar);
        }
    }
}

impl Progress {
    /// Makes one that draws bars on standard error where that is a terminal. Write errors are for `write` to ignore: a closed
    /// terminal must not stop a backup.
    pub(super) fn new(shown: &Output, write: Writer) -> Self {
        Self { shown: shown.clone(), write, state: Mutex::default() }
    }

    fn detail(&self) -> Detail {
        self.shown.text.detail
    }

    /// Writes a line, on a terminal as several that break between words.
    fn line(&self, stream: Stream, line: &str) {
        let columns = match stream {
            Stream::Out => self.shown.out_columns,
            Stream::Err => self.shown.error_columns,
        };
        let line = match columns {
            Some(columns) => wrapped(line, columns.saturating_sub(4)).join("\n    "),
            None => line.to_owned(),
        };
        (self.write)(stream, &format!("{line}\n"));
    }

    fn report(&self, text: &str) {
        if !self.shown.has_bars() && !self.shown.is_quiet() {
            self.line(Stream::Err, text);
        }
    }

    fn styled(&self, ending: ActionOutcome) -> String {
        let style = self.shown.text.styles.of(match ending {
            ActionOutcome::Done => Tone::Create,
            ActionOutcome::Failed | ActionOutcome::Unverified => Tone::Alarm,
            _ => Tone::Wait,
        });
        format!("{style}{}{style:#}", word(&ending))
    }

    fn bar(&self, place: usize, name: &str, expected_bytes: Option<u64>) -> Option<ProgressBar> {
        let bar = match expected_bytes {
            _ if !self.shown.has_bars() => return None,
            Some(bytes) => ProgressBar::new(bytes).with_style(style_of(BAR_OF_KNOWN).progress_chars("#>.")),
            None => ProgressBar::new_spinner().with_style(style_of(BAR_OF_UNKNOWN)),
        };
        let bar = output::bars().insert(place, bar);
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(TICK);
        Some(bar)
    }

    fn record(&self, state: &mut State, key: (VmId, BackupId), bytes: u64, now: DateTime<Utc>) {
        if let Some(upload) = state.uploads.get_mut(&key) {
            (upload.bytes, upload.read_at) = (bytes, now);
            upload.bar.iter().for_each(|bar| bar.set_position(bytes));
        }
        if now - *state.reported_at.get_or_insert(now) >= REPORT_EVERY {
            state.reported_at = Some(now);
            let each: Vec<String> = state.uploads.values().map(Upload::text).collect();
            self.report(&format!("{}: {}", state.overall_text(), each.join("; ")));
        }
    }

    fn draw_overall(&self, state: &mut State) {
        let is_of_use = !state.waiting.is_empty() || state.to_create > 1 && !state.uploads.is_empty();
        if !self.shown.has_bars() || !is_of_use {
            return clear(&state.overall.take());
        }
        let text = state.waiting_text();
        let below = || output::bars().add(ProgressBar::new_spinner().with_style(style_of(BELOW)));
        state.overall.get_or_insert_with(below).set_message(text);
    }

    fn end(&self, state: &mut State, at: &VmRef, step: &ActionRef, ending: ActionOutcome, message: &str) {
        let kind = step.kind;
        if ending == ActionOutcome::Interrupted && !state.started.contains(&at.vm) {
            state.not_started.insert(at.vm);
            return;
        }
        if kind == ActionKind::Create {
            state.created += 1;
            state.end_upload(at.vm, step.backup);
        }
        let went_well =
            matches!(ending, ActionOutcome::Done | ActionOutcome::Started | ActionOutcome::HandedOver);
        if self.shown.is_quiet() && went_well {
            return;
        }
        if ending != ActionOutcome::Done && self.detail() < Detail::Full {
            let count = state.alike.entry((name(at), at.vm, kind, ending)).or_default();
            *count += 1;
            if *count > 1 {
                return;
            }
        }
        let (name, tier, message) = (name(at), visible(&step.tier), visible(message));
        let line = format!("{name}  {} {tier}: {}, {message}", action_text(kind), self.styled(ending));
        self.line(Stream::Out, &line);
    }

    fn finish(&self, state: &mut State, tally: &RunCounts) {
        clear(std::mem::take(&mut state.uploads).values().filter_map(|upload| upload.bar.as_ref()));
        state.waiting.clear();
        for ((name, _, kind, ending), count) in std::mem::take(&mut state.alike) {
            if count > 1 {
                let (what, ending, more) = (action_text(kind), self.styled(ending), count - 1);
                let line = format!("{name}  {what}: {ending}, {more} more (each is in the journal)");
                self.line(Stream::Out, &line);
            }
        }
        let vms = state.not_started.len();
        if vms > 0 && self.detail() > Detail::Errors {
            let (noun, are) = if vms == 1 { ("VM", "is") } else { ("VMs", "are") };
            let line = format!("{vms} {noun} had not started and {are} left to the next run");
            self.line(Stream::Out, &line);
        }
        let is_reported = match self.detail() {
            Detail::Errors => tally.failed > 0,
            Detail::Brief => *tally != RunCounts::default(),
            Detail::Usual | Detail::Full => true,
        };
        if is_reported {
            (self.write)(Stream::Out, &format!("\n{}\n", counts_text(tally)));
        }
    }
}

impl Observer for Progress {
    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, now) = (&mut *state, event.time);
        match &event.what {
            EventKind::Started { create, expected_bytes, .. } => {
                (state.to_create, state.expected_bytes) = (*create, *expected_bytes);
            }
            EventKind::ActionStarted { at, .. } => _ = state.started.insert(at.vm),
            EventKind::Accepted { at, backup, tier, expected_bytes } => {
                let (name, expected_bytes) = (format!("{} {}", name(at), visible(tier)), *expected_bytes);
                let bar = self.bar(state.uploads.len(), &name, expected_bytes);
                let upload = Upload { name, since: now, expected_bytes, bytes: 0, read_at: now, bar };
                state.uploads.insert((at.vm, *backup), upload);
            }
            EventKind::Progress { at, backup, bytes, .. } => {
                self.record(state, (at.vm, *backup), *bytes, now);
            }
            EventKind::Waiting(waiting) => {
                state.waiting = visible(&waiting.message);
                if !state.waiting.is_empty() {
                    self.report(&state.waiting_text());
                }
            }
            EventKind::ActionEnded { at, step, outcome, message, .. } => {
                self.end(state, at, step, *outcome, message);
            }
            EventKind::Warning { message, .. } => {
                if self.detail() > Detail::Errors {
                    self.line(Stream::Err, &format!("warning: {}", visible(message)));
                }
            }
            EventKind::CascadeAlarm(alarm) => {
                let (style, alarm) = (self.shown.text.styles.of(Tone::Alarm), visible(&alarm.to_string()));
                self.line(Stream::Err, &format!("{style}SAFETY STOP{style:#}: {alarm}"));
            }
            EventKind::Finished { tally } => self.finish(state, tally),
        }
        self.draw_overall(state);
    }
}

#[cfg(test)]
mod tests;
