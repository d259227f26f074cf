use crate::harness::{AT, Fifo, Folder};
use fifo_retain::plan::Plan;
use fifo_retain::sandbox::Effect;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::thread;

#[test]
fn the_plan_is_reported_in_words_with_the_counts_last() {
    let fifo = Fifo::standing_still();
    let ended = Folder::new().ask(&fifo, &["plan", "--at", AT]).code(0);
    insta::assert_snapshot!(ended.out.replace(&fifo.url(), "http://127.0.0.1:8080"), @r"
    app-1  736b610c  grandfather
      + create          weekly, incremental on the weekly of 2026-11-15 01:01  due since Sun 2026-11-22 01:00
      - delete locally  weekly of 2026-11-15 01:01                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:01                              once the new weekly is complete
      - delete locally  failed daily of 2026-11-22 01:01                       once the new weekly is complete
    app-2  f77752ff  grandfather
      ! blocked         on no hypervisor (stored); its newest restorable backup is the daily of 2026-11-17 01:01
    app-3  2a4a9edb  grandfather
      + create          weekly, full                                           due since Sun 2026-11-22 01:00
        no parent       no local, restorable parent for the weekly: a full backup instead
    build-1  ec0f77be  grandfather
      . waiting         a weekly has been uploading since 2026-11-22 20:35, 50.0 MiB so far
    db-1  9d8df420  grandfather
      - delete locally  daily of 2026-11-20 01:01                              no longer needed as a parent
      + create          weekly, incremental on the weekly of 2026-11-15 01:01  due since Sun 2026-11-22 01:00
      - delete locally  weekly of 2026-11-15 01:01                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:01                              once the new weekly is complete
    files-1  2b872bc6  grandfather
      ! blocked         has delegated datasets, which FiFo cannot back up; it has no restorable backup
    mail-1  48085698  grandfather
      - delete locally  daily of 2026-11-20 01:01                              no longer needed as a parent
      + create          weekly, incremental on the weekly of 2026-11-15 01:01  due since Sun 2026-11-22 01:00
      - delete locally  weekly of 2026-11-15 01:01                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:01                              once the new weekly is complete
    web-3  a4fbb650  grandfather
      + create          monthly, full                                          due since Sun 2026-11-01 01:00

    Problems: 1 failed backup on 1 VM. -v shows which.
    Unmanaged: 1 snapshot, 296.6 MiB of quota, which no tier is for.
    FiFo: http://127.0.0.1:8080 as `admin`, API version 3. Planned for 2026-11-22 20:00:00 UTC, holds until
    2026-11-23 00:00:00 UTC. Times: Europe/Berlin.
    Estimate: 4.0 GiB freed on hypervisors, about 2.7 GiB to upload, and 2 of unknown size.
    Plan: 5 to create, 9 to delete locally; 4 up to date, 1 waiting, 2 blocked, 3 unprotected.
    ");
}

#[test]
fn a_saved_plan_is_what_json_shows_and_only_its_owner_reads_it() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let ended = folder.ask(&fifo, &["--format", "json", "plan", "--at", AT, "--out", "plan.json"]).code(0);
    assert_eq!(folder.read("plan.json"), ended.out);
    let plan: Plan = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((plan.format.as_str(), plan.endpoint), ("fifo-retain.plan/1", fifo.url()));
    assert_eq!(fs::metadata(folder.path("plan.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(ended.err.contains("saved the plan to plan.json; from 2026-"), "{}", ended.err);

    // A second one takes its place whole, with the same mode, whatever the first one's was.
    fs::set_permissions(folder.path("plan.json"), fs::Permissions::from_mode(0o644)).unwrap();
    folder.ask(&fifo, &["plan", "--at", AT, "--vm", "web-3", "--out", "plan.json"]).code(0);
    let plan: Plan = serde_json::from_str(&folder.read("plan.json")).unwrap();
    assert_eq!(plan.vms.len(), 1);
    assert_eq!(fs::metadata(folder.path("plan.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 2, "no temporary file is left behind");
}

#[test]
fn a_device_is_written_into_and_a_link_is_followed() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let saved = |out: &str| folder.ask(&fifo, &["plan", "--at", AT, "--vm", "web-3", "--out", out]);
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    saved("pipe").code(0);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "it has been replaced");
    serde_json::from_str::<Plan>(&reader.join().unwrap()).unwrap();

    let target = folder.write("plans/today.json", "");
    symlink(&target, folder.path("plan.json")).unwrap();
    saved("plan.json").code(0);
    assert!(fs::symlink_metadata(folder.path("plan.json")).unwrap().is_symlink());
    serde_json::from_str::<Plan>(&folder.read("plans/today.json")).unwrap();

    let ended = saved("plans").code(1);
    assert!(ended.err.contains("failed to save the plan to plans"), "{}", ended.err);
}

#[test]
fn changes_are_2_only_for_those_who_ask() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    folder.ask(&fifo, &["plan", "--at", AT, "--detailed-exitcode"]).code(2);
    let calm = folder.ask(&fifo, &["plan", "--at", AT, "--detailed-exitcode", "--vm", "web-1"]).code(0);
    let origin = format!("FiFo: {} as `admin`, API version 3. Planned for 2026-", fifo.url());
    let counts =
        "Plan: 0 to create, 0 to delete locally; 1 up to date, 0 waiting, 0 blocked, 0 unprotected.\n";
    assert!(calm.out.starts_with(&origin) && calm.out.ends_with(counts), "{}", calm.out);
}

#[test]
fn a_suspended_change_is_no_change_to_come() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let policy = folder.read("policies/grandfather.yaml") + "suspend: { reason: move, until: 2026-12-24 }\n";
    folder.write("policies/grandfather.yaml", &policy);
    let ended = folder.ask(&fifo, &["plan", "--at", AT, "--detailed-exitcode", "--vm", "web-3"]).code(0);
    assert!(
        ended.out.contains("~ suspended     nothing is carried out until 2026-12-24: move"),
        "{}",
        ended.out
    );
}

#[test]
fn vms_are_named_by_uuid_or_by_alias_and_have_to_be_there() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let planned = |arguments: &[&str]| {
        let line = [&["--format", "json", "plan", "--at", AT], arguments].concat();
        let plan: Plan = serde_json::from_str(&folder.ask(&fifo, &line).code(0).out).unwrap();
        plan.vms
    };
    let web = planned(&["--vm", "web-*"]);
    assert_eq!(web.iter().map(|vm| vm.alias.as_str()).collect::<Vec<_>>(), ["web-1", "web-2", "web-3"]);
    let id = web[1].uuid.unwrap().to_string();
    let two = planned(&["--vm", &id, "--vm", "git-1"]);
    assert_eq!(two.iter().map(|vm| vm.alias.as_str()).collect::<Vec<_>>(), ["git-1", "web-2"]);
    let ended = folder.ask(&fifo, &["plan", "--at", AT, "--vm", "web-1", "--vm", "wbe-*"]).code(1);
    assert!(ended.err.contains(": wbe-*: no VM that this user can see is meant"), "{}", ended.err);
}

#[test]
fn the_difference_is_shown_as_a_diff() {
    let ended =
        Folder::new().ask(&Fifo::standing_still(), &["plan", "--at", AT, "--diff", "--vm", "mail-1"]).code(0);
    let (text, below) = ended.out.split_once("\n\n").unwrap();
    let (diff, _) = below.split_once("\n\n").unwrap();
    insta::assert_snapshot!(diff, @r"
    --- mail-1  48085698  grandfather  (actual)
    +++ mail-1  48085698  grandfather  (desired)
    @@ -11,10 +11,11 @@
     daily    2026-11-12 01:01  11967153  incremental on 992dd823  not local  completed  791.1 MiB
     daily    2026-11-13 01:01  a36663e4  incremental on 11967153  not local  completed  791.1 MiB
     daily    2026-11-14 01:01  9ea4b710  incremental on a36663e4  not local  completed  791.1 MiB
    -weekly   2026-11-15 01:01  dc40f1be  incremental on 50d27298  local      completed  791.1 MiB
    +weekly   2026-11-15 01:01  dc40f1be  incremental on 50d27298  not local  completed  791.1 MiB
     daily    2026-11-16 01:01  b2680d21  incremental on dc40f1be  not local  completed  791.1 MiB
     daily    2026-11-17 01:01  57d0496d  incremental on b2680d21  not local  completed  791.1 MiB
     daily    2026-11-18 01:01  aa551ef5  incremental on 57d0496d  not local  completed  791.1 MiB
     daily    2026-11-19 01:01  c3db55e6  incremental on aa551ef5  not local  completed  791.1 MiB
    -daily    2026-11-20 01:01  6d60285b  incremental on c3db55e6  local      completed  791.1 MiB
    -daily    2026-11-21 01:01  59b82f26  incremental on 6d60285b  local      completed  791.1 MiB
    +daily    2026-11-20 01:01  6d60285b  incremental on c3db55e6  not local  completed  791.1 MiB
    +daily    2026-11-21 01:01  59b82f26  incremental on 6d60285b  not local  completed  791.1 MiB
    +weekly   2026-11-22 21:00  (new)     incremental on dc40f1be  local      completed
    ");
    assert!(text.starts_with("mail-1 "), "{text}");
}

#[test]
fn a_user_who_sees_no_vm_gets_no_plan() {
    let (folder, fifo) = (Folder::new(), Fifo::empty());
    let ended = folder.ask(&fifo, &["plan"]).code(1);
    assert!(
        ended.err.contains("shows this user no VM at all\nhint: a user sees only the VMs"),
        "{}",
        ended.err
    );
    assert_eq!(ended.out, "");
    folder.ask(&fifo, &["plan", "--allow-empty"]).code(0);
    folder.ask(&fifo, &["reconcile"]).code(1);
}

#[test]
fn mistakes_in_policies_are_reported_before_fifo_is_asked() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    folder.write("policies/broken.yaml", "version: 1\n");
    let ended = folder.ask(&fifo, &["plan", "--at", AT]).code(1);
    assert!(ended.err.contains("policies/broken.yaml"), "{}", ended.err);
    assert!(ended.err.contains(" in the policies\nhint: FiFo was not contacted\n"), "{}", ended.err);
    assert_eq!((fifo.asked(), ended.out.as_str()), (Vec::new(), ""));
}

#[test]
fn a_policy_that_no_vm_matches_is_warned_about() {
    let folder = Folder::new();
    let idle =
        folder.read("policies/grandfather.yaml").replace("grandfather", "idle").replace(": 1 }", ": x }");
    folder.write("policies/idle.yaml", &idle);
    let ended = folder.ask(&Fifo::standing_still(), &["plan", "--at", AT, "--vm", "web-1"]).code(0);
    let warning = "warning: policies/idle.yaml: no VM matches the policy `idle`\n";
    assert!(ended.err.contains(warning), "{}", ended.err);
    assert!(!ended.err.contains("`grandfather`"), "the policy of other VMs is no idle one: {}", ended.err);
}

#[test]
fn an_entry_of_a_suspension_that_matches_no_vm_of_its_policy_is_warned_about() {
    let folder = Folder::new();
    let suspend = "suspend: { reason: move, until: 2026-12-24, vms: [WEB-1, \"web-?\", db-1] }\n";
    let policy = folder.read("policies/grandfather.yaml") + suspend;
    folder.write("policies/grandfather.yaml", &policy);
    let ended = folder.ask(&Fifo::standing_still(), &["plan", "--at", AT, "--vm", "db-1"]).code(0);
    let warned =
        |entry: &str| ended.err.contains(&format!("`{entry}` in `suspend.vms` matches no VM of the policy"));
    assert!(warned("WEB-1"), "{}", ended.err);
    assert!(!warned("web-?") && !warned("db-1"), "{}", ended.err);
}

#[test]
fn clocks_that_differ_a_little_are_reported_and_clocks_that_differ_much_stop_the_plan() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let confirmed = folder.ask(&fifo, &["plan"]).code(0);
    assert!(!confirmed.err.contains("clocks"), "{}", confirmed.err);
    fifo.disturb(Effect::ShiftDate { seconds: 10 * 60 });
    let ended = folder.ask(&fifo, &["plan"]).code(0);
    assert!(ended.err.starts_with("warning: the clocks differ: it is 20"), "{}", ended.err);
    fifo.disturb(Effect::ShiftDate { seconds: -2 * 60 * 60 });
    let ended = folder.ask(&fifo, &["plan"]).code(1);
    assert!(ended.err.contains("error: the clocks differ by more than an hour: it is 20"), "{}", ended.err);
    assert!(ended.err.contains(" on the server\n"), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn the_later_one_of_both_clocks_is_planned_for() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let at = || {
        let ended = folder.ask(&fifo, &["--format", "json", "plan"]).code(0);
        serde_json::from_str::<Plan>(&ended.out).unwrap().at
    };
    let confirmed = at();
    fifo.disturb(Effect::ShiftDate { seconds: 30 * 60 });
    assert!((29..=31).contains(&(at() - confirmed).num_minutes()), "the server's clock is later");
    fifo.disturb(Effect::ShiftDate { seconds: -60 * 60 });
    assert!((-1..=1).contains(&(at() - confirmed).num_minutes()), "ours is later");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = folder
        .sealed(&["plan", "--at", AT])
        .env("FIFO_ENDPOINT", fifo.url())
        .env("FIFO_USER", "admin")
        .env("FIFO_PASSWORD", "admin")
        .stdout(full)
        .output()
        .unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("error: failed to write to standard output\n  caused by: "), "{err}");
}
