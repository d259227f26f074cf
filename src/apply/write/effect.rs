//! What a reading shows of a write that was sent: that it is done, or that more has gone than was to go.

use super::super::timing::CLOCK_SKEW_MAX;
use crate::inventory::{Backup, BackupId, LocalState, Vm};
use crate::plan::{Action, Create};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

/// A write that FiFo has received, or may have.
#[derive(Clone, Debug)]
pub(in super::super) struct Sent {
    pub(in super::super) action: Action,
    /// Every backup that was on record by the reading that the write was decided on.
    pub(in super::super) before: BTreeSet<BackupId>,
    /// The backups that are planned to be deleted from storage: another run may carry out the same plan.
    pub(in super::super) may_go: BTreeSet<BackupId>,
    /// When it was sent, by FiFo's clock; `None` where FiFo sends no date: then the date of a backup shows nothing.
    pub(in super::super) asked_at: Option<DateTime<Utc>>,
    /// The new backup, where FiFo has named it.
    pub(in super::super) named: Option<BackupId>,
    /// Whether FiFo has accepted it.
    pub(in super::super) was_accepted: bool,
}

/// What a reading shows of a write.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Effect {
    /// It is done; of a create this is the new backup.
    Seen(BackupId),
    /// A delete is done, and these have gone that were to stay.
    Vanished(Vec<BackupId>),
}

impl Sent {
    /// Returns what a reading shows; `None` where it shows nothing of the write, since it is older or nothing was done.
    ///
    /// A backup counts as vanished only in a reading that shows the delete's own effect: any other may be of a node that
    /// has not seen the backup yet.
    pub(in super::super) fn effect(&self, vm: &Vm) -> Option<Effect> {
        let named = match &self.action {
            Action::Create(create) => return self.new_backup(vm, create).map(Effect::Seen),
            Action::DeleteLocal(delete) => delete.backup?,
            Action::DeleteCloud(delete) => delete.backup,
        };
        let record = vm.backups.get(named);
        let is_prune = self.action.is_cloud_delete();
        let is_done = match record {
            Some(record) => !is_prune && record.local == LocalState::Absent,
            None => true,
        };
        if !is_done {
            return None;
        }
        let may_go = |id: &BackupId| is_prune && *id == named || self.may_go.contains(id);
        let gone: Vec<BackupId> =
            self.before.iter().copied().filter(|id| !vm.backups.contains(*id) && !may_go(id)).collect();
        Some(if gone.is_empty() { Effect::Seen(named) } else { Effect::Vanished(gone) })
    }

    /// Returns whether a reading that shows the effect ends the wait for it. A local delete that got no clear answer may
    /// still arrive, without its body.
    pub(in super::super) fn is_over_when_seen(&self) -> bool {
        self.was_accepted || !self.action.is_local_delete()
    }

    /// Finds the backup that a create has made: one that was not there before, with its comment and no other parent, and
    /// stamped no earlier than FiFo's clocks allow. Of several, the oldest.
    fn new_backup(&self, vm: &Vm, create: &Create) -> Option<BackupId> {
        let is_empty = |backup: &Backup| backup.comment.as_deref() == Some("");
        if let Some(named) = self.named.and_then(|named| vm.backups.get(named)).filter(|it| !is_empty(it)) {
            return Some(named.id);
        }
        self.new_backups(vm)
            .filter(|backup| backup.comment.as_deref() == Some(create.comment.as_str()))
            .filter(|backup| backup.parent.is_none() || backup.parent == create.parent)
            .min_by_key(|backup| (backup.timestamp, backup.id))
            .map(|backup| backup.id)
    }

    /// Finds the backup that FiFo makes of a create whose body was lost on the way: a full one with an empty comment.
    pub(in super::super) fn without_body(&self, vm: &Vm) -> Option<BackupId> {
        let is_without = |backup: &&Backup| backup.comment.as_deref() == Some("") && backup.parent.is_none();
        let found = self.new_backups(vm).find(is_without)?;
        (self.action.is_create() && self.was_accepted).then_some(found.id)
    }

    fn new_backups<'v>(&self, vm: &'v Vm) -> impl Iterator<Item = &'v Backup> {
        let earliest = self.asked_at.map(|asked_at| asked_at - CLOCK_SKEW_MAX);
        vm.backups.values().filter(|backup| !self.before.contains(&backup.id)).filter(move |backup| {
            backup.timestamp.is_none_or(|taken| earliest.is_none_or(|earliest| taken >= earliest))
        })
    }
}
