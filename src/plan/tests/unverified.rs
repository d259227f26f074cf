//! Backups that FiFo calls completed without the sizes or checksums that earlier ones have.

use super::fixtures::*;
use crate::plan::{NoteCode, Status};

/// [`mid_chain`] with the daily of the 18th completed and without a checksum.
fn without_checksum() -> VmBuilder {
    mid_chain()
        .backup(4, "daily", "2026-11-18 01:00")
        .on(3)
        .local()
        .change(|b| b.files[0].has_checksum = false)
}

/// As FiFo before 2016 writes it: a size and a checksum of all, and the names of the files.
fn in_the_old_style(vm: VmBuilder) -> VmBuilder {
    vm.change(|backup| {
        backup.record_size_bytes = backup.size_bytes();
        backup.has_record_checksum = true;
        for file in &mut backup.files {
            (file.size_bytes, file.has_checksum) = (None, false);
        }
    })
}

#[test]
fn nothing_is_deleted_because_of_a_backup_without_a_checksum() {
    let vm = without_checksum();
    let planned = vm.plan(&grandfather(), "2026-11-18 01:30");
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::Waiting), "it counts as in progress");
    let note = planned.note(NoteCode::Unverified).unwrap();
    assert_eq!(note.backup, Some(backup_id(4)));
    assert!(note.to_string().ends_with("it counts as in progress until 2026-11-18 13:00"), "{note}");
    // Were its checksum there, its parent's snapshot would go.
    let checked = vm.clone().change(|backup| backup.files[0].has_checksum = true);
    assert_eq!(actions_of(&checked.plan(&grandfather(), "2026-11-18 01:30")), ["delete 3"]);

    let overdue = vm.plan(&grandfather(), "2026-11-18 13:00");
    assert_eq!(actions_of(&overdue), ["create daily on 3", "delete 3 after", "delete 4 after"]);
    assert!(overdue.note(NoteCode::Unverified).unwrap().to_string().ends_with("it counts as failed"));
}

#[test]
fn whatever_is_missing_of_a_file_makes_a_backup_unverified() {
    let changes: [fn(&mut crate::inventory::Backup); 4] = [
        |backup| backup.files[0].has_checksum = false,
        |backup| backup.files[0].size_bytes = None,
        |backup| backup.files.clear(),
        |backup| {
            let disk = crate::inventory::StoredFile { has_checksum: false, ..backup.files[0] };
            backup.files.push(disk);
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let vm = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).local().change(change);
        let planned = vm.plan(&grandfather(), "2026-11-18 02:00");
        assert!(planned.note(NoteCode::Unverified).is_some(), "{n}");
        assert_eq!(actions_of(&planned), Vec::<String>::new(), "{n}");
    }
}

#[test]
fn where_no_earlier_one_has_them_completed_is_all_there_is() {
    let strip = |vm: VmBuilder| {
        vm.set(|vm| vm.backups.values_mut().for_each(|backup| backup.files[0].has_checksum = false))
    };
    let old = strip(without_checksum());
    let planned = old.plan(&grandfather(), "2026-11-18 01:30");
    assert_eq!(actions_of(&planned), ["delete 3"], "chains without any checksum are taken over as they are");
    // A later one that has them changes nothing for those before it.
    let upgraded = old.backup(5, "daily", "2026-11-19 01:00").on(4).local();
    let planned = upgraded.plan(&grandfather(), "2026-11-19 01:30");
    assert!(planned.note(NoteCode::Unverified).is_none());
    assert_eq!(actions_of(&planned), ["delete 3", "delete 4"]);
    // From then on they are asked for.
    let then = upgraded.backup(6, "daily", "2026-11-20 01:00").on(5).local().change(|b| b.files.clear());
    assert_eq!(
        then.plan(&grandfather(), "2026-11-20 01:30").note(NoteCode::Unverified).unwrap().backup,
        Some(backup_id(6))
    );
}

#[test]
fn the_style_of_old_records_is_whole_as_well() {
    let old = in_the_old_style(mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).local());
    assert!(old.plan(&grandfather(), "2026-11-18 02:00").note(NoteCode::Unverified).is_none());
    let lacking = old.clone().change(|backup| backup.has_record_checksum = false);
    assert!(lacking.plan(&grandfather(), "2026-11-18 02:00").note(NoteCode::Unverified).is_some());
    // It shows as well that this FiFo writes them.
    let first = in_the_old_style(vm(1).backup(1, "monthly", "2026-11-01 01:00").local());
    let second = first
        .backup(2, "daily", "2026-11-02 01:00")
        .on(1)
        .local()
        .change(|b| b.files[0].has_checksum = false);
    assert_eq!(second.plan(&grandfather(), "2026-11-02 01:30").status, Status::Waiting);
}

#[test]
fn what_rests_on_an_unverified_backup_is_no_parent_and_its_own_parent_stays() {
    let on_it = without_checksum().backup(5, "daily", "2026-11-18 01:10").on(4).local();
    let planned = on_it.plan(&grandfather(), "2026-11-18 01:30");
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::Waiting));
    assert_eq!(planned.note(NoteCode::Unrestorable).unwrap().backup, Some(backup_id(5)));
}
