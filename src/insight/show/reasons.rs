//! The reasons why a backup is kept.

use crate::inventory::{Backup, BackupId, Children};
use crate::plan::BackupName;
use crate::plan::due::{Occurrences, cannot_back_up, unsatisfied};
use crate::plan::local::{WantedLocally, has_unknown_parent, wanted_locally};
use crate::plan::notes::name_of;
use crate::plan::standing::{BackupView, VmView};
use crate::plan::stored::{WantedInStorage, needed, wanted_in_storage};
use crate::policy::{Tier, TierIndex};
use chrono::{DateTime, FixedOffset, Utc};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::num::NonZeroU32;

/// So many coming backups of a tier are looked up at the most.
const UPCOMING_MAX: usize = 400;

/// Why something stays: data, put into words by `render`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The plan wants its snapshot on the hypervisor.
    Local {
        /// What for.
        wanted: WantedLocally,
        /// The tier of the backup that would be taken from it, or its own.
        tier: String,
        /// What is kept of its tier, for [`WantedLocally::KeepLocal`].
        kept: KeptNewest,
    },
    /// The plan wants it in storage for its own sake.
    Stored {
        /// What for.
        wanted: WantedInStorage,
        /// What is kept of its tier, for [`WantedInStorage::Keep`].
        kept: KeptNewest,
    },
    /// One backup that is kept needs it.
    NeededBy(Dependent),
    /// So many backups that are kept need it.
    NeededByMany(usize),
    /// It is of no tier.
    Unmanaged,
    /// Its timestamp lies in the future.
    FutureTimestamp,
    /// It has no timestamp.
    Unreadable,
    /// Another backup was accepted and has not started, and which parent it needs is not known.
    NotBegun,
    /// FiFo takes no backups of the VM now.
    CannotBackUp,
    /// The VM belongs to no policy, or to more than one.
    NoPolicy,
}

/// How many of the newest backups of a tier are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptNewest {
    /// How many; `None` for all.
    pub keep: Option<u32>,
    /// How many more have to be taken before this one is no longer among them.
    pub more: usize,
    /// When the last of these is due, in the policy's zone; `None` where that is too far ahead.
    pub due: Option<DateTime<FixedOffset>>,
}

/// A backup that needs its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependent {
    /// One with a name.
    Named(BackupName),
    /// One without a timestamp.
    Unreadable(BackupId),
}

impl Reason {
    /// Returns the instant before which a tier's `keep` holds the backup in storage; `None` for other reasons.
    pub fn expires_after(&self) -> Option<DateTime<FixedOffset>> {
        match self {
            Self::Stored { wanted: WantedInStorage::Keep, kept } => kept.due,
            _ => None,
        }
    }

    /// Returns the code that stands for it in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Local { wanted, .. } => match wanted {
                WantedLocally::ParentOf(_) => "next_parent",
                WantedLocally::KeepLocal => "keep_local",
                WantedLocally::Running => "in_progress",
                WantedLocally::MayBeRunning => "may_be_running",
                WantedLocally::ParentOfRunning | WantedLocally::ParentOfStuck => "parent_of_running",
                WantedLocally::OnlyCopy => "only_copy",
            },
            Self::Stored { wanted, .. } => match wanted {
                WantedInStorage::Newest => "newest",
                WantedInStorage::Keep => "keep",
                WantedInStorage::Local => "wanted_locally",
                WantedInStorage::Running => "in_progress",
                WantedInStorage::NothingNewer => "nothing_newer",
                WantedInStorage::Attempt => "attempt",
                WantedInStorage::LastIncrement => "last_increment",
                WantedInStorage::NotJudged => "unmanaged",
            },
            Self::NeededBy(_) | Self::NeededByMany(_) => "needed",
            Self::Unmanaged => "unmanaged",
            Self::FutureTimestamp => "future_timestamp",
            Self::Unreadable => "unreadable",
            Self::NotBegun => "not_begun",
            Self::CannotBackUp => "cannot_back_up",
            Self::NoPolicy => "no_policy",
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document {
            code: &'static str,
            why: String,
            until: Option<String>,
        }
        let (why, until) = self.words();
        Document { code: self.code(), why, until }.serialize(serializer)
    }
}

/// Everything that speaks for keeping a VM's backups, looked up once.
pub(super) struct Reasons<'v, 'a> {
    view: &'v VmView<'a>,
    judged: BTreeMap<BackupId, &'v BackupView<'a>>,
    local: BTreeMap<BackupId, Vec<WantedLocally>>,
    stored: BTreeMap<BackupId, Vec<WantedInStorage>>,
    needed: BTreeSet<BackupId>,
    children: Children,
    /// How many newer ones of its tier than each restorable one are restorable as well.
    newer: BTreeMap<BackupId, usize>,
    /// When each tier's next backups are due, one that is due now included.
    upcoming: BTreeMap<TierIndex, Vec<DateTime<Utc>>>,
    has_unknown_parent: bool,
}

impl<'v, 'a> Reasons<'v, 'a> {
    pub(super) fn of(view: &'v VmView<'a>, occurrences: &Occurrences<'_>) -> Self {
        let mut stored: BTreeMap<BackupId, Vec<WantedInStorage>> = BTreeMap::new();
        for (id, reason) in wanted_in_storage(view, occurrences) {
            stored.entry(id).or_default().push(reason);
        }
        Self {
            view,
            judged: view.backups.iter().map(|backup| (backup.id(), backup)).collect(),
            local: wanted_locally(view),
            needed: {
                let needed = needed(view, stored.keys().copied());
                view.vm.backups.keys().zip(needed).filter_map(|(id, needed)| needed.then_some(id)).collect()
            },
            stored,
            children: Children::of(&view.vm.backups),
            newer: newer_of_its_tier(view),
            upcoming: upcoming(view, occurrences),
            has_unknown_parent: has_unknown_parent(view),
        }
    }

