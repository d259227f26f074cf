//! How long a plan of 20,000 VMs takes, with its audit, the comparison of two sets of policies, the plan of one VM with very
//! many backups, a simulated year, and the pages: an edit of a policy and a fleet of 5,000 VMs.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up is to stop")]

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use fifo_retain::insight::status::HealthBuilder;
use fifo_retain::insight::{PolicySide, compare};
use fifo_retain::inventory::{Backup, BackupId, Inventory, Metadata, RecordedState, StoredFile, Vm, VmId};
use fifo_retain::plan::audit::audit_vm;
use fifo_retain::plan::{Plan, Planner, Prune, VmPlan, plan};
use fifo_retain::policy::{
    MissingParent, Policies, Policy, Retry, Schedule, Selector, Source, SourceFile, Tier, TierKind, Zone,
    parse,
};
use fifo_retain::report::html::simulation::fragment;
use fifo_retain::report::page::status_page;
use fifo_retain::report::simulate::Played;
use fifo_retain::simulate::{Scenario, simulate, simulate_with_stories};
use std::hint::black_box;
use std::num::NonZeroU32;
use uuid::Uuid;

const VMS: u128 = 20_000;
const BACKUPS: u32 = 12;

/// How many backups the one large VM has.
const MANY: u32 = 100_000;

/// The grandfather scheme in a zone with daylight saving, for every VM.
fn grandfather() -> Policies {
    let zone = Zone::find("Europe/Berlin").expect("a known zone");
    let tier = |name: &str, schedule: &str, kind| Tier {
        name: name.into(),
        schedule: Schedule::parse(schedule, zone.clone()).expect("a schedule"),
        kind,
        keep: None,
        keep_local: 0,
        comment: name.to_owned(),
        also: Vec::new(),
        spread: TimeDelta::zero(),
    };
    let tiers = vec![
        tier("monthly", "0 1 1 * *", TierKind::Full),
        tier("weekly", "0 1 * * SUN", TierKind::Incremental { from: vec![0, 1] }),
        tier("daily", "0 1 * * *", TierKind::Incremental { from: vec![0, 1, 2] }),
    ];
    Policies::new(vec![Policy {
        name: "grandfather".into(),
        description: String::new(),
        source: Source { file: "grandfather.yaml".to_owned(), line: 1, sha256: String::new() },
        priority: 0,
        select: Selector { all: true, ..Selector::default() },
        exclude: None,
        zone,
        tiers,
        missing_parent: MissingParent::Full,
        stuck_after: TimeDelta::hours(12),
        min_full_size_bytes: 64 * 1024,
        retry: Retry { attempts: 3, backoff: TimeDelta::hours(1) },
        max_age: TimeDelta::hours(26),
        prune: false,
        suspend: None,
    }])
}

/// A VM with a monthly of twelve days ago, dailies from then on and a weekly among them, each on the one before.
fn vm(n: u128, now: DateTime<Utc>) -> Vm {
    let id = |nth: u32| BackupId::new(Uuid::from_u128(n << 64 | u128::from(nth)));
    let backups = (0..BACKUPS).map(|nth| {
        let (comment, local) = match nth {
            0 => ("monthly", false),
            7 => ("weekly", true),
            nth => ("daily", nth + 1 == BACKUPS),
        };
        Backup {
            id: id(nth),
            comment: Some(comment.into()),
            timestamp: Some(now - TimeDelta::days(i64::from(BACKUPS - nth))),
            state: RecordedState::Completed,
            parent: nth.checked_sub(1).map(id),
            local: Some(local).into(),
            local_size_bytes: Some(0),
            files: vec![StoredFile {
                size_bytes: Some(1 << 30),
                has_checksum: false,
                ..StoredFile::default()
            }],
            record_size_bytes: None,
            has_record_checksum: false,
            is_broken: false,
        }
    });
    Vm {
        id: VmId::new(Uuid::from_u128(n)),
        alias: format!("vm-{n}"),
        owner: None,
        package: None,
        dataset: None,
        hypervisor: Some("hv-1".to_owned()),
        state: "running".to_owned(),
        creating: false,
        deleting: false,
        delegated_datasets: false,
        metadata: Metadata::default(),
        backups: backups.collect(),
    }
}

/// A VM with very many hourly backups: a full one, and each of the others on the one before it or all on the full one.
fn large_vm(in_one_chain: bool, now: DateTime<Utc>) -> Vm {
    let id = |nth: u32| BackupId::new(Uuid::from_u128(u128::from(nth) + 1));
    let backups = (0..MANY).map(|nth| Backup {
        id: id(nth),
        comment: Some(if nth == 0 { "monthly" } else { "daily" }.into()),
        timestamp: Some(now - TimeDelta::hours(i64::from(MANY - nth))),
        state: RecordedState::Completed,
        parent: nth.checked_sub(1).map(|before| if in_one_chain { id(before) } else { id(0) }),
        local: Some(nth + 1 == MANY).into(),
        local_size_bytes: Some(0),
        files: vec![StoredFile { size_bytes: Some(1 << 30), has_checksum: false, ..StoredFile::default() }],
        record_size_bytes: None,
        has_record_checksum: false,
        is_broken: false,
    });
    Vm { backups: backups.collect(), ..vm(1, now) }
}

