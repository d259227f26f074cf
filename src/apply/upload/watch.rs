//! Watches every moving upload: those of this run and those of others, each with the slot that it holds.
//!
//! A single reading of a VM can stay old indefinitely, so that the list is read where nothing changes for a while: lists
//! are large, so that one serves all uploads, and an upload that hangs asks for one less and less often.

use super::moving::{CHECK, STUCK_AFTER_DEFAULT, Upload, Which, has_upload, is_under_way};
use crate::apply::event::EventKind;
use crate::apply::executor::Run;
use crate::apply::outcome::{Ended, VmRef};
use crate::apply::reader::{ReadError, VmReading};
use crate::apply::timing::BLIND_MAX;
use crate::inventory::{Backup, Inventory, Vm};
use crate::plan::bytes_text;
use crate::policy::Match;
use chrono::TimeDelta;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// While nothing changes, the list is read this often at the least.
const LIST_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

impl Upload {
    /// Watches it until it is completed, and returns the reading that shows it. An error is another end; where that is no
    /// failure, nothing could be read for long, and it may run on.
    pub(crate) async fn completed(&mut self, run: &Run<'_>) -> Result<VmReading, Ended> {
        loop {
            sleep(run.executor.settings.timing.look_after(self.began.elapsed())).await;
            let is_over = Instant::now() >= self.until;
            if self.tier.is_some() || run.slots.is_waited_for() {
                match self.look(run).await {
                    Ok(Some(end)) => return end,
                    Ok(None) => self.record(run),
                    // A reading that failed keeps the slot taken: one slot too few for a while does no harm.
                    Err(error) => {
                        let since = *self.blind_since.get_or_insert_with(Instant::now);
                        if error.is_final() || since.elapsed() >= BLIND_MAX {
                            return Err(self.unreadable(&error));
                        }
                    }
                }
            }
            if is_over {
                let at = bytes_text(self.last.as_ref().and_then(Backup::size_bytes).unwrap_or(0));
                let text = format!("the upload of {} is stuck at {at}; {CHECK}", self.name());
                return Err(Ended::failed("upload_stuck", text));
            }
        }
    }

    fn record(&mut self, run: &Run<'_>) {
        self.blind_since = None;
        let Some(backup) = &self.last else { return };
        let progress = run.executor.progress.record(backup);
        self.slot.record(&self.at, backup, progress);
        if let Some(tier) = &self.tier {
            run.emit(EventKind::Progress {
                at: self.at.clone(),
                backup: backup.id,
                tier: tier.clone(),
                bytes: backup.size_bytes().unwrap_or(0),
            });
        }
    }

    /// Looks once: in a reading of the VM, and in the list where that has shown nothing new for long. Returns how it has
    /// ended, if it has.
    async fn look(&mut self, run: &Run<'_>) -> Result<Option<Result<VmReading, Ended>>, ReadError> {
        if let Which::Known(_) = self.which {
            let end = match run.reader.read(self.at.vm).await {
                // The list decides whether the VM is gone.
                Err(ReadError::Gone) => None,
                seen => self.find(seen?, false),
            };
            if end.is_some() {
                return Ok(end);
            }
        }
        if self.unchanged_since.elapsed() < self.list_after {
            return Ok(None);
        }
        self.unchanged_since = Instant::now();
        self.list_after = (self.list_after * 2).min(LIST_AFTER_MAX);
        let listed = run.reader.in_list(self.at.vm).await;
        let is_proof = run.reader.proves_absence();
        Ok(match listed {
            Err(ReadError::Gone) => is_proof.then(|| {
                let text = format!("the VM has vanished during the upload of {}", self.name());
                Err(Ended::failed("vm_gone", text))
            }),
            vm => self.find(VmReading::of_list(vm?), is_proof),
        })
    }
}

/// Watches the uploads that no VM of this run waits for, while one waits for a slot. Never ends.
pub(crate) async fn watch(run: &Run<'_>, mut registered: mpsc::UnboundedReceiver<Upload>) -> Infallible {
    let to_its_end = |mut upload: Upload| async move {
        // One that cannot be read keeps its slot, and no longer than it counts as running.
        while upload.completed(run).await.is_err_and(|end| !end.is_failed()) && Instant::now() < upload.until
        {
        }
    };
    let mut watched = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(upload) = registered.recv() => watched.push(to_its_end(upload)),
            Some(()) = watched.next(), if !watched.is_empty() => {}
        }
    }
}

/// Registers the uploads that run already, whichever policy their VM is in, if any. Each that makes progress takes a slot,
/// beyond the limits too.
pub(crate) fn register_foreign(run: &Run<'_>, inventory: &Inventory) {
    let executor = run.executor;
    let now = executor.clock.now();
    let vms: Vec<&Vm> = inventory.vms.values().filter(|vm| has_upload(vm)).collect();
    let ids = vms.iter().flat_map(|vm| vm.backups.values()).filter(|backup| is_under_way(backup));
    executor.progress.keep_only(&ids.map(|backup| backup.id).collect());
    for vm in vms {
        let Some(hypervisor) = &vm.hypervisor else { continue };
        let stuck_after = match executor.policies.policy_for(vm) {
            Match::One(policy) => policy.stuck_after,
            Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,
        };
        for backup in vm.backups.values().filter(|backup| is_under_way(backup)) {
            // A date ahead of this clock does not show how long the upload has been running. It is limited to now, as in the
            // planner: otherwise one wrong clock would hold a slot, and with it the run, until that date.
            let Some(age) = backup.timestamp.map(|taken| now - taken) else { continue };
            if age.abs() >= stuck_after {
                continue;
            }
            let at = VmRef { vm: vm.id, alias: vm.alias.clone() };
            let left = stuck_after - age.max(TimeDelta::zero());
            let upload = Upload::new(at, Which::Known(backup.id), run.slots.occupy(hypervisor), left);
            upload.slot.record(&upload.at, backup, executor.progress.record(backup));
            run.register(upload);
        }
    }
}
