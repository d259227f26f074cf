use crate::cloud::Cloud;
use crate::harness::Ended;
use fifo_retain::plan::Plan;
use fifo_retain::sandbox::{Effect, Operation, Rule, State};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A cloud with two VMs, and a plan of it in `plan.json`.
fn planned() -> Cloud {
    let cloud = Cloud::of(2, 100);
    cloud.folder.ask(&cloud.fifo, &["plan", "--out", "plan.json"]).code(0);
    cloud
}

/// Changes the saved plan.
fn edit(cloud: &Cloud, change: impl FnOnce(&mut Value)) {
    let mut plan: Value = serde_json::from_str(&cloud.folder.read("plan.json")).unwrap();
    change(&mut plan);
    cloud.folder.write("plan.json", &resigned(plan).to_string());
}

/// Returns a plan the checksum that fits it, by the words of its documentation.
fn resigned(mut plan: Value) -> Value {
    let Ok(mut typed) = serde_json::from_value::<Plan>(plan.clone()) else { return plan };
    typed.checksum = String::new();
    plan["checksum"] = json!(hex::encode(Sha256::digest(serde_json::to_vec(&typed).unwrap())));
    plan
}

/// Checks that the plan is refused without a request, and returns what is said of it.
#[track_caller]
fn refused(cloud: &Cloud) -> String {
    let before = cloud.fifo.asked();
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(1);
    assert_eq!((ended.out.as_str(), cloud.fifo.asked()), ("", before));
    ended.err
}

#[test]
fn it_is_carried_out_once_and_without_a_question() {
    let cloud = planned();
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert_eq!(ended.last_line(), "Done: 2 created, 2 deleted locally.");
    cloud.is_done();

    let before = cloud.asked();
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally.");
    let output = "nothing is left to do: all of plan.json is done or no longer wanted\n";
    assert!(ended.err.starts_with(output) && !ended.out.contains("vm-1"), "{ended:?}");
    let after = cloud.asked();
    assert_eq!(
        (before.get("POST"), before.get("DELETE")),
        (after.get("POST"), after.get("DELETE")),
        "nothing but reads"
    );
}

#[test]
fn a_plan_goes_through_the_standard_streams() {
    let cloud = Cloud::of(1, 100);
    let planned = cloud.folder.ask(&cloud.fifo, &["plan", "--out", "-"]).code(0);
    assert!(planned.out.starts_with('{') && !cloud.folder.path("-").exists(), "{planned:?}");
    let mut command = assert_cmd::Command::from_std(cloud.folder.asking(&cloud.fifo, &["apply", "-"]));
    command.write_stdin(planned.out);
    assert_eq!(Ended::of(command).code(0).last_line(), "Done: 1 created, 1 deleted locally.");
    cloud.is_done();

    let mut command = assert_cmd::Command::from_std(cloud.folder.asking(&cloud.fifo, &["apply", "-"]));
    command.write_stdin("{}");
    let refused = Ended::of(command).code(1);
    assert!(refused.err.starts_with("error: standard input cannot be applied\n"), "{}", refused.err);
}

