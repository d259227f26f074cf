//! Which VMs a policy is for.

use super::Pattern;
use crate::inventory::Vm;
use std::fmt;

/// A condition on a VM. Every key that is given must match; a list of values matches if one of them does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Matches every VM, said in so many words.
    pub all: bool,
    pub uuid: Vec<String>,
    pub alias: Vec<Pattern>,
    pub owner: Vec<String>,
    pub package: Vec<String>,
    pub dataset: Vec<String>,
    /// Dotted metadata paths, each with the values that match.
    pub metadata: Vec<(String, Vec<MetadataValue>)>,
    /// At least one of these must match, where there is any.
    pub any: Vec<Selector>,
}

impl Selector {
    pub fn matches(&self, vm: &Vm) -> bool {
        let one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty()
                || found.is_some_and(|found| wanted.iter().any(|want| want.eq_ignore_ascii_case(found)))
        };
        let is_met =
            |(path, wanted): &(String, Vec<MetadataValue>)| wanted.iter().any(|want| want.matches(vm, path));
        (self.uuid.is_empty() || one_of(&self.uuid, Some(&vm.id.to_string())))
            && (self.alias.is_empty() || self.alias.iter().any(|pattern| pattern.matches(&vm.alias)))
            && one_of(&self.owner, vm.owner.as_deref())
            && one_of(&self.package, vm.package.as_deref())
            && one_of(&self.dataset, vm.dataset.as_deref())
            && self.metadata.iter().all(is_met)
            && (self.any.is_empty() || self.any.iter().any(|selector| selector.matches(vm)))
    }
}

/// As a policy file has it, in flow style: `alias: [web-*, app-*], metadata: {fifo.backup: 1}`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By name, so that a new key does not compile until it is written here.
        let Self { all, uuid, alias, owner, package, dataset, metadata, any } = self;
        let paths: Vec<String> =
            metadata.iter().map(|(path, values)| format!("{path}: {}", one_or_list(values))).collect();
        let selectors: Vec<String> = any.iter().map(|selector| format!("{{{selector}}}")).collect();
        let keys = [
            (*all, "all: true".to_owned()),
            (!uuid.is_empty(), format!("uuid: {}", one_or_list(uuid))),
            (!alias.is_empty(), format!("alias: {}", one_or_list(alias))),
            (!owner.is_empty(), format!("owner: {}", one_or_list(owner))),
            (!package.is_empty(), format!("package: {}", one_or_list(package))),
            (!dataset.is_empty(), format!("dataset: {}", one_or_list(dataset))),
            (!metadata.is_empty(), format!("metadata: {{{}}}", paths.join(", "))),
            (!any.is_empty(), format!("any: [{}]", selectors.join(", "))),
        ];
        let given: Vec<String> =
            keys.into_iter().filter_map(|(is_given, key)| is_given.then_some(key)).collect();
        f.write_str(&given.join(", "))
    }
}

fn one_or_list(values: &[impl ToString]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    if let [text] = texts.as_slice() { text.clone() } else { format!("[{}]", texts.join(", ")) }
}

/// What a selector wants at a path in the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataValue {
    /// As the policy has it; `*` is anything, a nested object as well.
    text: String,
    /// Of a number, which any spelling of an equal one matches; JSON's spelling of a number or a switch counts as text.
    number: Option<Number>,
}

impl MetadataValue {
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), number: None }
    }

    pub(super) fn number(text: &str) -> Option<Self> {
        Some(Self { number: Some(number(text)?), ..Self::text(text) })
    }

    fn matches(&self, vm: &Vm, path: &str) -> bool {
        let found = vm.metadata.get(path);
        match &self.number {
            _ if self.text == "*" => vm.metadata.is_set(path),
            None => found == Some(&self.text),
            Some(_) => found.and_then(number) == self.number,
        }
    }
}

impl fmt::Display for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a number is negative, its digits without zeros around them, and the power of ten of the last one.
type Number = (bool, String, i64);

/// Reads a number of any size, as JSON spells numbers; `None` for any other spelling, such as `007`, `0x10`, `+5` and `-0`.
fn number(text: &str) -> Option<Number> {
    let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let digits = format!("{whole}{fraction}");
    let is_plain = whole == "0" || !(whole.is_empty() || whole.starts_with('0'));
    if !is_plain || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let shift = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent.checked_add(shift)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    match significant.trim_start_matches('0') {
        "" if is_negative => None,
        "" => Some((false, String::new(), 0)),
        digits => Some((is_negative, digits.to_owned(), exponent)),
    }
}
