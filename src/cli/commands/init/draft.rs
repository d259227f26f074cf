//! A policy before it is a file: written as YAML with comments for the reader.

use crate::cli::args::{Condition, SelectKey};
use crate::inventory::VmId;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// What the VMs of a policy have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    All,
    Conditions(Vec<Condition>),
    Vms(BTreeSet<VmId>),
}

/// A policy to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) description: String,
    /// Further comments above it.
    pub(super) remarks: Vec<String>,
    pub(super) priority: i64,
    pub(super) selection: Selection,
    pub(super) zone: String,
    /// Coarsest first; the first one is full.
    pub(super) tiers: Vec<DraftTier>,
}

/// A tier to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DraftTier {
    pub(super) name: &'static str,
    pub(super) schedule: String,
    pub(super) keep: Option<NonZeroU32>,
}

/// Writes policies as one file.
pub(super) fn yaml(drafts: &[Draft]) -> String {
    let mut out = "\
# Written by `fifo-retain init`. `fifo-retain validate --strict` checks it, and
# `fifo-retain schema` prints what editors need to complete it.
"
    .to_owned();
    for (place, draft) in drafts.iter().enumerate() {
        if place > 0 {
            out.push_str("---\n");
        }
        draft.write(&mut out);
    }
    out
}

impl Draft {
    fn write(&self, out: &mut String) {
        for remark in &self.remarks {
            out.push_str(&format!("# {remark}\n"));
        }
        out.push_str(&format!(
            "version: 1\npolicy: {}\ndescription: {}\n",
            scalar(&self.name),
            self.description
        ));
        if self.priority != 0 {
            out.push_str("# A VM belongs to the matching policy with the highest priority.\n");
            out.push_str(&format!("priority: {}\n", self.priority));
        }
        out.push_str(
            "\n# The VMs of this policy: every key must match. `fifo-retain check` counts them.\nselect:\n",
        );
        self.selection.write(out);
        out.push_str("\n# The time zone of the schedules.\n");
        out.push_str(&format!("timezone: {}\n", scalar(&self.zone)));
        out.push_str(
            "\n# Coarsest first. The name of a tier is the comment of its backups. `keep` is how many are wanted in\n\
             # the store; without it all are. A schedule has the fields minute, hour, day of month, month, day of week.\n\
             tiers:\n",
        );
        for (place, tier) in self.tiers.iter().enumerate() {
            let kind = if place == 0 { "full" } else { "incremental" };
            let DraftTier { name, schedule, keep } = tier;
            out.push_str(&format!("  - name: {name}\n    schedule: \"{schedule}\"\n    type: {kind}\n"));
            if let Some(keep) = keep {
                out.push_str(&format!("    keep: {keep}\n"));
            }
        }
    }
}

impl Selection {
    fn write(&self, out: &mut String) {
        match self {
            Self::All => out.push_str("  all: true\n"),
            Self::Vms(vms) => {
                out.push_str("  uuid:\n");
                vms.iter().for_each(|vm| out.push_str(&format!("    - {}\n", quoted(&vm.to_string()))));
            }
            Self::Conditions(conditions) => {
                let mut fields: BTreeMap<&SelectKey, Vec<String>> = BTreeMap::new();
                for Condition { key, value } in conditions {
                    fields.entry(key).or_default().push(scalar(value));
                }
                let mut is_metadata_open = false;
                for (key, values) in fields {
                    let values = match &values[..] {
                        [value] => value.clone(),
                        values => format!("[{}]", values.join(", ")),
                    };
                    match key {
                        SelectKey::Field(name) => out.push_str(&format!("  {name}: {values}\n")),
                        SelectKey::Metadata(path) => {
                            if !is_metadata_open {
                                out.push_str("  metadata:\n");
                            }
                            is_metadata_open = true;
                            out.push_str(&format!("    {}: {values}\n", scalar(path)));
                        }
                    }
                }
            }
        }
    }
}

/// Writes a text as a YAML scalar, with quotes where it could be read as something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "nan"];
    let is_number = text.chars().all(|it| it.is_ascii_digit()) && text.len() < 10 && !text.starts_with('0');
    let is_word = text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "._-/".contains(it))
        && !WORDS.contains(&text.to_lowercase().as_str())
        && text.len() > 1;
    if is_number || is_word { text.to_owned() } else { quoted(text) }
}

/// Writes a text in double quotes; JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
