//! Notes on local deletes in flight: a run that is killed in the middle of one loses no alarm.

use crate::cloud::{Cloud, answer, backup_id, fault, mid_chain, vm_uuid};
use crate::deletes::with_leftovers;
use crate::prune::pruning;
use chrono::TimeDelta;
use fifo_retain::apply::{Clock as _, DeleteNote, RunReport};
use fifo_retain::inventory::{BackupId, VmId};
use fifo_retain::sandbox::{Effect, Operation, Rule};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn noted(cloud: &Cloud) -> Vec<DeleteNote> {
    cloud.notes.notes.lock().unwrap().values().cloned().collect()
}

fn on_deletes(effect: Effect) -> Rule {
    Rule::new(effect).on(Operation::Delete)
}

/// A run that is killed two seconds after its first delete went out without its body; FiFo carries it out so much later.
async fn killed(late_ms: u64) -> Cloud {
    let cloud = with_leftovers(3);
    fault(&cloud, on_deletes(Effect::DropBody).times(1));
    fault(&cloud, on_deletes(Effect::ActLate { ms: late_ms }).times(1));
    timeout(Duration::from_secs(2), cloud.reconcile()).await.unwrap_err();
    assert_eq!((noted(&cloud).len(), cloud.asked("DELETE")), (1, 1));
    cloud
}

#[tokio::test(start_paused = true)]
async fn a_cascade_that_a_killed_run_has_not_seen_stops_the_next_one() {
    // Before the next run, and after that has compared the VM once.
    for (late_s, pause_s) in [(5, 10), (60, 0)] {
        let cloud = killed(late_s * 1_000).await;
        sleep(Duration::from_secs(pause_s)).await;
        cloud.wire.arrive();
        let report = cloud.reconcile().await;
        let [alarm] = &report.alarms[..] else { panic!("{late_s} {report:?}") };
        assert_eq!((alarm.backup, alarm.gone.len()), (noted(&cloud)[0].backup, 2), "{report:?}");
        let asked = cloud.wire.state().asked.clone();
        let sent = asked.iter().filter(|asked| asked.method == "DELETE" && !asked.is_late).count();
        assert_eq!(sent, 1, "nothing more is sent, and the safety stop takes the note over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_note_goes_when_its_delete_is_confirmed_or_refused_and_stays_when_nothing_is_known() {
    for (effect, stays) in [(None, false), (Some(answer(403)), false), (Some(answer(204)), true)] {
        let cloud = with_leftovers(1);
        cloud.wire.state().faults.rules.extend(effect.clone().map(on_deletes));
        cloud.reconcile().await;
        assert_eq!(noted(&cloud).len(), usize::from(stays), "{effect:?}");
        if !stays {
            continue;
        }
        // The next run compares it, and sends nothing before it is two minutes old.
        let was_at = noted(&cloud)[0].time;
        cloud.wire.state().faults.clear();
        assert_eq!(cloud.reconcile().await.tally().deleted_local, 1);
        let asked = cloud.wire.state().asked.clone();
        let last = asked.iter().rfind(|asked| asked.method == "DELETE").unwrap();
        assert!((120..135).contains(&(last.at - was_at).num_seconds()), "{}", last.at);
        assert_eq!(noted(&cloud), []);
    }
}

/// A proxy delivers a delete twice and without its body: the second copy is answered 412, and then nothing can be read.
#[tokio::test(start_paused = true)]
async fn a_note_stays_where_nothing_is_read_after_a_refusal() {
    let cloud = with_leftovers(1);
    let (plan, inventory) = cloud.plan().await;
    fault(&cloud, on_deletes(Effect::DropBody).times(1));
    fault(&cloud, on_deletes(Effect::Twice).times(1));
    fault(&cloud, Rule::new(answer(403)).on(Operation::ReadVm).after(1));
    let report = cloud.execute(&plan, &inventory).await;
    assert_eq!((report.vms[0].steps[0].code, noted(&cloud).len()), ("unknown", 1), "{report:?}");
    cloud.wire.state().faults.clear();
    let report = cloud.reconcile().await;
    assert_eq!((report.alarms.len(), cloud.asked("DELETE")), (1, 1), "{report:?}");
}

/// Leaves a note on a VM as it is.
async fn leave(cloud: &Cloud, n: u128, backup: BackupId, age: TimeDelta) {
    let vm = &cloud.read().await.vms[&VmId::new(vm_uuid(n))];
    let note = DeleteNote::new(cloud.clock.now() - age, backup, vm);
    cloud.notes.notes.lock().unwrap().insert(note.vm, note);
}

#[tokio::test(start_paused = true)]
async fn only_what_would_be_kept_today_raises_the_stop_and_a_vm_that_is_gone_ends_its_note() {
    #[derive(Debug)]
    enum Gone {
        Expired,
        Kept,
        Vm,
    }
    for (gone, alarms, left) in [(Gone::Expired, 0, 0), (Gone::Kept, 1, 1), (Gone::Vm, 0, 0)] {
        let (cloud, chains) = pruning(2);
        leave(&cloud, 1, backup_id(chains[0].kept[1]), TimeDelta::hours(2)).await;
        {
            let world = &mut cloud.wire.state().world;
            let now_us = cloud.clock.now().timestamp_micros();
            match gone {
                Gone::Expired => _ = world.delete_cloud(vm_uuid(1), chains[0].expired[3], now_us),
                Gone::Kept => _ = world.delete_cloud(vm_uuid(1), chains[0].kept[2], now_us),
                Gone::Vm => _ = world.vms.remove(&vm_uuid(1)),
            }
        }
        let report: RunReport = cloud.reconcile().await;
        assert_eq!((report.alarms.len(), noted(&cloud).len()), (alarms, left), "{gone:?} {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_compared_for_an_hour_holds_back_its_own_vm_only() {
    for (age, deleted) in [(TimeDelta::minutes(10), 0), (TimeDelta::hours(2), 2)] {
        let cloud = with_leftovers(3);
        let vm = &cloud.read().await.vms[&VmId::new(vm_uuid(1))];
        let backup = vm.backups.keys().next().unwrap();
        leave(&cloud, 1, backup, age).await;
        let (plan, inventory) = cloud.plan().await;
        fault(&cloud, Rule::new(answer(500)).on(Operation::List));
        let report = cloud.execute(&plan, &inventory).await;
        assert_eq!(report.tally().deleted_local, deleted, "{age} {report:?}");
        assert_eq!(report.uncompared.len(), usize::from(deleted > 0), "{report:?}");
        assert_eq!(noted(&cloud).len(), 1);
        let of_one = report.vms.iter().find(|vm| vm.at.vm.uuid() == vm_uuid(1)).unwrap();
        assert!(of_one.steps[0].message.contains("cannot be compared"), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_note_on_disk_no_delete_is_sent_and_the_create_goes_on() {
    let (cloud, [_, _, daily]) = mid_chain(Cloud::at("2026-11-18T01:00:30Z").vm(1, "hv-1"), 1);
    let (cloud, _) = cloud.backup(1, "daily", Some(daily), "2026-11-17T03:00:00Z");
    cloud.notes.is_full.store(true, Ordering::SeqCst);
    let report = cloud.reconcile().await;
    assert_eq!((report.tally().created, cloud.asked("DELETE")), (1, 0), "{report:?}");
    assert!(report.vms[0].steps[0].message.contains("without a note on disk"), "{report:?}");
}
