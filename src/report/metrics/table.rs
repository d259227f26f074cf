//! All metrics. A test checks that `docs/metrics.md` lists the same.

use super::{Metric, MetricKind, Sample, Scene, Value};
use crate::insight::status::{BackupHealth, NewestBackup, VmHealth};
use crate::inventory::VmId;
use crate::plan::Status;
use crate::policy::Name;
use crate::report::RunSummary;
use crate::report::words::{kind_text, outcome_text};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

const VM: &[&str] = &["vm", "alias", "policy"];
const TIER: &[&str] = &["vm", "alias", "policy", "tier"];
const ACTION: &[&str] = &["action", "outcome"];

/// Every metric, in the order they are written in.
pub const METRICS: [Metric; 27] = [
    gauge("fifo_retain_build_info", &["version"], "The program, by its version; always 1", |_| {
        vec![Sample { labels: vec![env!("CARGO_PKG_VERSION").to_owned()], value: Value::Integer(1) }]
    }),
    gauge(
        "fifo_retain_safety_stop",
        &[],
        "Whether a safety stop holds: backups vanished, and no run does anything until `fifo-retain resume`",
        |it| one(Some(Value::Integer(i64::from(it.history.is_stopped())))),
    ),
    // Of the last run.
    gauge("fifo_retain_last_run_timestamp_seconds", &[], "When the last run ended, however it did", |it| {
        of_last(it, |last| last.ended.map(|ended| seconds(ended.at)))
    }),
    gauge("fifo_retain_last_run_duration_seconds", &[], "How long the last run took", |it| {
        of_last(it, |last| last.duration().map(|took| Value::Float(took.as_seconds_f64())))
    }),
    gauge(
        "fifo_retain_last_run_exit_code",
        &[],
        "The exit code of the last run, also of one that did not end the program",
        |it| of_last(it, |last| last.ended.map(|ended| Value::Integer(i64::from(ended.exit.code())))),
    ),
    gauge(
        "fifo_retain_last_run_vanished_backups",
        &[],
        "How many backups vanished after deletes of the last run; anything but 0 is an alarm",
        |it| of_last(it, |last| Some(vanished(last))),
    ),
    gauge(
        "fifo_retain_last_run_refused_deletes",
        &[],
        "How many deletes from storage were too many for one VM at once in the last run, which sent none of them; 0 within the limit",
        |it| {
            of_last(it, |last| {
                last.planned.as_ref()?;
                Some(whole(last.refused_deletes))
            })
        },
    ),
    gauge("fifo_retain_last_run_actions", ACTION, "How the actions of the last run ended", |it| {
        let last = it.history.last.as_ref().filter(|last| last.report.is_some());
        last.map_or_else(Vec::new, |last| action_samples(last.action_counts()))
    }),
    gauge(
        "fifo_retain_last_success_timestamp_seconds",
        &[],
        "When the last run ended that did everything (exit code 0); missing until there was one",
        |it| one(it.history.last_success.map(seconds)),
    ),
    // Of all runs of a process that repeats.
    counter("fifo_retain_runs_total", &["outcome"], "Runs that have ended", |it| {
        let runs = it.history.runs.iter().filter(|_| it.history.every.is_some());
        runs.map(|(outcome, count)| sample([(*outcome).to_owned()], whole(*count))).collect()
    }),
    counter("fifo_retain_actions_total", ACTION, "Actions that have ended", |it| {
        if it.history.every.is_some() { action_samples(it.history.actions.clone()) } else { Vec::new() }
    }),
    gauge("fifo_retain_run_interval_seconds", &[], "How often runs begin (--every)", |it| {
        one(it.history.every.map(|every| Value::Float(every.as_secs_f64())))
    }),
    gauge("fifo_retain_run_under_way", &[], "Whether a run is under way", |it| {
        one(it.history.every.map(|_| Value::Integer(i64::from(it.history.running_since.is_some()))))
    }),
    gauge("fifo_retain_next_run_timestamp_seconds", &[], "When the next run begins", |it| {
        one(it.history.next_run.map(seconds))
    }),
    // Of the cloud.
    gauge(
        "fifo_retain_inventory_timestamp_seconds",
        &[],
        "When FiFo was last read; all that is said of VMs is from then",
        |it| one(it.health.as_ref().map(|health| seconds(health.at))),
    ),
    gauge("fifo_retain_vms", &["status"], "How many VMs have each status in the plan", |it| {
        let Some(overview) = &it.history.overview else { return Vec::new() };
        let count = |status| overview.vms_by_status.get(&status).copied().unwrap_or(0);
        STATUSES.iter().map(|(status, word)| sample([(*word).to_owned()], whole(count(*status)))).collect()
    }),
    // Of each VM.
    gauge(
        "fifo_retain_vm_safe",
        VM,
        "Whether the newest restorable backup is no older than max_age; 0 for a VM in conflict or unreadable, too",
        |it| {
            of_vms(it, |vm| match vm.verdict {
                BackupHealth::Safe => Some(Value::Integer(1)),
                // No policy protects it.
                BackupHealth::Unprotected => None,
                BackupHealth::TooOld
                | BackupHealth::NoBackup
                | BackupHealth::Conflict
                | BackupHealth::Unreadable => Some(Value::Integer(0)),
            })
        },
    ),
    gauge(
        "fifo_retain_vm_newest_restorable_timestamp_seconds",
        VM,
        "When the newest restorable backup of whatever tier was taken; missing where there is none",
        |it| of_newest(it, |newest| Some(seconds(newest.taken.to_utc()))),
    ),
    gauge("fifo_retain_vm_max_age_seconds", VM, "How old the newest restorable backup may be", |it| {
        of_vms(it, |vm| vm.max_age_secs.map(Value::Integer))
    }),
    gauge(
        "fifo_retain_vm_restore_steps",
        VM,
        "How many stored backups restoring the newest one fetches, when nothing is left on the hypervisor",
        |it| of_newest(it, |newest| Some(whole(newest.steps))),
    ),
    gauge(
        "fifo_retain_vm_restore_bytes",
        VM,
        "How many bytes these have; missing where it is not known of one of them",
        |it| of_newest(it, |newest| newest.size_bytes.map(whole)),
    ),
    gauge("fifo_retain_vm_local_snapshots", VM, "How many snapshots backups hold on the hypervisor", |it| {
        of_managed(it, |vm| whole(vm.local.snapshots))
    }),
    gauge(
        "fifo_retain_vm_local_bytes",
        VM,
        "How many bytes of the VM's quota these take, as far as FiFo has measured them",
        |it| of_managed(it, |vm| whole(vm.local.size_bytes)),
    ),
    gauge(
        "fifo_retain_vm_gaps",
        VM,
        "How many due times of the last 35 days that should still have a backup have none that can be restored",
        |it| of_managed(it, |vm| whole(vm.gaps.len())),
    ),
    gauge("fifo_retain_vm_suspended", VM, "Whether the policy is suspended for the VM", |it| {
        of_managed(it, |vm| Value::Integer(i64::from(vm.is_suspended)))
    }),
    // Of each tier of each VM.
    gauge(
        "fifo_retain_newest_restorable_timestamp_seconds",
        TIER,
        "When the newest restorable backup of just this tier was taken; missing where there is none",
        |it| of_tiers(it, |tier| tier.newest.map(seconds)),
    ),
    gauge(
        "fifo_retain_up_to_date",
        TIER,
        "Whether the backup that was due last, or one of a coarser tier, exists or is in progress",
        |it| of_tiers(it, |tier| Some(Value::Integer(i64::from(tier.is_up_to_date)))),
    ),
];

