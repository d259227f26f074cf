//! Deletes from storage on the page of a plan.

use super::*;

#[test]
fn deletes_from_storage_come_first_and_are_said_in_fewer_words_last() {
    let sizes = Sizes { deletes: 300, prunes: 60, alias: Some(0), policies: 2, ..Sizes::default() };
    let of = |max_bytes| judge(&sizes.plan(), None, max_bytes).unwrap();
    let place =
        |page: &str, what: &str| page.find(what).unwrap_or_else(|| panic!("{what} is not in\n{page}"));
    let why = format!("| {} |\n", prune(0).as_cloud_delete().unwrap().reason);
    let heading = "\n### 60 backups to delete from storage, for good\n";
    for max_bytes in [1 << 20, MAX_BYTES_DEFAULT, 13_000] {
        let page = of(max_bytes);
        assert!(place(&page, heading) < place(&page, "\n### 300 snapshots to delete locally\n"), "{page}");
        let whole = page.matches(&why).count();
        assert_eq!(whole, 60, "{page}");
    }
    assert!(of(13_000).contains("**300 deletes are only counted here"), "{}", of(13_000));
    let page = of(2_000);
    assert!(page.contains("**60 deletes from storage, for good, are only counted here"), "{page}");
    // Those that are due in any case are as final as the others.
    let plan = sizes.plan();
    let page = judge(&plan, Some(&comparison(&plan)), 12_000).unwrap();
    assert!(page.contains("\n### 30 backups to delete from storage, for good in any case\n"), "{page}");
    let (stored, local) = page.split_at(place(&page, "\n### 150 snapshots to delete locally because"));
    assert_eq!(stored.matches("` of 2026-11-22").count(), 60, "{page}");
    assert!(local.contains("in any case") && !local.contains("from storage"), "{page}");
}
