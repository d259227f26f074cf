use crate::cloud::Cloud;
use crate::harness::Folder;
use crate::terminal::Terminal;

#[test]
fn without_a_terminal_it_refuses_at_once_and_names_the_flag() {
    let cloud = Cloud::of(1, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["apply"]).code(64);
    assert_eq!(ended.out, "");
    assert!(ended.err.contains("error: there is no terminal to ask on"), "{}", ended.err);
    assert!(ended.err.contains("--auto-approve"), "{}", ended.err);
    assert_eq!(cloud.fifo.asked(), [""; 0]);
    // Even without a FiFo to ask and policies to read.
    let nowhere = Folder::new();
    nowhere.write("policies/grandfather.yaml", "version: 7");
    nowhere.run(&["apply"]).code(64);
}

#[test]
fn approved_beforehand_it_shows_the_plan_and_carries_it_out() {
    let cloud = Cloud::of(2, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "--auto-approve"]).code(0);
    assert!(ended.out.contains("+ create"), "{}", ended.out);
    assert!(ended.out.contains("Plan: 2 to create, 2 to delete locally"), "{}", ended.out);
    assert_eq!(ended.last_line(), "Done: 2 created, 2 deleted locally.");
    cloud.is_done();
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "--auto-approve"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally.");
}

#[test]
fn only_the_vms_that_are_named_are_touched() {
    let cloud = Cloud::of(2, 100);
    let line = ["apply", "--auto-approve", "--vm", "vm-2"];
    let ended = cloud.folder.ask(&cloud.fifo, &line).code(0);
    assert_eq!(ended.last_line(), "Done: 1 created, 1 deleted locally.");
    let made = cloud.vms.iter().map(|vm| cloud.made_and_local(*vm).0.len());
    assert_eq!(made.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_has_changed_while_the_question_waited_is_left_out() {
    let cloud = Cloud::of(2, 100);
    let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply"]);
    terminal.until(", API version 3? [y/N]");
    // Another run does one of the two meanwhile, and a person takes a backup of the other.
    cloud.folder.ask(&cloud.fifo, &["reconcile", "--vm", "vm-1"]).code(0);
    cloud.take_by_hand(cloud.vms[1]);
    terminal.answer("y");
    let ended = terminal.end().code(3);
    assert!(ended.out.contains("vm-2: left out: it has changed since the plan"), "{}", ended.out);
    assert!(ended.out.contains("Done: 0 created, 0 deleted locally"), "{}", ended.out);
    let made = cloud.vms.iter().map(|vm| cloud.made_and_local(*vm).0.len());
    assert_eq!(made.collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn a_question_that_is_answered_with_yes_is_carried_out_and_with_no_is_not() {
    let cloud = Cloud::of(1, 100);
    for (answer, code, made) in [("n", 1, 0), ("yes", 0, 1)] {
        let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply"]);
        terminal.until(", API version 3? [y/N]");
        terminal.answer(answer);
        terminal.end().code(code);
        assert_eq!(cloud.made_and_local(cloud.vms[0]).0.len(), made);
    }
    cloud.is_done();
}