/// The statuses with their words in JSON.
const STATUSES: [(Status, &str); 8] = [
    (Status::Changes, "changes"),
    (Status::UpToDate, "up_to_date"),
    (Status::Waiting, "waiting"),
    (Status::Blocked, "blocked"),
    (Status::Unprotected, "unprotected"),
    (Status::Conflict, "conflict"),
    (Status::Fault, "fault"),
    (Status::Unreadable, "unreadable"),
];

type Samples = fn(&Scene<'_>) -> Vec<Sample>;

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Samples,
) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help, samples }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Samples,
) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help, samples }
}

fn sample<const N: usize>(labels: [String; N], value: Value) -> Sample {
    Sample { labels: labels.into(), value }
}

fn one(value: Option<Value>) -> Vec<Sample> {
    value.map(|value| sample([], value)).into_iter().collect()
}

/// Makes a value of a count; one that is too large becomes the largest possible value.
fn whole(count: impl TryInto<i64>) -> Value {
    Value::Integer(count.try_into().unwrap_or(i64::MAX))
}

fn seconds(instant: DateTime<Utc>) -> Value {
    Value::Integer(instant.timestamp())
}

fn of_last(scene: &Scene<'_>, value: impl Fn(&RunSummary) -> Option<Value>) -> Vec<Sample> {
    one(scene.history.last.as_ref().and_then(value))
}

