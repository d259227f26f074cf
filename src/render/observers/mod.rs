//! Observers of a run: text with a line for each result and a bar for each running upload, and JSON lines.

mod uploads;

use super::cells::wrapped;
use super::text::{Detail, TextOptions};
use super::visible;
use crate::apply::{
    ActionKind, ActionOutcome, ActionRef, Event, EventKind, Observer, RunCounts, VmRef, Waiting,
};
use crate::inventory::VmId;
use crate::report::{action_text, counts_text, outcome_text as ending_text};
use anstyle::Style;
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use uploads::Uploads;

/// How often running uploads are reported where there is no terminal to draw bars on.
const REPORT_EVERY: TimeDelta = TimeDelta::seconds(30);

/// Which of the streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard output: lines are wrapped between words.
    pub out: bool,
    /// Standard error: running uploads are drawn as bars, and lines are wrapped.
    pub err: bool,
}

/// Writes events as text: results to `out`, progress to `err`.
///
/// Write errors are ignored: a closed terminal must not stop a backup.
pub struct TextObserver {
    options: TextOptions,
    terminals: Terminals,
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    uploads: Uploads,
    /// The line below the bars: the progress of the whole run, and what it waits for.
    overall: Option<ProgressBar>,
    waiting: String,
    reported_at: Option<DateTime<Utc>>,
    /// How many backups are to be created, how many bytes these are likely to have, and how many creates have ended.
    to_create: usize,
    expected_bytes: Option<u64>,
    created: usize,
    /// The VMs for which an action was sent to FiFo.
    started: BTreeSet<VmId>,
    /// The VMs for which none was sent when the run was stopped.
    not_started: BTreeSet<VmId>,
    /// How often an action of a kind that was not done has ended alike on a VM: the first is a line, and so is the number
    /// of the others.
    alike: BTreeMap<(String, VmId, ActionKind, ActionOutcome), usize>,
}

impl State {
    /// Says how far the whole run is: `5 of 92 backups done, 4 uploading, 83 waiting; about 25 min left`.
    fn overall(&self, now: DateTime<Utc>) -> String {
        let (done, uploading) = (self.created, self.uploads.count());
        let waiting = self.to_create.saturating_sub(done + uploading);
        let left = self.expected_bytes.and_then(|bytes| self.uploads.left_text(bytes, now));
        let left = left.map_or_else(String::new, |left| format!("; {left}"));
        format!("{done} of {} backups done, {uploading} uploading, {waiting} waiting{left}", self.to_create)
    }
}

