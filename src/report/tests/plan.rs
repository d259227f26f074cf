use super::*;
use crate::insight::Estimate;
use crate::plan::{Action, DeleteLocal, Status, Summary, VmPlan};
use crate::report::layout::width;

#[test]
fn every_kind_of_vm_is_reported_in_words() {
    insta::assert_snapshot!(plain(&cloud(), 130, Detail::Usual), @r#"
    (no UUID)
      ! unreadable      could not be read completely: uuid: missing
    app-7  4fa44310  grandfather
      . waiting         a daily has been uploading since 2026-11-22 01:02, 3.1 GiB so far
    cache-3  4fa44310
      ! conflict        claimed by a and b with the same priority (0); give one a higher `priority` or exclude it from the others
    db-2  4fa44310  databases
      ! blocked         on no hypervisor (stored); its newest restorable backup is the daily of 2026-10-30 01:00
    mail-1  4fa44310  grandfather
      ~ suspended       nothing is carried out until 2026-12-24: storage move
      ~ would create    monthly, full                                           due since Sun 2026-11-01 01:00, try 2 of 3
    web-1  4fa44310  grandfather
      - delete locally  daily of 2026-11-20 01:00                               no longer needed as a parent
      + create          weekly, incremental on the monthly of 2026-11-01 01:00  due since Sun 2026-11-22 01:00
      - delete locally  monthly of 2026-11-01 01:00                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:00                               once the new weekly is complete

    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs. -v shows which.
    Unmanaged: 3 snapshots, 14.0 GiB of quota, which no tier is for.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    "#);
}

#[test]
fn briefly_only_the_counts_are_reported_and_nothing_where_nothing_is_to_do() {
    let estimate =
        Estimate { freed_bytes: 4 << 30, upload_bytes: 31 << 30, creates: 1, ..Estimate::default() };
    let parts = PlanParts { identity: Some("as `ops`"), estimate: Some(&estimate), ..PlanParts::default() };
    let brief = super::super::plan::document(&cloud(), parts, Detail::Brief);
    insta::assert_snapshot!(text_of(&brief, 100, Detail::Brief, Styles::Plain), @r#"
    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs. -v shows which.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Estimate: 4.0 GiB freed on hypervisors, about 31.0 GiB to upload.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    "#);
    let summary = Summary { up_to_date: 9, unprotected: 1, ..Summary::default() };
    let calm = of(vec![vm("dns-1", "grandfather", Status::UpToDate)], summary);
    assert_eq!(plain(&calm, 80, Detail::Brief), "");
    assert_eq!(
        plain(&calm, 80, Detail::Usual),
        "Plan: 0 to create, 0 to delete locally; 9 up to date, 0 waiting, 0 blocked, 1 unprotected.\n"
    );
}

#[test]
fn a_new_backups_own_snapshot_that_goes_is_a_delete_of_its_own() {
    let mut web = vm("web-1", "grandfather", Status::Changes);
    let delete_new = DeleteLocal {
        backup: None,
        tier: "weekly".into(),
        taken: None,
        after_create: true,
        reason: "not needed once it is complete".to_owned(),
    };
    web.actions = vec![weekly(), Action::DeleteLocal(delete_new)];
    for detail in [Detail::Usual, Detail::Full] {
        let text = plain(&of(vec![web.clone()], Summary::default()), 160, detail);
        let row = text.lines().nth(2).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "- delete locally the new weekly not needed once it is complete", "{text}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
    let mut plan = cloud();
    plan.vms[7].alias = "データベース".repeat(20);
    plan.vms[3].notes[0].message =
        format!("nothing is carried out until 2026-12-24: storage move {}", "x".repeat(150));
    let wide = letters(&plain(&plan, 1_000, Detail::Full));
    for columns in 60..=200 {
        let text = plain(&plan, columns, Detail::Full);
        // The last line never changes its form.
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[..lines.len() - 1] {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
        assert_eq!(letters(&text), wide, "at {columns} columns");
    }
}

#[test]
fn columns_line_up_under_wide_letters_and_colour_changes_no_word() {
    let mut plan = cloud();
    plan.vms.retain(|vm| vm.alias == "web-1");
    let Action::DeleteLocal(delete) = &mut plan.vms[0].actions[0] else { panic!("a delete comes first") };
    delete.tier = "日次".into();
    let text = plain(&plan, 130, Detail::Usual);
    let why = |line: &str, why: &str| width(&line[..line.find(why).unwrap()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(why(lines[1], "no longer"), why(lines[2], "due since"));
    let colored = text_of(&plan_doc(&cloud(), Detail::Full), 130, Detail::Full, Styles::Colored);
    assert!(colored.contains("\u{1b}[32m+ create"), "{colored}");
    let stripped = anstream::adapter::strip_str(&colored).to_string();
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&stripped), trimmed(&plain(&cloud(), 130, Detail::Full)));
}

#[test]
fn many_vms_with_the_same_change_are_one_entry_that_counts() {
    let mut vms: Vec<VmPlan> =
        (1..=40).map(|number| pruned(&format!("web-{number}"), 1 + number % 3)).collect();
    for (number, vm) in vms.iter_mut().enumerate() {
        let Action::DeleteLocal(delete) = &mut vm.actions[0] else { panic!("a delete comes first") };
        delete.taken = Some(at(&format!("2026-11-20 01:{number:02}")));
        vm.actions.insert(1, weekly());
    }
    let mut blocked = vm("db", "grandfather", Status::Blocked);
    blocked.notes = vec![Note::vm(NoteCode::VmState, "cannot be backed up")];
    vms.push(blocked);
    let plan = of(vms, Summary { create: 40, delete_local: 40, delete_cloud: 120, ..Summary::default() });
    insta::assert_snapshot!(plain(&plan, 150, Detail::Usual), @r#"
    db  4fa44310  grandfather
      ! blocked              cannot be backed up
    web-*  (40 VMs)  grandfather
      - delete locally       daily, 40 snapshots of different times                  no longer needed as a parent
      + create               weekly, incremental on the monthly of 2026-11-01 01:00  due since Sun 2026-11-22 01:00
      x delete from storage  daily, 80 backups since 2026-10-01 01:00, 240.0 GiB     expired: no longer one of the 7 newest of its tier since 2026-10-08
                                                                                     01:00
      x delete from storage  weekly, 40 backups since 2026-10-04 01:00, 120.0 GiB    expired: no longer one of the 7 newest of its tier since 2026-10-08
                                                                                     01:00

    Deleted from storage, for good: 120 backups on 40 VMs. Nothing can restore them.
    Plan: 40 to create, 40 to delete locally, 120 to delete from storage, for good; 0 up to date, 0 waiting, 0 blocked, 0 unprotected.
    "#);
}