fn vanished(run: &RunSummary) -> Value {
    let gone: BTreeSet<_> =
        run.report.iter().flat_map(|report| &report.alarms).flat_map(|alarm| &alarm.gone).collect();
    whole(gone.len())
}

fn action_samples(
    counts: std::collections::BTreeMap<(crate::apply::ActionKind, crate::apply::ActionOutcome), u64>,
) -> Vec<Sample> {
    let made = counts.into_iter().map(|((kind, ending), count)| {
        sample([kind_text(kind).to_owned(), outcome_text(ending).to_owned()], whole(count))
    });
    made.collect()
}

/// Returns the labels of a VM.
fn labels(id: VmId, vm: &VmHealth) -> [String; 3] {
    [id.to_string(), vm.alias.clone(), vm.policy.as_ref().map_or_else(String::new, Name::to_string)]
}

/// Makes a sample of each VM whose UUID is known, once: no series may appear twice, and a list that shows a VM twice
/// is no reason to write nothing at all.
fn of_vms(scene: &Scene<'_>, value: impl Fn(&VmHealth) -> Option<Value>) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let vms = scene.health.iter().flat_map(|health| &health.vms);
    vms.filter_map(|vm| Some((vm.uuid.filter(|id| seen.insert(*id))?, vm)))
        .filter_map(|(id, vm)| Some(sample(labels(id, vm), value(vm)?)))
        .collect()
}

fn of_newest(scene: &Scene<'_>, value: impl Fn(&NewestBackup) -> Option<Value>) -> Vec<Sample> {
    of_vms(scene, |vm| vm.newest.as_ref().and_then(&value))
}

fn of_managed(scene: &Scene<'_>, value: impl Fn(&VmHealth) -> Value) -> Vec<Sample> {
    of_vms(scene, |vm| vm.policy.is_some().then(|| value(vm)))
}

fn of_tiers(scene: &Scene<'_>, value: impl Fn(&crate::insight::TierHealth) -> Option<Value>) -> Vec<Sample> {
    let Some(overview) = &scene.history.overview else { return Vec::new() };
    let mut samples = Vec::new();
    for (id, vm) in scene.health.iter().flat_map(|health| &health.vms).filter_map(|vm| Some((vm.uuid?, vm))) {
        for tier in overview.tiers.get(&id).filter(|_| vm.policy.is_some()).into_iter().flatten() {
            let [vm, alias, policy] = labels(id, vm);
            samples
                .extend(value(tier).map(|value| sample([vm, alias, policy, tier.tier.to_string()], value)));
        }
    }
    samples
}
