//! Small clouds, described in a few words.

use super::frame::{audit, frame_broken};
use crate::inventory::{Backup, BackupId, Inventory, LocalState, RecordedState, StoredFile, Vm, VmId};
use crate::plan::{Action, Create, Plan, Prune, Request, VmPlan, plan};
use crate::policy::{
    MetadataValue, MissingParent, Policies, Policy, Retry, Schedule, Selector, Source, Tier, TierKind, Zone,
};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use uuid::Uuid;

pub(crate) const GIB: u64 = 1 << 30;

/// Reads `2026-11-22 01:00`, in UTC.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
}

pub(crate) fn backup_id(n: u128) -> BackupId {
    BackupId::new(Uuid::from_u128(n))
}

pub(crate) fn vm_id(n: u128) -> VmId {
    VmId::new(Uuid::from_u128(n))
}

/// A running VM on a hypervisor, with the backups that are added to it; what follows `backup` is about that one.
#[derive(Clone)]
pub(crate) struct VmBuilder {
    pub(crate) vm: Vm,
    last: BackupId,
}

pub(crate) fn vm(n: u128) -> VmBuilder {
    let vm = Vm {
        id: vm_id(n),
        alias: format!("vm-{n}"),
        owner: None,
        package: None,
        dataset: None,
        hypervisor: Some("hv-1".to_owned()),
        state: "running".to_owned(),
        creating: false,
        deleting: false,
        delegated_datasets: false,
        metadata: [("fifo.backup".to_owned(), "1".to_owned())].into_iter().collect(),
        backups: Default::default(),
    };
    VmBuilder { vm, last: backup_id(0) }
}

impl VmBuilder {
    /// Adds a completed full backup of one GiB that is no longer local.
    pub(crate) fn backup(mut self, n: u128, comment: &str, taken: &str) -> Self {
        self.last = backup_id(n);
        let backup = Backup {
            id: self.last,
            comment: Some(comment.into()),
            timestamp: Some(at(taken)),
            state: RecordedState::Completed,
            parent: None,
            local: LocalState::Absent,
            local_size_bytes: Some(0),
            files: vec![StoredFile { size_bytes: Some(GIB), has_checksum: true, ..StoredFile::default() }],
            record_size_bytes: None,
            has_record_checksum: false,
            is_broken: false,
        };
        self.vm.backups.insert(backup);
        self
    }

    pub(crate) fn change(mut self, change: impl FnOnce(&mut Backup)) -> Self {
        change(self.vm.backups.get_mut(self.last).unwrap());
        self
    }

    pub(crate) fn on(self, parent: u128) -> Self {
        self.change(|backup| backup.parent = Some(backup_id(parent)))
    }

    pub(crate) fn local(self) -> Self {
        self.change(|backup| {
            backup.local = LocalState::Present;
            backup.local_size_bytes = Some(GIB);
        })
    }

    pub(crate) fn failed(self) -> Self {
        self.change(|backup| backup.state = RecordedState::Failed)
    }

    pub(crate) fn uploading(self) -> Self {
        self.change(|backup| {
            backup.state = RecordedState::Uploading;
            backup.local = LocalState::Unknown;
        })
    }

    pub(crate) fn accepted(self) -> Self {
        self.change(|backup| {
            backup.state = RecordedState::Accepted;
            backup.local = LocalState::Unknown;
            backup.files.clear();
        })
    }

    pub(crate) fn size(self, bytes: u64) -> Self {
        self.change(|backup| backup.files[0].size_bytes = Some(bytes))
    }

    pub(crate) fn set(mut self, change: impl FnOnce(&mut Vm)) -> Self {
        change(&mut self.vm);
        self
    }

    /// Plans this VM alone, by a command with `--prune`.
    pub(crate) fn plan(&self, policy: &Policy, now: &str) -> VmPlan {
        let plan = plan_all(std::slice::from_ref(policy), [self.clone()], pruning(at(now)));
        plan.vms[0].clone()
    }
}

/// VM 1: monthly 1, weekly 2 of the 15th on it, daily 3 of the 17th on that, local as the old script leaves them.
pub(crate) fn mid_chain() -> VmBuilder {
    vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "weekly", "2026-11-15 01:00")
        .on(1)
        .local()
        .backup(3, "daily", "2026-11-17 01:00")
        .on(2)
        .local()
}

