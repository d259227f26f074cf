//! A second look at an upload that counts as stuck, before another backup is started beside it.
//!
//! `stuck_after` is a guess: a large VM's first full backup may take longer and still be good. A second one beside it would
//! slow it down, and take as long.

use super::reader::VmReading;
use super::step::{DropReason, MovingUpload, StepError, UploadChange};
use super::worker::VmWorker;
use crate::inventory::{Backup, Vm};
use crate::plan::standing::{Standing, VmView};
use crate::policy::Policy;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;

impl VmWorker<'_> {
    /// Reads the uploads of a VM that count as stuck, and a minute later again; once in a run. Returns whether it did: then
    /// earlier readings are old.
    ///
    /// # Errors
    ///
    /// One of them has grown, or changed its state: no other is started beside it.
    pub(super) async fn check_stuck_twice(&mut self, seen: &VmReading) -> Result<bool, StepError> {
        let now = self.now_by(seen);
        if self.has_checked_stuck || stuck(&seen.vm, self.policy()?, now).is_empty() {
            return Ok(false);
        }
        self.has_checked_stuck = true;
        // The list both times: a single reading can stay old indefinitely.
        let before = self.read_in_list().await?;
        let pause = sleep(self.context.executor.settings.timing.stuck_recheck);
        self.wait(pause).await.map_err(|cut| self.cut_short(cut))?;
        let after = self.read_in_list().await?;
        let policy = self.policy()?;
        for old in stuck(&before, policy, now) {
            if let Some(new) = after.backups.get(old.id).filter(|new| has_moved(old, new)) {
                return Err(still_moves(old, new, policy, now));
            }
        }
        Ok(true)
    }
}

fn stuck<'v>(vm: &'v Vm, policy: &'v Policy, now: DateTime<Utc>) -> Vec<&'v Backup> {
    let view = VmView::new(vm, policy, now);
    view.backups.iter().filter(|one| one.standing == Standing::Stuck).map(|one| one.backup).collect()
}

fn has_moved(old: &Backup, new: &Backup) -> bool {
    old.size_bytes() != new.size_bytes() || old.state != new.state
}

fn still_moves(old: &Backup, new: &Backup, policy: &Policy, now: DateTime<Utc>) -> StepError {
    let age = old.timestamp.map_or(policy.stuck_after, |taken| now - taken);
    // Twice as long as it has taken so far, in whole hours.
    let advised = TimeDelta::hours(age.num_hours() * 2 + 2);
    let change = if old.state == new.state {
        UploadChange::Grew { from: old.size_bytes().unwrap_or(0), to: new.size_bytes().unwrap_or(0) }
    } else {
        UploadChange::State { from: old.state.clone(), to: new.state.clone() }
    };
    StepError::Dropped(DropReason::NotStuck(MovingUpload {
        backup: old.id,
        change,
        stuck_after: policy.stuck_after,
        policy: policy.name.to_string(),
        advised,
    }))
}
