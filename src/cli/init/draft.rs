//! A policy before it is a file: a template with comments for the reader, filled.

use std::collections::BTreeMap;
use std::str::FromStr;

const HEAD: &str = "\
# Written by `fifo-retain init`. `fifo-retain validate --strict` checks it, and
# `fifo-retain schema` prints what editors need to complete it.
";

const PRUNE: &str =
    "\n\n# Runs with --prune delete what is no longer wanted from the store, for good.\nprune: true";

pub(super) const TIERS: [&str; 3] = ["monthly", "weekly", "daily"];
/// The days of the usual scheme, and of the script's wrapper.
pub(super) const DAYS: [&str; 3] = ["1 * *", "* * SUN", "* * *"];
const KEEP: [u32; 3] = [12, 5, 7];

const FIELDS: [&str; 5] = ["alias", "uuid", "owner", "package", "dataset"];
const METADATA: &str = "metadata.";

/// One condition of a selector: a field, or a dotted path in the metadata, and the value that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) key: String,
    pub(super) value: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("write it as KEY=VALUE, such as metadata.fifo.backup=1")?;
        if value.is_empty() {
            return Err("the value is empty".to_owned());
        }
        let is_path = key.strip_prefix(METADATA).is_some_and(|path| !path.is_empty());
        if !is_path && !FIELDS.contains(&key) {
            let fields = FIELDS.join(", ");
            return Err(format!("`{key}` is not a key of `select`: use metadata.PATH, {fields}"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) description: &'static str,
    /// Further comments above it.
    pub(super) remarks: Vec<String>,
    pub(super) priority: i64,
    /// What the VMs have in common; none means all VMs.
    pub(super) select: Vec<Condition>,
    pub(super) zone: String,
    /// Coarsest first; the first one is full. Each has its name, its schedule, and how many are kept, if not all.
    pub(super) tiers: Vec<(&'static str, String, Option<u32>)>,
    pub(super) prune: bool,
}

pub(super) fn yaml(drafts: &[Draft]) -> String {
    let texts: Vec<String> = drafts.iter().map(Draft::text).collect();
    format!("{HEAD}{}", texts.join("---\n"))
}

impl Draft {
    pub(super) fn grandfather(name: &str, select: Vec<Condition>, zone: &str, hour: u8, prune: bool) -> Self {
        let tier = |place: usize| (TIERS[place], format!("0 {hour} {}", DAYS[place]), Some(KEEP[place]));
        Self {
            name: name.to_owned(),
            description: "Monthly full backups, weekly and daily incremental ones.",
            remarks: Vec::new(),
            priority: 0,
            select,
            zone: zone.to_owned(),
            tiers: [0, 1, 2].map(tier).to_vec(),
            prune,
        }
    }

    fn text(&self) -> String {
        let remarks: String = self.remarks.iter().map(|remark| format!("# {remark}\n")).collect();
        let priority = match self.priority {
            0 => String::new(),
            number => format!(
                "# A VM belongs to the matching policy with the highest priority.\npriority: {number}\n"
            ),
        };
        let tier = |(place, (name, schedule, keep)): (usize, &(&str, String, Option<u32>))| {
            let kind = if place == 0 { "full" } else { "incremental" };
            let keep = keep.map_or_else(String::new, |keep| format!("\n    keep: {keep}"));
            format!("  - name: {name}\n    schedule: \"{schedule}\"\n    type: {kind}{keep}")
        };
        let tiers: Vec<String> = self.tiers.iter().enumerate().map(tier).collect();
        let prune = if self.prune { PRUNE } else { "" };
        let text = format!(
            include_str!("template.yaml"),
            name = scalar(&self.name),
            description = self.description,
            priority = priority,
            select = self.select_text(),
            zone = scalar(&self.zone),
            tiers = tiers.join("\n"),
            prune = prune,
        );
        remarks + &text
    }

    fn select_text(&self) -> String {
        if self.select.is_empty() {
            return "  all: true".to_owned();
        }
        // The values of one key are alternatives. Metadata comes last, as one map.
        let mut fields: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
        for Condition { key, value } in &self.select {
            let path = key.strip_prefix(METADATA);
            fields.entry((path.is_some(), path.unwrap_or(key))).or_default().push(scalar(value));
        }
        let mut lines: Vec<String> = Vec::new();
        for ((is_path, key), values) in fields {
            let indent = if is_path { "    " } else { "  " };
            if is_path && !lines.iter().any(|line| line == "  metadata:") {
                lines.push("  metadata:".to_owned());
            }
            let values = match &values[..] {
                [value] => format!(" {value}"),
                values => values.iter().map(|value| format!("\n{indent}  - {value}")).collect(),
            };
            lines.push(format!("{indent}{}:{values}", scalar(key)));
        }
        lines.join("\n")
    }
}

/// Writes a text as a YAML scalar: in double quotes where it could be read as something else. JSON's strings are YAML's.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "nan"];
    let is_number = text.chars().all(|it| it.is_ascii_digit()) && text.len() < 10 && !text.starts_with('0');
    let is_word = text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "._-/".contains(it))
        && !WORDS.contains(&text.to_lowercase().as_str())
        && text.len() > 1;
    if is_number || is_word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
