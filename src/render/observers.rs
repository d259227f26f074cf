//! Observers of a run: text with a line for each result and a bar for each running upload, and JSON lines.

use super::{Styles, visible};
use crate::apply::{
    ActionKind, ActionOutcome, ActionRef, Event, EventKind, Observer, RunCounts, VmRef, Waiting,
};
use crate::inventory::BackupId;
use crate::plan::bytes_text;
use anstyle::Style;
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often running uploads are told where there is no terminal to draw bars on.
const TELL_EVERY: TimeDelta = TimeDelta::seconds(30);

/// Writes events as text: results to `out`, progress to `err`.
///
/// What cannot be written is not told: a closed terminal must not stop what is being done.
pub struct TextObserver {
    styles: Styles,
    bars: Option<MultiProgress>,
    quiet: bool,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    running: BTreeMap<BackupId, Running>,
    /// The line that says what is waited for.
    waiting: Option<ProgressBar>,
    told_at: Option<DateTime<Utc>>,
}

struct Running {
    name: String,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl TextObserver {
    /// Takes where to write. With `bars`, standard error is a terminal and each running upload has a bar on it; without,
    /// they are told in a line every 30 s. `quiet` leaves both out, and what ended as it should.
    pub fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        styles: Styles,
        bars: bool,
        quiet: bool,
    ) -> Self {
        let bars =
            (bars && !quiet).then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));
        let state = State { out, err, running: BTreeMap::new(), waiting: None, told_at: None };
        Self { styles, bars, quiet, state: Mutex::new(state) }
    }

    /// Writes a line above the bars.
    fn line(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn style_of(&self, ending: ActionOutcome) -> Style {
        match ending {
            ActionOutcome::Done => self.styles.create,
            ActionOutcome::Started
            | ActionOutcome::HandedOver
            | ActionOutcome::Dropped
            | ActionOutcome::Interrupted => self.styles.wait,
            ActionOutcome::Failed | ActionOutcome::Unverified => self.styles.alarm,
        }
    }

    fn begin(&self, state: &mut State, at: &VmRef, backup: BackupId, tier: &str) {
        let name = format!("{} {}", visible(&at.alias), visible(tier));
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_message(name.clone()));
            if let Ok(style) =
                ProgressStyle::with_template("  {spinner} {elapsed_precise}  {bytes:>11}  {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        state.running.insert(backup, Running { name, bytes: 0, bar });
    }

    fn progress(&self, state: &mut State, time: DateTime<Utc>, backup: BackupId, bytes: u64) {
        if let Some(running) = state.running.get_mut(&backup) {
            running.bytes = bytes;
            if let Some(bar) = &running.bar {
                bar.set_position(bytes);
            }
        }
        let told_at = *state.told_at.get_or_insert(time);
        if self.bars.is_none() && !self.quiet && time - told_at >= TELL_EVERY {
            state.told_at = Some(time);
            let each: Vec<String> =
                state.running.values().map(|one| format!("{} {}", one.name, bytes_text(one.bytes))).collect();
            _ = writeln!(state.err, "uploading: {}", each.join(", "));
        }
    }

    /// Shows what is waited for: as the last line below the bars, or as a line each time that it is told.
    fn waiting(&self, state: &mut State, waiting: &Waiting) {
        let message = visible(&waiting.message);
        let Some(bars) = &self.bars else {
            if !self.quiet && !message.is_empty() {
                _ = writeln!(state.err, "{message}");
            }
            return;
        };
        if message.is_empty() {
            state.waiting.take().iter().for_each(ProgressBar::finish_and_clear);
            return;
        }
        let line = state.waiting.get_or_insert_with(|| {
            let line = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
                line.set_style(style);
            }
            line
        });
        line.set_message(message);
    }

    fn end(&self, state: &mut State, at: &VmRef, step: &ActionRef, ending: ActionOutcome, message: &str) {
        let (what, tier, backup) = match step {
            ActionRef::Create { tier, backup, .. } => ("create", tier, *backup),
            ActionRef::DeleteLocal { tier, backup } => ("delete locally", tier, Some(*backup)),
        };
        if matches!(step, ActionRef::Create { .. }) {
            // The bar is known by its backup, which a create that went wrong does not give: then by its name.
            let name = format!("{} {}", visible(&at.alias), visible(tier));
            state.running.retain(|id, running| {
                let is_it = Some(*id) == backup || running.name == name;
                if let (true, Some(bar)) = (is_it, &running.bar) {
                    bar.finish_and_clear();
                }
                !is_it
            });
        }
        let word = ending_text(ending);
        if self.quiet
            && matches!(ending, ActionOutcome::Done | ActionOutcome::Started | ActionOutcome::HandedOver)
        {
            return;
        }
        let style = self.style_of(ending);
        let (alias, tier, message) = (visible(&at.alias), visible(tier), visible(message));
        self.line(|| {
            _ = writeln!(state.out, "{alias}  {what} {tier}: {style}{word}{style:#}, {message}");
            _ = state.out.flush();
        });
    }
}