impl TextObserver {
    /// Takes where to write. Without a terminal on standard error, running uploads are a line every 30 s.
    /// [`Detail::Brief`] leaves out progress and what ended as planned; [`Detail::Errors`] the warnings as well.
    pub fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        options: TextOptions,
        terminals: Terminals,
    ) -> Self {
        let bars = (terminals.err && options.detail > Detail::Brief)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));
        let state = State {
            out,
            err,
            uploads: Uploads::default(),
            overall: None,
            waiting: String::new(),
            reported_at: None,
            to_create: 0,
            expected_bytes: None,
            created: 0,
            started: BTreeSet::new(),
            not_started: BTreeSet::new(),
            alike: BTreeMap::new(),
        };
        Self { options, terminals, bars, state: Mutex::new(state) }
    }

    /// Writes above the bars.
    fn above_bars(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Writes a line, on a terminal as several that break between words.
    fn line(&self, is_terminal: bool, out: &mut dyn Write, line: &str) {
        if is_terminal {
            for (place, line) in wrapped(line, self.options.columns.saturating_sub(4)).iter().enumerate() {
                _ = writeln!(out, "{}{line}", if place == 0 { "" } else { "    " });
            }
        } else {
            _ = writeln!(out, "{line}");
        }
    }

    fn style_of(&self, ending: ActionOutcome) -> Style {
        match ending {
            ActionOutcome::Done => self.options.styles.create,
            ActionOutcome::Started
            | ActionOutcome::HandedOver
            | ActionOutcome::Dropped
            | ActionOutcome::Interrupted => self.options.styles.wait,
            ActionOutcome::Failed | ActionOutcome::Unverified => self.options.styles.alarm,
        }
    }

    /// Reports running uploads where there are no bars, and from time to time only.
    fn report_progress(&self, state: &mut State, now: DateTime<Utc>) {
        let reported_at = *state.reported_at.get_or_insert(now);
        if self.bars.is_none() && self.options.detail > Detail::Brief && now - reported_at >= REPORT_EVERY {
            state.reported_at = Some(now);
            _ = writeln!(state.err, "{}: {}", state.overall(now), state.uploads.each_text(now));
        }
    }

    fn report_waiting(&self, state: &mut State, waiting: &Waiting, now: DateTime<Utc>) {
        state.waiting = visible(&waiting.message);
        if self.bars.is_none() && self.options.detail > Detail::Brief && !state.waiting.is_empty() {
            _ = writeln!(state.err, "{}; {}", state.overall(now), state.waiting);
        }
    }

    /// Draws the line below the bars, if there are any.
    fn draw_overall(&self, state: &mut State, now: DateTime<Utc>) {
        let Some(bars) = &self.bars else { return };
        let is_busy = state.uploads.count() > 0 || !state.waiting.is_empty();
        if state.to_create < 2 && state.waiting.is_empty() || !is_busy {
            state.overall.take().iter().for_each(ProgressBar::finish_and_clear);
            return;
        }
        let mut message = state.overall(now);
        if !state.waiting.is_empty() {
            message = format!("{message}; {}", state.waiting);
        }
        let line = state.overall.get_or_insert_with(|| {
            let line = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
                line.set_style(style);
            }
            line
        });
        line.set_message(message);
    }

    fn end(&self, state: &mut State, at: &VmRef, step: &ActionRef, ending: ActionOutcome, message: &str) {
        let ActionRef { kind, tier, backup, .. } = step;
        let (kind, backup) = (*kind, *backup);
        let what = action_text(kind);
        if ending == ActionOutcome::Interrupted && !state.started.contains(&at.vm) {
            state.not_started.insert(at.vm);
            return;
        }
        if kind == ActionKind::Create {
            state.created += 1;
            // The backup identifies an upload; a failed create has none, so then the name does.
            let name = upload_name(at, tier);
            state.uploads.end(|id, other| Some(id) == backup || other == name);
        }
        let word = ending_text(ending);
        if self.options.detail <= Detail::Brief
            && matches!(ending, ActionOutcome::Done | ActionOutcome::Started | ActionOutcome::HandedOver)
        {
            return;
        }
        if ending != ActionOutcome::Done && self.options.detail < Detail::Full {
            let count = state.alike.entry((at.alias.clone(), at.vm, kind, ending)).or_default();
            *count += 1;
            if *count > 1 {
                return;
            }
        }
        let style = self.style_of(ending);
        let (name, message) = (format!("{}  {what} {}", visible(&at.alias), visible(tier)), visible(message));
        self.above_bars(|| {
            self.line(
                self.terminals.out,
                &mut state.out,
                &format!("{name}: {style}{word}{style:#}, {message}"),
            );
            _ = state.out.flush();
        });
    }

    /// Reports the end of the run.
    fn finish(&self, state: &mut State, tally: &RunCounts) {
        state.uploads.end(|_, _| true);
        state.overall.take().iter().for_each(ProgressBar::finish_and_clear);
        for ((alias, _, kind, ending), count) in std::mem::take(&mut state.alike) {
            if count > 1 {
                let (what, style, word) = (action_text(kind), self.style_of(ending), ending_text(ending));
                let more = count - 1;
                let line = format!(
                    "{}  {what}: {style}{word}{style:#}, {more} more (each is in the journal)",
                    visible(&alias)
                );
                self.line(self.terminals.out, &mut state.out, &line);
            }
        }
        let not_started = match state.not_started.len() {
            0 => None,
            1 => Some("1 VM had not started and is left to the next run".to_owned()),
            vms => Some(format!("{vms} VMs had not started and are left to the next run")),
        };
        if let Some(line) = not_started.filter(|_| self.options.detail > Detail::Errors) {
            _ = writeln!(state.out, "{line}");
        }
        let is_reported = match self.options.detail {
            Detail::Errors => tally.failed > 0,
            Detail::Brief => *tally != RunCounts::default(),
            Detail::Usual | Detail::Full => true,
        };
        if is_reported {
            _ = writeln!(state.out, "\n{}", counts_text(tally));
            _ = state.out.flush();
        }
    }
}