#[test]
fn a_vm_that_has_changed_since_is_left_out_and_reported() {
    let cloud = planned();
    cloud.take_by_hand(cloud.vms[0]);
    cloud.wait_for_uploads();
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(3);
    assert!(ended.err.contains("vm-1: left out: it has changed since the plan"), "{}", ended.err);
    assert_eq!(ended.last_line(), "Done: 1 created, 1 deleted locally.");
    // What is shown is what is carried out.
    let shown =
        "Plan: 1 to create, 1 to delete locally; 0 up to date, 0 waiting, 0 blocked, 0 unprotected.\n";
    let (above, _) = ended.out.split_once(shown).unwrap();
    assert!(above.contains("vm-2  ") && !above.contains("vm-1  "), "{}", ended.out);
    let made = cloud.vms.iter().map(|vm| cloud.made_and_local(*vm).0.len());
    assert_eq!(made.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_it_does_not_list_is_not_done() {
    let cloud = planned();
    edit(&cloud, |plan| plan["vms"].as_array_mut().unwrap().retain(|vm| vm["alias"] == "vm-2"));
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert_eq!(ended.last_line(), "Done: 1 created, 1 deleted locally.");
    assert_eq!(cloud.made_and_local(cloud.vms[0]).0.len(), 0);
}

#[test]
fn what_it_lists_and_nothing_wants_is_not_done_either() {
    let cloud = planned();
    // A person has written the snapshot that the next backup needs into the plan.
    edit(&cloud, |plan| {
        let vm = &mut plan["vms"][0];
        vm["actions"].as_array_mut().unwrap().retain(|action| action["action"] == "delete_local");
        vm["actions"][0]["after_create"] = json!(false);
    });
    cloud.folder.ask(&cloud.fifo, &["apply", "plan.json", "--max-uploads", "1"]).code(0);
    let left = cloud.vms[0];
    assert_eq!(cloud.made_and_local(left), (Vec::new(), vec![left.daily]));
}

#[test]
fn the_texts_of_a_saved_plan_are_not_shown() {
    let cloud = planned();
    edit(&cloud, |plan| plan["vms"][0]["actions"][0]["reason"] = json!("because I say so"));
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert!(!ended.out.contains("because I say so"), "{}", ended.out);
    assert_eq!(ended.last_line(), "Done: 2 created, 2 deleted locally.");
}

#[test]
fn what_is_no_plan_of_this_program_for_this_fifo_is_refused_with_its_place() {
    type Change = fn(&mut Value);
    let cloud = planned();
    let whole = cloud.folder.read("plan.json");
    let unknown = ["not a plan of this program", "unknown field `force`", "at line 1 column "];
    let with_a_fitting_checksum: [(Change, &[&str]); 8] = [
        (
            |plan| plan["endpoint"] = json!("https://fifo.elsewhere"),
            &["plan.json is a plan for https://fifo.elsewhere, and this is http://127"],
        ),
        (
            |plan| plan["format"] = json!("fifo-retain.plan/2"),
            &[r#"unsupported format "fifo-retain.plan/2""#, "hint: make a new plan with"],
        ),
        (
            |plan| {
                let vms = plan["vms"].as_array_mut().unwrap();
                vms.push(vms[0].clone());
            },
            &["it lists the VM ", " twice"],
        ),
        (|plan| plan["force"] = json!(true), &unknown),
        (|plan| plan["summary"]["force"] = json!(true), &unknown),
        (|plan| plan["vms"][0]["force"] = json!(true), &unknown),
        (
            |plan| {
                let note = json!({"code": "unmanaged", "backup": null, "message": "", "force": true});
                plan["vms"][0]["notes"].as_array_mut().unwrap().push(note);
            },
            &unknown,
        ),
        (|plan| plan["vms"][0]["actions"][0]["force"] = json!(true), &unknown),
    ];
    for (change, wanted) in with_a_fitting_checksum {
        cloud.folder.write("plan.json", &whole);
        edit(&cloud, change);
        let output = refused(&cloud);
        assert!(wanted.iter().all(|words| output.contains(words)), "{wanted:?}: {output}");
    }
    let edited: [Change; 3] = [
        |plan| plan["vms"].as_array_mut().unwrap().truncate(1),
        |plan| plan["at"] = json!("2020-01-01T00:00:00Z"),
        |plan| plan["checksum"] = json!(""),
    ];
    for change in edited {
        let mut plan: Value = serde_json::from_str(&whole).unwrap();
        change(&mut plan);
        cloud.folder.write("plan.json", &plan.to_string());
        let output = refused(&cloud);
        let words = ["plan.json cannot be applied", "checksum mismatch: it was changed"];
        assert!(words.iter().all(|words| output.contains(words)), "{output}");
    }
    for (text, wanted) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("version: 1\npolicy: grandfather\n", "at line 1 column 1"),
        ("[]", "at line 1 column"),
        (&whole[..whole.len() / 2], "EOF while parsing"),
        (&format!("{whole}{whole}"), "trailing characters at line"),
    ] {
        cloud.folder.write("plan.json", text);
        let output = refused(&cloud);
        assert!(output.contains("not a plan of this program") && output.contains(wanted), "{output}");
        assert!(output.contains("hint: make a new plan with `fifo-retain plan --out FILE`"), "{output}");
    }
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "no-such.json"]).code(1);
    assert!(ended.err.contains("failed to read the plan no-such.json"), "{}", ended.err);
}

