use super::{Backups, VmId};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    pub id: VmId,
    /// Its name for people; empty when it has none. Not unique.
    pub alias: String,
    pub owner: Option<String>,
    pub package: Option<String>,
    pub dataset: Option<String>,
    /// The hypervisor it is on; `None` when it is on none (stored, or being moved).
    pub hypervisor: Option<String>,
    /// FiFo's word for what it is doing (`running`, `stopped`, `stored`, …); empty when the record has none.
    pub state: String,
    /// Missing in old versions of FiFo, which is taken as not set; so is `deleting`.
    pub creating: bool,
    pub deleting: bool,
    /// Whether it has delegated datasets; FiFo refuses to back such a VM up.
    pub delegated_datasets: bool,
    pub metadata: Metadata,
    pub backups: Backups,
}

/// A VM's free-form metadata as dotted paths and texts: `{"fifo": {"backup": 1}}` is `fifo.backup` → `1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Says whether there is anything at a path, a single value or a nested object.
    pub fn is_set(&self, path: &str) -> bool {
        self.0.contains_key(path) || {
            let prefix = format!("{path}.");
            self.0.range(prefix.clone()..).next().is_some_and(|(key, _)| key.starts_with(&prefix))
        }
    }
}

impl FromIterator<(String, String)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