fn upload_name(at: &VmRef, tier: &str) -> String {
    format!("{} {}", visible(&at.alias), visible(tier))
}

impl Observer for TextObserver {
    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let now = event.time;
        match &event.what {
            EventKind::Started { create, expected_bytes, .. } => {
                state.to_create = *create;
                state.expected_bytes = *expected_bytes;
            }
            EventKind::ActionStarted { at, .. } => {
                state.started.insert(at.vm);
            }
            EventKind::Accepted { at, backup, tier, expected_bytes } => {
                state.uploads.begin(*backup, upload_name(at, tier), *expected_bytes, now, self.bars.as_ref());
            }
            EventKind::Progress { backup, bytes, .. } => {
                state.uploads.record(*backup, *bytes, now);
                self.report_progress(state, now);
            }
            EventKind::Waiting(waiting) => self.report_waiting(state, waiting, now),
            EventKind::ActionEnded { at, step, outcome, message, .. } => {
                self.end(state, at, step, *outcome, message)
            }
            EventKind::Warning { .. } if self.options.detail == Detail::Errors => {}
            EventKind::Warning { message, .. } => self.above_bars(|| {
                self.line(self.terminals.err, &mut state.err, &format!("warning: {}", visible(message)));
            }),
            EventKind::CascadeAlarm(alarm) => {
                let style = self.options.styles.alarm;
                let line = format!("{style}SAFETY STOP{style:#}: {}", visible(&alarm.to_string()));
                self.above_bars(|| self.line(self.terminals.err, &mut state.err, &line));
            }
            EventKind::Finished { tally } => self.finish(state, tally),
        }
        self.draw_overall(state, now);
    }
}

/// Writes each event as a JSON object in a line of its own.
pub struct JsonObserver(Mutex<Box<dyn Write + Send>>);

impl JsonObserver {
    /// Takes where to write.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(out))
    }
}

impl Observer for JsonObserver {
    fn observe(&self, event: &Event) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            _ = out.write_all(&line);
            _ = out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::BackupId;
    use crate::render::Styles;
    use std::sync::Arc;
    use uuid::Uuid;

