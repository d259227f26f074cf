//! What there is in a store beside what the records promise, and what is wrong with it.

use super::expected::{Expected, expected};
use super::listing::{Listing, There};
use super::report::{Depth, Finding, Unread};
use super::whole::{Read, head};
use crate::inventory::{BackupId, Disk, Vm, VmId};
use crate::store::stream::Code;
use crate::store::{Store, StoreError};
use futures::{StreamExt as _, stream};
use std::collections::HashMap;

/// After so many failed reads in a row it is not these objects that cannot be read.
const UNREAD_IN_ROW_MAX: usize = 8;

/// A disk of a backup of a VM.
pub(super) type Key = (VmId, BackupId, Disk);

pub(super) struct Comparison {
    /// Everything that the records promise, with what there is of it, in the order of the VMs.
    pub(super) objects: Vec<(Expected, Option<There>)>,
    pub(super) findings: HashMap<(VmId, BackupId), Vec<Finding>>,
    /// The numbers of each stream's own snapshot, and of the one that it starts from.
    pub(super) guids: HashMap<Key, (u64, u64)>,
    pub(super) unread: Vec<(VmId, BackupId, Unread)>,
    /// Objects that were listed and could not be found when they were to be read.
    pub(super) gone: Vec<Expected>,
    /// The objects whose beginning, and those that were read to their end.
    pub(super) checked: HashMap<String, Depth>,
}

impl Comparison {
    pub(super) fn new<'v>(vms: impl Iterator<Item = &'v Vm>, listing: &Listing) -> Self {
        let objects = vms.flat_map(expected).map(|object| {
            let there = listing.get(object.vm, &object.file());
            (object, there)
        });
        Self {
            objects: objects.collect(),
            findings: HashMap::new(),
            guids: HashMap::new(),
            unread: Vec::new(),
            gone: Vec::new(),
            checked: HashMap::new(),
        }
    }

    /// Returns how many objects are missing where most are: then it is rather the store that is wrong.
    pub(super) fn missing_most(&self) -> Option<usize> {
        let missing = self.objects.iter().filter(|(_, there)| there.is_none()).count();
        (missing * 2 > self.objects.len()).then_some(missing)
    }

    pub(super) fn find(&mut self, object: &Expected, there: Option<There>, code: Code, message: String) {
        let (size_bytes, modified) = (there.map(|it| it.size_bytes), there.and_then(|it| it.modified));
        let finding = Finding { code, object: object.name(), message, size_bytes, modified };
        let findings = self.findings.entry((object.vm, object.backup)).or_default();
        // The same is found at more than one depth.
        if !findings.iter().any(|known| known.code == code && known.object == finding.object) {
            findings.push(finding);
        }
    }

    /// Compares names and sizes.
    pub(super) fn objects(&mut self) {
        for (object, there) in self.objects.clone() {
            match (there, object.size_bytes) {
                (None, _) => self.find(&object, None, Code::Missing, "it is not there".to_owned()),
                (Some(it), Some(size)) if it.size_bytes != size => {
                    let message = format!("it has {} bytes, and FiFo has recorded {size}", it.size_bytes);
                    self.find(&object, there, Code::Size, message);
                }
                (Some(There { size_bytes: 0, .. }), None) if object.is_xml => {
                    self.find(&object, there, Code::Size, "it is empty".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Returns the streams that are there and can be looked into.
    pub(super) fn streams(&self) -> Vec<(Expected, There)> {
        let streams = self.objects.iter().filter(|(object, _)| !object.is_xml);
        streams.filter_map(|(object, there)| Some((object.clone(), (*there)?))).collect()
    }

    /// Reads the beginning of each object; `each` is told how many were read, and of how many.
    pub(super) async fn headers(
        &mut self,
        store: &dyn Store,
        parallel: usize,
        each: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(), StoreError> {
        let streams = self.streams();
        let of = streams.len();
        let mut reads = stream::iter(streams)
            .map(|(object, there)| async move { (head(store, &object, there).await, object, there) })
            .buffer_unordered(parallel);
        let (mut failures, mut done) = (0, 0);
        while let Some((read, object, there)) = reads.next().await {
            done += 1;
            each(done, of);
            self.enter(read, &object, there, Depth::Headers, &mut failures)?;
        }
        Ok(())
    }

    pub(super) fn enter(
        &mut self,
        read: Result<Read, StoreError>,
        object: &Expected,
        there: There,
        depth: Depth,
        failures: &mut usize,
    ) -> Result<(), StoreError> {
        let read = match read {
            Ok(read) => read,
            Err(StoreError::Missing(_)) => {
                self.gone.push(object.clone());
                return Ok(());
            }
            Err(error) => {
                // What is wrong with single objects is not counted: those that a store has lost may lie side by side.
                *failures += usize::from(error.is_of_all());
                if *failures == UNREAD_IN_ROW_MAX {
                    return Err(error);
                }
                let unread = Unread { object: object.name(), message: error.to_string() };
                self.unread.push((object.vm, object.backup, unread));
                return Ok(());
            }
        };
        *failures = 0;
        // A small object is read whole for its beginning.
        let depth = if read.sha1.is_some() { Depth::Full } else { depth };
        self.checked.insert(object.name(), depth);
        if let Some(begin) = &read.begin {
            self.guids.insert((object.vm, object.backup, object.disk), (begin.guid, begin.from_guid));
            if begin.name != object.snapshot() {
                let message = format!("it is of {:?}, and should be of {}", begin.name, object.snapshot());
                self.find(object, Some(there), Code::Name, message);
            }
        }
        if let Some(damage) = read.damage {
            self.find(object, Some(there), damage.code, damage.message);
        }
        if let Some((is, should)) = read.sha1.zip(object.sha1).filter(|(is, should)| is != should) {
            let message =
                format!("its SHA-1 is {}, and FiFo has recorded {}", hex::encode(is), hex::encode(should));
            self.find(object, Some(there), Code::Sha1, message);
        }
        Ok(())
    }

    /// Compares each stream with what it has to start from.
    pub(super) fn links(&mut self) {
        for (object, there) in self.streams() {
            let key = |backup| (object.vm, backup, object.disk);
            let Some(&(_, from)) = self.guids.get(&key(object.backup)) else { continue };
            let has_disk = |parent: BackupId| {
                self.objects
                    .iter()
                    .any(|(other, _)| !other.is_xml && (other.vm, other.backup, other.disk) == key(parent))
            };
            let message = match (object.parent, from) {
                (None, 0) => continue,
                (None, _) => "FiFo calls it a full backup, and it is an increment".to_owned(),
                // A disk that the VM has only had since then.
                (Some(parent), 0) if !has_disk(parent) => continue,
                (Some(_), 0) => "FiFo calls it an increment, and it is a full backup".to_owned(),
                (Some(parent), from) => match self.guids.get(&key(parent)) {
                    Some((own, _)) if *own != from => {
                        format!("it starts from another snapshot than that of its parent {parent}")
                    }
                    // What is wrong with the parent is found there.
                    _ => continue,
                },
            };
            self.find(&object, Some(there), Code::Link, message);
        }
    }
}
