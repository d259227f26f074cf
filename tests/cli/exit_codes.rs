//! The exit codes 1 and 3, each brought about by all that they are for; the others are shown where they arise.

use crate::cloud::Cloud;
use crate::harness::{Ended, Fifo, Folder};
use fifo_retain::sandbox::{Effect, Operation, Rule};
use std::net::TcpListener;

#[test]
fn what_cannot_be_done_is_1() {
    let folder = Folder::new();
    folder.run(&["plan"]).code(1);
    // A port that was free a moment ago: no process listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nobody = folder.command(&["--timeout", "1s", "--endpoint", &format!("http://{free}"), "plan"]);
    nobody.env("FIFO_TOKEN", "x");
    Ended::of(nobody).code(1);

    let fifo = Fifo::now();
    let mut stranger = folder.command(&["plan"]);
    stranger.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", "admin").env("FIFO_PASSWORD", "guess");
    Ended::of(stranger).code(1);
    folder.ask(&Fifo::empty(), &["reconcile"]).code(1);
    folder.ask(&fifo, &["apply", "no-such-plan.json"]).code(1);
    folder.write("policies/broken.yaml", "version: 1\n");
    for command in ["validate", "plan", "reconcile", "status"] {
        folder.ask(&fifo, &[command]).code(1);
    }
}

#[test]
fn some_vms_left_undone_are_3() {
    // One is refused; one has changed since its plan; one is claimed by two policies.
    let refused = Cloud::of(2, 100);
    let answer = Effect::Answer { status: 403, retry_after_s: None, location: None };
    let rule = Rule::new(answer).on(Operation::Create).of_vm(refused.vms[0].id);
    refused.fifo.running().with(|state| state.faults.rules.push(rule));
    refused.folder.ask(&refused.fifo, &["reconcile"]).code(3);

    let changed = Cloud::of(2, 100);
    changed.folder.ask(&changed.fifo, &["plan", "--out", "plan.json"]).code(0);
    changed.take_by_hand(changed.vms[0]);
    changed.folder.ask(&changed.fifo, &["apply", "plan.json"]).code(3);

    let claimed = Cloud::of(2, 100);
    let policy = claimed.folder.read("policies/grandfather.yaml");
    let second = policy
        .replace("policy: small", "policy: second")
        .replace("  metadata: { fifo.backup: 1 }", "  alias: vm-1");
    claimed.folder.write("policies/second.yaml", &second);
    claimed.folder.ask(&claimed.fifo, &["reconcile"]).code(3);

    // The daily of the first VM has failed as often as the policy says, the last time a few minutes ago.
    let gave_up = Cloud::of(2, 100);
    let vm = gave_up.vms[0];
    gave_up.fifo.running().with(|state| {
        let ids: Vec<_> = (0..3).map(|_| state.world.new_uuid()).collect();
        let backups = &mut state.world.vms.get_mut(&vm.id).unwrap().backups;
        for (id, mins_ago) in ids.into_iter().zip([300, 200, 5]) {
            let mut failed = backups[&vm.daily].clone();
            failed.timestamp =
                Some((chrono::Utc::now() - chrono::TimeDelta::minutes(mins_ago)).timestamp_micros());
            (failed.state, failed.local) = (Some("failed".to_owned()), Some(false));
            backups.insert(id, failed);
        }
    });
    let ended = gave_up.folder.ask(&gave_up.fifo, &["reconcile"]).code(3);
    assert!(ended.out.contains("the daily failed 3 times"), "{}", ended.out);

    for cloud in [refused, changed, claimed, gave_up] {
        assert_eq!(cloud.made_and_local(cloud.vms[1]).0.len(), 1, "the other one is done");
    }
}

#[test]
fn clocks_an_hour_apart_are_1_and_the_next_run_goes_on() {
    let cloud = Cloud::of(1, 100);
    cloud.fifo.disturb(Effect::ShiftDate { seconds: 2 * 60 * 60 });
    for command in ["plan", "status", "reconcile"] {
        let ended = cloud.folder.ask(&cloud.fifo, &[command]).code(1);
        assert!(ended.err.contains("the clocks differ by more than an hour"), "{}", ended.err);
    }
    assert_eq!(cloud.made_and_local(cloud.vms[0]).0.len(), 0);
    cloud.fifo.running().with(|state| state.faults.rules.clear());
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    cloud.is_done();
}
