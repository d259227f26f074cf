//! What outlives the runs of one machine: its notes on deletes in flight, and its safety stop.

use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::{DeleteNote, LeftBehind, Notes};
use fifo_retain::inventory::VmId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// A note that could not be compared for so long holds back its own VM only.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::hours(1);

/// So many runs are refused before somebody lifts the stop without having found the cause.
const REFUSED_RUNS: u32 = 2;

#[derive(Default)]
pub(crate) struct StateFolder(Mutex<State>);

#[derive(Default)]
struct State {
    notes: BTreeMap<VmId, DeleteNote>,
    /// The VMs with a note of an earlier run that this one has not removed.
    left: BTreeSet<VmId>,
    is_stopped: bool,
    refused_runs: u32,
}

impl StateFolder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_stop(&self) {
        self.state().is_stopped = true;
    }

    /// Says whether a run must not begin. After some that were refused a person has lifted the stop, and this returns `true`
    /// a last time.
    pub(crate) fn refuses_run(&self) -> bool {
        let mut state = self.state();
        state.refused_runs += u32::from(state.is_stopped);
        state.is_stopped
    }

    /// Says whether the stop is set and a person lifts it by now, whether or not the cause is found.
    pub(crate) fn is_to_be_lifted(&self) -> bool {
        let state = self.state();
        state.is_stopped && state.refused_runs >= REFUSED_RUNS
    }

    pub(crate) fn lift(&self) {
        *self.state() = State::default();
    }

    /// A new run begins: what is there is of runs that have ended.
    pub(crate) fn run_begins(&self) {
        let mut state = self.state();
        state.left = state.notes.keys().copied().collect();
    }

    /// Says why a delete of a VM must not be sent now: a note of an earlier run has not been compared, or there is no note.
    pub(crate) fn wrong_with_delete(
        &self,
        vm: Uuid,
        is_local: bool,
        now: DateTime<Utc>,
    ) -> Option<&'static str> {
        let state = self.state();
        let is_held = |id: &VmId| {
            let note = &state.notes[id];
            id.uuid() == vm || now - note.time < GIVEN_UP_AFTER
        };
        if state.left.iter().any(is_held) {
            Some("a delete while the note of an earlier one is being compared")
        } else if is_local && !state.notes.contains_key(&VmId::new(vm)) {
            Some("a local delete without a note")
        } else {
            None
        }
    }
}

impl Notes for StateFolder {
    fn note(&self, note: &DeleteNote) -> io::Result<()> {
        let mut state = self.state();
        if state.notes.contains_key(&note.vm) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.notes.insert(note.vm, note.clone());
        Ok(())
    }

    fn remove(&self, vm: VmId) -> io::Result<()> {
        let mut state = self.state();
        state.notes.remove(&vm);
        state.left.remove(&vm);
        Ok(())
    }

    fn left_behind(&self) -> Vec<LeftBehind> {
        let left = |note: &DeleteNote| LeftBehind {
            path: PathBuf::from(format!("in-flight-{}.json", note.vm)),
            vm: Some(note.vm),
            time: Some(note.time),
            note: Ok(note.clone()),
        };
        self.state().notes.values().map(left).collect()
    }
}
