//! All metrics. A test checks that `docs/metrics.md` lists the same.

use super::{Metric, Sample, Scene};
use crate::apply::{ActionKind, ActionOutcome};
use crate::insight::status::{BackupHealth, NewestBackup, TierHealth, VmHealth};
use crate::inventory::VmId;
use crate::plan::Status;
use crate::policy::Name;
use crate::report::RunSummary;
use crate::report::words::word;
use crate::verify::KnownVm;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

const VM: &[&str] = &["vm", "alias", "policy"];
const TIER: &[&str] = &["vm", "alias", "policy", "tier"];
const ACTION: &[&str] = &["action", "outcome"];

pub const METRICS: [Metric; 33] = [
    metric("fifo_retain_build_info", &["version"], "The program, by its version; always 1", |_| {
        vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], flag(true))]
    }),
    metric(
        "fifo_retain_safety_stop",
        &[],
        "Whether a safety stop holds: backups vanished, and no run does anything until `fifo-retain resume`",
        |it| one(Some(flag(it.history.is_stopped()))),
    ),
    // Of the last run.
    metric("fifo_retain_last_run_timestamp_seconds", &[], "When the last run ended, however it did", |it| {
        of_last(it, |last| Some(seconds(last.ended)))
    }),
    metric("fifo_retain_last_run_duration_seconds", &[], "How long the last run took", |it| {
        of_last(it, |last| Some(format!("{:?}", last.duration().as_seconds_f64())))
    }),
    metric(
        "fifo_retain_last_run_exit_code",
        &[],
        "The exit code of the last run, also of one that did not end the program",
        |it| of_last(it, |last| Some(last.exit.code().to_string())),
    ),
    metric(
        "fifo_retain_last_run_vanished_backups",
        &[],
        "How many backups vanished after deletes of the last run; anything but 0 is an alarm",
        |it| of_last(it, |last| Some(vanished(last))),
    ),
    metric(
        "fifo_retain_last_run_refused_deletes",
        &[],
        "How many deletes from storage were too many for one VM at once in the last run, which sent none of them; 0 within the limit",
        |it| of_last(it, |last| last.refused_deletes.map(|count| count.to_string())),
    ),
    metric("fifo_retain_last_run_actions", ACTION, "How the actions of the last run ended", |it| {
        let last = it.history.last.as_ref().filter(|last| last.report.is_some());
        last.map_or_else(Vec::new, |last| action_samples(&last.action_counts()))
    }),
    metric(
        "fifo_retain_last_success_timestamp_seconds",
        &[],
        "When the last run ended that did everything (exit code 0); missing until there was one",
        |it| one(it.history.last_success.map(seconds)),
    ),
    // Of all runs of a process that repeats.
    metric("fifo_retain_runs_total", &["outcome"], "Runs that have ended", |it| {
        let runs = it.history.runs.iter().filter(|_| it.history.every.is_some());
        runs.map(|(outcome, count)| (vec![(*outcome).to_owned()], count.to_string())).collect()
    }),
    metric("fifo_retain_actions_total", ACTION, "Actions that have ended", |it| {
        it.history.every.map_or_else(Vec::new, |_| action_samples(&it.history.actions))
    }),
    metric("fifo_retain_run_interval_seconds", &[], "How often runs begin (--every)", |it| {
        one(it.history.every.map(|every| format!("{:?}", every.as_secs_f64())))
    }),
    metric("fifo_retain_run_under_way", &[], "Whether a run is under way", |it| {
        one(it.history.every.map(|_| flag(it.history.running_since.is_some())))
    }),
    metric("fifo_retain_next_run_timestamp_seconds", &[], "When the next run begins", |it| {
        one(it.history.next_run.map(seconds))
    }),
    // Of the cloud.
    metric(
        "fifo_retain_inventory_timestamp_seconds",
        &[],
        "When FiFo was last read; all that is said of VMs is from then",
        |it| one(it.health.as_ref().map(|health| seconds(health.at))),
    ),
    metric("fifo_retain_vms", &["status"], "How many VMs have each status in the plan", |it| {
        let Some(health) = &it.health else { return Vec::new() };
        let count = |status| health.vms.iter().filter(|vm| vm.status == status).count();
        STATUSES.map(|status| (vec![word(&status)], count(status).to_string())).into()
    }),
    // Of each VM.
    metric(
        "fifo_retain_vm_safe",
        VM,
        "Whether the newest restorable backup is no older than max_age; 0 for a VM in conflict or unreadable, too",
        |it| {
            of_vms(it, |vm| match vm.verdict {
                BackupHealth::Safe => Some(flag(true)),
                // No policy protects it.
                BackupHealth::Unprotected => None,
                BackupHealth::TooOld
                | BackupHealth::NoBackup
                | BackupHealth::Conflict
                | BackupHealth::Unreadable => Some(flag(false)),
            })
        },
    ),
    metric(
        "fifo_retain_vm_newest_restorable_timestamp_seconds",
        VM,
        "When the newest restorable backup of whatever tier was taken; missing where there is none",
        |it| of_newest(it, |newest| Some(seconds(newest.taken.to_utc()))),
    ),
    metric("fifo_retain_vm_max_age_seconds", VM, "How old the newest restorable backup may be", |it| {
        of_vms(it, |vm| vm.max_age_secs.map(|secs| secs.to_string()))
    }),
    metric(
        "fifo_retain_vm_restore_steps",
        VM,
        "How many stored backups restoring the newest one fetches, when nothing is left on the hypervisor",
        |it| of_newest(it, |newest| Some(newest.steps.to_string())),
    ),
    metric(
        "fifo_retain_vm_restore_bytes",
        VM,
        "How many bytes these have; missing where it is not known of one of them",
        |it| of_newest(it, |newest| newest.size_bytes.map(|bytes| bytes.to_string())),
    ),
    metric("fifo_retain_vm_local_snapshots", VM, "How many snapshots backups hold on the hypervisor", |it| {
        of_managed(it, |vm| vm.local.snapshots.to_string())
    }),
    metric(
        "fifo_retain_vm_local_bytes",
        VM,
        "How many bytes of the VM's quota these take, as far as FiFo has measured them",
        |it| of_managed(it, |vm| vm.local.size_bytes.to_string()),
    ),
    metric(
        "fifo_retain_vm_gaps",
        VM,
        "How many due times of the last 35 days that should still have a backup have none that can be restored",
        |it| of_managed(it, |vm| vm.gaps.len().to_string()),
    ),
    metric("fifo_retain_vm_suspended", VM, "Whether the policy is suspended for the VM", |it| {
        of_managed(it, |vm| flag(vm.is_suspended))
    }),
    // Of each tier of each VM.
    metric(
        "fifo_retain_newest_restorable_timestamp_seconds",
        TIER,
        "When the newest restorable backup of just this tier was taken; missing where there is none",
        |it| of_tiers(it, |tier| tier.newest.map(seconds)),
    ),
    metric(
        "fifo_retain_up_to_date",
        TIER,
        "Whether the backup that was due last, or one of a coarser tier, exists or is in progress",
        |it| of_tiers(it, |tier| Some(flag(tier.is_up_to_date))),
    ),
    // Of what `verify` and `rehearse` have proven.
    metric("fifo_retain_vm_stored_objects", &["vm"], "Objects that the records promise", |it| {
        of_known(it, |vm| vm.proof.listed_at.map(|_| vm.proof.objects.to_string()))
    }),
    metric(
        "fifo_retain_vm_stored_objects_there",
        &["vm"],
        "Of which this many were there when last listed",
        |it| of_known(it, |vm| vm.proof.listed_at.map(|_| vm.proof.objects_there.to_string())),
    ),
    metric("fifo_retain_vm_stored_broken", &["vm"], "Stored backups that were found broken", |it| {
        of_known(it, |vm| Some(vm.broken.len().to_string()))
    }),
    metric(
        "fifo_retain_vm_chain_connects_timestamp_seconds",
        &["vm"],
        "When the newest restorable chain was last seen to connect",
        |it| of_known(it, |vm| vm.proof.connects_at.map(seconds)),
    ),
    metric(
        "fifo_retain_vm_read_whole_timestamp_seconds",
        &["vm"],
        "Since when every object of that chain has been read whole",
        |it| of_known(it, |vm| vm.proof.read_at.map(seconds)),
    ),
    metric("fifo_retain_vm_restored_timestamp_seconds", &["vm"], "When a restore was last rehearsed", |it| {
        of_known(it, |vm| vm.restored.map(|restored| seconds(restored.at)))
    }),
];

