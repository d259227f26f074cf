//! The reasons why a backup is kept.

use crate::inventory::{Backup, BackupId, Children};
use crate::plan::due::cannot_back_up;
use crate::plan::local::{WantedLocally, has_unknown_parent, wanted_locally};
use crate::plan::notes::name_of;
use crate::plan::standing::{BackupView, VmView};
use crate::plan::stored::{WantedInStorage, needed, wanted_in_storage};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Why something stays, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What kind of reason.
    pub code: ReasonCode,
    /// The reason, for people.
    pub why: String,
    /// What has to happen before it is gone, for people; `None` when it never is by itself.
    pub until: Option<String>,
}

/// The kinds of [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The next backup of a tier would be taken from it.
    NextParent,
    /// `keep_local` asks for it.
    KeepLocal,
    /// It is on its way.
    InProgress,
    /// It is stuck and may still be running.
    MayBeRunning,
    /// One that runs, or may be running, is taken from it.
    ParentOfRunning,
    /// It is the only copy of its moment.
    OnlyCopy,
    /// It is the newest that can be restored.
    Newest,
    /// `keep` asks for it.
    Keep,
    /// Its snapshot is wanted on the hypervisor.
    WantedLocally,
    /// Something that is kept rests on it.
    Needed,
    /// It cannot be restored, and nothing newer can.
    NothingNewer,
    /// It is of no tier.
    Unmanaged,
    /// Its timestamp lies in the future.
    FutureTimestamp,
    /// It has no timestamp.
    Unreadable,
    /// Another backup has been accepted and not begun, and which parent it needs is not known.
    NotBegun,
    /// FiFo takes no backups of the VM now.
    CannotBackUp,
    /// The VM belongs to no policy, or to more than one.
    NoPolicy,
}

/// Everything that speaks for keeping a VM's backups, looked up once.
pub(super) struct Reasons<'v, 'a> {
    view: &'v VmView<'a>,
    judged: BTreeMap<BackupId, &'v BackupView<'a>>,
    local: BTreeMap<BackupId, Vec<WantedLocally>>,
    stored: BTreeMap<BackupId, Vec<WantedInStorage>>,
    needed: BTreeSet<BackupId>,
    children: Children,
}

impl<'v, 'a> Reasons<'v, 'a> {
    pub(super) fn of(view: &'v VmView<'a>) -> Self {
        let mut stored: BTreeMap<BackupId, Vec<WantedInStorage>> = BTreeMap::new();
        for (id, reason) in wanted_in_storage(view) {
            stored.entry(id).or_default().push(reason);
        }
        Self {
            view,
            judged: view.backups.iter().map(|backup| (backup.id(), backup)).collect(),
            local: wanted_locally(view),
            needed: needed(view, stored.keys().copied()),
            stored,
            children: Children::of(&view.vm.backups),
        }
    }

    /// Gives a backup as it was judged; `None` for one without a timestamp.
    pub(super) fn judged(&self, id: BackupId) -> Option<&'v BackupView<'a>> {
        self.judged.get(&id).copied()
    }

    /// Tells why a backup's snapshot stays on the hypervisor; nothing where there is none.
    pub(super) fn local(&self, backup: &Backup) -> Vec<Reason> {
        if !backup.holds_snapshot() {
            return Vec::new();
        }
        let wanted = self.local.get(&backup.id).map_or(&[][..], Vec::as_slice);
        let mut reasons = merged(wanted.iter().map(|&reason| self.wanted_locally(backup.id, reason)));
        reasons.extend(self.not_judged(backup));
        if has_unknown_parent(self.view) {
            reasons.push(reason(
                ReasonCode::NotBegun,
                "an accepted backup has not started, so its parent is not known yet",
                Some("until it has started"),
            ));
        }
        if cannot_back_up(self.view.vm).is_some() {
            reasons.push(reason(
                ReasonCode::CannotBackUp,
                "FiFo cannot back up this VM now, so its snapshots are left alone",
                Some("until it can be backed up again"),
            ));
        }
        reasons
    }

    /// Tells why a backup stays in storage; nothing when it has expired.
    pub(super) fn stored(&self, backup: &Backup) -> Vec<Reason> {
        let wanted = self.stored.get(&backup.id).map_or(&[][..], Vec::as_slice);
        let mut reasons: Vec<Reason> =
            wanted.iter().filter_map(|&reason| self.wanted_in_storage(backup.id, reason)).collect();
        reasons.extend(self.not_judged(backup));
        let resting: Vec<BackupId> =
            self.children.direct(backup.id).iter().copied().filter(|id| self.needed.contains(id)).collect();
        let name = |id: &BackupId| match self.judged.get(id) {
            Some(judged) => name_of(self.view, judged).to_string(),
            None => format!("backup {}", id.short()),
        };
        match resting.as_slice() {
            [] => {}
            [one] => {
                let why = format!("required by the {}", name(one));
                reasons.push(reason(ReasonCode::Needed, why, Some("until that is deleted")));
            }
            more => {
                let why = format!("required by {} backups that are kept", more.len());
                reasons.push(reason(ReasonCode::Needed, why, Some("until these are deleted")));
            }
        }
        reasons
    }

