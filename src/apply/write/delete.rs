//! Deletes: of a snapshot on the hypervisor, and of an expired backup from storage.
//!
//! A local DELETE that loses its body on the way is a delete from storage of the backup and of all that descends from it. So
//! the effect of each one is confirmed, the first one of a run goes alone, and a note on the VM's records outlives a run that
//! is killed in between. A delete from storage takes everything that descends from the backup along, so that it is only sent
//! where nothing does.

use crate::apply::outcome::{ActionKind, Ended};
use crate::apply::reader::VmReading;
use crate::apply::state::DeleteNote;
use crate::apply::vm::{Start, VmRun};
use crate::inventory::Vm;
use crate::plan::{Action, Request, VmPlan, audit, fingerprint};

impl VmRun<'_> {
    pub(crate) async fn enter_gate(&mut self, kind: ActionKind) -> Result<Start, Ended> {
        let held = self.permit.take();
        let (entered, had_to_wait) = self.wait_noting(self.run.gate.enter(self.at.vm, kind, held)).await?;
        let permit = entered.map_err(|reason| {
            Ended::left("closed", format!("nothing was done: this run sends no more deletes, since {reason}"))
        })?;
        self.permit = Some(permit);
        Ok(if had_to_wait { Start::Waited } else { Start::Now })
    }

    /// Says whether a delete from storage may be sent now, by a reading of the VM and what is decided by it.
    pub(crate) async fn may_prune(
        &mut self,
        action: &Action,
        fresh: VmPlan,
        seen: &VmReading,
    ) -> Result<Start, Ended> {
        if let Start::Waited = self.enter_gate(ActionKind::DeleteCloud).await? {
            return Ok(Start::Waited);
        }
        let kept = |why: &str| Ended::dropped("kept", format!("{why}; the next run decides again"));
        if seen.etag.is_none() && !self.run.reader.proves_absence() {
            return Err(kept("FiFo gives no version of the VM and truncates its list"));
        }
        // By itself and by the earlier clock: no other delete goes first, and ages are the least that they can be.
        let alone = VmPlan { actions: vec![action.clone()], ..fresh };
        let executor = self.run.executor;
        let Request { due_at: earlier, prune, .. } =
            Request::by_clocks(executor.clock.now(), seen.server_date, executor.settings.prune);
        let request = Request { now: earlier, due_at: earlier, prune };
        let broken = audit::audit_vm(&alone, &seen.vm, executor.policies, request);
        if let Some(why) = broken.first() {
            return Err(kept(why));
        }
        // Behind a cache both the reading and the check of its version may be old.
        if !self.known.is_listed {
            let is_same = |vm: &Vm| fingerprint(vm) == fingerprint(&seen.vm);
            let recent = self.run.reader.in_recent_list(self.at.vm).await;
            if !recent.is_some_and(|vm| is_same(&vm)) {
                let listed = self.run.reader.in_list(self.at.vm).await;
                if !is_same(&listed.map_err(|error| self.unreadable(error))?) {
                    return Err(kept("the list shows the VM otherwise than its own reading"));
                }
            }
            self.known.is_listed = true;
            // While the list was waited for, another delete may have become unclear.
            return self.enter_gate(ActionKind::DeleteCloud).await;
        }
        Ok(Start::Now)
    }

    /// Takes note of a local delete that is about to be sent, once for all of its requests.
    pub(crate) fn take_note(&mut self, action: &Action, vm: &Vm) -> Result<(), Ended> {
        let Some(backup) = action.as_local_delete().and_then(|delete| delete.backup) else { return Ok(()) };
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.has_note) else { return Ok(()) };
        let note = DeleteNote::new(self.run.executor.clock.now(), backup, vm);
        self.run.executor.notes.note(&note).map_err(|error| {
            let why =
                "without a note on disk a kill would hide what the delete did, and that could not be written";
            Ended::failed("state_folder", format!("nothing was done: {why}: {error}"))
        })?;
        attempt.has_note = true;
        Ok(())
    }

    pub(crate) fn forget_note(&mut self) {
        let Some(attempt) = &mut self.attempt else { return };
        if std::mem::take(&mut attempt.has_note)
            && let Err(error) = self.run.executor.notes.remove(self.at.vm)
        {
            let text = format!("the note on a delete that is confirmed could not be removed: {error}");
            self.run.warn(&self.at, text);
        }
    }
}
