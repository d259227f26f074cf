//! Backups as they are drawn, in SVG and in characters: a lane a tier, nodes with their parents, and the way of a restore.

use super::escape::visible;
use super::words::counted;
use crate::insight::show::{BackupExplanation, VmExplanation};
use crate::plan::{BackupKind, bytes_text};
use crate::policy::Policy;
use crate::simulate::{StoredBackup, Story};
use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, Timelike as _, Utc};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A day that does not come.
pub(super) const NEVER: i64 = 99_999;

/// So many are drawn: of more the oldest expired ones are left out, and of twice as many others the oldest.
const DRAWN: usize = 40;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Drawing {
    /// The first day; the others are counted from it.
    pub(super) day0: NaiveDate,
    pub(super) lanes: Vec<Lane>,
    /// Oldest first.
    pub(super) nodes: Vec<Node>,
    /// The UUID of each, and why it stays; none where they are not real.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) why: Vec<String>,
    /// The last day that is known of.
    #[serde(skip)]
    pub(super) last_day: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vm: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) letter: char,
}

/// One backup, with the days on which something becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) day: i64,
    pub(super) minute: u32,
    pub(super) lane: usize,
    pub(super) parent: Option<usize>,
    pub(super) is_full: bool,
    pub(super) is_restorable: bool,
    pub(super) size_bytes: Option<u64>,
    pub(super) local_until: i64,
    pub(super) needed_since: i64,
    pub(super) expired_since: i64,
    pub(super) gone: i64,
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = self.size_bytes.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
        let parent = self.parent.and_then(|parent| i64::try_from(parent).ok()).unwrap_or(-1);
        let flags = i64::from(self.is_full) | i64::from(self.is_restorable) << 1;
        let (minute, lane) = (i64::from(self.minute), i64::try_from(self.lane).unwrap_or(0));
        let days = [self.local_until, self.needed_since, self.expired_since, self.gone];
        serializer.collect_seq([self.day, minute, lane, parent, flags, size].into_iter().chain(days))
    }
}

impl Drawing {
    /// Draws the dated backups of a VM, oldest first; returns the place of each in the explanation as well.
    pub(super) fn of_vm(vm: &VmExplanation) -> (Self, Vec<usize>) {
        const NO_TIER: &str = "no tier";
        let taken = vm.backups.iter().enumerate().filter_map(|(place, backup)| Some((backup.taken?, place)));
        let mut dated: Vec<_> = taken.collect();
        dated.sort();
        let day0 = dated.first().map(|(taken, _)| taken.date_naive()).unwrap_or_default();
        let tier = |backup: &'_ BackupExplanation| backup.tier.clone().unwrap_or_else(|| NO_TIER.to_owned());
        let mut names: Vec<String> = Vec::new();
        let of_backups = dated.iter().map(|(_, place)| tier(&vm.backups[*place]));
        for name in vm.timeline.iter().map(|due| due.tier.to_string()).chain(of_backups) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let place_of: BTreeMap<_, usize> =
            dated.iter().enumerate().map(|(at, (_, place))| (vm.backups[*place].backup, at)).collect();
        let node = |&(taken, place): &(DateTime<FixedOffset>, usize)| {
            let backup = &vm.backups[place];
            let day = (taken.date_naive() - day0).num_days();
            let is_needed = backup.stored.kept_for.as_ref().is_some_and(|reason| reason.code == "needed");
            let now_or_never = |is_now: bool| if is_now { day } else { NEVER };
            Node {
                day,
                minute: taken.hour() * 60 + taken.minute(),
                lane: names.iter().position(|known| *known == tier(backup)).unwrap_or(0),
                parent: backup.parent.and_then(|parent| place_of.get(&parent)).copied(),
                is_full: backup.kind == BackupKind::Full,
                is_restorable: backup.restore.is_some(),
                size_bytes: backup.size_bytes,
                local_until: now_or_never(!backup.local.is_held),
                needed_since: now_or_never(is_needed),
                expired_since: now_or_never(backup.stored.is_expired),
                gone: NEVER,
            }
        };
        let why = |backup: &BackupExplanation| match (&backup.stored.prune, &backup.stored.kept_for) {
            (Some(prune), _) => visible(&prune.message),
            (None, Some(reason)) => visible(&reason.why),
            (None, None) => String::new(),
        };
        let drawing = Self {
            day0,
            lanes: lanes(names.iter().map(String::as_str)),
            nodes: dated.iter().map(node).collect(),
            ids: dated.iter().map(|(_, place)| vm.backups[*place].backup.to_string()).collect(),
            why: dated.iter().map(|(_, place)| why(&vm.backups[*place])).collect(),
            last_day: NEVER - 1,
            vm: vm.uuid.map(|id| id.to_string()),
        };
        (drawing, dated.into_iter().map(|(_, place)| place).collect())
    }

