//! A cloud of any size whose VMs all have one history. A VM is made from its number whenever it is looked at, so that a
//! million backups take no memory.

use super::nights::{self, BackupNight};
use super::record::{FileRecord, Record, Snapshot, Stored, object_name};
use super::vm::Vm;
use serde_json::json;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The UUID of a VM begins with its number times this: no two begin alike.
const SPREAD: u32 = 0x9e37_79b1;
/// The inverse of [`SPREAD`] modulo 2³².
const GATHER: u32 = 0x0e8b_2f51;

/// How many VMs share a hypervisor, about.
const VMS_PER_HYPERVISOR: u32 = 50;

/// How large a synthetic cloud is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntheticSeed {
    pub vms: u32,
    /// How many backups each VM has, one of each of the last nights.
    pub backups: u32,
    /// Whether last night's run did not take place, so that every VM is due a backup.
    pub due: bool,
}

/// The VMs of a synthetic cloud, none of them changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Synthetic {
    vms: u32,
    seed: u64,
    /// The backups of every VM, oldest first.
    backups: Vec<Model>,
}

/// A backup of every VM.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    night: BackupNight,
    /// What it is an increment on.
    parent: Option<usize>,
    local: bool,
}

impl Synthetic {
    /// Makes the history that the scheme of [`nights`] would have left behind by an instant, in microseconds since the
    /// Unix epoch. The oldest backup, and the first of a tier that finds no parent, is a full one.
    pub(super) fn new(size: SyntheticSeed, seed: u64, now_us: i64) -> Self {
        let count = usize::try_from(size.backups).unwrap_or(usize::MAX);
        let mut nights = nights::last_nights(now_us, count + usize::from(size.due));
        if size.due {
            nights.pop();
        }
        let mut backups: Vec<Model> = Vec::with_capacity(nights.len());
        for night in nights {
            let may_be_parent = |of: &Model| match night.tier {
                "monthly" => false,
                "weekly" => of.local && of.night.tier != "daily",
                _ => of.local,
            };
            let parent = backups.iter().rposition(may_be_parent);
            // A daily leaves the snapshot that the next weekly is taken from.
            for older in &mut backups {
                older.local &= night.tier == "daily" && older.night.tier != "daily";
            }
            backups.push(Model { night, parent, local: true });
        }
        Self { vms: size.vms, seed, backups }
    }

    /// Returns how many VMs there are.
    pub(super) fn vms(&self) -> usize {
        usize::try_from(self.vms).unwrap_or(usize::MAX)
    }

    /// Returns the UUID of a VM, if there are so many.
    pub(super) fn id(&self, number: u32) -> Option<Uuid> {
        (number < self.vms).then(|| self.uuid(number))
    }

    /// Returns the number of a VM.
    pub(super) fn number(&self, id: Uuid) -> Option<u32> {
        let (first, ..) = id.as_fields();
        let number = first.wrapping_mul(GATHER).wrapping_sub(self.offset());
        (self.id(number)? == id).then_some(number)
    }

