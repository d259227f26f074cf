//! The reasons why a backup is kept.

use crate::inventory::{BackupId, Backups};
use crate::plan::BackupName;
use crate::plan::due::{Occurrences, cannot_back_up, unsatisfied};
use crate::plan::local::{WantedLocally, has_unknown_parent, wanted_locally};
use crate::plan::notes::name_of;
use crate::plan::standing::{BackupView, VmView};
use crate::plan::stored::{WantedInStorage, needed, wanted_in_storage};
use crate::policy::{Tier, TierIndex};
use chrono::{DateTime, FixedOffset, Utc};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
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

/// Everything that speaks for keeping a VM's backups, looked up once; by [position](Backups::position).
pub(super) struct Reasons<'v, 'a> {
    view: &'v VmView<'a>,
    judged: Vec<Option<&'v BackupView<'a>>>,
    local: BTreeMap<BackupId, Vec<WantedLocally>>,
    stored: Vec<Vec<WantedInStorage>>,
    needing: Vec<Needing>,
    /// How many newer ones of its tier than each restorable one are restorable as well.
    newer: Vec<usize>,
    /// When each tier's next backups are due, one that is due now included.
    upcoming: BTreeMap<TierIndex, Vec<DateTime<Utc>>>,
    has_unknown_parent: bool,
}

/// The backups that need one directly, and are kept.
#[derive(Clone, Copy, Default)]
struct Needing {
    count: usize,
    /// The position of one of them.
    one: usize,
}

impl<'v, 'a> Reasons<'v, 'a> {
    pub(super) fn of(view: &'v VmView<'a>, occurrences: &Occurrences<'_>) -> Self {
        let backups = &view.vm.backups;
        let wanted = wanted_in_storage(view, occurrences);
        let needing = needing(backups, &needed(view, wanted.iter().map(|&(id, _)| id)));
        let mut stored: Vec<Vec<WantedInStorage>> = vec![Vec::new(); backups.len()];
        for (id, reason) in wanted {
            if let Some(at) = backups.position(id) {
                stored[at].push(reason);
            }
        }
        let mut judged = vec![None; backups.len()];
        for backup in &view.backups {
            judged[backup.position] = Some(backup);
        }
        Self {
            view,
            judged,
            local: wanted_locally(view),
            stored,
            needing,
            newer: newer_of_its_tier(view),
            upcoming: upcoming(view, occurrences),
            has_unknown_parent: has_unknown_parent(view),
        }
    }

    /// Returns a backup as it was judged; `None` for one without a timestamp.
    pub(super) fn judged(&self, at: usize) -> Option<&'v BackupView<'a>> {
        self.judged[at]
    }

    /// Returns the reasons why a backup's snapshot stays on the hypervisor; none where there is no snapshot.
    pub(super) fn local(&self, at: usize) -> Vec<Reason> {
        let backup = &self.view.vm.backups[at];
        if !backup.holds_snapshot() {
            return Vec::new();
        }
        let mut reasons: Vec<Reason> = Vec::new();
        for &wanted in self.local.get(&backup.id).into_iter().flatten() {
            let reason = self.wanted_locally(at, wanted);
            // Several running ones may be taken from one.
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons.extend(self.not_judged(at));
        reasons.extend(self.has_unknown_parent.then_some(Reason::NotBegun));
        reasons.extend(cannot_back_up(self.view.vm).map(|_| Reason::CannotBackUp));
        reasons
    }

    /// Returns the reasons why a backup stays in storage; none when it has expired.
    pub(super) fn stored(&self, at: usize) -> Vec<Reason> {
        // What is not ours to judge has its reason by `not_judged`.
        let wanted = self.stored[at].iter().filter(|&&wanted| wanted != WantedInStorage::NotJudged);
        let mut reasons: Vec<Reason> = wanted
            .map(|&wanted| {
                let is_keep = wanted == WantedInStorage::Keep;
                let keep = self.tier_rules(at).and_then(|tier| tier.keep).filter(|_| is_keep);
                let kept = keep.map(|keep| self.kept(at, keep.get())).unwrap_or_default();
                Reason::Stored { wanted, kept }
            })
            .collect();
        reasons.extend(self.not_judged(at));
        let Needing { count, one } = self.needing[at];
        reasons.extend(match count {
            0 => None,
            1 => Some(Reason::NeededBy(match self.judged[one] {
                Some(judged) => Dependent::Named(name_of(self.view, judged)),
                None => Dependent::Unreadable(self.view.vm.backups[one].id),
            })),
            more => Some(Reason::NeededByMany(more)),
        });
        reasons
    }

    fn wanted_locally(&self, at: usize, wanted: WantedLocally) -> Reason {
        let own = self.tier_rules(at);
        let tier = match wanted {
            WantedLocally::ParentOf(tier) => Some(self.view.tier(tier)),
            _ => own,
        };
        let keep = own.map(|tier| tier.keep_local).filter(|_| wanted == WantedLocally::KeepLocal);
        Reason::Local {
            wanted,
            tier: tier.map_or_else(String::new, |tier| tier.name.to_string()),
            kept: keep.map(|keep| self.kept(at, keep)).unwrap_or_default(),
        }
    }

    /// Returns the reason why a backup is left alone wherever it is.
    fn not_judged(&self, at: usize) -> Option<Reason> {
        match self.judged[at] {
            None => Some(Reason::Unreadable),
            Some(judged) if judged.is_future_dated => Some(Reason::FutureTimestamp),
            Some(judged) => judged.tier.is_none().then_some(Reason::Unmanaged),
        }
    }

    fn tier_rules(&self, at: usize) -> Option<&'a Tier> {
        Some(self.view.tier(self.judged[at]?.tier?))
    }

    /// Counts how many more of its tier have to be taken before one is no longer among so many newest.
    fn kept(&self, at: usize, keep: u32) -> KeptNewest {
        let more = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(self.newer[at]);
        let tier = self.judged[at].and_then(|judged| judged.tier);
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

/// Finds which backups need each one directly, of those that are kept.
fn needing(backups: &Backups, needed: &[bool]) -> Vec<Needing> {
    let mut needing = vec![Needing::default(); backups.len()];
    for at in (0..backups.len()).filter(|&at| needed[at]) {
        if let Some(parent) = backups.parent_position(at) {
            needing[parent] = Needing { count: needing[parent].count + 1, one: at };
        }
    }
    needing
}

/// Counts for each restorable backup the newer restorable ones of its tier.
fn newer_of_its_tier(view: &VmView<'_>) -> Vec<usize> {
    let mut newer = vec![0; view.vm.backups.len()];
    let mut seen: BTreeMap<Option<TierIndex>, usize> = BTreeMap::new();
    for backup in view.restorable().rev() {
        let of_tier = seen.entry(backup.tier).or_default();
        newer[backup.position] = *of_tier;
        *of_tier += 1;
    }
    newer
}