    /// Draws the backups of a simulated VM: a lane a tier, and one more for what belongs to none.
    pub(super) fn of_story(story: &Story, policy: &Policy, from: DateTime<Utc>) -> Self {
        let day0 = policy.zone.moment(from).date_naive();
        let day_of = |instant: DateTime<Utc>| (policy.zone.moment(instant).date_naive() - day0).num_days();
        let end_of = |instant: Option<DateTime<Utc>>| instant.map_or(NEVER, day_of);
        let node = |backup: &StoredBackup| {
            let taken = policy.zone.moment(backup.taken);
            Node {
                day: day_of(backup.taken),
                minute: taken.hour() * 60 + taken.minute(),
                lane: backup.tier.unwrap_or(policy.tiers.len()),
                parent: backup.parent,
                is_full: backup.is_full,
                is_restorable: backup.is_restorable,
                size_bytes: Some(backup.size_bytes),
                local_until: end_of(backup.local_until),
                needed_since: end_of(backup.needed_since),
                expired_since: end_of(backup.expired_since),
                gone: end_of(backup.pruned),
            }
        };
        let has_others = story.backups.iter().any(|backup| backup.tier.is_none());
        let names = policy.tiers.iter().map(|tier| &*tier.name).chain(has_others.then_some("no tier"));
        let nodes = story.backups.iter().map(node).collect();
        let last_day = i64::try_from(story.days.len()).unwrap_or(0) - 1;
        Self { day0, lanes: lanes(names), nodes, ids: Vec::new(), why: Vec::new(), last_day, vm: None }
    }

    pub(super) fn date(&self, day: i64) -> NaiveDate {
        self.day0.checked_add_signed(TimeDelta::days(day)).unwrap_or(self.day0)
    }

    /// Lists what is stored at the end of a day, oldest first.
    pub(super) fn stored(&self, day: i64) -> Vec<usize> {
        let is_stored = |&at: &usize| self.nodes[at].day <= day && day < self.nodes[at].gone;
        (0..self.nodes.len()).filter(is_stored).collect()
    }

    pub(super) fn drawn(&self, day: i64) -> Vec<usize> {
        let mut stored = self.stored(day);
        let expired = stored.iter().filter(|&&at| self.nodes[at].expired_since <= day).count();
        let mut surplus = stored.len().saturating_sub(DRAWN).min(expired);
        stored.retain(|&at| {
            let goes = surplus > 0 && self.nodes[at].expired_since <= day;
            surplus -= usize::from(goes);
            !goes
        });
        stored.split_off(stored.len().saturating_sub(2 * DRAWN))
    }

    /// Finds the newest that can be restored at the end of a day.
    pub(super) fn newest(&self, day: i64) -> Option<usize> {
        self.stored(day).into_iter().rfind(|&at| self.nodes[at].is_restorable)
    }