    /// Returns a backup as it was judged; `None` for one without a timestamp.
    pub(super) fn judged(&self, id: BackupId) -> Option<&'v BackupView<'a>> {
        self.judged.get(&id).copied()
    }

    /// Returns the reasons why a backup's snapshot stays on the hypervisor; none where there is no snapshot.
    pub(super) fn local(&self, backup: &Backup) -> Vec<Reason> {
        if !backup.holds_snapshot() {
            return Vec::new();
        }
        let mut reasons: Vec<Reason> = Vec::new();
        for &wanted in self.local.get(&backup.id).into_iter().flatten() {
            let reason = self.wanted_locally(backup.id, wanted);
            // Several running ones may be taken from one.
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons.extend(self.not_judged(backup));
        reasons.extend(self.has_unknown_parent.then_some(Reason::NotBegun));
        reasons.extend(cannot_back_up(self.view.vm).map(|_| Reason::CannotBackUp));
        reasons
    }

    /// Returns the reasons why a backup stays in storage; none when it has expired.
    pub(super) fn stored(&self, backup: &Backup) -> Vec<Reason> {
        // What is not ours to judge has its reason by `not_judged`.
        let wanted = self.stored.get(&backup.id).into_iter().flatten();
        let wanted = wanted.filter(|&&wanted| wanted != WantedInStorage::NotJudged);
        let mut reasons: Vec<Reason> = wanted
            .map(|&wanted| {
                let is_keep = wanted == WantedInStorage::Keep;
                let keep = self.tier_rules(backup.id).and_then(|tier| tier.keep).filter(|_| is_keep);
                let kept = keep.map(|keep| self.kept(backup.id, keep.get())).unwrap_or_default();
                Reason::Stored { wanted, kept }
            })
            .collect();
        reasons.extend(self.not_judged(backup));
        let children = self.children.direct(backup.id).iter();
        let needing: Vec<BackupId> = children.copied().filter(|id| self.needed.contains(id)).collect();
        reasons.extend(match needing.as_slice() {
            [] => None,
            [id] => Some(Reason::NeededBy(match self.judged.get(id) {
                Some(judged) => Dependent::Named(name_of(self.view, judged)),
                None => Dependent::Unreadable(*id),
            })),
            more => Some(Reason::NeededByMany(more.len())),
        });
        reasons
    }

    fn wanted_locally(&self, id: BackupId, wanted: WantedLocally) -> Reason {
        let own = self.tier_rules(id);
        let tier = match wanted {
            WantedLocally::ParentOf(tier) => Some(self.view.tier(tier)),
            _ => own,
        };
        let keep = own.map(|tier| tier.keep_local).filter(|_| wanted == WantedLocally::KeepLocal);
        Reason::Local {
            wanted,
            tier: tier.map_or_else(String::new, |tier| tier.name.clone()),
            kept: keep.map(|keep| self.kept(id, keep)).unwrap_or_default(),
        }
    }

    /// Returns the reason why a backup is left alone wherever it is.
    fn not_judged(&self, backup: &Backup) -> Option<Reason> {
        match self.judged.get(&backup.id) {
            None => Some(Reason::Unreadable),
            Some(judged) if judged.is_future_dated => Some(Reason::FutureTimestamp),
            Some(judged) => judged.tier.is_none().then_some(Reason::Unmanaged),
        }
    }

    fn tier_rules(&self, id: BackupId) -> Option<&'a Tier> {
        Some(self.view.tier(self.judged.get(&id)?.tier?))
    }

    /// Counts how many more of its tier have to be taken before one is no longer among so many newest.
    fn kept(&self, id: BackupId, keep: u32) -> KeptNewest {
        let newer = self.newer.get(&id).copied().unwrap_or(0);
        let more = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(newer);
        let tier = self.judged.get(&id).and_then(|judged| judged.tier);
        let upcoming = tier.and_then(|tier| self.upcoming.get(&tier));
        let due = upcoming.and_then(|upcoming| upcoming.get(more.checked_sub(1)?));
        KeptNewest { keep: Some(keep), more, due: due.map(|&due| self.view.policy.display_zone.moment(due)) }
    }
}

/// Looks up when the next backups of each tier are due that push older ones out of what is kept.
fn upcoming(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> BTreeMap<TierIndex, Vec<DateTime<Utc>>> {
    let unsatisfied: Vec<TierIndex> =
        unsatisfied(view, occurrences).into_iter().map(|(tier, _)| tier).collect();
    let of_tier = |(tier, rules): (TierIndex, &Tier)| {
        let kept = rules.keep.map_or(0, NonZeroU32::get).max(rules.keep_local);
        let next = |instant: &DateTime<Utc>| occurrences.next_after(tier, view.vm.id, *instant);
        let due_now = unsatisfied.contains(&tier).then_some(view.now);
        let later = successors(next(&view.now), next);
        let wanted = usize::try_from(kept).unwrap_or(UPCOMING_MAX).min(UPCOMING_MAX);
        (tier, due_now.into_iter().chain(later).take(wanted).collect())
    };
    view.policy.tiers.iter().enumerate().map(of_tier).collect()
}

/// Counts for each restorable backup the newer restorable ones of its tier.
fn newer_of_its_tier(view: &VmView<'_>) -> BTreeMap<BackupId, usize> {
    let mut seen: BTreeMap<Option<TierIndex>, usize> = BTreeMap::new();
    let count = |backup: &BackupView<'_>| {
        let newer = seen.entry(backup.tier).or_default();
        *newer += 1;
        (backup.id(), *newer - 1)
    };
    view.restorable().rev().map(count).collect()
}
