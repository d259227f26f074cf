//! VMs with the same change as one block, where a plan changes too many of them to read one by one.

use super::Detail;
use super::rows::{self, Row, RowGroup};
use crate::plan::{Action, Create, DeleteCloud, DeleteLocal, NoteCode, Plan, Status, VmPlan, bytes_text};
use crate::policy::minute_text;
use crate::render::cells::visible;
use crate::render::natural;
use crate::render::wording::{ProblemName, wording};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of VMs with changes for which each has a block of its own.
const ALONE_MAX: usize = 30;
/// The largest number of VMs that the heading of a group names; a larger group has the patterns of their names.
const NAMED_MAX: usize = 3;

/// What a plan has for its VMs, in natural order.
pub(super) enum Blocks<'p> {
    /// A block for each of these VMs. It is put into words when it is needed: there may be as many as the cloud has VMs.
    OfVms(Vec<&'p VmPlan>, Detail),
    /// The blocks of groups.
    OfGroups(Vec<RowGroup>),
}

impl<'p> Blocks<'p> {
    /// Finds what of a plan is shown at a level of detail.
    pub(super) fn new(plan: &'p Plan, detail: Detail) -> Self {
        let mut vms: Vec<&VmPlan> = plan.vms.iter().filter(|vm| rows::is_shown(vm, detail)).collect();
        vms.sort_by(|a, b| natural::compare(&a.alias, &b.alias));
        let changed = plan.vms.iter().filter(|vm| vm.status == Status::Changes).count();
        if detail == Detail::Full || changed <= ALONE_MAX {
            return Self::OfVms(vms, detail);
        }
        let mut groups: Vec<Vec<&VmPlan>> = Vec::new();
        let mut places: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        for vm in vms {
            let place = *places.entry(Key::of(vm)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(vm),
                None => groups.push(vec![vm]),
            }
        }
        Self::OfGroups(groups.iter().filter_map(|group| grouped(group, detail)).collect())
    }

    /// Says whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::OfVms(vms, _) => vms.is_empty(),
            Self::OfGroups(blocks) => blocks.is_empty(),
        }
    }

    /// Returns the blocks, one after the other.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Cow<'_, RowGroup>> + '_> {
        match self {
            Self::OfVms(vms, detail) => Box::new(vms.iter().map(|vm| Cow::Owned(rows::block(vm, *detail)))),
            Self::OfGroups(blocks) => Box::new(blocks.iter().map(Cow::Borrowed)),
        }
    }
}

/// What VMs of one group have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'p> {
    policy: Option<&'p str>,
    status: Status,
    actions: Vec<ActionKey<'p>>,
    /// The tiers of the backups that are deleted from storage; how many of each differs from VM to VM.
    pruned_tiers: BTreeSet<&'p str>,
    notes: Vec<NoteCode>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ActionKey<'p> {
    Create { tier: &'p str, parent_tier: Option<&'p str> },
    DeleteLocal { is_new: bool, tier: &'p str, flaw: Option<ProblemName>, after_create: bool },
}

impl<'p> Key<'p> {
    fn of(vm: &'p VmPlan) -> Self {
        let notes = vm.notes.iter().filter(|note| wording(note).is_explanation).map(|note| note.code);
        Self {
            policy: vm.policy.as_deref(),
            status: vm.status,
            actions: vm.actions.iter().filter_map(|action| ActionKey::of(vm, action)).collect(),
            pruned_tiers: cloud_deletes(vm).map(|delete| delete.tier.as_str()).collect(),
            notes: notes.collect(),
        }
    }
}

impl<'p> ActionKey<'p> {
    fn of(vm: &VmPlan, action: &'p Action) -> Option<Self> {
        match action {
            Action::Create(Create { tier, parent, parent_tier, .. }) => {
                let parent_tier = parent.map(|_| parent_tier.as_deref().unwrap_or("backup"));
                Some(Self::Create { tier, parent_tier })
            }
            Action::DeleteCloud(_) => None,
            Action::DeleteLocal(DeleteLocal { backup, tier, after_create, .. }) => {
                let mut notes = vm.notes.iter().filter(|note| backup.is_some() && note.backup == *backup);
                Some(Self::DeleteLocal {
                    is_new: backup.is_none(),
                    tier,
                    flaw: notes.find_map(|note| wording(note).problem),
                    after_create: *after_create,
                })
            }
        }
    }
}

/// Puts a group into words: the rows of its first VM, with what differs between the VMs replaced.
fn grouped(vms: &[&VmPlan], detail: Detail) -> Option<RowGroup> {
    let [vm, others @ ..] = vms else { return None };
    if others.is_empty() {
        return Some(rows::block(vm, detail));
    }
    let vm = without_prune(vm);
    let first = rows::block(&vm, detail);
    let mut shared = vec![Shared { what: true, why: true }; first.rows.len()];
    for other in others.iter().map(|vm| rows::block(&without_prune(vm), detail)) {
        for (shared, (row, other)) in shared.iter_mut().zip(first.rows.iter().zip(&other.rows)) {
            shared.what &= other.what == row.what;
            shared.why &= other.why == row.why;
        }
    }
    let rows = first.rows.iter().zip(shared).enumerate();
    let mut rows: Vec<Row> = rows
        .map(|(place, (row, shared))| grouped_row(vms, row, shared, action_of(&vm, row, place)))
        .collect();
    let place = rows_above(&vm) + vm.actions.len();
    rows.splice(place..place, prune_rows(vms));
    Some(RowGroup { alias: names(vms), id: format!("({} VMs)", vms.len()), rows, policy: first.policy })
}