    fn uuid(&self, number: u32) -> Uuid {
        let mut bytes = self.random("vm", u64::from(number));
        bytes[..4].copy_from_slice(&number.wrapping_add(self.offset()).wrapping_mul(SPREAD).to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// VM 0 of one seed is no VM of the next one.
    fn offset(&self) -> u32 {
        let bytes = self.seed.to_be_bytes();
        let [.., a, b, c, d] = bytes;
        u32::from_be_bytes([a, b, c, d]).rotate_left(16).wrapping_add(1)
    }

    fn random(&self, of: &str, number: u64) -> [u8; 16] {
        let hash = Sha1::digest(format!("{}/{of}/{number}", self.seed));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes
    }

    /// Makes a VM.
    pub(super) fn vm(&self, number: u32) -> Vm {
        let hypervisors = (self.vms / VMS_PER_HYPERVISOR).max(3);
        let hypervisor = self.random("hypervisor", u64::from(number % hypervisors));
        let hypervisor = uuid::Builder::from_random_bytes(hypervisor).into_uuid().to_string();
        let mut vm = Vm::new(&format!("vm-{}", number + 1), &hypervisor)
            .with("metadata", json!({"fifo": {"backup": 1}}))
            .with("owner", json!("1d3f5a7c-9b2e-4c6d-8f10-a2b4c6d8e0f1"))
            .with("package", json!("7c2a9e4b-6d1f-4f3a-b8e5-0f9d7c5b3a12"))
            .with("dataset", json!("9eac5c0c-a941-11e2-a7dc-57a6b041988f"));
        vm.full_bytes = ((2 + u64::from(number % 30)) << 30) + u64::from(number);
        let id = self.uuid(number);
        let ids: Vec<Uuid> = (0..self.backups.len()).map(|nth| self.backup(id, nth)).collect();
        for (backup, model) in ids.iter().zip(&self.backups) {
            let parent = model.parent.and_then(|nth| ids.get(nth).copied());
            add(&mut vm, id, *backup, model, parent);
        }
        vm
    }

    fn backup(&self, vm: Uuid, nth: usize) -> Uuid {
        let mut hash = Sha1::new_with_prefix(vm.as_bytes());
        hash.update(nth.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Gives a VM a completed backup.
fn add(vm: &mut Vm, id: Uuid, backup: Uuid, model: &Model, parent: Option<Uuid>) {
    let bytes = if parent.is_some() { vm.full_bytes / 32 } else { vm.full_bytes };
    let snapshot = Snapshot { bytes: vm.full_bytes / 64, pinned: false };
    let name = object_name(id, backup, "");
    let sha1 = Some(hex::encode(Sha1::digest(&name)));
    let record = Record {
        comment: Some(model.night.tier.to_owned()),
        timestamp: Some(model.night.at_us),
        pending: Some(true),
        state: Some("completed".to_owned()),
        xml: Some(true),
        parent,
        local: Some(model.local),
        local_size: Some(if model.local { snapshot.bytes } else { 0 }),
        files: Some(BTreeMap::from([(name, FileRecord { size: bytes, sha1 })])),
        ..Record::default()
    };
    vm.backups.insert(backup, record);
    vm.stored.insert(backup, Stored { bytes, base: parent, sound: true, stderr: None });
    if model.local {
        vm.snapshots.insert(backup, snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 22 November 2026, 20:00 UTC.
    const SUNDAY_EVENING_US: i64 = 1_795_377_600_000_000;

    fn cloud(vms: u32, backups: u32, due: bool) -> Synthetic {
        Synthetic::new(SyntheticSeed { vms, backups, due }, 7, SUNDAY_EVENING_US)
    }

    fn local(cloud: &Synthetic) -> Vec<&str> {
        cloud.backups.iter().filter(|backup| backup.local).map(|backup| backup.night.tier).collect()
    }

    #[test]
    fn a_vm_is_found_by_its_uuid_and_no_other_is() {
        let cloud = cloud(2_000, 1, false);
        for number in 0..2_000 {
            let id = cloud.id(number).unwrap();
            assert_eq!((cloud.number(id), id.get_version_num()), (Some(number), 4));
            assert_eq!(cloud.number(Uuid::from_u128(id.as_u128() ^ 1)), None);
        }
        assert_eq!(cloud.id(2_000), None);
        assert_eq!(cloud.number(cloud.uuid(2_000)), None);
    }

    #[test]
    fn the_history_is_the_schemes() {
        // 20:00 is after Sunday's weekly; nine nights before are Saturday the 14th to Sunday the 22nd.
        let cloud = cloud(3, 9, false);
        let history: Vec<_> = cloud.backups.iter().map(|backup| (backup.night.tier, backup.parent)).collect();
        let daily = |parent| ("daily", Some(parent));
        assert_eq!(
            history,
            [
                ("daily", None),
                ("weekly", None),
                daily(1),
                daily(2),
                daily(3),
                daily(4),
                daily(5),
                daily(6),
                ("weekly", Some(1))
            ]
        );
        assert_eq!(local(&cloud), ["weekly"]);
        let due = self::cloud(3, 9, true);
        assert_eq!(due.backups.len(), 9);
        assert_eq!(local(&due), ["weekly", "daily"]);
    }

    #[test]
    fn a_vm_is_the_same_whenever_it_is_made_and_all_of_it_can_be_restored() {
        let (vms, backups) = (120, 100);
        let size = SyntheticSeed { vms, backups, due: false };
        let cloud = Synthetic::new(size, 7, SUNDAY_EVENING_US);
        let vm = cloud.vm(5);
        assert_eq!(vm, cloud.vm(5));
        assert_eq!((vm.backups.len(), vm.stored.len()), (100, 100));
        for (backup, record) in &vm.backups {
            assert_eq!(record.local, Some(vm.snapshots.contains_key(backup)));
            assert_eq!(record.parent, vm.stored[backup].base);
            assert!(record.parent.is_none_or(|parent| vm.backups[&parent].timestamp < record.timestamp));
        }
        let hypervisors: std::collections::BTreeSet<_> =
            (0..vms).map(|number| cloud.vm(number).hypervisor().unwrap().to_owned()).collect();
        assert_eq!(hypervisors.len(), 3);
    }
}
