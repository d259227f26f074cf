//! What people, machines and clocks do to the cloud, whatever the program does.

use crate::cloud;
use crate::life::Life;
use crate::scenario::{ByHand, StepAction};
use chrono::TimeDelta;
use fifo_retain::apply::Clock as _;
use fifo_retain::sandbox::{
    BackupRequest, Effect, Operation, Rule, Snapshot, UploadOutcome, UploadScript, World,
};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

impl Life {
    /// Lets something happen. The judges take it for granted: it was not the program's doing.
    pub(crate) fn happen(&self, what: &StepAction) {
        self.note(&format!("{what:?}"));
        match what {
            StepAction::Clock(_) => self.wire.arrive_all(),
            _ => self.wire.arrive(),
        }
        let now = self.wire.server_now();
        let now_us = now.timestamp_micros();
        let state = &mut *self.wire.state();
        let mut changing = self.changing();
        changing.disturbances += 1;
        let world = &mut state.world;
        world.advance(now_us);
        self.judges().changes(world);
        let vm_at = |place: usize| changing.vms[place % changing.vms.len()];
        match what {
            StepAction::Run(_) | StepAction::Plan => {}
            StepAction::Disturb(rules) => {
                // Old readings without a version: it cannot be known that they are old, and FiFo could not refuse.
                let hides = |rule: &Rule| matches!(rule.effect, Effect::HideEtag | Effect::WeakEtag);
                let is_stale = |rule: &Rule| matches!(rule.effect, Effect::Stale { .. });
                state.faults.rules.extend(rules.iter().cloned());
                let nodes = rules.iter().filter_map(|rule| Some(rule.when.node? + 1)).max().unwrap_or(0);
                state.faults.nodes = state.faults.nodes.max(nodes);
                if state.faults.rules.iter().any(is_stale) {
                    state.faults.rules.retain(|rule| !hides(rule));
                }
                // A cache behind which no condition fits shows everything as it is now, for ever.
                let is_refusal = |rule: &Rule| matches!(rule.effect, Effect::RefuseConditions);
                if rules.iter().any(is_refusal) && rules.iter().any(is_stale) {
                    state.faults.fill_caches(world);
                }
            }
            StepAction::Calm => {
                let struck: u32 = state.faults.rules.iter().map(|rule| rule.struck).sum();
                changing.disturbances += usize::try_from(struck).unwrap();
                state.faults.clear();
                world.list_limit_ms = None;
                world.stamps_ahead_s = 0;
                self.judges().clocks_set_at = Some(self.clock.now());
                // Whoever has found the cause lifts the stop.
                (0..self.folders.len()).for_each(|sender| self.lift(sender));
            }
            StepAction::Policies(rules) => {
                let now = self.clock.now();
                changing.policies = Arc::new(cloud::policies(rules, now));
                changing.prunes = rules.prunes;
                changing.due_hour = rules.due_hour;
                self.judges().rules_change(rules, now);
            }
            StepAction::UploadScript(vm, script) => {
                let mut script = *script;
                // An old FiFo has no sizes of single files: nothing shows that one of them is hollow.
                if self.is_old_fifo && script.outcome == UploadOutcome::HollowDisk {
                    script.outcome = UploadOutcome::Hollow;
                }
                if let Some(vm) = world.vms.get_mut(&vm_at(*vm)) {
                    vm.scripts.push_back(script);
                }
            }
            StepAction::CreateByHand(vm, by_hand) => create(world, vm_at(*vm), *by_hand, now_us),
            StepAction::IncrementOnOld(vm, place) => increment_on_old(world, vm_at(*vm), *place, now_us),
            StepAction::DeleteByHand(vm, place) => {
                let id = vm_at(*vm);
                // On no hypervisor FiFo would leave records of what is gone: this cannot be known.
                let is_somewhere = world.vms.get(&id).is_some_and(|vm| vm.hypervisor().is_some());
                if let Some(backup) = nth(world, id, *place).filter(|_| is_somewhere) {
                    // What uploads may go on, and leaves remains behind.
                    if place % 2 == 0 {
                        world.uploads.retain(|upload, _| *upload != backup);
                    }
                    world.delete_cloud(id, backup, now_us);
                }
            }
            StepAction::DeleteLocallyByHand(vm, place) => {
                let id = vm_at(*vm);
                if let Some(backup) = nth(world, id, *place) {
                    _ = world.delete_local(id, backup, now_us);
                }
            }
            StepAction::Move(vm, to) => {
                let to = to.map(|to| format!("hv-{to}"));
                world.leave_hypervisor(vm_at(*vm), to.as_deref());
            }
            StepAction::DeleteVm(vm) => {
                let id = vm_at(*vm);
                world.leave_hypervisor(id, None);
                world.vms.remove(&id);
            }
            StepAction::NewVm(start) => {
                let id = cloud::add_vm(world, start, now, changing.due_hour);
                changing.vms.push(id);
            }
            StepAction::Mark(vm, mark) => {
                let id = vm_at(*vm);
                if let Some(vm) = world.vms.get_mut(&id) {
                    cloud::set_mark(vm, id, *mark);
                }
            }
            StepAction::VmState(vm, to) => {
                if let Some(vm) = world.vms.get_mut(&vm_at(*vm)).filter(|vm| vm.hypervisor().is_some()) {
                    vm.fields.insert("state".to_owned(), json!(to));
                }
            }
            StepAction::Datasets(vm, has_some) => {
                if let Some(vm) = world.vms.get_mut(&vm_at(*vm)) {
                    let datasets = if *has_some { json!(["zones/data"]) } else { json!([]) };
                    vm.fields.insert("config".to_owned(), json!({ "datasets": datasets }));
                }
            }
            StepAction::OwnClock(ahead_s) => {
                self.own_clock.set(*ahead_s);
                self.judges().clocks_set_at = Some(self.clock.now());
            }
            StepAction::Agent(hypervisor, true) => _ = world.agents_down.remove(&format!("hv-{hypervisor}")),
            StepAction::Agent(hypervisor, false) => _ = world.agents_down.insert(format!("hv-{hypervisor}")),
            StepAction::Store(is_up) => {
                world.outcome = if *is_up { UploadOutcome::Complete } else { UploadOutcome::SnapshotOnly };
            }
            StepAction::Backend(is_up) => world.backend_up = *is_up,
            StepAction::ListsCut(are_cut) => world.list_limit_ms = are_cut.then_some(0),
            StepAction::StampsAhead(ahead_s) => {
                world.stamps_ahead_s = *ahead_s;
                self.judges().clocks_set_at = Some(self.clock.now());
            }
            StepAction::Clock(ahead_s) => {
                state.server_ahead = TimeDelta::seconds(*ahead_s);
                self.judges().clock_set_at = Some(self.clock.now());
                self.judges().clocks_set_at = Some(self.clock.now());
            }
        }
        let is_drop = |rule: &Rule| {
            matches!(rule.effect, Effect::DropBody) && rule.when.operation == Some(Operation::Delete)
        };
        let is_greedy = |rule: &Rule| matches!(rule.effect, Effect::TakeNewest);
        let is_shift = |rule: &Rule| matches!(rule.effect, Effect::ShiftDate { .. } | Effect::HideDate);
        let is_on_list =
            |rule: &Rule| !matches!(rule.when.operation, Some(operation) if operation != Operation::List);
        let cuts = |rule: &Rule| matches!(rule.effect, Effect::Cut { .. }) && is_on_list(rule);
        let is_late = |rule: &Rule| matches!(rule.effect, Effect::ActLate { .. });
        let freezes = |rule: &Rule| matches!(rule.effect, Effect::Stale { seconds: None });
        let freezes_all = |rule: &Rule| freezes(rule) && rule.when.node.is_none();
        let mut judges = self.judges();
        judges.readings_freeze = state.faults.rules.iter().any(freezes_all);
        judges.versions_freeze = state.faults.rules.iter().any(freezes);
        judges.dates_are_wrong = state.faults.rules.iter().any(is_shift) || state.world.stamps_ahead_s != 0;
        judges.cut_lists(state.world.list_limit_ms.is_some() && !self.is_old_fifo, self.clock.now());
        judges.lists_may_be_cut = state.faults.rules.iter().any(cuts);
        judges.lists_are_disturbed |= state.faults.rules.iter().any(is_on_list);
        judges.writes_were_late |= state.faults.rules.iter().any(is_late);
        judges.bodies_are_dropped = state.faults.rules.iter().any(is_drop);
        judges.people_at = Some(self.clock.now());
        judges.takes_more = state.faults.rules.iter().any(is_greedy);
        judges.accept(&state.world);
    }
}

