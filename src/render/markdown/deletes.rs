//! The deletes: each one where there is room for that, else each in fewer words, else counted by policy and tier. None is
//! ever left out without being counted, and where they are only counted that is said in bold, above everything else.

use super::escape::{escaped, name, short_name};
use super::page::{table_head, table_row};
use crate::plan::{Action, DeleteCloud, DeleteLocal, VmPlan};
use crate::policy::minute_text;
use crate::render::text::{Detail, rows};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// An alias in the short form has so many characters at the most.
const ALIAS_CHARS_MAX: usize = 24;

/// Deletes of one kind, under one heading.
#[derive(Debug)]
pub(super) struct Deletes<'a> {
    /// Where from.
    pub(super) place: DeletePlace,
    /// The text behind their number.
    pub(super) title: &'static str,
    /// Whether they are unrelated to the change that the page is about: these may not displace related ones.
    pub(super) is_routine: bool,
    /// The deletes, each with its VM.
    pub(super) of: Vec<(&'a VmPlan, Deleted<'a>)>,
}

/// Where something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeletePlace {
    /// A stored backup, for good.
    Storage,
    /// A snapshot on the hypervisor; the stored backup stays.
    Hypervisor,
}

/// What is deleted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deleted<'a> {
    Stored(&'a DeleteCloud),
    Snapshot(&'a DeleteLocal),
}

impl<'a> Deleted<'a> {
    /// Returns what an action deletes; `None` where it deletes nothing.
    pub(super) fn by(action: &'a Action) -> Option<Self> {
        match action {
            Action::Create(_) => None,
            Action::DeleteLocal(delete) => Some(Self::Snapshot(delete)),
            Action::DeleteCloud(delete) => Some(Self::Stored(delete)),
        }
    }

    pub(super) fn place(self) -> DeletePlace {
        match self {
            Self::Stored(_) => DeletePlace::Storage,
            Self::Snapshot(_) => DeletePlace::Hypervisor,
        }
    }

    fn tier(self) -> &'a str {
        match self {
            Self::Stored(delete) => &delete.tier,
            Self::Snapshot(delete) => &delete.tier,
        }
    }

    fn text(self, vm: &VmPlan) -> String {
        match self {
            Self::Stored(delete) => rows::stored_text(delete, Detail::Full),
            Self::Snapshot(delete) => rows::delete_text(vm, delete, Detail::Full),
        }
    }

    fn reason(self) -> String {
        match self {
            Self::Stored(delete) => delete.reason.to_string(),
            Self::Snapshot(delete) => delete.reason.to_string(),
        }
    }

    fn taken_text(self) -> Option<String> {
        match self {
            Self::Stored(delete) => Some(minute_text(delete.taken)),
            Self::Snapshot(delete) => delete.taken.map(minute_text),
        }
    }
}

/// The level of detail of a list of deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// A row each, with the reason.
    Many,
    /// VM and time each.
    Few,
    /// Counts only.
    Counts,
}

/// Writes all deletes in the most words that so many bytes hold: those from storage in no fewer than the others, and routine
/// local ones in no more.
///
/// Routine local ones are listed only while all deletes together stay under half of the room: the page is there for what a
/// change does.
pub(super) fn fitted(groups: &[Deletes<'_>], room: usize) -> String {
    use Words::{Counts, Few, Many};
    let groups: Vec<&Deletes<'_>> = groups.iter().filter(|group| !group.of.is_empty()).collect();
    if groups.is_empty() {
        return String::new();
    }
    // From storage, local, and local that are routine.
    let ways = [
        [Many, Many, Many],
        [Many, Many, Few],
        [Many, Few, Few],
        [Few, Few, Few],
        [Many, Many, Counts],
        [Many, Few, Counts],
        [Few, Few, Counts],
        [Many, Counts, Counts],
        [Few, Counts, Counts],
        [Counts, Counts, Counts],
    ];
    for [stored, usual, routine] in ways {
        let words = |group: &Deletes<'_>| match (group.place, group.is_routine) {
            (DeletePlace::Storage, _) => stored,
            (DeletePlace::Hypervisor, true) => routine,
            (DeletePlace::Hypervisor, false) => usual,
        };
        let counted: Vec<&Deletes<'_>> =
            groups.iter().copied().filter(|group| words(group) == Counts).collect();
        let mut text = by_counts(&counted);
        groups.iter().for_each(|group| text.push_str(&group.written(words(group))));
        let lists_routine = routine != Counts
            && groups.iter().any(|group| group.is_routine && group.place == DeletePlace::Hypervisor);
        if text.len() <= if lists_routine { room / 2 } else { room } {
            return text;
        }
    }
    in_least(&groups, room)
}

/// Says which deletes are only counted.
fn by_counts(counted: &[&Deletes<'_>]) -> String {
    let count = |is_it: &dyn Fn(&Deletes<'_>) -> bool| -> usize {
        counted.iter().filter(|group| is_it(group)).map(|group| group.of.len()).sum()
    };
    let stored = count(&|group| group.place == DeletePlace::Storage);
    let usual = count(&|group| group.place == DeletePlace::Hypervisor && !group.is_routine);
    let routine = count(&|group| group.place == DeletePlace::Hypervisor && group.is_routine);
    let mut text = String::new();
    if stored > 0 {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n**{stored} deletes from storage, for good, are only counted here, by policy and tier: there is no room to \
             list them.**\n"
        );
    }
    match (usual, routine) {
        (0, 0) => {}
        (0, count) => text.push_str(&format!(
            "\n**{count} deletes in any case are only counted here, by policy and tier: the room is for what this change \
             does.**\n"
        )),
        (usual, routine) => text.push_str(&format!(
            "\n**{} deletes are only counted here, by policy and tier: there is no room to list them.**\n",
            usual + routine
        )),
    }
    text
}

