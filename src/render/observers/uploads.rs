//! Running uploads: how far each is, and about how long it takes.

use crate::inventory::BackupId;
use crate::plan::bytes_text;
use crate::render::text::span_text;
use chrono::{DateTime, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long after a reading an upload is assumed to continue at its rate: FiFo is read every 30 s at the latest.
const ASSUMED_MAX: Duration = Duration::from_secs(60);

/// How often a bar is drawn again.
const TICK: Duration = Duration::from_millis(200);

/// The width of a bar between its brackets, in characters.
const BAR_LETTERS: usize = 10;

/// The running uploads of a run.
#[derive(Default)]
pub(super) struct Uploads {
    running: BTreeMap<BackupId, Upload>,
    /// What ended uploads were expected to store, in bytes.
    ended_bytes: u64,
}

struct Upload {
    name: String,
    since: DateTime<Utc>,
    expected_bytes: Option<u64>,
    pace: Arc<Mutex<Pace>>,
    bar: Option<ProgressBar>,
}

/// What readings show about the speed of an upload. Times are since its start.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// By the last reading.
    bytes: u64,
    /// The time of that reading.
    at: Duration,
}

impl Pace {
    fn bytes_per_sec(self) -> f64 {
        if self.at.is_zero() { 0.0 } else { self.bytes as f64 / self.at.as_secs_f64() }
    }

    /// Returns the bytes that are probably stored at a time after the last reading.
    fn bytes_at(self, at: Duration) -> u64 {
        let since = at.saturating_sub(self.at).min(ASSUMED_MAX);
        self.bytes.saturating_add((self.bytes_per_sec() * since.as_secs_f64()) as u64)
    }

    /// Writes how far it is: `1.2 GiB of about 3.4 GiB, about 4 min left`; what is not known is left out.
    fn text(self, at: Duration, expected_bytes: Option<u64>) -> String {
        let bytes = self.bytes_at(at);
        let mut text = bytes_text(bytes);
        // An upload that is larger than expected shows that the estimate was wrong.
        if let Some(expected) = expected_bytes.filter(|&expected| expected > bytes) {
            text.push_str(&format!(" of about {}", bytes_text(expected)));
            text.extend(self.left_text(at, expected).map(|left| format!(", about {left}")));
        }
        text
    }

    /// Writes how long the rest takes: `4 min left`; `None` where that is not known.
    fn left_text(self, at: Duration, expected_bytes: u64) -> Option<String> {
        let left = expected_bytes.checked_sub(self.bytes_at(at)).filter(|&left| left > 0)?;
        left_text(left, self.bytes_per_sec())
    }
}

/// Writes how long bytes take at a rate: `4 min left`; `None` where there is no rate.
fn left_text(bytes: u64, bytes_per_sec: f64) -> Option<String> {
    let secs = bytes as f64 / bytes_per_sec;
    // Such an estimate is no more precise than a minute.
    let secs = if secs < 120.0 { secs.ceil() } else { (secs / 60.0).ceil() * 60.0 };
    secs.is_finite().then(|| format!("{} left", span_text(secs as i64)))
}

impl Uploads {
    /// Returns the number of running uploads.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Adds an upload that began at an instant; with `bars` it is drawn.
    pub(super) fn begin(
        &mut self,
        backup: BackupId,
        name: String,
        expected_bytes: Option<u64>,
        since: DateTime<Utc>,
        bars: Option<&MultiProgress>,
    ) {
        let pace = Arc::new(Mutex::new(Pace::default()));
        let bar = bars.map(|bars| {
            let bar = bars.insert(self.running.len(), ProgressBar::new_spinner().with_message(name.clone()));
            bar.set_style(style(Arc::clone(&pace), expected_bytes));
            bar.enable_steady_tick(TICK);
            bar
        });
        self.running.insert(backup, Upload { name, since, expected_bytes, pace, bar });
    }

    /// Takes note of a reading.
    pub(super) fn record(&self, backup: BackupId, bytes: u64, now: DateTime<Utc>) {
        if let Some(upload) = self.running.get(&backup) {
            // A bar has a clock of its own, by which it is drawn between readings.
            let at = upload.bar.as_ref().map_or_else(|| upload.age(now), ProgressBar::elapsed);
            *upload.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace { bytes, at };
        }
    }

    /// Removes the uploads that match a predicate on backup and name.
    pub(super) fn end(&mut self, is_it: impl Fn(BackupId, &str) -> bool) {
        let ended_bytes = &mut self.ended_bytes;
        self.running.retain(|id, upload| {
            let has_ended = is_it(*id, &upload.name);
            if has_ended {
                *ended_bytes = ended_bytes.saturating_add(upload.expected_bytes.unwrap_or(0));
                upload.bar.iter().for_each(ProgressBar::finish_and_clear);
            }
            !has_ended
        });
    }

    /// Writes how far each is: `web-1 daily 1.0 MiB of about 3.0 MiB, about 40 s left; web-2 weekly 5.0 MiB`.
    pub(super) fn each_text(&self, now: DateTime<Utc>) -> String {
        let text = |upload: &Upload| {
            format!("{} {}", upload.name, upload.pace().text(upload.age(now), upload.expected_bytes))
        };
        self.running.values().map(text).collect::<Vec<_>>().join("; ")
    }