fn create(world: &mut World, vm: Uuid, by_hand: ByHand, now_us: i64) {
    let parent = world.vms.get(&vm).and_then(|vm| {
        let local = vm.backups.iter().filter(|(_, record)| record.local == Some(true));
        local.max_by_key(|(id, record)| (record.timestamp, **id)).map(|(id, _)| id.to_string())
    });
    let order = BackupRequest {
        comment: by_hand.comment.to_owned(),
        parent: parent.filter(|_| by_hand.is_increment),
        delete: false,
    };
    // What is in no policy is large: its uploads take places for long.
    if let Some(vm) = world.vms.get_mut(&vm).filter(|vm| vm.scripts.is_empty() && !cloud::is_protected(vm)) {
        let upload_ms = Some(5 * 3_600_000);
        vm.scripts.push_back(UploadScript {
            outcome: UploadOutcome::Complete,
            upload_ms,
            size_bytes: Some(2 << 30),
        });
    }
    let Ok(made) = world.create_backup(vm, &order, now_us) else { return };
    let record = world.vms.get_mut(&vm).and_then(|vm| vm.backups.get_mut(&made)).unwrap();
    if let (Some(timestamp), Some(hours)) = (&mut record.timestamp, by_hand.ahead_hours) {
        *timestamp += TimeDelta::hours(hours).num_microseconds().unwrap();
    }
}

