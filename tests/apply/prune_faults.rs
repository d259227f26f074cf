//! Deletes from storage among lost answers, proxies, caches and kills: nothing goes that was not listed.

use crate::cloud::{Cloud, answer, backup_id, fault, vm_uuid};
use crate::prune::{Chains, all_kept, left, named, prunes, pruning};
use fifo_retain::apply::{ActionKind, ActionOutcome, Alarm, EventKind, RunReport};
use fifo_retain::plan::Action;
use fifo_retain::sandbox::{Effect, Operation, Rule};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

fn on_deletes(effect: Effect) -> Rule {
    Rule::new(effect).on(Operation::Delete)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_for_and_the_delete_sent_again_only_where_it_had_no_effect() {
    for (effects, sent) in [
        (vec![Effect::ActThenDrop], 4),
        (vec![Effect::ActThenAnswer { status: 502 }], 4),
        (vec![Effect::ActThenAnswer { status: 500 }], 4),
        (vec![Effect::Drop], 5),
        (vec![answer(429)], 5),
        // As behind a proxy that repeats requests: the answer is that to the second one.
        (vec![Effect::ActThenAnswer { status: 404 }], 4),
        (vec![Effect::Drop, Effect::ActThenAnswer { status: 404 }], 5),
    ] {
        let (cloud, chains) = pruning(1);
        for (skip, effect) in (0..).zip(&effects) {
            fault(&cloud, on_deletes(effect.clone()).after(skip).times(1));
        }
        let report = cloud.reconcile().await;
        assert_eq!((report.tally().deleted_cloud, report.tally().failed), (4, 0), "{effects:?} {report:?}");
        assert_eq!(prunes(&cloud).len(), sent, "{effects:?}");
        assert_eq!(left(&cloud, 1).len(), 3);
        all_kept(&cloud, &chains);
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_is_not_known_what_one_did_no_other_is_sent() {
    let (cloud, _) = pruning(3);
    fault(&cloud, on_deletes(Effect::Drop).after(1).times(1));
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().deleted_cloud, 12, "{report:?}");
    let at: Vec<_> = prunes(&cloud).iter().map(|asked| asked.at).collect();
    assert!((at[2] - at[1]).num_seconds() >= 60, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_waits_for_the_list_waits_for_what_became_unclear_meanwhile() {
    let (cloud, chains) = pruning(1);
    let mut cloud = cloud.vm(2, "hv-2").vm(3, "hv-3");
    // Of two that would cost the same the older one goes first.
    for (vm, full) in [(2, "2026-12-01T01:05:00Z"), (3, "2026-12-01T01:00:00Z")] {
        let mut parent = None;
        for (tier, taken) in
            [("monthly", full), ("weekly", "2026-12-06T01:00:00Z"), ("daily", "2026-12-07T01:00:00Z")]
        {
            let (with, backup) = cloud.backup(vm, tier, parent, taken);
            (cloud, parent) = (with, Some(backup));
        }
    }
    let (plan, inventory) = cloud.plan().await;
    fault(&cloud, on_deletes(answer(504)).of_vm(vm_uuid(2)).times(1));
    fault(&cloud, Rule::new(Effect::Delay { ms: 20_000 }).on(Operation::List));
    let report = cloud.execute(&plan, &inventory).await;
    assert_eq!((report.tally().deleted_local, report.tally().deleted_cloud), (2, 4), "{report:?}");
    let asked = cloud.wire.state().asked.clone();
    let deletes = asked.iter().filter(|asked| asked.method == "DELETE");
    let is_local: Vec<bool> = deletes.map(|asked| !asked.body.is_empty()).collect();
    assert_eq!(is_local, [true, true, true, false, false, false, false]);
    all_kept(&cloud, &chains);
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_is_taken_for_what_it_is() {
    for late_s in [1, 20, 55, 70] {
        let (cloud, chains) = pruning(2);
        fault(&cloud, on_deletes(Effect::ActLate { ms: late_s * 1_000 }).times(1));
        let report = cloud.reconcile().await;
        let tally = report.tally();
        assert_eq!((tally.deleted_cloud + tally.dropped, tally.failed), (8, 0), "{late_s} {report:?}");
        assert_eq!(report.alarms, []);
        assert!(left(&cloud, 1).len() + left(&cloud, 2).len() == 6);
        all_kept(&cloud, &chains);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_the_others_of_its_vm_to_the_next_run() {
    for (status, sent) in [(403, 1), (404, 1), (500, 1), (412, 6), (401, 7), (429, 4)] {
        let (cloud, chains) = pruning(3);
        fault(&cloud, on_deletes(answer(status)).of_vm(vm_uuid(2)));
        let report = tokio::time::timeout(Duration::from_secs(3_600), cloud.reconcile()).await.unwrap();
        let tally = report.tally();
        assert_eq!((tally.deleted_cloud, tally.failed, tally.left), (8, 1, 3), "{status} {report:?}");
        let of_vm = vm_uuid(2).to_string();
        let asked: Vec<_> =
            prunes(&cloud).into_iter().filter(|asked| asked.target.contains(&of_vm)).collect();
        assert_eq!(asked.len(), sent, "{status}");
        assert!(asked.iter().all(|asked| asked.if_match.is_some()), "never without its condition");
        let messages: Vec<&str> = report.vms[1].steps.iter().map(|step| step.message.as_str()).collect();
        assert!(messages[0].contains(&status.to_string()), "{messages:?}");
        assert!(messages[1].contains("see the earlier delete of this VM"), "{messages:?}");
        assert_eq!(left(&cloud, 2).len(), 7);
        all_kept(&cloud, &chains);
        cloud.wire.state().faults.clear();
        cloud.reconcile().await;
        assert_eq!(left(&cloud, 2).len(), 3, "the next run deletes them");
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_unknown_effect_ends_only_those_of_its_vm() {
    for effect in [answer(204), answer(502)] {
        let (cloud, chains) = pruning(3);
        fault(&cloud, on_deletes(effect.clone()).of_vm(vm_uuid(2)));
        let report = cloud.reconcile().await;
        let tally = report.tally();
        assert_eq!((tally.deleted_cloud, tally.failed, tally.left), (8, 1, 3), "{effect:?} {report:?}");
        assert_eq!(report.vms[1].steps[0].ending, ActionOutcome::Unverified, "{report:?}");
        all_kept(&cloud, &chains);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_local_delete_of_unknown_effect_nothing_is_deleted_from_storage_either() {
    let (cloud, _) = pruning(2);
    let cloud = cloud.backup(2, "daily", None, "2026-12-07T03:00:00Z").0;
    fault(&cloud, on_deletes(answer(204)));
    let report = cloud.reconcile().await;
    assert!(prunes(&cloud).len() <= 1, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_that_takes_more_than_was_named_raises_the_alarm_and_nothing_more_is_sent() {
    for effect in [None, Some(Effect::ActThenDrop), Some(Effect::ActThenAnswer { status: 500 })] {
        let (cloud, chains) = pruning(3);
        let newest: Vec<Uuid> = chains.iter().map(|chains| chains.kept[2]).collect();
        fault(&cloud, on_deletes(Effect::TakeNewest));
        cloud.wire.state().faults.rules.extend(effect.clone().map(on_deletes));
        let report = cloud.reconcile().await;
        let [alarm] = &report.alarms[..] else { panic!("{effect:?} {report:?}") };
        let [first] = &prunes(&cloud)[..] else { panic!("{effect:?} {report:?}") };
        assert_eq!((alarm.after, alarm.backup), (ActionKind::DeleteCloud, backup_id(named(first))));
        assert!(newest.iter().any(|id| alarm.gone == [backup_id(*id)]), "{alarm:?}");
        assert_eq!(report.tally().interrupted, 11, "{report:?}");
        let raised = cloud.events.all().into_iter().any(|event| {
            matches!(event.what, EventKind::CascadeAlarm(Alarm { after: ActionKind::DeleteCloud, .. }))
        });
        assert!(raised);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_cache_nothing_goes_that_is_not_listed_and_the_next_run_finishes() {
    for seconds in [Some(2), Some(40), None] {
        let (cloud, chains) = pruning(2);
        fault(&cloud, Rule::new(Effect::Stale { seconds }));
        let report = cloud.reconcile().await;
        assert_eq!(report.alarms, [], "{seconds:?} {report:?}");
        assert!(report.tally().deleted_cloud >= 2, "{seconds:?} {report:?}");
        finished(&cloud, &chains).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_does_not_show_yet_is_not_taken_for_deleted() {
    let (cloud, chains) = pruning(1);
    let (plan, _) = cloud.plan().await;
    let leaf = plan.vms[0].due_actions().iter().find_map(Action::as_cloud_delete).unwrap().backup.uuid();
    {
        let state = &mut *cloud.wire.state();
        let record = state.world.vms.get_mut(&vm_uuid(1)).unwrap().backups.remove(&leaf).unwrap();
        state.faults.fill_caches(&state.world);
        state.world.vms.get_mut(&vm_uuid(1)).unwrap().backups.insert(leaf, record);
    }
    // The reading that the first delete is decided on is right, the later ones are old.
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }).on(Operation::ReadVm).after(1));
    fault(&cloud, on_deletes(answer(412)));
    let report = cloud.reconcile().await;
    assert!(!prunes(&cloud).is_empty());
    assert_eq!(report.tally().deleted_cloud, 0, "{report:?}");
    all_kept(&cloud, &chains);
}

#[tokio::test(start_paused = true)]
async fn without_a_version_of_the_vm_the_list_is_read_before_each() {
    let (cloud, chains) = pruning(1);
    fault(&cloud, Rule::new(Effect::HideEtag));
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().deleted_cloud, 4, "{report:?}");
    let asked = cloud.wire.state().asked.clone();
    for pair in asked.windows(2).filter(|pair| pair[1].method == "DELETE") {
        assert!(pair[0].target.contains("full-list"), "{pair:?}");
    }
    assert!(prunes(&cloud).iter().all(|asked| asked.if_match.is_none()));
    all_kept(&cloud, &chains);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_the_last_minute_confirms_each_vm_before_its_first_delete() {
    let (cloud, _) = pruning(3);
    cloud.reconcile().await;
    let asked = cloud.wire.state().asked.clone();
    let lists: Vec<usize> = (0..asked.len()).filter(|&at| asked[at].target.contains("full-list")).collect();
    let first_delete = asked.iter().position(|asked| asked.method == "DELETE").unwrap();
    assert_eq!(lists.len(), 2, "that of the plan, and one for all three VMs");
    assert!(lists[1] < first_delete, "{asked:?}");
}

/// Calms everything, and lets further runs delete what is left.
async fn finished(cloud: &Cloud, chains: &[Chains]) {
    all_kept(cloud, chains);
    let all: BTreeSet<Uuid> = chains.iter().flat_map(|chains| chains.expired).collect();
    assert!(prunes(cloud).iter().all(|asked| all.contains(&named(asked))), "only what was listed");
    tokio::time::sleep(Duration::from_secs(90)).await;
    cloud.wire.arrive();
    cloud.wire.state().faults.clear();
    let report = cloud.reconcile().await;
    assert_eq!(report.alarms, []);
    all_kept(cloud, chains);
    for n in (1..).take(chains.len()) {
        assert_eq!(left(cloud, n).len(), 3, "VM {n} {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn among_proxies_that_drop_repeat_and_delay_nothing_goes_that_was_not_listed() {
    let disturbances = [
        on_deletes(Effect::Drop),
        on_deletes(Effect::ActThenDrop),
        on_deletes(Effect::DropBody),
        on_deletes(Effect::ActLate { ms: 7_000 }),
        on_deletes(Effect::ActLate { ms: 50_000 }),
        on_deletes(Effect::Delay { ms: 40_000 }),
        on_deletes(Effect::ActThenAnswer { status: 404 }),
        on_deletes(Effect::ActThenAnswer { status: 504 }),
        Rule::new(Effect::RefuseConditions),
        Rule::new(Effect::HideEtag),
        Rule::new(Effect::Drop).on(Operation::ReadVm),
        Rule::new(Effect::Cut { after_bytes: 300 }),
        Rule::new(Effect::ExpireTokens),
    ];
    for rule in &disturbances {
        for every in 1..=3 {
            let (cloud, chains) = pruning(2);
            fault(&cloud, Rule { every, ..rule.clone() }.after(3).times(6));
            let report: RunReport = cloud.reconcile().await;
            assert_eq!(report.alarms, [], "{rule:?} {report:?}");
            finished(&cloud, &chains).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_between_any_two_requests_is_finished_by_the_next() {
    let whole = {
        let (cloud, _) = pruning(2);
        let before = cloud.wire.state().asked.len();
        cloud.reconcile().await;
        cloud.wire.state().asked.len() - before
    };
    assert!(whole > 20, "{whole} requests");
    for kill_at in 1..=whole {
        for effect in [None, Some(Effect::ActThenDrop)] {
            let (cloud, chains) = pruning(2);
            cloud.wire.state().faults.rules.extend(effect.map(on_deletes));
            let killed = async {
                while cloud.wire.state().asked.len() < kill_at {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            // Dropping the run's future is as sudden as a kill: nothing of it goes on.
            tokio::select! {
                biased;
                () = killed => {}
                _ = cloud.reconcile() => {}
            }
            finished(&cloud, &chains).await;
        }
    }
}
