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

    // After that its state alone decides.
    let overdue = vm.plan(&grandfather(), "2026-11-18 13:00");
    assert_eq!(actions_of(&overdue), ["delete 3"]);
    assert!(overdue.note(NoteCode::Unverified).unwrap().to_string().ends_with("it counts as completed"));
}

#[test]
fn whatever_is_missing_of_a_file_makes_a_backup_unverified() {
    let changes: [fn(&mut crate::inventory::Backup); 3] = [
        |backup| backup.files[0].has_checksum = false,
        |backup| backup.files[0].size_bytes = None,
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
fn only_in_the_form_of_newer_fifo_versions_and_beside_one_that_has_all_is_anything_missing() {
    let has_note =
        |vm: &VmBuilder| vm.plan(&grandfather(), "2026-11-18 01:30").note(NoteCode::Unverified).is_some();
    assert!(has_note(&without_checksum()));
    // Whether the one that shows it is older or newer plays no part.
    let strip = |vm: VmBuilder, but: u128| {
        vm.set(|vm| {
            let others = vm.backups.values_mut().filter(|backup| backup.id != backup_id(but));
            others.for_each(|backup| backup.files[0].has_checksum = false);
        })
    };
    let later = without_checksum().backup(5, "by hand", "2026-11-18 01:10");
    assert_eq!([5, 99].map(|but| has_note(&strip(later.clone(), but))), [true, false]);
    // No files at all, and one size and checksum of the whole, are of older versions.
    assert!(!has_note(&without_checksum().change(|backup| backup.files.clear())));
    let old = in_the_old_style(mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).local());
    assert!(!has_note(&old));
    assert!(!has_note(&old.change(|backup| backup.has_record_checksum = false)));
}

#[test]
fn what_rests_on_an_unverified_backup_is_no_parent_and_its_own_parent_stays() {
    let on_it = without_checksum().backup(5, "daily", "2026-11-18 01:10").on(4).local();
    let planned = on_it.plan(&grandfather(), "2026-11-18 01:30");
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::Waiting));
    assert_eq!(planned.note(NoteCode::Unrestorable).unwrap().backup, Some(backup_id(5)));
}