impl Observer for TextObserver {
    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match &event.what {
            EventKind::Started { .. } | EventKind::ActionStarted { .. } => {}
            EventKind::Accepted { at, backup, tier } => self.begin(state, at, *backup, tier),
            EventKind::Progress { backup, bytes, .. } => self.progress(state, event.time, *backup, *bytes),
            EventKind::Waiting(waiting) => self.waiting(state, waiting),
            EventKind::ActionEnded { at, step, outcome, message } => {
                self.end(state, at, step, *outcome, message)
            }
            EventKind::Warning { message, .. } => self.line(|| {
                _ = writeln!(state.err, "warning: {}", visible(message));
            }),
            EventKind::CascadeAlarm { at, backup, gone } => {
                let alarm = self.styles.alarm;
                let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
                self.line(|| {
                    _ = writeln!(
                        state.err,
                        "{alarm}CASCADE ALARM{alarm:#}: after the local delete of {backup} these backups of {} are gone: {}",
                        visible(&at.alias),
                        gone.join(", ")
                    );
                });
            }
            EventKind::Finished { tally } => {
                for running in state.running.values() {
                    running.bar.iter().for_each(ProgressBar::finish_and_clear);
                }
                state.waiting.iter().for_each(ProgressBar::finish_and_clear);
                _ = writeln!(state.out, "\n{}", counts_text(tally));
                _ = state.out.flush();
            }
        }
    }
}

/// Gives the word for how an action ended, the same as in JSON.
pub(super) fn ending_text(ending: ActionOutcome) -> &'static str {
    match ending {
        ActionOutcome::Done => "done",
        ActionOutcome::Started => "started",
        ActionOutcome::HandedOver => "left",
        ActionOutcome::Failed => "failed",
        ActionOutcome::Unverified => "unverified",
        ActionOutcome::Dropped => "dropped",
        ActionOutcome::Interrupted => "interrupted",
    }
}

/// Gives the word for a kind of action, the same as in JSON.
pub(super) fn kind_text(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::DeleteLocal => "delete_local",
    }
}

/// Writes the counts of a run in one line, always in this form: what is not there is left out behind the first two.
pub fn counts_text(tally: &RunCounts) -> String {
    let mut text = format!("Done: {} created, {} deleted locally", tally.created, tally.deleted_local);
    let others = [
        (tally.started, "started"),
        (tally.left, "left to the next run"),
        (tally.failed, "failed"),
        (tally.dropped, "dropped"),
        (tally.interrupted, "interrupted"),
    ];
    for (index, (count, word)) in others.into_iter().filter(|(count, _)| *count > 0).enumerate() {
        text.push_str(if index == 0 { "; " } else { ", " });
        text.push_str(&format!("{count} {word}"));
    }
    text.push('.');
    text
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
    use crate::inventory::VmId;
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

    #[test]
    fn quiet_reports_only_what_did_not_go_well() {
        let paper = Paper::default();
        let people = TextObserver::new(
            Box::new(paper.clone()),
            Box::new(Paper::default()),
            Styles::plain(),
            false,
            true,
        );
        for outcome in [
            ActionOutcome::Done,
            ActionOutcome::Started,
            ActionOutcome::HandedOver,
            ActionOutcome::Failed,
            ActionOutcome::Unverified,
        ] {
            let at = VmRef { vm: VmId::new(Uuid::nil()), alias: "web-1".to_owned() };
            let step =
                ActionRef::DeleteLocal { tier: "daily".to_owned(), backup: BackupId::new(Uuid::nil()) };
            let what = EventKind::ActionEnded { at, step, outcome, message: "so".to_owned() };
            people.observe(&Event { time: DateTime::UNIX_EPOCH, what });
        }
        assert_eq!(
            String::from_utf8(paper.0.lock().unwrap().clone()).unwrap(),
            "web-1  delete locally daily: failed, so\nweb-1  delete locally daily: unverified, so\n"
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
