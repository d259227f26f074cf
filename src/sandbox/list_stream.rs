//! The elements of the list of VMs, written as they are asked for.

use super::json::VmJson;
use super::users::User;
use super::vm::Vm;
use super::world::{ApiStyle, Place, World};
use uuid::Uuid;

/// What a full list is reckoned to take, for each VM and for each of its backups.
const VM_US: u64 = 10_000;
const BACKUP_US: u64 = 1_000;

/// What is asked of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) full: bool,
    /// Only these fields of each VM.
    pub(super) fields: Option<Vec<String>>,
}

/// The rest of a list: it goes on with the VMs as they are then, as FiFo reads one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListStream {
    user: User,
    asked: Asked,
    limit_us: Option<u64>,
    taken_us: u64,
    place: Place,
    has_elements: bool,
    ended: bool,
}

impl ListStream {
    /// Begins the list of the VMs a user may see.
    pub(super) fn new(world: &World, user: &User, asked: Asked) -> Self {
        let limit_ms = world.list_limit_ms.filter(|_| asked.full && world.shape.style == ApiStyle::V3);
        Self {
            user: user.clone(),
            asked,
            limit_us: limit_ms.map(|limit_ms| limit_ms.saturating_mul(1_000)),
            taken_us: 0,
            place: Place::default(),
            has_elements: false,
            ended: false,
        }
    }

    /// Says whether nothing more comes, be the list whole or cut.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Appends whole elements to `body` until it has at least so many bytes or the list ends.
    ///
    /// Each element brings the comma or bracket before it. A list without elements is therefore `]` from 2016 on, and
    /// one that takes too long ends behind an element, without its last bracket.
    pub fn write(&mut self, world: &World, body: &mut Vec<u8>, at_least_bytes: usize) {
        while !self.ended && body.len() < at_least_bytes {
            let Some(id) = world.next_vm(&mut self.place) else {
                if !self.has_elements && world.shape.style == ApiStyle::V2 {
                    body.push(b'[');
                }
                body.push(b']');
                self.ended = true;
                return;
            };
            if self.user.may(&["vms", &id.to_string(), "get"]) {
                self.element(world, id, body);
            }
        }
    }

    fn element(&mut self, world: &World, id: Uuid, body: &mut Vec<u8>) {
        let separator = if self.has_elements { b',' } else { b'[' };
        if !self.asked.full {
            body.extend([separator, b'"']);
            body.extend(id.to_string().bytes());
            body.push(b'"');
        } else if let Some(vm) = world.vm(id) {
            self.taken_us = self.taken_us.saturating_add(takes_us(&vm));
            if self.limit_us.is_some_and(|limit_us| self.taken_us > limit_us) {
                self.ended = true;
                return;
            }
            let only = self.asked.fields.as_deref();
            body.push(separator);
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(body, &VmJson { uuid: id, vm: &vm, shape: world.shape, only });
        }
        self.has_elements = true;
    }
}

fn takes_us(vm: &Vm) -> u64 {
    let backups = u64::try_from(vm.backups.len()).unwrap_or(u64::MAX);
    VM_US.saturating_add(BACKUP_US.saturating_mul(backups))
}

#[cfg(test)]
mod tests {
    use super::super::record::UploadOutcome;
    use super::super::synthetic::SyntheticSeed;
    use super::*;
    use serde_json::Value;

    /// Returns the list, written in pieces of at least so many bytes.
    fn written(world: &World, full: bool, at_least_bytes: usize) -> Vec<u8> {
        let mut list = ListStream::new(world, &User::admin("x"), Asked { full, fields: None });
        let mut body = Vec::new();
        while !list.has_ended() {
            let mut piece = Vec::new();
            list.write(world, &mut piece, at_least_bytes);
            body.extend(piece);
        }
        body
    }

    #[test]
    fn a_synthetic_cloud_is_listed_with_what_was_changed_or_added_in_any_pieces() {
        let size = SyntheticSeed { vms: 12, backups: 5, due: false };
        let mut world = World::of_synthetic(size, 1, 1_795_377_600_000_000);
        let changed = world.next_vm(&mut Place::default()).unwrap();
        assert!(world.materialise(changed));
        assert!(!world.materialise(changed));
        world.vms.get_mut(&changed).unwrap().outcome = Some(UploadOutcome::Fail);
        world.vms.get_mut(&changed).unwrap().backups.clear();
        for number in [0, u128::MAX] {
            world.vms.insert(Uuid::from_u128(number), Vm::new("added", "hv-1"));
        }
        assert_eq!(world.vm_count(), 14);

        let whole = written(&world, true, usize::MAX);
        assert_eq!(whole, written(&world, true, 1));
        let list: Vec<Value> = serde_json::from_slice(&whole).unwrap();
        assert_eq!(list.len(), 14);
        let backups = |vm: &Value| vm["backups"].as_object().map_or(0, |backups| backups.len());
        assert_eq!(list.iter().map(backups).sum::<usize>(), 11 * 5);
        let ids: Vec<Uuid> = serde_json::from_slice(&written(&world, false, 100)).unwrap();
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), uuids(&list));
    }

    fn uuids(list: &[Value]) -> Vec<&str> {
        list.iter().map(|vm| vm["uuid"].as_str().unwrap()).collect()
    }
}