    /// Writes how long all of a run that is expected to store so many bytes takes at the present speed; `None` where that
    /// is not known.
    pub(super) fn left_text(&self, expected_bytes: u64, now: DateTime<Utc>) -> Option<String> {
        let stored = self.running.values().map(|upload| upload.pace().bytes_at(upload.age(now)));
        let stored = stored.fold(self.ended_bytes, u64::saturating_add);
        let bytes_per_sec: f64 = self.running.values().map(|upload| upload.pace().bytes_per_sec()).sum();
        let left = left_text(expected_bytes.saturating_sub(stored), bytes_per_sec)?;
        Some(format!("about {left}"))
    }
}

impl Upload {
    fn age(&self, now: DateTime<Utc>) -> Duration {
        (now - self.since).to_std().unwrap_or_default()
    }

    fn pace(&self) -> Pace {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `[###.......]  131.2 MiB  ~17 s left  web-1 daily`, with a spinner and the time so far where the size is not known. What
/// has no room is cut off the name, so that no line is wrapped.
fn style(pace: Arc<Mutex<Pace>>, expected_bytes: Option<u64>) -> ProgressStyle {
    let pace = move || *pace.lock().unwrap_or_else(PoisonError::into_inner);
    let (of_bar, of_bytes, of_left) = (pace.clone(), pace.clone(), pace);
    // What is written is the only result: indicatif ignores an error as well.
    let bar = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let expected = expected_bytes.unwrap_or(0).max(1);
        let bytes = of_bar().bytes_at(state.elapsed()).min(expected);
        let full = u128::from(bytes) * BAR_LETTERS as u128 / u128::from(expected);
        let full = usize::try_from(full).unwrap_or_default();
        _ = write!(out, "[{:.<BAR_LETTERS$}]", "#".repeat(full));
    };
    let bytes = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        _ = write!(out, "{}", bytes_text(of_bytes().bytes_at(state.elapsed())));
    };
    let left = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let left = expected_bytes.and_then(|expected| of_left().left_text(state.elapsed(), expected));
        _ = write!(out, "{}", left.map_or_else(String::new, |left| format!("~{left}")));
    };
    let template = match expected_bytes {
        Some(_) => "  {stored_bar}  {stored:>10}  {left:<16}  {wide_msg}",
        None => "  {spinner:<12}  {stored:>10}  {elapsed_precise:<16}  {wide_msg}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => style.with_key("stored_bar", bar).with_key("stored", bytes).with_key("left", left),
        Err(_) => ProgressStyle::default_spinner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pace(mebibytes: u64, secs: u64) -> Pace {
        Pace { bytes: mebibytes * MIB, at: Duration::from_secs(secs) }
    }

    #[test]
    fn an_upload_moves_on_at_its_rate_between_readings_and_not_for_ever() {
        let at = |secs| pace(10, 10).bytes_at(Duration::from_secs(secs)) / MIB;
        assert_eq!([at(5), at(10), at(15), at(70), at(600)], [10, 10, 15, 70, 70]);
        assert_eq!(Pace::default().bytes_at(Duration::from_secs(30)), 0);
        let absurd = Pace { bytes: u64::MAX, at: Duration::from_secs(1) };
        assert_eq!(absurd.bytes_at(Duration::from_secs(30)), u64::MAX);
    }

    #[test]
    fn time_is_estimated_where_size_and_rate_are_known() {
        let text = |pace: Pace, expected| pace.text(pace.at, expected);
        assert_eq!(text(pace(10, 10), Some(40 * MIB)), "10.0 MiB of about 40.0 MiB, about 30 s left");
        assert_eq!(text(pace(10, 10), Some(910 * MIB)), "10.0 MiB of about 910.0 MiB, about 15 min left");
        assert_eq!(text(pace(0, 10), Some(40 * MIB)), "0 B of about 40.0 MiB");
        assert_eq!(text(pace(50, 10), Some(40 * MIB)), "50.0 MiB");
        assert_eq!(text(pace(10, 10), None), "10.0 MiB");
    }

    #[test]
    fn what_is_left_of_a_run_counts_what_has_ended_and_what_runs() {
        let mut uploads = Uploads::default();
        let (since, one) = (DateTime::UNIX_EPOCH, BackupId::new(uuid::Uuid::from_u128(1)));
        let two = BackupId::new(uuid::Uuid::from_u128(2));
        uploads.begin(one, "web-1 daily".to_owned(), Some(10 * MIB), since, None);
        uploads.begin(two, "web-2 daily".to_owned(), Some(40 * MIB), since, None);
        let now = since + Duration::from_secs(10);
        assert_eq!(uploads.left_text(90 * MIB, now), None);
        uploads.end(|id, _| id == one);
        uploads.record(two, 20 * MIB, now);
        // 90 in all, 10 have ended, 20 are stored: 60 at 2 a second.
        assert_eq!(uploads.left_text(90 * MIB, now).as_deref(), Some("about 30 s left"));
        assert_eq!(uploads.each_text(now), "web-2 daily 20.0 MiB of about 40.0 MiB, about 10 s left");
    }
}
