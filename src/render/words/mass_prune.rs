//! The sentence of a plan that deletes too much from storage.

use crate::plan::{MassPrune, MassPrunedVm};
use std::fmt::{self, Display, Formatter};

/// How many VMs are named; the others are counted.
const VMS_MAX: usize = 3;

impl Display for MassPrune {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { delete_cloud, stored, limit, is_limit_named, vms } = self;
        f.write_str("Too many deletes from storage: ")?;
        if *is_limit_named {
            write!(f, "{delete_cloud} (--allow-mass-prune says {limit})")?;
        } else {
            write!(f, "{delete_cloud} of {stored} stored backups (limit {limit})")?;
        }
        for vm in vms.iter().take(VMS_MAX) {
            write!(f, "; {vm}")?;
        }
        match vms.len().saturating_sub(VMS_MAX) {
            0 => {}
            1 => f.write_str("; 1 more VM loses too many")?,
            more => write!(f, "; {more} more VMs lose too many")?,
        }
        write!(f, ". None of them is deleted without --allow-mass-prune {delete_cloud}")
    }
}

impl Display for MassPrunedVm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { uuid, alias, delete_cloud, stored, limit } = self;
        let id = uuid.map_or_else(String::new, |id| id.short());
        let name = if alias.is_empty() { &id } else { alias };
        write!(f, "{delete_cloud} of {stored} of {name} (limit {limit})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(alias: &str) -> MassPrunedVm {
        MassPrunedVm { uuid: None, alias: alias.to_owned(), delete_cloud: 7, stored: 20, limit: 6 }
    }

    #[test]
    fn it_names_the_limits_and_the_number_to_give() {
        let over =
            MassPrune { delete_cloud: 40, stored: 300, limit: 30, is_limit_named: false, vms: Vec::new() };
        let some = MassPrune { vms: ["a", "b", "c", "d"].map(vm).to_vec(), ..over.clone() };
        let named = MassPrune { is_limit_named: true, limit: 39, ..over.clone() };
        let texts: String = [over, some, named].map(|over| format!("{over}\n")).concat();
        insta::assert_snapshot!(texts, @r"
        Too many deletes from storage: 40 of 300 stored backups (limit 30). None of them is deleted without --allow-mass-prune 40
        Too many deletes from storage: 40 of 300 stored backups (limit 30); 7 of 20 of a (limit 6); 7 of 20 of b (limit 6); 7 of 20 of c (limit 6); 1 more VM loses too many. None of them is deleted without --allow-mass-prune 40
        Too many deletes from storage: 40 (--allow-mass-prune says 39). None of them is deleted without --allow-mass-prune 40
        ");
    }
}