/// What is the same in a row of all VMs of a group.
#[derive(Clone, Copy)]
struct Shared {
    what: bool,
    why: bool,
}

fn grouped_row(vms: &[&VmPlan], row: &Row, shared: Shared, action: Option<&Action>) -> Row {
    let count = vms.len();
    let what = match (shared.what, action) {
        (true, None | Some(Action::Create(_) | Action::DeleteCloud(_))) => row.what.clone(),
        (false, Some(Action::Create(create))) => visible(&undated_create(create)),
        (true, Some(Action::DeleteLocal(_))) => format!("{}, {count} snapshots", row.what),
        (false, Some(Action::DeleteLocal(_))) => {
            let (begin, _) = row.what.split_once(" of ").unwrap_or((&row.what, ""));
            format!("{begin}, {count} snapshots of different times")
        }
        (false, None | Some(Action::DeleteCloud(_))) => format!("for example: {}", row.what),
    };
    let why = match (shared.why, action) {
        (true, _) => row.why.clone(),
        (false, Some(Action::Create(_))) => first_due(vms),
        (false, _) => format!("for example: {}", row.why),
    };
    Row { what, why, ..row.clone() }
}

fn cloud_deletes(vm: &VmPlan) -> impl Iterator<Item = &DeleteCloud> {
    vm.actions.iter().filter_map(Action::as_cloud_delete)
}

fn without_prune(vm: &VmPlan) -> VmPlan {
    let actions = vm.actions.iter().filter(|action| !action.is_cloud_delete());
    VmPlan { actions: actions.cloned().collect(), ..vm.clone() }
}

/// Returns a row for each tier of which backups are deleted from storage: how many, how large, and the oldest.
fn prune_rows(vms: &[&VmPlan]) -> Vec<Row> {
    let mut tiers: BTreeMap<&str, Vec<&DeleteCloud>> = BTreeMap::new();
    for delete in vms.iter().flat_map(|vm| cloud_deletes(vm)) {
        tiers.entry(delete.tier.as_str()).or_default().push(delete);
    }
    let is_suspended = vms.first().is_some_and(|vm| vm.is_suspended());
    let (symbol, verb) = rows::prune_verb(is_suspended);
    let row = |(tier, deletes): (&str, Vec<&DeleteCloud>)| {
        let bytes = deletes.iter().filter_map(|delete| delete.size_bytes).fold(0, u64::saturating_add);
        let oldest = deletes.iter().map(|delete| delete.taken).min()?;
        let what =
            format!("{tier}, {} backups since {}, {}", deletes.len(), minute_text(oldest), bytes_text(bytes));
        let reasons: BTreeSet<String> = deletes.iter().map(|delete| delete.reason.to_string()).collect();
        let why = match (reasons.len(), reasons.into_iter().next()) {
            (1, Some(reason)) => reason,
            (_, reason) => format!("for example: {}", reason.unwrap_or_default()),
        };
        Some(Row { symbol, verb, what: visible(&what), why: visible(&why) })
    };
    tiers.into_iter().filter_map(row).collect()
}

/// Counts the rows above the actions: the notes on why none is carried out.
fn rows_above(vm: &VmPlan) -> usize {
    vm.notes.iter().filter(|note| rows::stands_above(note)).count()
}

/// Returns the action that a row is about.
fn action_of<'p>(vm: &'p VmPlan, row: &Row, place: usize) -> Option<&'p Action> {
    let action = vm.actions.get(place.checked_sub(rows_above(vm))?);
    action.filter(|_| row.verb.ends_with("create") || row.verb.ends_with("delete locally"))
}

fn undated_create(create: &Create) -> String {
    match create.parent {
        None => format!("{}, full", create.tier),
        Some(_) => {
            let parent = create.parent_tier.as_deref().unwrap_or("backup");
            format!("{}, incremental on each VM's {parent}", create.tier)
        }
    }
}

fn first_due(vms: &[&VmPlan]) -> String {
    let creates = vms.iter().flat_map(|vm| &vm.actions).filter_map(Action::as_create);
    let first = creates.map(|create| create.due_since).min();
    first.map_or_else(String::new, |due| format!("due since {} or later", due.format("%a %Y-%m-%d %H:%M")))
}

/// Names VMs: by their aliases where they are few, else by what these begin with: `app-*, web-*`.
fn names(vms: &[&VmPlan]) -> String {
    let alias = |vm: &&VmPlan| if vm.alias.is_empty() { "(no alias)".to_owned() } else { vm.alias.clone() };
    if vms.len() <= NAMED_MAX {
        return visible(&vms.iter().map(alias).collect::<Vec<_>>().join(", "));
    }
    let pattern = |alias: String| match alias.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
        begin if begin.len() < alias.len() => format!("{begin}*"),
        _ => alias,
    };
    let patterns: BTreeSet<String> = vms.iter().map(|vm| pattern(alias(vm))).collect();
    let mut named: Vec<String> = patterns.iter().take(NAMED_MAX).cloned().collect();
    if patterns.len() > NAMED_MAX {
        named.push(format!("{} more", patterns.len() - NAMED_MAX));
    }
    visible(&named.join(", "))
}
