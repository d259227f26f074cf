//! Asks the storage whether a backup is what FiFo says: one that this run has made, and the one that a delete would rely on.

use crate::apply::outcome::Ended;
use crate::apply::proof::{Headers, Proof};
use crate::apply::reader::VmReading;
use crate::apply::vm::{VmRun, WaitError};
use crate::inventory::{BackupId, Vm};
use crate::plan::standing::{BackupView, VmView};

impl<'a> VmRun<'a> {
    fn store(&self) -> Option<&'a dyn Proof> {
        self.run.executor.proof.filter(|proof| proof.has_store())
    }

    /// Looks at the beginnings of a backup's objects, once they were right never again in this run.
    pub(crate) async fn headers(&mut self, vm: &Vm, backup: BackupId) -> Headers {
        let Some(proof) = self.store() else { return Headers::Right };
        if let Some(None) = self.known.asked.get(&backup) {
            return Headers::Right;
        }
        let checked = match self.wait(proof.check(vm, backup)).await {
            Ok(checked) => checked,
            Err(WaitError::Stopped) => Headers::Unread("this run ends".to_owned()),
            Err(WaitError::HandedOver) => Headers::Unread(self.run.hand_over_cause().to_owned()),
            Err(WaitError::Refused(error)) => Headers::Unread(error.to_string()),
        };
        match &checked {
            Headers::Right => self.known.asked.insert(backup, None),
            Headers::Wrong(_) => self.known.asked.remove(&backup),
            Headers::Unread(why) => self.known.asked.insert(backup, Some(why.clone())),
        };
        checked
    }

    /// Says whether the run ends, or leaves what waits to the next one.
    pub(crate) fn is_ending(&self) -> bool {
        self.run.stop.is_cancelled() || self.run.hand_over_now.is_cancelled()
    }

    /// Asks about the newest restorable backup of the VM before anything of it is deleted. Says whether it was asked, so that the
    /// VM is to be read and decided again.
    ///
    /// Whatever made that backup, this run, one that was killed, or another hand: nothing goes before it is known to be there.
    pub(crate) async fn must_prove(&mut self, seen: &VmReading) -> Result<bool, Ended> {
        let Some(policy) = self.policy_of(&seen.vm) else { return Ok(false) };
        let newest = VmView::new(&seen.vm, policy, self.now_by(seen)).newest_restorable().map(BackupView::id);
        let Some(newest) = newest.filter(|_| self.store().is_some()) else { return Ok(false) };
        let unread = match self.known.asked.get(&newest) {
            Some(None) => return Ok(false),
            Some(Some(why)) => why.clone(),
            None => match self.headers(&seen.vm, newest).await {
                Headers::Right => return Ok(true),
                Headers::Wrong(why) => {
                    self.run.warn(&self.at, why);
                    return Ok(true);
                }
                Headers::Unread(why) => why,
            },
        };
        let text = format!(
            "nothing was done: the storage does not show whether the newest backup is good ({unread}); the next run asks again"
        );
        Err(Ended::left("store_unread", text))
    }
}