/// Measures the plan of one VM with very many backups.
fn large(criterion: &mut Criterion) {
    let now: DateTime<Utc> = "2026-11-13T00:00:00Z".parse().expect("an instant");
    let policies = grandfather();
    let mut group = criterion.benchmark_group("one VM with 100,000 backups");
    group.sample_size(10);
    for (name, in_one_chain) in [("in one chain", true), ("in one star", false)] {
        let vm = large_vm(in_one_chain, now);
        let inventory = Inventory {
            endpoint: "https://fifo.example.com".to_owned(),
            vms: std::iter::once((vm.id, vm)).collect(),
            unreadable: Vec::new(),
        };
        group.bench_function(format!("plan, {name}"), |bench| {
            bench.iter_with_large_drop(|| plan(black_box(&policies), black_box(&inventory), black_box(now)));
        });
    }
    group.finish();
}

/// Counts the rules that the plans of the VMs break.
fn audited(made: &Plan, policies: &Policies, inventory: &Inventory) -> usize {
    let of_vm =
        |planned: &VmPlan| Some(audit_vm(planned, inventory.vms.get(&planned.uuid?)?, policies, made.at));
    made.vms.iter().filter_map(of_vm).map(|broken| broken.len()).sum()
}

fn benches(criterion: &mut Criterion) {
    // A Friday twelve days after a Sunday the 1st: every VM is due a daily, and one snapshot of each is to go after it.
    let due: DateTime<Utc> = "2026-11-13T00:00:00Z".parse().expect("an instant");
    let policies = grandfather();
    let vms = (1..=VMS).map(|n| vm(n, due)).map(|vm| (vm.id, vm)).collect();
    let inventory =
        Inventory { endpoint: "https://fifo.example.com".to_owned(), vms, unreadable: Vec::new() };
    let mut group = criterion.benchmark_group("20,000 VMs with 12 backups each");
    group.sample_size(10);
    for (name, now) in [("all due", due), ("nothing due", due - TimeDelta::minutes(1))] {
        let made = plan(&policies, &inventory, now);
        let to_create = if now == due { inventory.vms.len() } else { 0 };
        assert_eq!(made.summary.create, to_create, "the cloud is what it is meant to be");
        group.bench_function(format!("plan, {name}"), |bench| {
            bench.iter_with_large_drop(|| plan(black_box(&policies), black_box(&inventory), black_box(now)));
        });
        group.bench_function(format!("of that the audit, {name}"), |bench| {
            bench.iter(|| audited(black_box(&made), &policies, &inventory));
        });
    }

    // Every VM's policy changes.
    let mut changed: Vec<Policy> = policies.iter().cloned().collect();
    for policy in &mut changed {
        policy.tiers[1].kind = TierKind::Incremental { from: vec![0] };
    }
    let changed = Policies::new(changed);
    let (old, new) = (plan(&policies, &inventory, due), plan(&changed, &inventory, due));
    let (before, after) =
        (PolicySide { policies: &policies, plan: &old }, PolicySide { policies: &changed, plan: &new });
    group.bench_function("a changed policy compared", |bench| {
        bench.iter(|| compare(black_box(before), black_box(after), &inventory));
    });
    group.finish();
}

/// Measures a year of 1,000 VMs, whose expired backups stay or are deleted.
fn years(criterion: &mut Criterion) {
    let from: DateTime<Utc> = "2026-11-13T00:00:00Z".parse().expect("an instant");
    let vms = (1..=1_000).map(|n| vm(n, from)).map(|vm| (vm.id, vm)).collect();
    let inventory =
        Inventory { endpoint: "https://fifo.example.com".to_owned(), vms, unreadable: Vec::new() };
    let mut group = criterion.benchmark_group("365 days of 1,000 VMs");
    group.sample_size(10);
    for (name, prune) in
        [("nothing deleted from storage", Prune::default()), ("expired backups deleted", Prune::REQUESTED)]
    {
        let mut policies: Vec<Policy> = grandfather().iter().cloned().collect();
        for (tier, keep) in policies[0].tiers.iter_mut().zip([12, 5, 7]) {
            tier.keep = NonZeroU32::new(keep);
        }
        policies[0].prune = true;
        let (policies, scenario) = (Policies::new(policies), Scenario { prune, ..Scenario::new(from, 365) });
        group.bench_function(name, |bench| bench.iter(|| simulate(&policies, Some(&inventory), &scenario)));
    }
    group.finish();
}

/// Measures what an edit beside the year of one VM takes, and the page of 5,000 VMs.
fn pages(criterion: &mut Criterion) {
    let now: DateTime<Utc> = "2026-11-13T00:00:00Z".parse().expect("an instant");
    let mut group = criterion.benchmark_group("pages");
    group.sample_size(10);
    for (name, prune) in [("nothing deleted", Prune::default()), ("expired deleted", Prune::REQUESTED)] {
        let text = include_str!("../policies/grandfather.yaml").replace("prune: false", "prune: true");
        let scenario = Scenario { prune, ..Scenario::new(now, 400) };
        group.bench_function(format!("an edit, 400 days of one VM, {name}"), |bench| {
            bench.iter(|| {
                let file = SourceFile { name: "p.yaml".to_owned(), bytes: text.clone().into() };
                let policies = parse(&[file]).expect("a policy").policies;
                let (simulation, stories) = simulate_with_stories(&policies, None, &scenario);
                fragment(
                    Played { simulation: &simulation, policies: &policies, stories: &stories },
                    &scenario,
                )
            });
        });
    }
    let policies = grandfather();
    let mut planner = Planner::new(&policies, now);
    let mut overview = HealthBuilder::default();
    for vm in (1..=5_000).map(|n| vm(n, now)) {
        overview.add(&vm, planner.decide(&vm));
    }
    let overview = overview.finish(&planner, "https://fifo.example.com", &[]);
    group.bench_function("5,000 VMs", |bench| {
        bench.iter(|| status_page(&overview, &Default::default(), None, "as `ops`"))
    });
    group.finish();
}

criterion_group!(plans, benches, large, years, pages);
criterion_main!(plans);