pub(crate) fn inventory(vms: impl IntoIterator<Item = VmBuilder>) -> Inventory {
    Inventory {
        endpoint: "https://fifo.example.com".to_owned(),
        vms: vms.into_iter().map(|builder| (builder.vm.id, builder.vm)).collect(),
        unreadable: Vec::new(),
    }
}

/// Asks as a command with `--prune` does.
pub(crate) fn pruning(now: DateTime<Utc>) -> Request {
    Request { prune: Prune::REQUESTED, ..now.into() }
}

pub(crate) fn plan_all(
    policies: &[Policy],
    vms: impl IntoIterator<Item = VmBuilder>,
    request: impl Into<Request>,
) -> Plan {
    let (policies, inventory) = (Policies::new(policies.to_vec()), inventory(vms));
    let request = request.into();
    let plan = plan(&policies, &inventory, request);
    assert_eq!(frame_broken(&plan, &policies, &inventory), Vec::<String>::new());
    assert_eq!(audit(&plan, &policies, &inventory, request), Vec::<String>::new());
    assert_eq!(plan.summary.fault, 0, "the audit refused a VM's plan: {plan:#?}");
    plan
}

pub(crate) fn tier(name: &str, schedule: &str, kind: TierKind, zone: &Zone) -> Tier {
    Tier {
        name: name.into(),
        schedule: Schedule::parse(schedule, zone.clone()).unwrap(),
        kind,
        keep: None,
        keep_local: 0,
        comment: name.to_owned(),
        also: Vec::new(),
        spread: TimeDelta::zero(),
    }
}

pub(crate) fn policy(name: &str, tiers: Vec<Tier>) -> Policy {
    Policy {
        name: name.into(),
        description: String::new(),
        source: Source { file: format!("policies/{name}.yaml"), line: 1, sha256: "00".to_owned() },
        priority: 0,
        select: Selector {
            metadata: vec![("fifo.backup".to_owned(), vec![MetadataValue::text("1")])],
            ..Selector::default()
        },
        exclude: None,
        zone: tiers[0].schedule.zone().clone(),
        tiers,
        missing_parent: MissingParent::Full,
        stuck_after: TimeDelta::hours(12),
        min_full_size_bytes: 64 * 1024,
        retry: Retry { attempts: 3, backoff: TimeDelta::hours(1) },
        max_age: TimeDelta::hours(26),
        prune: false,
        suspend: None,
    }
}

/// The grandfather scheme at 01:00 in a zone.
pub(crate) fn grandfather_in(zone: &str) -> Policy {
    let zone = Zone::find(zone).unwrap();
    policy(
        "grandfather",
        vec![
            tier("monthly", "0 1 1 * *", TierKind::Full, &zone),
            tier("weekly", "0 1 * * SUN", TierKind::Incremental { from: vec![0, 1] }, &zone),
            tier("daily", "0 1 * * *", TierKind::Incremental { from: vec![0, 1, 2] }, &zone),
        ],
    )
}

/// The grandfather scheme in UTC, in which [`at`] reads.
pub(crate) fn grandfather() -> Policy {
    grandfather_in("UTC")
}

/// Returns what is planned in short: `create weekly on 1`, `delete 7`, `delete 7 after`, `delete new after`, `prune 7`.
pub(crate) fn actions_of(planned: &VmPlan) -> Vec<String> {
    let number = |id: BackupId| id.uuid().as_u128();
    planned
        .actions
        .iter()
        .map(|action| match action {
            Action::Create(Create { tier, parent: Some(parent), .. }) => {
                format!("create {tier} on {}", number(*parent))
            }
            Action::Create(Create { tier, parent: None, .. }) => format!("create {tier} full"),
            Action::DeleteLocal(delete) => {
                let backup = delete.backup.map_or("new".to_owned(), |id| number(id).to_string());
                format!("delete {backup}{}", if delete.after_create { " after" } else { "" })
            }
            Action::DeleteCloud(delete) => format!("prune {}", number(delete.backup)),
        })
        .collect()
}