/// Makes an increment on an old backup, as after a rollback to it; its snapshot is gone again right after.
fn increment_on_old(world: &mut World, id: Uuid, place: usize, now_us: i64) {
    let Some(old) = nth(world, id, place) else { return };
    let Some(vm) = world.vms.get_mut(&id).filter(|vm| vm.hypervisor().is_some()) else { return };
    let bytes = vm.full_bytes / 64;
    let Some(record) = vm.backups.get_mut(&old).filter(|it| it.state.as_deref() == Some("completed")) else {
        return;
    };
    let was_local = record.local;
    record.local = Some(true);
    vm.snapshots.entry(old).or_insert(Snapshot { bytes, pinned: false });
    vm.scripts.push_front(UploadScript { upload_ms: Some(120_000), ..UploadScript::default() });
    let order =
        BackupRequest { comment: "before upgrade".to_owned(), parent: Some(old.to_string()), delete: false };
    if world.create_backup(id, &order, now_us).is_err()
        && let Some(vm) = world.vms.get_mut(&id)
    {
        vm.scripts.pop_front();
    }
    if was_local != Some(true) {
        _ = world.delete_local(id, old, now_us);
    }
}

fn nth(world: &World, vm: Uuid, place: usize) -> Option<Uuid> {
    let records = &world.vms.get(&vm)?.backups;
    let mut backups: Vec<_> = records.iter().map(|(id, record)| (record.timestamp, *id)).collect();
    backups.sort_unstable();
    (!backups.is_empty()).then(|| backups[place % backups.len()].1)
}
