//! Every exit code, each brought about by what it is for. `docs/exit-codes.md` says what to do about them.

use crate::cloud::Cloud;
use crate::harness::{Fifo, Folder};
use crate::running::Watched;
use fifo_retain::run::exit;
use fifo_retain::sandbox::{Effect, Operation, Rule};
use std::net::TcpListener;

const CHECKED_PLAN: [&str; 2] = ["plan", "--detailed-exitcode"];

fn is(code: u8) -> i32 {
    i32::from(code)
}

#[test]
fn done_or_nothing_to_do_is_0() {
    let cloud = Cloud::of(2, 100);
    for done in ["2 created", "0 created"] {
        let ended = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(is(exit::DONE));
        assert!(ended.last_line().contains(done), "{}", ended.out);
    }
    cloud.folder.ask(&cloud.fifo, &CHECKED_PLAN).code(is(exit::DONE));
    cloud.folder.ask(&cloud.fifo, &["status", "--check"]).code(is(exit::DONE));
}

#[test]
fn what_cannot_be_done_is_1() {
    let failed = is(exit::FAILED);
    let folder = Folder::new();
    folder.run(&["plan"]).code(failed);
    // A port that was free a moment ago: no process listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nobody = folder.command(&["--timeout", "1s", "--endpoint", &format!("http://{free}"), "plan"]);
    nobody.env("FIFO_TOKEN", "x");
    crate::harness::Ended::of(nobody).code(failed);

    let fifo = Fifo::now();
    let mut stranger = folder.command(&["plan"]);
    stranger.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", "admin").env("FIFO_PASSWORD", "guess");
    crate::harness::Ended::of(stranger).code(failed);
    folder.ask(&Fifo::empty(), &["reconcile"]).code(failed);
    folder.ask(&fifo, &["apply", "no-such-plan.json"]).code(failed);
    folder.write("policies/broken.yaml", "version: 1\n");
    for command in ["validate", "plan", "reconcile", "status"] {
        folder.ask(&fifo, &[command]).code(failed);
    }
}

#[test]
fn changes_and_backups_that_are_too_old_are_2_for_those_who_ask() {
    let cloud = Cloud::of(1, 100);
    cloud.folder.ask(&cloud.fifo, &CHECKED_PLAN).code(is(exit::CHANGES));
    cloud.folder.ask(&cloud.fifo, &["status", "--check"]).code(is(exit::CHANGES));
    cloud.folder.ask(&cloud.fifo, &["plan"]).code(is(exit::DONE));
    cloud.folder.ask(&cloud.fifo, &["status"]).code(is(exit::DONE));
}

#[test]
fn some_vms_left_undone_are_3() {
    // One is refused; one has changed since its plan; one is claimed by two policies.
    let refused = Cloud::of(2, 100);
    let answer = Effect::Answer { status: 403, retry_after_s: None, location: None };
    let rule = Rule::new(answer).on(Operation::Create).of_vm(refused.vms[0].id);
    refused.fifo.running().with(|state| state.faults.rules.push(rule));
    refused.folder.ask(&refused.fifo, &["reconcile"]).code(is(exit::SOME_FAILED));

    let changed = Cloud::of(2, 100);
    changed.folder.ask(&changed.fifo, &["plan", "--out", "plan.json"]).code(is(exit::DONE));
    changed.take_by_hand(changed.vms[0]);
    changed.folder.ask(&changed.fifo, &["apply", "plan.json"]).code(is(exit::SOME_FAILED));

    let claimed = Cloud::of(2, 100);
    let policy = claimed.folder.read("policies/grandfather.yaml");
    let second = policy
        .replace("policy: small", "policy: second")
        .replace("  metadata: { fifo.backup: 1 }", "  alias: vm-1");
    claimed.folder.write("policies/second.yaml", &second);
    claimed.folder.ask(&claimed.fifo, &["reconcile"]).code(is(exit::SOME_FAILED));

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
    let ended = gave_up.folder.ask(&gave_up.fifo, &["reconcile"]).code(is(exit::SOME_FAILED));
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
        let ended = cloud.folder.ask(&cloud.fifo, &[command]).code(is(exit::FAILED));
        assert!(ended.err.contains("the clocks differ by more than an hour"), "{}", ended.err);
    }
    assert_eq!(cloud.made_and_local(cloud.vms[0]).0.len(), 0);
    cloud.fifo.running().with(|state| state.faults.rules.clear());
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(is(exit::DONE));
    cloud.is_done();
}

#[test]
fn backups_that_vanished_are_4_in_that_run_and_in_those_after_it() {
    let cascade = Cloud::with_leftovers(2);
    let rule = Rule::new(Effect::DropBody).on(Operation::Delete);
    cascade.fifo.running().with(|state| state.faults.rules.push(rule));
    for command in [&["reconcile"][..], &["reconcile"], &["apply", "--auto-approve"]] {
        cascade.folder.ask(&cascade.fifo, command).code(is(exit::SAFETY_STOP));
    }
    assert_eq!(cascade.deletes().len(), 1);
    // Looking is free.
    cascade.folder.ask(&cascade.fifo, &["plan"]).code(is(exit::DONE));
}

#[test]
fn another_run_under_way_is_5() {
    let cloud = Cloud::of(1, 60_000);
    let mut first = Watched::reconcile(&cloud);
    first.until("accepted");
    for command in [&["reconcile"][..], &["apply", "--auto-approve"]] {
        cloud.folder.ask(&cloud.fifo, command).code(is(exit::LOCKED));
    }
    // Looking is free.
    cloud.folder.ask(&cloud.fifo, &CHECKED_PLAN).code(is(exit::DONE));
}

#[test]
fn a_wrong_command_line_is_64() {
    let folder = Folder::new();
    for line in [&["paln"][..], &["plan", "--no-such-flag"], &["plan", "--format", "github"], &["apply"], &[]]
    {
        folder.run(line).code(is(exit::WRONG_USAGE));
    }
}

#[test]
fn an_interrupted_run_is_130_and_a_terminated_one_143() {
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let cloud = Cloud::of(1, 3_000);
        let mut run = Watched::reconcile(&cloud);
        run.until("accepted");
        run.signal(signal);
        run.end().code(is(exit::SIGNALLED) + number);
    }
}
