//! The reason why a backup is kept, in words.

use crate::plan::due::cannot_back_up;
use crate::plan::keep::{EVIDENCE_AGE_MAX, Keep, Keeps, has_unknown_parent};
use crate::plan::notes::{name_of, newest_text, time_text};
use crate::plan::standing::{BackupView, VmView};
use crate::policy::Tier;
use serde::Serialize;
use std::num::NonZeroU32;

/// Why something stays, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub code: &'static str,
    pub why: String,
    /// What has to happen before this reason no longer applies; `None` when it always does.
    pub until: Option<String>,
}

impl Reason {
    fn new(code: &'static str, why: &str, until: &str) -> Self {
        let until = Some(until.to_owned()).filter(|until| !until.is_empty());
        Self { code, why: why.to_owned(), until }
    }

    pub(super) fn no_policy() -> Self {
        Self::new("no_policy", "the VM belongs to no policy, or to more than one", "")
    }
}

/// What keeps a VM's backups; by [position](crate::inventory::Backups::position).
#[derive(Clone, Copy)]
pub(super) struct Reasons<'v, 'a> {
    pub(super) view: &'v VmView<'a>,
    pub(super) keeps: &'v Keeps,
}

impl<'v, 'a> Reasons<'v, 'a> {
    /// Returns a backup as it was judged; `None` for one without a timestamp.
    fn judged(&self, at: usize) -> Option<&'v BackupView<'a>> {
        self.view.get(self.view.vm.backups[at].id)
    }

    /// Returns the reason why a backup's snapshot stays on the hypervisor; `None` where there is no snapshot, or none.
    pub(super) fn local(&self, at: usize) -> Option<Reason> {
        if !self.view.vm.backups[at].holds_snapshot() {
            return None;
        }
        if let Some(keep) = self.keeps.local[at] {
            return Some(self.reason(at, keep));
        }
        if has_unknown_parent(self.view) {
            let why = "an accepted backup has not started, so its parent is not known yet";
            return Some(Reason::new("not_begun", why, "until it has started"));
        }
        let why = "FiFo cannot back up this VM now, so its snapshots are left alone";
        cannot_back_up(self.view.vm)
            .map(|_| Reason::new("cannot_back_up", why, "until it can be backed up again"))
    }

    /// Returns the reason why a backup stays in storage; `None` when it has expired.
    pub(super) fn stored(&self, at: usize) -> Option<Reason> {
        self.keeps.stored[at].map(|keep| self.reason(at, keep))
    }

    fn reason(&self, at: usize, keep: Keep) -> Reason {
        const UNTIL_NEWER: &str = "until a newer backup can be restored";
        const UNTIL_NEWER_ONE: &str = "until a newer one can be restored";
        let stuck = "parent of a stuck backup that may still be running";
        let undated = "its record has no timestamp, probably because it was deleted during its upload";
        let failed = "until a newer backup can be restored, or has failed with a snapshot of its own";
        let (code, why, until) = match keep {
            Keep::ParentOf(tier) => {
                let tier = &self.view.tier(tier).name;
                let until = format!("until a newer backup can be the parent of the next {tier}");
                return Reason::new("next_parent", &format!("parent of the next {tier}"), &until);
            }
            Keep::KeepLocal => {
                let keep = self.tier(at).map_or(0, |tier| tier.keep_local);
                let why = format!("one of the {keep} newest of its tier, for a quick rollback");
                return Reason::new("keep_local", &why, &self.until_outnumbered(at, keep));
            }
            Keep::Keep => match self.tier(at).and_then(|tier| tier.keep).map(NonZeroU32::get) {
                Some(keep) => {
                    return Reason::new("keep", &newest_text(keep), &self.until_outnumbered(at, keep));
                }
                None => ("keep", "its tier keeps all backups", ""),
            },
            Keep::Needed => return self.needed(at),
            Keep::Evidence => {
                let end = self.judged(at).map(|backup| backup.taken + EVIDENCE_AGE_MAX).unwrap_or_default();
                let end = time_text(self.view, end);
                let why = "it cannot be restored, and is kept for a while as evidence";
                let until = format!("until {end}, or until what it is based on is deleted");
                return Reason::new("evidence", why, &until);
            }
            Keep::Unreadable => ("unreadable", undated, ""),
            Keep::FutureDated => ("future_timestamp", "its timestamp is in the future", "until that time"),
            Keep::Unmanaged => ("unmanaged", "it matches no tier of its policy", ""),
            Keep::Broken => {
                let why = "it, or one that it hangs on or that hangs on it, is broken in storage";
                ("broken", why, "until that is whole again, or gone")
            }
            Keep::Newest => ("newest", "the newest restorable backup", UNTIL_NEWER_ONE),
            Keep::Running => ("in_progress", "in progress", "until it has ended"),
            Keep::MayBeRunning => {
                ("may_be_running", "it has not ended and may still be running", UNTIL_NEWER)
            }
            Keep::ParentOfRunning => {
                ("parent_of_running", "parent of a running backup", "until that has ended")
            }
            Keep::ParentOfStuck => ("parent_of_running", stuck, UNTIL_NEWER),
            Keep::OnlyCopy => ("only_copy", "its snapshot is the only copy of that moment", failed),
            Keep::Local => {
                let why = "its snapshot is needed on the hypervisor";
                ("wanted_locally", why, "until the snapshot is deleted")
            }
            Keep::NothingNewer => {
                ("nothing_newer", "it cannot be restored, and nothing newer can", UNTIL_NEWER_ONE)
            }
        };
        Reason::new(code, why, until)
    }

    fn needed(&self, at: usize) -> Reason {
        let (backups, keeps) = (&self.view.vm.backups, &self.keeps.stored);
        let stays = |child: usize| keeps[child].is_some_and(|keep| keep != Keep::Evidence);
        let is_child = |&child: &usize| backups.parent_position(child) == Some(at) && stays(child);
        let children: Vec<usize> = (0..backups.len()).filter(is_child).collect();
        let &[one] = children.as_slice() else {
            let why = format!("required by {} backups that are kept", children.len());
            return Reason::new("needed", &why, "until these are deleted");
        };
        let child = match self.judged(one) {
            Some(judged) => name_of(self.view, judged),
            None => format!("backup {}", self.view.vm.backups[one].id.short()),
        };
        Reason::new("needed", &format!("required by the {child}"), "until that is deleted")
    }

    fn tier(&self, at: usize) -> Option<&'a Tier> {
        Some(self.view.tier(self.judged(at)?.tier?))
    }

    /// Says how many more of its tier have to be taken before one is no longer among so many newest.
    fn until_outnumbered(&self, at: usize, keep: u32) -> String {
        let tier = self.judged(at).and_then(|judged| judged.tier);
        let newer = self.view.restorable().rev().take_while(|newer| newer.position != at);
        let newer = newer.filter(|newer| newer.tier == tier).count();
        let more = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(newer);
        format!("until {more} more of them can be restored")
    }
}
