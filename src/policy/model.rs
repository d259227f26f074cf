//! A policy that has been checked: every value in range, every name resolved.

use super::{Pattern, Schedule, Selector, Zone};
use crate::inventory::Vm;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where a tier stands in its policy: 0 is the coarsest.
pub type TierIndex = usize;

/// The name of a policy or tier, in one place in memory for all VMs that bear it.
pub type Name = Arc<str>;

/// All the policies of a run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// Takes checked policies; their names must differ.
    pub fn new(mut policies: Vec<Policy>) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Self(policies)
    }

    /// Returns the zone in which all times are shown: theirs, and UTC where they are of several zones or none.
    pub fn display_zone(&self) -> &Zone {
        static UTC: Zone = Zone::UTC;
        let first = self.0.first().map_or(&UTC, |policy| &policy.zone);
        if self.0.iter().all(|policy| policy.zone == *first) { first } else { &UTC }
    }

    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.iter().find(|policy| *policy.name == *name)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Policy> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the policy that a VM belongs to: of those that match it, the one with the highest priority.
    pub fn policy_for(&self, vm: &Vm) -> Match<'_> {
        let mut best: Vec<&Policy> = self.0.iter().filter(|policy| policy.matches(vm)).collect();
        let highest = best.iter().map(|policy| policy.priority).max();
        best.retain(|policy| Some(policy.priority) == highest);
        match best.as_slice() {
            [] => Match::Unprotected,
            [policy] => Match::One(policy),
            _ => Match::Conflict(best),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match<'a> {
    One(&'a Policy),
    Unprotected,
    /// Several have the same highest priority; in the order of their names. Nothing is done to the VM.
    Conflict(Vec<&'a Policy>),
}

impl<'a> Match<'a> {
    /// Returns the policy that holds for the VM, if exactly one does.
    pub fn one(&self) -> Option<&'a Policy> {
        if let Self::One(policy) = self { Some(policy) } else { None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub name: Name,
    pub description: String,
    pub source: Source,
    /// Of several policies that match a VM the one with the highest counts.
    pub priority: i64,
    pub select: Selector,
    pub exclude: Option<Selector>,
    pub zone: Zone,
    /// Its tiers, coarsest first; at least one, and the first one is full.
    pub tiers: Vec<Tier>,
    pub missing_parent: MissingParent,
    /// How long after its timestamp a backup that has not ended counts as stuck.
    pub stuck_after: TimeDelta,
    /// A completed full backup of fewer bytes is hollow: a failed export that FiFo calls completed.
    pub min_full_size_bytes: u64,
    pub retry: Retry,
    pub max_age: TimeDelta,
    /// Whether expired backups are deleted from storage, where the command says so too.
    pub prune: bool,
    pub suspend: Option<Suspension>,
}

impl Policy {
    pub fn matches(&self, vm: &Vm) -> bool {
        self.select.matches(vm) && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(vm))
    }

    pub fn suspends(&self, vm: &Vm, instant: DateTime<Utc>) -> bool {
        self.suspend.as_ref().is_some_and(|suspend| suspend.is_for(vm) && instant < suspend.until_instant)
    }

    /// Finds the tier that a backup of a comment belongs to: its comment, or one of its `also`, is the same to the letter.
    pub fn tier_of(&self, comment: Option<&str>) -> Option<TierIndex> {
        let comment = comment?;
        let is_of = |tier: &Tier| tier.comment == comment || tier.also.iter().any(|it| it == comment);
        self.tiers.iter().position(is_of)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, as it was found from the path that was given, with `/` between folders.
    pub file: String,
    /// The line its document begins on, counted from 1.
    pub line: usize,
    /// The SHA-256 of the whole file, in hexadecimal digits.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub name: Name,
    /// When it is due, before `spread`.
    pub schedule: Schedule,
    pub kind: TierKind,
    /// How many restorable ones are to stay stored; `None` is for ever.
    pub keep: Option<NonZeroU32>,
    /// How many of the newest restorable ones stay on the hypervisor even when no increment needs them.
    pub keep_local: u32,
    pub comment: String,
    /// Further comments whose backups count as this tier's, and no other's, such as the one from before a rename.
    pub also: Vec<String>,
    /// The time over which its VMs' due instants are spread; zero is all at once.
    pub spread: TimeDelta,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierKind {
    Full,
    /// Taken from a parent of one of these tiers: its own or coarser ones, coarsest first.
    Incremental {
        from: Vec<TierIndex>,
    },
}

impl TierKind {
    /// Returns the tiers whose backups may be the parent of a backup of this kind; `None` where it has no parent.
    pub fn parents(&self) -> Option<&[TierIndex]> {
        match self {
            Self::Full => None,
            Self::Incremental { from } => Some(from),
        }
    }
}

/// What to do when an incremental backup has no parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingParent {
    Full,
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After how many failed attempts, the first one included, a tier is reported as given up. It is retried all the same.
    pub attempts: u32,
    /// How long after the first attempt's timestamp the next one may start; each further pause is twice as long, up to a day.
    pub backoff: TimeDelta,
}

/// A stop with a reason and an end: its VMs are planned and shown, but nothing is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    pub reason: String,
    /// The first day on which it no longer holds, in the policy's zone.
    pub until: NaiveDate,
    pub until_instant: DateTime<Utc>,
    /// The VMs it is for, by UUID or alias pattern; `None` is all of the policy's.
    pub vms: Option<Vec<Pattern>>,
}

impl Suspension {
    /// Says whether a VM is meant by it, whatever the date.
    pub fn is_for(&self, vm: &Vm) -> bool {
        let mut patterns = self.vms.iter().flatten();
        self.vms.is_none() || patterns.any(|pattern| pattern.means(Some(vm.id), &vm.alias))
    }
}
