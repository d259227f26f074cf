//! VMs with the same to say of them as one entry, where there are too many to read one by one.

use super::doc::Entry;
use super::words::{counted, vm_id, vm_name};
use crate::inventory::VmId;
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of VMs for which each has an entry of its own.
pub(super) const ALONE_MAX: usize = 30;
/// The largest number of VMs that the heading of a group names; a larger group has the patterns of their names.
const NAMED_MAX: usize = 3;

/// Returns a key by which names sort with the numbers in them by value: `app-2` before `app-10`.
pub(super) fn natural(name: &str) -> (Vec<(String, usize, String)>, String) {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (text, after) =
            rest.split_at(rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len()));
        let (digits, after) =
            after.split_at(after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len()));
        // A digit stands for all of them, so that other signs keep their places before and behind.
        let text = if digits.is_empty() { text.to_owned() } else { format!("{text}0") };
        let digits = digits.trim_start_matches('0');
        parts.push((text, digits.len(), digits.to_owned()));
        rest = after;
    }
    (parts, name.to_owned())
}

/// Puts items with the same key together, in the order of the first of each; or leaves each alone.
pub(super) fn grouped<V: Copy, K: Ord>(
    items: &[V],
    key: impl Fn(&V) -> K,
    is_each_alone: bool,
) -> Vec<Vec<V>> {
    let mut groups: Vec<Vec<V>> = Vec::new();
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    for &item in items {
        let new = groups.len();
        let place = if is_each_alone { new } else { *places.entry(key(&item)).or_insert(new) };
        match groups.get_mut(place) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

/// Returns the text that all have, or one of them as an example.
pub(super) fn same_or_example<'a>(mut texts: impl Iterator<Item = &'a str>) -> String {
    let first = texts.next().unwrap_or_default();
    if texts.all(|text| text == first) { first.to_owned() } else { format!("for example: {first}") }
}

/// Names a VM, or several: by their names where they are few, else by what these begin with: `app-*, web-*`.
pub(super) fn entry_head(vms: &[(&str, Option<VmId>)], policy: Option<&str>) -> Entry {
    let id = match vms {
        [(alias, uuid)] => vm_id(alias, *uuid),
        _ => format!("({})", counted(vms.len(), "VM")),
    };
    let name = match vms.len() {
        ..=NAMED_MAX => vms.iter().map(|(alias, uuid)| vm_name(alias, *uuid)).collect::<Vec<_>>().join(", "),
        _ => {
            let pattern = |(alias, uuid): &(&str, Option<VmId>)| match alias
                .trim_end_matches(|letter: char| letter.is_ascii_digit())
            {
                begin if begin.len() < alias.len() => format!("{begin}*"),
                _ => vm_name(alias, *uuid),
            };
            let patterns: BTreeSet<String> = vms.iter().map(pattern).collect();
            let mut named: Vec<String> = patterns.iter().take(NAMED_MAX).cloned().collect();
            if patterns.len() > NAMED_MAX {
                named.push(format!("{} more", patterns.len() - NAMED_MAX));
            }
            named.join(", ")
        }
    };
    Entry { name, id, policy: policy.unwrap_or_default().to_owned(), lines: Vec::new() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_in_names_compare_by_value() {
        let mut names = ["app-10", "app-2", "app", "app-02", "app-2b", "web-1", "app-1", "-", "0", ""];
        names.sort_by_cached_key(|name| super::natural(name));
        assert_eq!(names, ["", "-", "0", "app", "app-1", "app-02", "app-2", "app-2b", "app-10", "web-1"]);
    }
}