/// Lists as many policies and tiers as there is room for, and counts the others together.
fn in_least(groups: &[&Deletes<'_>], room: usize) -> String {
    let (stored, local): (Vec<&Deletes<'_>>, Vec<&Deletes<'_>>) =
        groups.iter().partition(|group| group.place == DeletePlace::Storage);
    // These first: half of the room, at the most, is for them.
    let stored = in_least_of(
        &stored,
        "deletes from storage, for good,",
        if local.is_empty() { room } else { room / 2 },
    );
    let local = in_least_of(&local, "local deletes", room.saturating_sub(stored.len()));
    stored + &local
}

fn in_least_of(groups: &[&Deletes<'_>], noun: &str, room: usize) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let total: usize = groups.iter().map(|group| group.of.len()).sum();
    let counts: Vec<(String, usize)> = groups.iter().flat_map(|group| group.counts()).collect();
    let text = |shown: usize| {
        let mut text = format!("\n**{total} {noun} are only counted here:");
        for (what, count) in counts.iter().take(shown) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {count} of {what};");
        }
        let rest: usize = counts.iter().skip(shown).map(|(_, count)| count).sum();
        if rest > 0 {
            let _ = write!(text, " {rest} of {} policies and tiers", counts.len() - shown.min(counts.len()));
        }
        let text = text.trim_end_matches(';');
        format!("{text}.**\n")
    };
    let fits = (0..=counts.len()).take_while(|&shown| text(shown).len() <= room).last();
    text(fits.unwrap_or(0))
}

impl Deletes<'_> {
    fn written(&self, words: Words) -> String {
        let (count, title) = (self.of.len(), self.title);
        let noun = self.noun(count);
        let mut text = match self.place {
            DeletePlace::Storage => format!(
                "\n### {count} {noun} to delete from storage, for good{title}\n\nNothing can restore them afterwards.\n\n"
            ),
            DeletePlace::Hypervisor => format!(
                "\n### {count} {noun} to delete locally{title}\n\nFrom the hypervisor; the stored backups stay.\n\n"
            ),
        };
        match words {
            Words::Many => {
                text.push_str(&table_head(&match self.place {
                    DeletePlace::Storage => ["VM", "policy", "backup", "why"],
                    DeletePlace::Hypervisor => ["VM", "policy", "snapshot", "why, or when"],
                }));
                for (vm, delete) in &self.of {
                    text.push_str(&table_row(&[
                        &name(&vm.alias, vm.uuid),
                        &policy_of(vm),
                        &escaped(&delete.text(vm)),
                        &escaped(&delete.reason()),
                    ]));
                }
            }
            Words::Few => self.few(&mut text),
            Words::Counts => {
                text.push_str(&table_head(&["policy and tier", self.noun(2), "VMs"]));
                for (tier, of) in self.by_tier() {
                    let vms: BTreeSet<_> = of.iter().map(|(vm, _)| vm.uuid).collect();
                    text.push_str(&table_row(&[
                        &tier_name(tier),
                        &of.len().to_string(),
                        &vms.len().to_string(),
                    ]));
                }
            }
        }
        text
    }

    fn noun(&self, count: usize) -> &'static str {
        match (self.place, count) {
            (DeletePlace::Storage, 1) => "backup",
            (DeletePlace::Storage, _) => "backups",
            (DeletePlace::Hypervisor, 1) => "snapshot",
            (DeletePlace::Hypervisor, _) => "snapshots",
        }
    }

    /// A line a policy and tier, with every VM and time.
    fn few(&self, text: &mut String) {
        for (tier, of) in self.by_tier() {
            let each: Vec<String> = of
                .iter()
                .map(|(vm, delete)| {
                    // An alias alone can be another VM's, or look like another entry; the UUID behind it cannot.
                    let name = short_name(&vm.alias, vm.uuid, ALIAS_CHARS_MAX);
                    match delete.taken_text() {
                        Some(taken) => format!("{name} of {taken}"),
                        None => format!("{name} (new)"),
                    }
                })
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "- **{} ({}):** {}", tier_name(tier), of.len(), each.join(", "));
        }
    }

    fn by_tier(&self) -> BTreeMap<(&str, &str), Vec<&(&VmPlan, Deleted<'_>)>> {
        let mut tiers: BTreeMap<(&str, &str), Vec<&(&VmPlan, Deleted<'_>)>> = BTreeMap::new();
        for of in &self.of {
            let policy = of.0.policy.as_deref().unwrap_or_default();
            tiers.entry((policy, of.1.tier())).or_default().push(of);
        }
        tiers
    }

    fn counts(&self) -> Vec<(String, usize)> {
        self.by_tier().into_iter().map(|(key, of)| (tier_name(key), of.len())).collect()
    }
}

fn tier_name((policy, tier): (&str, &str)) -> String {
    format!("{}, {}", escaped(policy), escaped(tier))
}

pub(super) fn policy_of(vm: &VmPlan) -> String {
    escaped(vm.policy.as_deref().unwrap_or_default())
}
