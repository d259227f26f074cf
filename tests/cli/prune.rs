//! Deletes from storage: shown, limited, asked about, and only sent where policy and command say so.

use crate::cloud::{Cloud, OneVm};
use crate::harness::Ended;
use crate::terminal::Terminal;
use serde_json::Value;

/// Two VMs with eleven stored backups each, of which one is expired: within the limits.
fn within_the_limits() -> Cloud {
    let cloud = Cloud::stored(2, 10);
    cloud.keep(9, "prune: true");
    cloud
}

/// Two VMs with 21, of which the policy suddenly keeps three: eleven would be expired even without the last 8 days.
fn over_the_limits() -> Cloud {
    let cloud = Cloud::stored(2, 20);
    cloud.keep(2, "prune: true");
    cloud
}

const OVER: &str = "10 stored backups would be expired even without those of the last 8 days (limit 2), so none is deleted from \
                    storage; --allow-mass-prune 10 lets them go";

fn run(cloud: &Cloud, line: &[&str]) -> Ended {
    cloud.folder.ask(&cloud.fifo, line)
}

fn planned(cloud: &Cloud, line: &[&str], code: i32) -> Value {
    serde_json::from_str(&run(cloud, &[&["--format", "json", "plan"], line].concat()).code(code).out).unwrap()
}

/// Checks that no DELETE has reached FiFo.
#[track_caller]
fn nothing_deleted(cloud: &Cloud) {
    assert_eq!(cloud.asked().get("DELETE"), None);
}

#[test]
fn without_either_switch_nothing_is_deleted_from_storage() {
    let cloud = within_the_limits();
    for line in [&["plan"][..], &["reconcile"], &["apply", "--auto-approve"]] {
        let ended = run(&cloud, line).code(0);
        assert!(!ended.out.contains("delete from storage"), "{}", ended.out);
    }
    cloud.keep(9, "");
    for line in [&["plan", "--prune"][..], &["reconcile", "--prune"], &["apply", "--auto-approve", "--prune"]]
    {
        let ended = run(&cloud, line).code(0);
        assert!(!ended.out.contains("delete from storage"), "{}", ended.out);
        let warning = "warning: --prune deletes nothing: no policy says `prune: true`";
        assert!(ended.err.contains(warning), "{}", ended.err);
    }
    nothing_deleted(&cloud);
}

#[test]
fn the_plan_shows_what_would_be_deleted_for_good() {
    let cloud = within_the_limits();
    let ended = run(&cloud, &["plan", "--prune"]).code(0);
    assert_eq!(ended.out.matches("x delete from storage  daily of ").count(), 2, "{}", ended.out);
    assert_eq!(ended.out.matches("  expired: ").count(), 2, "{}", ended.out);
    let last = "Plan: 0 to create, 0 to delete locally, 2 to delete from storage, for good; 0 up to date, ";
    assert!(ended.last_line().starts_with(last), "{}", ended.out);
    run(&cloud, &["plan", "--prune", "--detailed-exitcode"]).code(2);
    run(&cloud, &["plan", "--detailed-exitcode"]).code(0);
    nothing_deleted(&cloud);
}

#[test]
fn a_plan_over_the_limit_says_so_and_exits_as_without_it() {
    let cloud = over_the_limits();
    let joined = |ended: &Ended| ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let ended = run(&cloud, &["plan", "--prune", "--detailed-exitcode"]).code(0);
    assert_eq!(ended.out.matches("x delete from storage").count(), 0, "{}", ended.out);
    assert!(joined(&ended).contains(OVER), "{}", ended.out);
    let plan = planned(&cloud, &["--prune"], 0);
    let note = plan["vms"][0]["notes"].as_array().unwrap().iter().find(|it| it["code"] == "over_prune_limit");
    assert_eq!(note.unwrap()["message"], OVER);
    // Fewer than that are no agreement, and as many are.
    assert_eq!(planned(&cloud, &["--prune", "--allow-mass-prune", "9"], 0)["summary"]["delete_cloud"], 0);
    assert_eq!(planned(&cloud, &["--prune", "--allow-mass-prune", "10"], 0)["summary"]["delete_cloud"], 36);
}

#[test]
fn too_many_deletes_are_left_out_of_a_run_which_ends_with_3() {
    let cloud = over_the_limits();
    for line in [&["reconcile", "--prune"][..], &["apply", "--prune", "--auto-approve"]] {
        let ended = run(&cloud, line).code(3);
        assert!(ended.err.contains(&format!("warning: vm-1: {OVER}")), "{}", ended.err);
        assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally.");
    }
    nothing_deleted(&cloud);
}

#[test]
fn a_saved_plan_with_deletes_from_storage_needs_the_switch_too() {
    let cloud = within_the_limits();
    run(&cloud, &["plan", "--prune", "--out", "plan.json"]).code(0);
    let before = cloud.fifo.asked();
    let ended = run(&cloud, &["apply", "plan.json"]).code(64);
    let output = "error: plan.json deletes 2 backups from storage, for good, and --prune is not given";
    assert!(ended.err.starts_with(output) && ended.err.contains("hint: give --prune"), "{}", ended.err);
    assert_eq!((ended.out.as_str(), cloud.fifo.asked()), ("", before));
    // The policy is the other switch, by now.
    cloud.keep(9, "");
    let ended = run(&cloud, &["apply", "plan.json", "--prune"]).code(0);
    assert!(ended.err.contains("nothing is left to do"), "{}", ended.err);
    nothing_deleted(&cloud);
}