const STATUSES: [Status; 8] = [
    Status::Changes,
    Status::UpToDate,
    Status::Waiting,
    Status::Blocked,
    Status::Unprotected,
    Status::Conflict,
    Status::Fault,
    Status::Unreadable,
];

const fn metric(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Scene<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, labels, help, samples }
}

fn one(value: Option<String>) -> Vec<Sample> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

fn flag(is_set: bool) -> String {
    u8::from(is_set).to_string()
}

fn seconds(instant: DateTime<Utc>) -> String {
    instant.timestamp().to_string()
}

fn of_last(scene: &Scene<'_>, value: impl Fn(&RunSummary) -> Option<String>) -> Vec<Sample> {
    one(scene.history.last.as_ref().and_then(value))
}

fn vanished(run: &RunSummary) -> String {
    let gone: BTreeSet<_> =
        run.report.iter().flat_map(|report| &report.alarms).flat_map(|alarm| &alarm.gone).collect();
    gone.len().to_string()
}

fn action_samples(counts: &BTreeMap<(ActionKind, ActionOutcome), u64>) -> Vec<Sample> {
    let sample = |(&(kind, ending), count): (&(ActionKind, ActionOutcome), &u64)| {
        (vec![word(&kind), word(&ending)], count.to_string())
    };
    counts.iter().map(sample).collect()
}

