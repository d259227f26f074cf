//! Compares the VMs on which earlier runs left notes of deletes in flight: a run that was killed may not have seen what its
//! delete did.

use super::super::context::Run;
use super::super::outcome::{ActionKind, VmRef};
use super::super::reader::ReadError;
use super::super::state::{Alarm, DeleteNote, LeftBehind};
use super::gate::Hold;
use crate::fifo::with_causes;
use crate::inventory::{BackupId, LocalState, Vm, VmId};
use crate::plan::expired_backups;
use chrono::TimeDelta;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A note that could not be compared for so long holds back its own VM only.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::hours(1);

const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Compares each note with the VM as the list shows it, and once more when the note is two minutes old: until then FiFo may
/// still carry the delete out. While `hold` is held no delete is sent.
pub(in super::super) async fn compare(run: &Run<'_>, notes: Vec<LeftBehind>, hold: Option<Hold<'_>>) {
    let now = run.executor.clock.now();
    let compared = notes.iter().map(|left| async move {
        match &left.note {
            Ok(note) => compare_one(run, note).await,
            Err(why) => Err(why.clone()),
        }
    });
    for (left, result) in notes.iter().zip(join_all(compared).await) {
        let Err(why) = result else { continue };
        if run.stop.is_cancelled() {
            return;
        }
        let name = left.vm.map_or_else(|| left.path.display().to_string(), |vm| vm.to_string());
        let text = format!(
            "a delete of an earlier run may have cost backups of VM {name}, and cannot be compared: {why}; look at the VM \
             in FiFo, then remove {}",
            left.path.display()
        );
        if left.time.is_none_or(|time| now - time >= GIVEN_UP_AFTER) {
            run.bar(left.vm, text);
        } else {
            run.gate.close(text);
        }
    }
    drop(hold);
}

/// Compares one note; an error is why it cannot be.
async fn compare_one(run: &Run<'_>, note: &DeleteNote) -> Result<(), String> {
    let timing = &run.executor.settings.timing;
    let began = Instant::now();
    loop {
        let age = (run.executor.clock.now() - note.time).to_std().unwrap_or_default();
        let result = look(run, note).await;
        let left = timing.note_age.saturating_sub(age.max(began.elapsed()));
        let pause = match result {
            Ok(is_over) if is_over || left.is_zero() => {
                return run.executor.notes.remove(note.vm).map_err(|error| error.to_string());
            }
            Ok(_) => left,
            Err(why) if began.elapsed() >= timing.note_age || why.is_final => return Err(why.text),
            Err(_) => AGAIN_AFTER,
        };
        tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err("the run ended".to_owned()),
            () = sleep(pause) => {}
        }
    }
}

struct NotCompared {
    text: String,
    is_final: bool,
}

/// Looks once. Returns whether the VM is gone, so that nothing is left to compare.
async fn look(run: &Run<'_>, note: &DeleteNote) -> Result<bool, NotCompared> {
    let id: VmId = note.vm;
    let vm = match run.reader.in_list(id).await {
        Ok(vm) => vm,
        Err(ReadError::Gone) if run.reader.proves_absence() => return Ok(true),
        Err(error) => return Err(NotCompared { text: with_causes(&error), is_final: error.is_final() }),
    };
    let record = vm.backups.get(note.backup);
    let shows_effect = record.is_none_or(|record| record.local == LocalState::Absent);
    if !run.reader.proves_absence() && !shows_effect {
        let text =
            "FiFo truncates its list every time, and no reading shows the effect of the delete".to_owned();
        return Err(NotCompared { text, is_final: false });
    }
    let gone = missing_that_would_be_kept(run, note, &vm);
    if gone.is_empty() {
        return Ok(false);
    }
    let at = VmRef { vm: id, alias: vm.alias.clone() };
    let now = run.executor.clock.now();
    run.raise(Alarm::vanished(now, &at, ActionKind::DeleteLocal, note.backup, gone));
    // The safety stop takes the note over.
    Err(NotCompared { text: "backups have vanished".to_owned(), is_final: true })
}

/// Returns the backups that were on record, are gone, and would be kept today; all that are gone where no policy holds.
fn missing_that_would_be_kept(run: &Run<'_>, note: &DeleteNote, now: &Vm) -> Vec<BackupId> {
    let gone = || note.records.iter().filter(|record| !now.backups.contains(record.id));
    if gone().next().is_none() {
        return Vec::new();
    }
    let mut both = now.clone();
    both.backups = now.backups.values().chain(gone()).cloned().collect();
    let expired = expired_backups(&both, run.executor.policies, run.executor.clock.now());
    gone().map(|record| record.id).filter(|id| !expired.contains(id)).collect()
}