    fn wanted_locally(&self, id: BackupId, wanted: WantedLocally) -> Reason {
        match wanted {
            WantedLocally::ParentOf(tier) => {
                let tier = &self.view.tier(tier).name;
                reason(
                    ReasonCode::NextParent,
                    format!("parent of the next {tier}"),
                    Some(format!("until a newer backup can be the parent of the next {tier}")),
                )
            }
            WantedLocally::KeepLocal => {
                let keep = self.tier_rules(id).map_or(0, |tier| tier.keep_local);
                let why = format!("one of the {keep} newest of its tier, for a quick rollback");
                reason(ReasonCode::KeepLocal, why, Some(self.until_outnumbered(id, keep)))
            }
            WantedLocally::Running => {
                reason(ReasonCode::InProgress, "in progress", Some("until it has ended"))
            }
            WantedLocally::MayBeRunning => reason(
                ReasonCode::MayBeRunning,
                "it has not ended and may still be running",
                Some("until a newer backup can be restored"),
            ),
            WantedLocally::ParentOfRunning => reason(
                ReasonCode::ParentOfRunning,
                "parent of a running backup",
                Some("until that has ended"),
            ),
            WantedLocally::ParentOfStuck => reason(
                ReasonCode::ParentOfRunning,
                "parent of a stuck backup that may still be running",
                Some("until a newer backup can be restored"),
            ),
            WantedLocally::OnlyCopy => reason(
                ReasonCode::OnlyCopy,
                "its snapshot is the only copy of that moment",
                Some("until a newer backup can be restored, or has failed with a snapshot of its own"),
            ),
        }
    }

    /// What is not ours to judge has its reason by [`Reasons::not_judged`].
    fn wanted_in_storage(&self, id: BackupId, wanted: WantedInStorage) -> Option<Reason> {
        Some(match wanted {
            WantedInStorage::Newest => reason(
                ReasonCode::Newest,
                "the newest restorable backup",
                Some("until a newer one can be restored"),
            ),
            WantedInStorage::Keep => match self.tier_rules(id).and_then(|tier| tier.keep) {
                Some(keep) => {
                    let why = match keep.get() {
                        1 => "the newest of its tier".to_owned(),
                        keep => format!("one of the {keep} newest of its tier"),
                    };
                    reason(ReasonCode::Keep, why, Some(self.until_outnumbered(id, keep.get())))
                }
                None => reason(ReasonCode::Keep, "its tier keeps all backups", None::<String>),
            },
            WantedInStorage::Local => reason(
                ReasonCode::WantedLocally,
                "its snapshot is needed on the hypervisor",
                Some("until the snapshot is deleted"),
            ),
            WantedInStorage::Running => {
                reason(ReasonCode::InProgress, "in progress", Some("until it has ended"))
            }
            WantedInStorage::NothingNewer => reason(
                ReasonCode::NothingNewer,
                "it cannot be restored, and nothing newer can",
                Some("until a newer one can be restored"),
            ),
            WantedInStorage::NotJudged => return None,
        })
    }

    /// Tells why a backup is left alone wherever it is.
    fn not_judged(&self, backup: &Backup) -> Option<Reason> {
        let Some(judged) = self.judged.get(&backup.id) else {
            let why = "its record has no timestamp, probably because it was deleted during its upload";
            return Some(reason(ReasonCode::Unreadable, why, None::<String>));
        };
        if judged.is_future_dated {
            let why = "its timestamp is in the future";
            return Some(reason(ReasonCode::FutureTimestamp, why, Some("until that time")));
        }
        let why = "it matches no tier of its policy";
        judged.tier.is_none().then(|| reason(ReasonCode::Unmanaged, why, None::<String>))
    }

    fn tier_rules(&self, id: BackupId) -> Option<&'a crate::policy::Tier> {
        Some(self.view.tier(self.judged.get(&id)?.tier?))
    }

    /// Counts how many more of its tier have to come before one is no longer among so many newest.
    fn until_outnumbered(&self, id: BackupId, keep: u32) -> String {
        let newer = self.judged.get(&id).map_or(0, |own| {
            let of_its_tier = self.view.restorable().filter(|other| other.tier == own.tier);
            of_its_tier.filter(|other| other.age_key() > own.age_key()).count()
        });
        let more = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(newer);
        format!("until {more} more of them can be restored")
    }
}

/// Tells that nothing is done to a VM that belongs to no one policy.
pub(super) fn no_policy() -> Reason {
    reason(ReasonCode::NoPolicy, "the VM belongs to no policy, or to more than one", None::<String>)
}

fn reason(code: ReasonCode, why: impl Into<String>, until: Option<impl Into<String>>) -> Reason {
    Reason { code, why: why.into(), until: until.map(Into::into) }
}

/// Says the same only once: several running ones may be taken from one.
fn merged(reasons: impl Iterator<Item = Reason>) -> Vec<Reason> {
    let mut merged: Vec<Reason> = Vec::new();
    for reason in reasons {
        if !merged.contains(&reason) {
            merged.push(reason);
        }
    }
    merged
}