#[test]
fn policies_that_have_changed_since_are_warned_about() {
    let cloud = planned();
    let policy = cloud.folder.read("policies/grandfather.yaml");
    cloud.folder.write("policies/grandfather.yaml", &format!("{policy}max_age: 40h\n"));
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert!(
        ended.err.contains("warning: the policies are not those that plan.json was made from"),
        "{}",
        ended.err
    );
    assert_eq!(ended.last_line(), "Done: 2 created, 2 deleted locally.");
}

#[test]
fn a_cloud_that_cannot_be_read_again_stops_it_before_anything_is_done() {
    let answer = |status| Effect::Answer { status, retry_after_s: None, location: None };
    for (effect, output) in [
        (answer(403), "403"),
        (Effect::Cut { after_bytes: 40 }, "failed to"),
        (Effect::ShiftDate { seconds: 2 * 60 * 60 }, "the clocks differ by more than an hour"),
    ] {
        let cloud = planned();
        cloud.fifo.running().with(|state| state.faults.rules.push(Rule::new(effect).on(Operation::List)));
        let line = ["--timeout", "3s", "apply", "plan.json"];
        let ended = cloud.folder.ask(&cloud.fifo, &line).code(1);
        assert!(ended.err.contains(output), "{}", ended.err);
        assert_eq!((cloud.asked().get("POST"), cloud.asked().get("DELETE")), (None, None), "{output}");
    }
}

#[test]
fn a_vm_that_cannot_be_read_again_is_left_alone() {
    let cloud = planned();
    let hidden = cloud.vms[0];
    let answer = Effect::Answer { status: 403, retry_after_s: None, location: None };
    let rule = Rule::new(answer).on(Operation::ReadVm).of_vm(hidden.id);
    cloud.fifo.running().with(|state| state.faults.rules.push(rule));
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(3);
    assert!(ended.last_line().starts_with("Done: 1 created, 1 deleted locally; "), "{}", ended.out);
    assert_eq!(cloud.made_and_local(hidden), (Vec::new(), vec![hidden.daily]));
}

#[test]
fn a_vm_that_is_gone_or_has_become_unreadable_is_reported() {
    for spoil in [
        |state: &mut State, vm| drop(state.world.vms.remove(&vm)),
        |state: &mut State, vm| {
            state.world.vms.get_mut(&vm).unwrap().fields.insert("hypervisor".to_owned(), json!(7));
        },
    ] as [fn(&mut State, Uuid); 2]
    {
        let cloud = planned();
        cloud.fifo.running().with(|state| spoil(state, cloud.vms[0].id));
        let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(3);
        assert!(ended.err.contains("vm-1: left out: it has changed since the plan"), "{}", ended.err);
        assert_eq!(ended.last_line(), "Done: 1 created, 1 deleted locally.");
    }
}

#[test]
fn what_has_come_due_since_is_warned_about_and_not_done() {
    let cloud = planned();
    // A plan of yesterday, when this daily was not due yet: it lists nothing.
    let yesterday = (chrono::Utc::now() - chrono::TimeDelta::hours(12)).to_rfc3339();
    cloud.folder.ask(&cloud.fifo, &["plan", "--at", &yesterday, "--out", "plan.json"]).code(0);
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally.");
    assert!(ended.err.contains("what has come due since is not in it and is not done"), "{}", ended.err);
    assert!(ended.err.contains("plan.json was made to hold until 20"), "{}", ended.err);

    cloud.folder.ask(&cloud.fifo, &["plan", "--out", "plan.json"]).code(0);
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert!(!ended.err.contains("has come due since"), "{}", ended.err);
}

#[test]
fn what_is_not_due_yet_is_not_done_before_its_time() {
    let cloud = planned();
    let tomorrow = (chrono::Utc::now() + chrono::TimeDelta::hours(24)).to_rfc3339();
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    cloud.folder.ask(&cloud.fifo, &["plan", "--at", &tomorrow, "--out", "plan.json"]).code(0);
    assert!(cloud.folder.read("plan.json").contains(r#""action": "create""#));
    let posts = cloud.asked()["POST"];
    let ended = cloud.folder.ask(&cloud.fifo, &["apply", "plan.json"]).code(0);
    assert_eq!((ended.last_line(), cloud.asked()["POST"]), ("Done: 0 created, 0 deleted locally.", posts));
}
