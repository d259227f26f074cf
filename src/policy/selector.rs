//! Which VMs a policy is for.

use crate::inventory::Vm;
use globset::{Glob, GlobMatcher};
use std::fmt;

/// A condition on a VM. Every key that is given must match; a list of values matches if one of them does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Matches every VM, said in so many words.
    pub all: bool,
    pub uuid: Vec<String>,
    /// Alias patterns.
    pub alias: Vec<Pattern>,
    /// Organisation UUIDs.
    pub owner: Vec<String>,
    /// Package UUIDs.
    pub package: Vec<String>,
    /// Dataset UUIDs.
    pub dataset: Vec<String>,
    /// Hypervisor UUIDs.
    pub hypervisor: Vec<String>,
    pub state: Vec<String>,
    /// Dotted metadata paths, each with the texts that match; `*` is "is set".
    pub metadata: Vec<(String, Vec<String>)>,
    /// At least one of these must match, where there is any.
    pub any: Vec<Selector>,
}

impl Selector {
    /// Says whether a VM fits.
    pub fn matches(&self, vm: &Vm) -> bool {
        let one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty()
                || found.is_some_and(|found| wanted.iter().any(|want| want.eq_ignore_ascii_case(found)))
        };
        one_of(&self.uuid, Some(&vm.id.to_string()))
            && (self.alias.is_empty() || self.alias.iter().any(|pattern| pattern.matches(&vm.alias)))
            && one_of(&self.owner, vm.owner.as_deref())
            && one_of(&self.package, vm.package.as_deref())
            && one_of(&self.dataset, vm.dataset.as_deref())
            && one_of(&self.hypervisor, vm.hypervisor.as_deref())
            && one_of(&self.state, Some(&vm.state))
            && self.metadata.iter().all(|(path, wanted)| metadata_matches(vm, path, wanted))
            && (self.any.is_empty() || self.any.iter().any(|selector| selector.matches(vm)))
    }
}

/// As a policy file has it, in flow style: `alias: [web-*, app-*], metadata: {fifo.backup: 1}`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By name, so that a new key does not compile until it is written here.
        let Self { all, uuid, alias, owner, package, dataset, hypervisor, state, metadata, any } = self;
        let patterns: Vec<String> = alias.iter().map(ToString::to_string).collect();
        let lists = [
            ("uuid", uuid),
            ("alias", &patterns),
            ("owner", owner),
            ("package", package),
            ("dataset", dataset),
            ("hypervisor", hypervisor),
            ("state", state),
        ];
        let mut keys: Vec<String> = all.then(|| "all: true".to_owned()).into_iter().collect();
        let given = lists.into_iter().filter(|(_, values)| !values.is_empty());
        keys.extend(given.map(|(key, values)| format!("{key}: {}", one_or_list(values))));
        if !metadata.is_empty() {
            let paths = metadata.iter().map(|(path, values)| format!("{path}: {}", one_or_list(values)));
            keys.push(format!("metadata: {{{}}}", paths.collect::<Vec<_>>().join(", ")));
        }
        if !any.is_empty() {
            let selectors = any.iter().map(|selector| format!("{{{selector}}}"));
            keys.push(format!("any: [{}]", selectors.collect::<Vec<_>>().join(", ")));
        }
        f.write_str(&keys.join(", "))
    }
}

fn one_or_list(values: &[String]) -> String {
    match values {
        [value] => value.clone(),
        values => format!("[{}]", values.join(", ")),
    }
}

fn metadata_matches(vm: &Vm, path: &str, wanted: &[String]) -> bool {
    wanted.iter().any(|want| match want.as_str() {
        "*" => vm.metadata.is_set(path),
        want => vm.metadata.get(path) == Some(want),
    })
}

/// An alias pattern: `*`, `?`, `[…]` and `{a,b}`, over the whole alias; case-sensitive.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// When a bracket or brace is left open and the like.
    pub fn new(text: &str) -> Result<Self, globset::Error> {
        Ok(Self { text: text.to_owned(), matcher: Glob::new(text)?.compile_matcher() })
    }

    /// Says whether a text fits, from its beginning to its end.
    pub fn matches(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}
