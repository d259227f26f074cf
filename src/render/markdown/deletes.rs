//! The deletes: each one where there is room for that, else each in fewer words, else counted by policy and tier. None is
//! ever left out without being counted, and where they are only counted that is said in bold, above everything else.

use super::escape::{escaped, name, short_name};
use super::page::{table_head, table_row};
use crate::plan::{DeleteLocal, VmPlan};
use crate::policy::minute_text;
use crate::render::text::{Detail, rows};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// An alias in the short form has so many characters at the most.
const ALIAS_CHARS_MAX: usize = 24;

/// Snapshots that are going to be deleted, under one heading.
#[derive(Debug)]
pub(super) struct Deletes<'a> {
    /// The text behind their number.
    pub(super) title: &'static str,
    /// Whether they are unrelated to the change that the page is about: these may not displace related ones.
    pub(super) is_routine: bool,
    /// The deletes, each with its VM.
    pub(super) of: Vec<(&'a VmPlan, &'a DeleteLocal)>,
}

/// The level of detail of a list of deletes.
#[derive(Clone, Copy, Debug)]
enum Words {
    /// A row each, with the reason.
    Many,
    /// VM and time each.
    Few,
    /// Counts only.
    Counts,
}

/// Writes all deletes in the most words that so many bytes hold, routine ones in no more of them than the others.
///
/// Routine ones are listed only while all deletes together stay under half of the room: the page is there for what a
/// change does.
pub(super) fn fitted(groups: &[Deletes<'_>], room: usize) -> String {
    let groups: Vec<&Deletes<'_>> = groups.iter().filter(|group| !group.of.is_empty()).collect();
    if groups.is_empty() {
        return String::new();
    }
    let ways = [
        (Words::Many, Words::Many),
        (Words::Many, Words::Few),
        (Words::Few, Words::Few),
        (Words::Many, Words::Counts),
        (Words::Few, Words::Counts),
        (Words::Counts, Words::Counts),
    ];
    for (usual, routine) in ways {
        let words = |group: &Deletes<'_>| if group.is_routine { routine } else { usual };
        let counted = |is_routine| -> usize {
            let counted = groups.iter().filter(|group| matches!(words(group), Words::Counts));
            counted.filter(|group| group.is_routine == is_routine).map(|group| group.of.len()).sum()
        };
        let mut text = by_counts(counted(false), counted(true));
        groups.iter().for_each(|group| text.push_str(&group.written(words(group))));
        let lists_routine = groups.iter().any(|group| group.is_routine && !matches!(routine, Words::Counts));
        if text.len() <= if lists_routine { room / 2 } else { room } {
            return text;
        }
    }
    in_least(&groups, room)
}

fn by_counts(usual: usize, routine: usize) -> String {
    match (usual, routine) {
        (0, 0) => String::new(),
        (0, count) => format!(
            "\n**{count} deletes in any case are only counted here, by policy and tier: the room is for what this change \
             does.**\n"
        ),
        (usual, routine) => format!(
            "\n**{} deletes are only counted here, by policy and tier: there is no room to list them.**\n",
            usual + routine
        ),
    }
}

/// Lists as many policies and tiers as there is room for, and counts the others together.
fn in_least(groups: &[&Deletes<'_>], room: usize) -> String {
    let total: usize = groups.iter().map(|group| group.of.len()).sum();
    let counts: Vec<(String, usize)> = groups.iter().flat_map(|group| group.counts()).collect();
    let text = |shown: usize| {
        let mut text = format!("\n**{total} local deletes are only counted here:");
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
        let count = self.of.len();
        let snapshots = if count == 1 { "snapshot" } else { "snapshots" };
        let mut text = format!(
            "\n### {count} {snapshots} to delete locally{}\n\nFrom the hypervisor; the stored backups stay.\n\n",
            self.title
        );
        match words {
            Words::Many => {
                text.push_str(&table_head(&["VM", "policy", "snapshot", "why, or when"]));
                for (vm, delete) in &self.of {
                    text.push_str(&table_row(&[
                        &name(&vm.alias, vm.uuid),
                        &policy_of(vm),
                        &escaped(&rows::delete_text(vm, delete, Detail::Full)),
                        &escaped(&delete.reason.to_string()),
                    ]));
                }
            }
            Words::Few => self.few(&mut text),
            Words::Counts => {
                text.push_str(&table_head(&["policy and tier", "snapshots", "VMs"]));
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

    /// A line a policy and tier, with every VM and time.
    fn few(&self, text: &mut String) {
        for (tier, of) in self.by_tier() {
            let each: Vec<String> = of
                .iter()
                .map(|(vm, delete)| {
                    // An alias alone can be another VM's, or look like another entry; the UUID behind it cannot.
                    let name = short_name(&vm.alias, vm.uuid, ALIAS_CHARS_MAX);
                    match delete.taken {
                        Some(taken) => format!("{name} of {}", minute_text(taken)),
                        None => format!("{name} (new)"),
                    }
                })
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "- **{} ({}):** {}", tier_name(tier), of.len(), each.join(", "));
        }
    }

    fn by_tier(&self) -> BTreeMap<(&str, &str), Vec<&(&VmPlan, &DeleteLocal)>> {
        let mut tiers: BTreeMap<(&str, &str), Vec<&(&VmPlan, &DeleteLocal)>> = BTreeMap::new();
        for of in &self.of {
            let policy = of.0.policy.as_deref().unwrap_or_default();
            tiers.entry((policy, of.1.tier.as_str())).or_default().push(of);
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