#[test]
fn a_person_who_does_not_type_the_number_deletes_nothing() {
    let cloud = within_the_limits();
    for (yes, number) in [("n", None), ("y", Some("y")), ("y", Some("")), ("y", Some("1"))] {
        let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply", "--prune"]);
        terminal.until(", API version 3? [y/N]");
        terminal.answer(yes);
        if let Some(number) = number {
            terminal.until("2 backups are going to be deleted from storage, for good. Type 2 to go on: ");
            terminal.answer(number);
        }
        let ended = terminal.end().code(1);
        assert!(ended.out.contains("error: nothing was done"), "{}", ended.out);
    }
    nothing_deleted(&cloud);
}

/// Returns how many backups each VM has on record.
fn on_record(cloud: &Cloud) -> Vec<usize> {
    let count = |vm: &OneVm| cloud.fifo.running().with(|state| state.world.vms[&vm.id].backups.len());
    cloud.vms.iter().map(count).collect()
}

/// The last line after both VMs have lost so many backups together.
fn done(deletes: usize) -> String {
    format!("Done: 0 created, 0 deleted locally, {deletes} deleted from storage.")
}

#[test]
fn with_both_switches_what_is_listed_goes_and_the_second_plan_has_nothing() {
    let cloud = within_the_limits();
    let kept = cloud.restorable();
    let ended = run(&cloud, &["apply", "--prune", "--auto-approve"]).code(0);
    assert_eq!(ended.last_line(), done(2));
    assert_eq!((on_record(&cloud), cloud.asked()["DELETE"]), (vec![10, 10], 2));
    assert_eq!(cloud.restorable().difference(&kept).count(), 0);
    assert_eq!(cloud.restorable().len(), kept.len() - 2);
    let ended = run(&cloud, &["plan", "--prune", "--detailed-exitcode"]).code(0);
    assert!(
        ended.last_line().starts_with("Plan: 0 to create, 0 to delete locally; 2 up to date"),
        "{}",
        ended.out
    );
    let ended = run(&cloud, &["reconcile", "--prune"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally.");
    assert_eq!(cloud.asked()["DELETE"], 2);
}

#[test]
fn many_go_once_their_number_is_given() {
    let cloud = over_the_limits();
    let line = ["reconcile", "--prune", "--allow-mass-prune", "10", "--metrics-file", "run.prom"];
    let ended = run(&cloud, &line).code(0);
    assert_eq!(ended.last_line(), done(36));
    // The monthly that all are based on, and the newest two.
    assert_eq!((on_record(&cloud), cloud.restorable().len()), (vec![3, 3], 6));
    let metrics = cloud.folder.read("run.prom");
    for line in [
        "fifo_retain_last_run_actions{action=\"delete_cloud\",outcome=\"done\"} 36",
        "fifo_retain_last_run_refused_deletes 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_saved_plan_prunes_what_it_lists_and_no_more() {
    let cloud = within_the_limits();
    run(&cloud, &["plan", "--prune", "--vm", "vm-1", "--out", "plan.json"]).code(0);
    let ended = run(&cloud, &["apply", "plan.json", "--prune"]).code(0);
    assert_eq!((ended.last_line(), on_record(&cloud)), (done(1).as_str(), vec![10, 11]));
    let ended = run(&cloud, &["apply", "plan.json", "--prune"]).code(0);
    assert!(ended.err.contains("nothing is left to do"), "{}", ended.err);
}

#[test]
fn a_person_types_the_number_and_with_anything_else_the_rest_is_done() {
    let cloud = within_the_limits();
    let ask = |number: &str| {
        let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply", "--prune"]);
        terminal.until(", API version 3? [y/N]");
        terminal.answer("y");
        terminal.until("2 backups are going to be deleted from storage, for good. Type 2 to go on: ");
        terminal.answer(number);
        terminal.end()
    };
    let ended = ask("2").code(0);
    assert!(ended.out.contains(&done(2)), "{}", ended.out);
    assert_eq!(on_record(&cloud), [10, 10]);
}

#[test]
fn without_the_number_local_deletes_and_creates_are_done_all_the_same() {
    let cloud = within_the_limits();
    // A VM with something else to do: its newest daily is gone.
    let vm = cloud.vms[0];
    cloud.fifo.running().with(|state| {
        state.world.vms.get_mut(&vm.id).unwrap().backups.remove(&vm.daily);
    });
    let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply", "--prune"]);
    terminal.until(", API version 3? [y/N]");
    terminal.answer("y");
    terminal.until(" going to be deleted from storage, for good. Type ");
    terminal.answer("no");
    let ended = terminal.end().code(0);
    assert!(ended.out.contains("nothing is deleted from storage; everything else is done"), "{}", ended.out);
    assert!(ended.out.contains("Done: 1 created, 0 deleted locally."), "{}", ended.out);
    nothing_deleted(&cloud);
}

#[test]
fn over_the_limits_the_backups_are_made_and_nothing_is_pruned() {
    let cloud = over_the_limits();
    let vm = cloud.vms[0];
    cloud.fifo.running().with(|state| {
        state.world.vms.get_mut(&vm.id).unwrap().backups.remove(&vm.daily);
    });
    let ended = run(&cloud, &["reconcile", "--prune"]).code(3);
    assert_eq!(ended.last_line(), "Done: 1 created, 0 deleted locally.");
    assert!(ended.err.contains("so none is deleted from storage; --allow-mass-prune "), "{}", ended.err);
    nothing_deleted(&cloud);
}
