//! Compares the VMs on which earlier runs left notes of deletes in flight: a run that was killed may not have seen what its
//! delete did.

use super::gate::Hold;
use crate::apply::executor::Run;
use crate::apply::outcome::{ActionKind, VmRef};
use crate::apply::reader::ReadError;
use crate::apply::state::{Alarm, DeleteNote, LeftBehind};
use crate::apply::timing::NOTE_AGE;
use crate::fifo::with_causes;
use crate::inventory::{BackupId, LocalState, Vm};
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
pub(crate) async fn compare(run: &Run<'_>, notes: Vec<LeftBehind>, hold: Option<Hold<'_>>) {
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
        let path = left.path.display();
        let name = left.vm.map_or_else(|| path.to_string(), |vm| vm.to_string());
        let text = format!(
            "a delete of an earlier run may have cost backups of VM {name}, and cannot be compared: {why}; look at the VM \
             in FiFo, then remove {path}"
        );
        if left.time.is_some_and(|time| now - time < GIVEN_UP_AFTER) {
            run.gate.close(text);
            continue;
        }
        if let Some(vm) = left.vm {
            run.gate.bar(vm, text.clone());
        }
        run.report().uncompared.push(text);
    }
    drop(hold);
}

async fn compare_one(run: &Run<'_>, note: &DeleteNote) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let age = (run.executor.clock.now() - note.time).to_std().unwrap_or_default();
        let left = NOTE_AGE.saturating_sub(age.max(began.elapsed()));
        let pause = match look(run, note).await {
            Ok(is_over) if is_over || left.is_zero() => {
                return run.executor.notes.remove(note.vm).map_err(|error| error.to_string());
            }
            Ok(_) => left,
            Err(why) if began.elapsed() >= NOTE_AGE => return Err(why),
            Err(_) => AGAIN_AFTER,
        };
        tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err("the run ended".to_owned()),
            error = run.reader.refused() => return Err(with_causes(&error)),
            () = sleep(pause) => {}
        }
    }
}

/// Looks once. Returns whether the VM is gone, so that nothing is left to compare.
async fn look(run: &Run<'_>, note: &DeleteNote) -> Result<bool, String> {
    let vm = match run.reader.in_list(note.vm).await {
        Ok(vm) => vm,
        Err(ReadError::Gone) if run.reader.proves_absence() => return Ok(true),
        Err(error) => return Err(with_causes(&error)),
    };
    let record = vm.backups.get(note.backup);
    if !run.reader.proves_absence() && record.is_some_and(|record| record.local != LocalState::Absent) {
        let why = "FiFo truncates its list every time, and no reading shows the effect of the delete";
        return Err(why.to_owned());
    }
    let gone = missing_that_would_be_kept(run, note, &vm);
    if gone.is_empty() {
        return Ok(false);
    }
    let at = VmRef { vm: vm.id, alias: vm.alias };
    let now = run.executor.clock.now();
    // The safety stop takes the note over, and ends the run.
    run.raise(Alarm::vanished(now, &at, ActionKind::DeleteLocal, note.backup, gone));
    Err("backups have vanished".to_owned())
}

/// Returns the backups that were on record, are gone, and would be kept today; all that are gone where no policy holds.
fn missing_that_would_be_kept(run: &Run<'_>, note: &DeleteNote, now: &Vm) -> Vec<BackupId> {
    let gone = || note.records.iter().filter(|record| !now.backups.contains(record.id));
    if gone().next().is_none() {
        return Vec::new();
    }
    let both = Vm { backups: now.backups.values().chain(gone()).cloned().collect(), ..now.clone() };
    let expired = expired_backups(&both, run.executor.policies, run.executor.clock.now());
    gone().map(|record| record.id).filter(|id| !expired.contains(id)).collect()
}