    /// Lists what a restore reads, the full one first.
    pub(super) fn way(&self, to: usize) -> Vec<usize> {
        let parent = |at: &usize| self.nodes[*at].parent.filter(|parent| parent < at);
        let mut way: Vec<usize> = std::iter::successors(Some(to), parent).collect();
        way.reverse();
        way
    }

    /// Names the moment of a backup: `Sun 5 Dec 2027, 01:00`.
    pub(super) fn moment(&self, at: usize) -> String {
        let node = &self.nodes[at];
        format!("{}, {:02}:{:02}", day_text(self.date(node.day)), node.minute / 60, node.minute % 60)
    }

    /// Names a backup as other reports do: `daily 2027-12-05 01:00`.
    pub(super) fn name(&self, at: usize) -> String {
        let node = &self.nodes[at];
        let date = self.date(node.day);
        format!("{} {date} {:02}:{:02}", self.lane_name(at), node.minute / 60, node.minute % 60)
    }

    pub(super) fn size(&self, at: usize) -> String {
        self.nodes[at].size_bytes.map_or_else(|| "size unknown".to_owned(), bytes_text)
    }

    /// Says what a restore reads: `7 backups, 76.0 GiB`.
    fn fetch(&self, way: &[usize]) -> String {
        let sum = way.iter().try_fold(0_u64, |sum, &at| Some(sum.saturating_add(self.nodes[at].size_bytes?)));
        let size = sum.map_or_else(|| "size unknown".to_owned(), bytes_text);
        format!("{}, {size}", counted(way.len(), "backup"))
    }

    /// Says what a restore by a way fetches and overwrites, behind `Back to …:`.
    pub(super) fn restore_text(&self, way: &[usize], day: i64) -> String {
        let still = match way.iter().rposition(|&at| day < self.nodes[at].local_until) {
            None => String::new(),
            Some(local) => match way.len() - 1 - local {
                0 => " While its snapshot is on the hypervisor, nothing is fetched.".to_owned(),
                1 => " While the hypervisor holds its snapshots, only the last one is fetched.".to_owned(),
                steps => {
                    format!(" While the hypervisor holds its snapshots, only the last {steps} are fetched.")
                }
            },
        };
        format!("{} to fetch; what the VM has written since is lost.{still}", self.fetch(way))
    }

    /// Says how many stored backups are not drawn; empty where all are.
    pub(super) fn left_out(&self, day: i64) -> String {
        match self.stored(day).len() - self.drawn(day).len() {
            0 => String::new(),
            count => format!("{count} more are stored, expired or older, and not drawn."),
        }
    }

    pub(super) fn lane_name(&self, at: usize) -> &str {
        self.lanes.get(self.nodes[at].lane).map_or("", |lane| &lane.name)
    }

    pub(super) fn letter(&self, at: usize) -> char {
        self.lanes.get(self.nodes[at].lane).map_or('?', |lane| lane.letter)
    }

    /// Says what is worth knowing about a stored backup besides its size.
    pub(super) fn remark(&self, at: usize, day: i64) -> &'static str {
        let node = &self.nodes[at];
        match () {
            () if !node.is_restorable => "cannot be restored",
            () if node.expired_since <= day => "expired",
            () if node.needed_since <= day => "for others",
            () if day < node.local_until => "local",
            () => "",
        }
    }
}

/// Writes a day: `Sun 5 Dec 2027`.
pub(super) fn day_text(day: NaiveDate) -> String {
    day.format("%a %-d %b %Y").to_string()
}

/// Gives each tier a letter of its own, a capital, where its name has one that is left.
pub(super) fn lanes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    for name in names {
        let is_left =
            |letter: &char| letter.is_ascii_uppercase() && lanes.iter().all(|lane| lane.letter != *letter);
        let capitals = name.to_ascii_uppercase();
        let letter = capitals.chars().find(is_left).or_else(|| ('A'..='Z').find(is_left));
        lanes.push(Lane { name: visible(name), letter: letter.unwrap_or('X') });
    }
    lanes
}
