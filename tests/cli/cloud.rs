//! A small cloud of the machine's own time, in which every VM's daily is due: quick to carry out.

use crate::harness::{Fifo, Folder};
use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};
use fifo_retain::sandbox::{BackupRequest, Options, Shape, Vm, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long ago the daily came due: neither the occurrence before it nor the one after is near.
const DUE_SINCE: TimeDelta = TimeDelta::hours(6);

/// How long ago the last monthly was taken.
const MONTHLY: TimeDelta = TimeDelta::days(29);

/// A folder, a FiFo and what was in it before.
pub(crate) struct Cloud {
    pub(crate) folder: Folder,
    pub(crate) fifo: Fifo,
    pub(crate) vms: Vec<OneVm>,
    /// When the daily and the monthly came due.
    due: DateTime<Utc>,
    monthly_due: DateTime<Utc>,
}

/// One VM: a monthly, and a local daily on it that is a day too old.
#[derive(Clone, Copy)]
pub(crate) struct OneVm {
    pub(crate) id: Uuid,
    pub(crate) monthly: Uuid,
    pub(crate) daily: Uuid,
}

impl Cloud {
    /// As many VMs, each on a hypervisor of its own, where an upload takes the given time.
    pub(crate) fn of(count: usize, upload_ms: u64) -> Self {
        Self::with(count, upload_ms, false)
    }

    /// The same, where each VM holds a snapshot that nothing needs: of its monthly.
    pub(crate) fn with_leftovers(count: usize) -> Self {
        Self::with(count, 100, true)
    }

    /// So many VMs with so many stored dailies each, all on one monthly. Nothing is due, and nothing deletes anything: see
    /// [`Cloud::keep`].
    pub(crate) fn stored(count: usize, dailies: i32) -> Self {
        Self::made(count, 100, |world, id, now, due| {
            let monthly = taken(world, id, "monthly", None, now - MONTHLY);
            let mut newest = monthly;
            for days in (0..dailies).rev() {
                let taken = taken(world, id, "daily", Some(monthly), due - TimeDelta::days(days.into()));
                if newest != monthly {
                    world.delete_local(id, newest, due.timestamp_micros()).unwrap();
                }
                newest = taken;
            }
            world.delete_local(id, monthly, due.timestamp_micros()).unwrap();
            OneVm { id, monthly, daily: newest }
        })
    }

    /// Has the policy keep so many dailies, with more lines of the policy.
    pub(crate) fn keep(&self, dailies: u32, more: &str) {
        let policy = policy(self.monthly_due, self.due);
        let policy = policy.replace("type: incremental", &format!("type: incremental, keep: {dailies}"));
        self.folder.write("policies/grandfather.yaml", &format!("{policy}{more}\n"));
    }

    fn with(count: usize, upload_ms: u64, has_leftovers: bool) -> Self {
        Self::made(count, upload_ms, |world, id, now, due| {
            let monthly = taken(world, id, "monthly", None, now - MONTHLY);
            let daily = taken(world, id, "daily", Some(monthly), due - TimeDelta::days(1));
            if !has_leftovers {
                world.delete_local(id, monthly, due.timestamp_micros()).unwrap();
            }
            OneVm { id, monthly, daily }
        })
    }

    fn made(
        count: usize,
        upload_ms: u64,
        fill: impl Fn(&mut World, Uuid, DateTime<Utc>, DateTime<Utc>) -> OneVm,
    ) -> Self {
        let now = Utc::now();
        let due = now - DUE_SINCE;
        let mut world = World::new(Shape::default(), 1);
        world.upload_ms = 1_000;
        let mut vms = Vec::new();
        for number in 1..=count {
            let id = world.new_uuid();
            let marked = serde_json::json!({"fifo": {"backup": 1}});
            let vm = Vm::new(&format!("vm-{number}"), &format!("hv-{number}")).with("metadata", marked);
            world.vms.insert(id, vm);
            vms.push(fill(&mut world, id, now, due));
        }
        world.advance(now.timestamp_micros());
        world.upload_ms = upload_ms;
        let folder = Folder::new();
        let monthly_due = now - MONTHLY - TimeDelta::days(1);
        folder.write("policies/grandfather.yaml", &policy(monthly_due, due));
        let fifo = Fifo::start(Options { world: Some(world), ..Options::default() });
        Self { folder, fifo, vms, due, monthly_due }
    }

    /// A backup of the first VM that a person takes by hand, now.
    pub(crate) fn take_by_hand(&self, vm: OneVm) {
        self.fifo.running().with(|state| {
            let order = BackupRequest { comment: "by hand".to_owned(), parent: None, delete: false };
            state.world.create_backup(vm.id, &order, Utc::now().timestamp_micros()).unwrap();
        });
    }

    /// Checks that every VM has its daily, once, and holds the snapshot of that and no other; and that there is
    /// nothing more to do.
    #[track_caller]
    pub(crate) fn is_done(&self) {
        for vm in &self.vms {
            let (made, local) = self.made_and_local(*vm);
            assert_eq!((made.len(), &local), (1, &made), "one daily, and nothing else local");
        }
        let ended = self.folder.ask(&self.fifo, &["plan", "--detailed-exitcode"]).code(0);
        assert!(ended.last_line().starts_with("Plan: 0 to create, 0 to delete locally"), "{}", ended.out);
    }

    /// Returns the dailies of a VM that were made since they were due, and the backups of it that are local.
    pub(crate) fn made_and_local(&self, vm: OneVm) -> (Vec<Uuid>, Vec<Uuid>) {
        self.fifo.running().with(|state| {
            state.world.advance(Utc::now().timestamp_micros());
            let backups = &state.world.vms[&vm.id].backups;
            let is_made = |comment: Option<&str>, at: Option<i64>| {
                comment == Some("daily") && at >= Some(self.due.timestamp_micros())
            };
            let made = backups.iter().filter(|(_, it)| is_made(it.comment.as_deref(), it.timestamp));
            let local = backups.iter().filter(|(_, it)| it.local == Some(true));
            (made.map(|(id, _)| *id).collect(), local.map(|(id, _)| *id).collect())
        })
    }

    /// Waits until no upload is in progress in FiFo.
    pub(crate) fn wait_for_uploads(&self) {
        let is_uploading = || {
            self.fifo.running().with(|state| {
                state.world.advance(Utc::now().timestamp_micros());
                !state.world.uploads.is_empty()
            })
        };
        while is_uploading() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has the uploads that are in progress end now, however long they were to take.
    pub(crate) fn end_uploads(&self) {
        self.fifo.running().with(|state| {
            state.world.uploads.values_mut().for_each(|upload| upload.duration_us = 0);
        });
        self.wait_for_uploads();
    }

    /// Returns every backup that the store could give back: whole, and on whole ones up to a full one.
    pub(crate) fn restorable(&self) -> BTreeSet<Uuid> {
        self.fifo.running().with(|state| {
            let is_whole = |vm: &Vm, mut id: Uuid| {
                for _ in 0..=vm.backups.len() {
                    let (Some(record), Some(stored)) = (vm.backups.get(&id), vm.stored.get(&id)) else {
                        return false;
                    };
                    if !stored.sound || stored.base != record.parent {
                        return false;
                    }
                    match record.parent {
                        Some(parent) => id = parent,
                        None => return true,
                    }
                }
                false
            };
            let vms = state.world.vms.values();
            vms.flat_map(|vm| vm.backups.keys().filter(|id| is_whole(vm, **id))).copied().collect()
        })
    }

    /// Returns the bodies and content lengths of all DELETEs that came in.
    pub(crate) fn deletes(&self) -> Vec<(String, Option<String>)> {
        self.fifo.running().with(|state| {
            let deletes = state.requests.iter().filter(|asked| asked.request.method == "DELETE");
            let length = |asked: &fifo_retain::sandbox::RequestRecord| {
                asked.request.header("content-length").map(str::to_owned)
            };
            deletes
                .map(|asked| (String::from_utf8(asked.request.body.clone()).unwrap(), length(asked)))
                .collect()
        })
    }

    /// Counts the requests that came in, by method, but for those that sign in.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.fifo.asked().iter().filter(|line| !line.ends_with("/oauth/token")) {
            let method = line.split(' ').next().unwrap().to_owned();
            *counts.entry(method).or_default() += 1;
        }
        counts
    }
}

fn taken(world: &mut World, vm: Uuid, comment: &str, parent: Option<Uuid>, at: DateTime<Utc>) -> Uuid {
    let order =
        BackupRequest { comment: comment.to_owned(), parent: parent.map(|id| id.to_string()), delete: false };
    let backup = world.create_backup(vm, &order, at.timestamp_micros()).unwrap();
    world.advance((at + TimeDelta::hours(1)).timestamp_micros());
    backup
}

fn policy(monthly: DateTime<Utc>, daily: DateTime<Utc>) -> String {
    format!(
        r#"version: 1
policy: small
select:
  metadata: {{ fifo.backup: 1 }}
tiers:
  - {{ name: monthly, schedule: "{} {} {} {} *", type: full }}
  - {{ name: daily, schedule: "{} {} * * *", type: incremental }}
"#,
        monthly.minute(),
        monthly.hour(),
        monthly.day(),
        monthly.month(),
        daily.minute(),
        daily.hour(),
    )
}