/// Returns each VM whose UUID is known, once, with its labels: no series may appear twice, and a list that shows a VM twice is
/// no reason to write nothing at all.
fn vms<'s>(scene: &'s Scene<'_>) -> impl Iterator<Item = (VmId, &'s VmHealth, Vec<String>)> {
    let mut seen = BTreeSet::new();
    let vms = scene.health.iter().flat_map(|health| &health.vms);
    vms.filter_map(move |vm| {
        let id = vm.uuid.filter(|id| seen.insert(*id))?;
        let policy = vm.policy.as_ref().map_or_else(String::new, Name::to_string);
        Some((id, vm, vec![id.to_string(), vm.alias.clone(), policy]))
    })
}

fn of_vms(scene: &Scene<'_>, value: impl Fn(&VmHealth) -> Option<String>) -> Vec<Sample> {
    vms(scene).filter_map(|(_, vm, labels)| Some((labels, value(vm)?))).collect()
}

fn of_newest(scene: &Scene<'_>, value: impl Fn(&NewestBackup) -> Option<String>) -> Vec<Sample> {
    of_vms(scene, |vm| vm.newest.as_ref().and_then(&value))
}

fn of_managed(scene: &Scene<'_>, value: impl Fn(&VmHealth) -> String) -> Vec<Sample> {
    of_vms(scene, |vm| vm.policy.is_some().then(|| value(vm)))
}

fn of_known(scene: &Scene<'_>, value: impl Fn(&KnownVm) -> Option<String>) -> Vec<Sample> {
    let known = scene.history.verified.iter();
    known.filter_map(|(id, vm)| Some((vec![id.to_string()], value(vm)?))).collect()
}

fn of_tiers(scene: &Scene<'_>, value: impl Fn(&TierHealth) -> Option<String>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (_, vm, labels) in vms(scene).filter(|(_, vm, _)| vm.policy.is_some()) {
        for tier in &vm.tiers {
            let labels = [labels.clone(), vec![tier.tier.to_string()]].concat();
            samples.extend(value(tier).map(|value| (labels, value)));
        }
    }
    samples
}
