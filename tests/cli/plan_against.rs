use crate::harness::{AT, Ended, Fifo, Folder, GRANDFATHER};
use serde_json::Value;

/// A folder with the grandfather policy in `policies`, and the same in `main` to compare with.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("main/grandfather.yaml", GRANDFATHER);
    folder
}

/// Compares what `policies` has with what `main` has.
fn against(folder: &Folder, arguments: &[&str]) -> Ended {
    let line = [&["plan", "--at", AT, "--against", "main"], arguments].concat();
    folder.ask(&Fifo::standing_still(), &line)
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    let ended = against(folder, &[&["--format", "json"], arguments].concat()).code(0);
    serde_json::from_str(&ended.out).unwrap()
}

fn change(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in\n{text}");
    text.replace(from, to)
}

const KEPT: &str = r#"type: full }"#;

#[test]
fn a_changed_policy_is_reported_by_what_it_causes() {
    let folder = folder();
    let differential =
        change(GRANDFATHER, r#""0 1 * * SUN", type: incremental"#, r#""0 1 * * SUN", type: full"#);
    folder.write("policies/grandfather.yaml", &differential);
    let ended = against(&folder, &["--vm", "mail-1"]).code(0);
    let (plan, change) = ended.out.split_once("\nWhat this change").unwrap();
    let usual = folder.ask(&Fifo::standing_still(), &["plan", "--at", AT, "--vm", "mail-1"]).code(0);
    assert!(usual.out.starts_with(plan), "the plan is what it is without:\n{plan}\n{}", usual.out);
    let (change, _) = change.split_once("\nFiFo: ").unwrap();
    insta::assert_snapshot!(change, @r"
     of policies does
      policy grandfather: tiers.weekly.type: incremental from monthly, weekly -> full

    mail-1  48085698  grandfather
      - delete locally    weekly of 2026-11-15 01:01                             no longer needed as a parent
      + create            weekly, full                                           due since Sun 2026-11-22 01:00
      ~ no longer create  weekly, incremental on the weekly of 2026-11-15 01:01  due since Sun 2026-11-22 01:00
        in any case       2 other actions of the plan

    The simulated year
      policy       in a year of one VM                       without this change   with it
      grandfather  full backups made                                          13        64
                   incremental backups made                                  353       302
                   stored in the end                                     1.2 TiB   2.8 TiB
                   most snapshots on the hypervisor                            2         1
                   backups that a restore reads at the most                   11         7
                   bytes that a restore of the newest reads             75.9 GiB  47.1 GiB
    ");
}

#[test]
fn a_vm_that_loses_protection_is_reported_with_what_is_no_longer_done() {
    let folder = folder();
    let narrower = change(GRANDFATHER, "timezone:", "exclude: { alias: \"mail-*\" }\ntimezone:");
    folder.write("policies/grandfather.yaml", &narrower);
    let ended = against(&folder, &[]).code(0);
    assert!(ended.out.contains("\n  ! loses protection  grandfather -> in no policy\n"), "{}", ended.out);
    assert!(ended.out.contains("\n  ~ no longer create  weekly, incremental on the weekly"), "{}", ended.out);
    assert!(
        ended.out.contains("\n  policy grandfather: exclude: none -> {alias: mail-*}\n"),
        "{}",
        ended.out
    );
    let output = json(&folder, &[]);
    assert_eq!(
        (&output["summary"]["loses_protection"], &output["summary"]["gains_protection"]),
        (&1.into(), &0.into())
    );
    assert_eq!(output["summary"]["no_longer"]["delete_local"], 3);
    let page = against(&folder, &["--format", "markdown"]).code(0).out;
    assert!(page.contains("\n- **VMs protected worse than before: 1 no longer protected.**\n"), "{page}");
    assert!(page.contains("\n- **Unmanaged by this change: 20 backups no longer in a tier"), "{page}");
    let lost = page.find("| mail-1 `48085698` |  | **loses protection** | grandfather -&gt; in no policy |");
    let lost = lost.unwrap_or_else(|| panic!("{page}"));
    assert!(lost < page.find("<details>").unwrap(), "it is not folded away:\n{page}");
}

#[test]
fn json_holds_the_plan_as_it_is_without_and_the_saved_one_is_that_too() {
    let (folder, fifo) = (folder(), Fifo::standing_still());
    let plan = folder.ask(&fifo, &["--format", "json", "plan", "--at", AT]).code(0).out;
    folder.write("policies/grandfather.yaml", &change(GRANDFATHER, KEPT, "type: full, keep: 3 }"));
    let arguments = ["--format", "json", "plan", "--at", AT, "--against", "main", "--out", "plan.json"];
    let output: Value = serde_json::from_str(&folder.ask(&fifo, &arguments).code(0).out).unwrap();
    assert_eq!(output["format"], "fifo-retain.comparison/1");
    assert_eq!(output["against"][0]["file"], "main/grandfather.yaml");
    let saved: Value = serde_json::from_str(&folder.read("plan.json")).unwrap();
    assert_eq!((&output["plan"], &saved["format"]), (&saved, &"fifo-retain.plan/1".into()));
    // Only the file that it was made from differs from the one before.
    let before: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(before["vms"], saved["vms"]);
}

#[test]
fn the_exit_code_is_about_the_plan_and_not_about_the_change() {
    let folder = folder();
    against(&folder, &["--detailed-exitcode"]).code(2);
    folder.write("policies/grandfather.yaml", &change(GRANDFATHER, KEPT, "type: full, keep: 3 }"));
    against(&folder, &["--detailed-exitcode", "--vm", "web-1"]).code(0);
}

#[test]
fn mistakes_in_what_is_compared_with_name_the_file_and_fifo_is_not_asked() {
    let (folder, fifo) = (folder(), Fifo::standing_still());
    folder.write("main/broken.yaml", "version: 1\n");
    let ended = folder.ask(&fifo, &["plan", "--at", AT, "--against", "main"]).code(1);
    assert!(ended.err.contains("main/broken.yaml"), "{}", ended.err);
    assert!(
        ended.err.contains(" in the policies to compare with\nhint: FiFo was not contacted"),
        "{}",
        ended.err
    );
    assert_eq!((fifo.asked(), ended.out.as_str()), (Vec::new(), ""));
}

#[test]
fn no_policies_before_are_said_and_a_path_that_is_not_there_is_none() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let mistyped = folder.ask(&fifo, &["plan", "--at", AT, "--against", "mian"]).code(1);
    assert!(mistyped.err.contains("mian"), "{}", mistyped.err);
    assert!(mistyped.err.contains("give --against an empty folder"), "{}", mistyped.err);
    std::fs::create_dir(folder.path("empty")).unwrap();
    let ended = folder.ask(&fifo, &["plan", "--at", AT, "--against", "empty"]).code(0);
    assert!(ended.err.contains("warning: there is no policy in empty: every VM"), "{}", ended.err);
    assert!(
        ended.out.contains("\nThere were no policies before.\n\n  policy grandfather: new\n"),
        "{}",
        ended.out
    );
    let page =
        folder.ask(&fifo, &["plan", "--at", AT, "--against", "empty", "--format", "markdown"]).code(0).out;
    assert!(page.contains("\nThere were no policies before.\n"), "{page}");
    // Beside others it adds nothing, and hides nothing.
    folder.write("main/grandfather.yaml", GRANDFATHER);
    let ended = folder.ask(&fifo, &["plan", "--at", AT, "--against", "empty", "--against", "main"]).code(0);
    assert!(!ended.err.contains("no policy in"), "{}", ended.err);
    assert!(ended.out.contains("0 gained"), "{}", ended.out);
}
