//! A plan in a file: with a checksum, and read back strictly, since what it lists is carried out.

use super::changeset::{FORMAT, Plan, VmPlan};
use crate::inventory::VmId;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::{self, Write};

#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is no JSON, or not that of a plan.
    #[error("not a plan of this program")]
    NoPlan(#[source] serde_json::Error),
    /// It was made by another version, or is something else.
    #[error("unsupported format {found:?}; the supported format is {FORMAT:?}")]
    OtherFormat { found: String },
    #[error("checksum mismatch: it was changed after it was made")]
    Changed,
    /// What is listed twice could be done twice.
    #[error("it lists the VM {vm} twice")]
    Twice { vm: VmId },
}

/// Digests what is written to it: the JSON of a large cloud is never in memory as a whole.
struct Digesting(Sha256);

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Plan {
    /// Sets the checksum of everything else: the SHA-256, in hexadecimal digits, of the plan's JSON without line breaks and
    /// with an empty `checksum`.
    ///
    /// It guards against damage and edits, not against an attacker: the permissions of the file do that.
    pub(super) fn sign(&mut self) {
        self.checksum = String::new();
        let mut digest = Digesting(Sha256::new());
        // A plan can always be written; if one ever could not, its checksum would be one that fits nothing.
        let written = serde_json::to_writer(&mut digest, self);
        self.checksum = written.map(|()| hex::encode(digest.0.finalize())).unwrap_or_default();
    }

    /// Digests what it has for its VMs, without notes and fingerprints, which change while nothing else does.
    pub fn digest_without_notes(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for vm in &self.vms {
            let vm = VmPlan { notes: Vec::new(), fingerprint: None, ..vm.clone() };
            digest.update(serde_json::to_vec(&vm).unwrap_or_default());
        }
        digest.finalize().into()
    }

    /// Reads a saved plan. An error is whatever is not, to the last field, a plan of this [`FORMAT`] that matches its checksum and
    /// lists each VM once.
    pub fn from_json(json: &[u8]) -> Result<Self, SavedPlanError> {
        /// As much of any version's plan as says which version it is.
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(json).map_err(SavedPlanError::NoPlan)?;
        if head.format != FORMAT {
            return Err(SavedPlanError::OtherFormat { found: head.format });
        }
        let mut plan: Self = serde_json::from_slice(json).map_err(SavedPlanError::NoPlan)?;
        let written = plan.checksum.clone();
        plan.sign();
        if written.is_empty() || written != plan.checksum {
            return Err(SavedPlanError::Changed);
        }
        let mut seen = BTreeSet::new();
        match plan.vms.iter().filter_map(|vm| vm.uuid).find(|&id| !seen.insert(id)) {
            Some(vm) => Err(SavedPlanError::Twice { vm }),
            None => Ok(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SavedPlanError;
    use crate::plan::Plan;
    use crate::plan::tests::fixtures::{at, grandfather, mid_chain, plan_all, policy, tier, vm};
    use crate::policy::{TierKind, Zone};

    fn plan() -> Plan {
        plan_all(&[grandfather()], [mid_chain()], at("2026-11-18 02:00"))
    }

    #[test]
    fn what_is_read_back_says_the_same_in_the_same_bytes() {
        let json = serde_json::to_string_pretty(&plan()).unwrap();
        let saved = Plan::from_json(json.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string_pretty(&saved).unwrap(), json);
    }

    #[test]
    fn a_saved_plan_that_does_not_say_whether_a_vm_is_suspended_is_refused() {
        let json = serde_json::to_string(&plan()).unwrap();
        let silent = json.replacen(r#""suspended":null,"#, "", 1);
        assert_ne!(silent, json);
        assert!(matches!(Plan::from_json(silent.as_bytes()), Err(SavedPlanError::NoPlan(_))));
    }

    #[test]
    fn a_saved_plan_that_does_not_say_which_backup_is_deleted_is_refused() {
        let full_only = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
        let json = serde_json::to_string(&plan_all(&[full_only], [vm(1)], at("2026-11-18 02:00"))).unwrap();
        assert!(Plan::from_json(json.as_bytes()).is_ok());
        for field in [r#""backup":null,"#, r#""taken":null,"#] {
            let silent = json.replacen(field, "", 1);
            assert_ne!(silent, json);
            assert!(matches!(Plan::from_json(silent.as_bytes()), Err(SavedPlanError::NoPlan(_))), "{field}");
        }
    }
}