    /// A place to write to that the test can look into.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn options(detail: Detail) -> TextOptions {
        TextOptions { styles: Styles::plain(), columns: 60, detail }
    }

    #[test]
    fn quiet_reports_only_what_did_not_go_well() {
        let paper = Paper::default();
        let people = TextObserver::new(
            Box::new(paper.clone()),
            Box::new(Paper::default()),
            options(Detail::Brief),
            Terminals::default(),
        );
        for outcome in [
            ActionOutcome::Done,
            ActionOutcome::Started,
            ActionOutcome::HandedOver,
            ActionOutcome::Failed,
            ActionOutcome::Unverified,
        ] {
            let at = VmRef { vm: VmId::new(Uuid::nil()), alias: "web-1".to_owned() };
            let step = ActionRef {
                kind: ActionKind::DeleteLocal,
                tier: "daily".to_owned(),
                parent: None,
                backup: None,
            };
            let what = EventKind::ActionEnded { at, step, outcome, code: "code", message: "so".to_owned() };
            people.observe(&Event { time: DateTime::UNIX_EPOCH, what });
        }
        assert_eq!(
            String::from_utf8(paper.0.lock().unwrap().clone()).unwrap(),
            "web-1  delete locally daily: failed, so\nweb-1  delete locally daily: unverified, so\n"
        );
    }

    #[test]
    fn what_ends_alike_on_a_vm_is_a_line_and_a_count() {
        for detail in [Detail::Errors, Detail::Brief, Detail::Usual] {
            let paper = Paper::default();
            let out = Box::new(paper.clone());
            let people =
                TextObserver::new(out, Box::new(Paper::default()), options(detail), Terminals::default());
            for number in 0..27 {
                let at = VmRef { vm: VmId::new(Uuid::nil()), alias: "web-1".to_owned() };
                let (kind, backup) = (ActionKind::DeleteCloud, Some(BackupId::new(Uuid::from_u128(number))));
                let step = ActionRef { kind, tier: "daily".to_owned(), parent: None, backup };
                let (outcome, message) = (ActionOutcome::Failed, "no".to_owned());
                let what = EventKind::ActionEnded { at, step, outcome, code: "refused", message };
                people.observe(&Event { time: DateTime::UNIX_EPOCH, what });
            }
            let tally = RunCounts { failed: 27, ..RunCounts::default() };
            people.observe(&Event { time: DateTime::UNIX_EPOCH, what: EventKind::Finished { tally } });
            let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
            let about = text.lines().filter(|line| line.contains("web-1")).collect::<Vec<_>>();
            assert_eq!(
                about,
                [
                    "web-1  delete from storage daily: failed, no",
                    "web-1  delete from storage: failed, 26 more (each is in the journal)"
                ]
            );
        }
    }

    #[test]
    fn vms_that_had_not_started_are_one_line_and_progress_counts_the_whole_run() {
        let (out, err) = (Paper::default(), Paper::default());
        let people = TextObserver::new(
            Box::new(out.clone()),
            Box::new(err.clone()),
            options(Detail::Usual),
            Terminals::default(),
        );
        let observe = |secs: i64, what| {
            let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(secs);
            people.observe(&Event { time, what });
        };
        let at =
            |number: u128| VmRef { vm: VmId::new(Uuid::from_u128(number)), alias: format!("web-{number}") };
        let step =
            || ActionRef { kind: ActionKind::Create, tier: "daily".to_owned(), parent: None, backup: None };
        observe(
            0,
            EventKind::Started {
                endpoint: String::new(),
                create: 4,
                delete_local: 0,
                delete_cloud: 0,
                expected_bytes: Some(41 << 20),
            },
        );
        let (tier, backup) = ("daily".to_owned(), BackupId::new(Uuid::nil()));
        observe(0, EventKind::ActionStarted { at: at(1), step: step() });
        observe(
            0,
            EventKind::Accepted { at: at(1), backup, tier: tier.clone(), expected_bytes: Some(11 << 20) },
        );
        for secs in [0, 31] {
            observe(secs, EventKind::Progress { at: at(1), backup, tier: tier.clone(), bytes: 1 << 20 });
        }
        for number in 1..=4 {
            let (outcome, message) = (ActionOutcome::Interrupted, "so".to_owned());
            observe(
                32,
                EventKind::ActionEnded { at: at(number), step: step(), outcome, code: "code", message },
            );
        }
        observe(33, EventKind::Finished { tally: RunCounts { interrupted: 4, ..RunCounts::default() } });
        let text = |paper: &Paper| String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text(&err),
            "0 of 4 backups done, 1 uploading, 3 waiting; about 21 min left: web-1 daily 1.0 MiB of about 11.0 MiB, about 6 min \
             left\n"
        );
        assert_eq!(
            text(&out),
            "web-1  create daily: interrupted, so\n3 VMs had not started and are left to the next run\n\n\
             Done: 0 created, 0 deleted locally; 4 interrupted.\n"
        );
    }

    #[test]
    fn the_last_line_leaves_out_what_did_not_happen() {
        let tally = RunCounts { created: 2, ..RunCounts::default() };
        assert_eq!(counts_text(&tally), "Done: 2 created, 0 deleted locally.");
        let tally = RunCounts { failed: 1, interrupted: 3, ..tally };
        assert_eq!(counts_text(&tally), "Done: 2 created, 0 deleted locally; 1 failed, 3 interrupted.");
    }
}
