//! What a life begins with: the cloud with its past, and the policies.

use crate::scenario::{Mark, Rules, Scenario, VmStart};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};
use fifo_retain::policy::{self, Policies, SourceFile};
use fifo_retain::sandbox::{ApiStyle, BackupRequest, EmptyMaps, Shape, Vm, World};
use serde_json::json;
use uuid::Uuid;

/// Old backups are deleted only where a new one is no older than this.
pub(crate) const MAX_AGE_DAYS: i64 = 2;

/// Makes the cloud with its VMs; returns these in their order.
pub(crate) fn world(scenario: &Scenario, now: DateTime<Utc>) -> (World, Vec<Uuid>) {
    let shape = if scenario.is_old_fifo {
        Shape { style: ApiStyle::V2, empty_maps: EmptyMaps::Array }
    } else {
        Shape { style: ApiStyle::V3, empty_maps: EmptyMaps::Object }
    };
    let mut world = World::new(shape, scenario.seed);
    let vms = scenario.vms.iter().map(|vm| add_vm(&mut world, vm, now, scenario.rules.due_hour)).collect();
    (world, vms)
}

pub(crate) fn add_vm(world: &mut World, start: &VmStart, now: DateTime<Utc>, due_hour: u32) -> Uuid {
    let id = world.new_uuid();
    let mut vm = Vm::new("", &format!("hv-{}", start.hypervisor));
    // A size is written once a MiB: most uploads are seen to grow, the increments of a small VM are not.
    vm.full_bytes = if start.nights.is_multiple_of(2) { 96 << 20 } else { 3 << 20 };
    vm.disks =
        (0..start.disks).map(|disk| if disk == 0 { String::new() } else { format!("-{disk}") }).collect();
    set_mark(&mut vm, id, start.mark);
    world.vms.insert(id, vm);
    let mut parent: Option<Uuid> = None;
    for nights_ago in (1..=start.nights).rev() {
        let night = (now - TimeDelta::days(i64::from(nights_ago))).date_naive();
        let at = night.and_hms_opt(due_hour, 0, 20).unwrap().and_utc();
        if at + TimeDelta::hours(1) > now {
            continue;
        }
        let comment = match (night.day(), night.weekday(), parent) {
            (1, _, _) | (_, _, None) => "monthly",
            (_, Weekday::Sun, _) => "weekly",
            _ => "daily",
        };
        let on = parent.filter(|_| comment != "monthly");
        let order =
            BackupRequest { comment: comment.to_owned(), parent: on.map(|id| id.to_string()), delete: false };
        let made = world.create_backup(id, &order, at.timestamp_micros()).unwrap();
        world.advance((at + TimeDelta::hours(1)).timestamp_micros());
        if let Some(parent) = parent {
            _ = world.delete_local(id, parent, (at + TimeDelta::hours(1)).timestamp_micros());
        }
        parent = Some(made);
    }
    world.advance(now.timestamp_micros());
    id
}

pub(crate) fn set_mark(vm: &mut Vm, id: Uuid, mark: Mark) {
    let alias =
        if mark == Mark::Unreadable { json!(7) } else { json!(format!("vm-{}", &id.to_string()[..8])) };
    vm.fields.insert("alias".to_owned(), alias);
    vm.fields.insert("metadata".to_owned(), json!({"sim": {"mark": format!("{mark:?}")}}));
}

pub(crate) fn is_protected(vm: &Vm) -> bool {
    vm.fields.get("metadata").is_some_and(|metadata| metadata["sim"]["mark"] == "Protected")
}

pub(crate) fn policies(rules: &Rules, now: DateTime<Utc>) -> Policies {
    let Rules { due_hour, has_weekly, daily_keeps_local, attempts, zone, keep, .. } = rules;
    let spread = rules.spread_hours.map(|hours| format!(", spread: {hours}h")).unwrap_or_default();
    let from = match (rules.daily_from_coarser, has_weekly) {
        (false, _) => "",
        (true, false) => ", from: [monthly]",
        (true, true) => ", from: [monthly, weekly]",
    };
    let keeps = |keep: Option<u32>| keep.map(|keep| format!(", keep: {keep}")).unwrap_or_default();
    let (keep, keep_coarser) = (keeps(*keep), rules.keep_coarser.unzip());
    let (keep_monthly, keep_weekly) = (keeps(keep_coarser.0), keeps(keep_coarser.1));
    let prune = if rules.prunes { format!("prune: true\nmax_age: {MAX_AGE_DAYS}d\n") } else { String::new() };
    let weekly = if *has_weekly {
        format!(
            "\n  - {{ name: weekly, schedule: '0 {due_hour} * * SUN', type: incremental{keep_weekly}{spread} }}"
        )
    } else {
        String::new()
    };
    let daily = if rules.is_renamed { "nightly, also: [daily]" } else { "daily" };
    let missing_parent = if rules.blocks_without_parent { "block" } else { "full" };
    let policy = |name: &str, marks: &str, more: &str| {
        format!(
            "
version: 1
policy: {name}
select: {{ metadata: {{ sim.mark: {marks} }} }}
timezone: {zone}
missing_parent: {missing_parent}
stuck_after: 2h
retry: {{ attempts: {attempts}, backoff: 1h }}
tiers:
  - {{ name: monthly, schedule: '0 {due_hour} 1 * *', type: full{keep_monthly}{spread} }}{weekly}
  - {{ name: {daily}, schedule: '0 {due_hour} * * *', type: incremental, keep_local: {daily_keeps_local}{from}{keep}{spread} }}
{prune}{more}"
        )
    };
    let held = |until: &str| format!("suspend: {{ reason: a test, until: {until} }}\n");
    let for_days = rules
        .suspended_days
        .map(|days| held(&(now + TimeDelta::days(days)).format("%Y-%m-%d").to_string()))
        .unwrap_or_default();
    let texts = [
        policy("protected", "[Protected, Unreadable]", &for_days),
        policy("one", "Conflict", ""),
        policy("two", "Conflict", ""),
        policy("held", "Suspended", &held("2099-01-01")),
    ];
    let files: Vec<SourceFile> = texts
        .into_iter()
        .enumerate()
        .map(|(n, text)| SourceFile { name: format!("{n}.yaml"), bytes: text.into_bytes() })
        .collect();
    policy::parse(&files).unwrap().policies
}
