//! Markdown of every size: what does not fit is counted, and no name writes anything but itself.

use super::*;
use crate::plan::{Status, Summary, VmPlan};
use crate::report::markdown::{MARKER, MAX_BYTES_DEFAULT, MAX_BYTES_LEAST, written};
use proptest::prelude::*;
use proptest::sample::select;

/// Aliases that would like to be something else.
const ALIASES: [&str; 7] = [
    "web-",
    "",
    "-->\n</details>\n### 0 snapshots to delete",
    "a|b|c `x` **bold** | | |",
    "@everyone #1 !2 http://evil.example www.evil.example :tada:",
    "データベースサーバー-本番環境-東京リージョン",
    "an alias of more than sixty characters, which nobody would ever give to any VM of theirs, would they?",
];

/// A plan with so many VMs that create and delete, that prune, and that are blocked, in so many policies.
fn plan_of(changed: usize, prunes: usize, blocked: usize, policies: usize) -> Plan {
    let mut vms: Vec<VmPlan> = Vec::new();
    let mut add = |status, make: &dyn Fn(&mut VmPlan)| {
        let number = vms.len();
        let alias = format!("{}{number}", ALIASES[number % ALIASES.len()]);
        let mut vm = vm(&alias, &format!("policy-{}", number % policies), status);
        make(&mut vm);
        vms.push(vm);
    };
    for _ in 0..changed {
        add(Status::Changes, &|vm| vm.actions = vec![weekly(), delete("daily", "2026-11-21 01:00", true)]);
    }
    for _ in 0..prunes {
        add(Status::Changes, &|vm| vm.actions = vec![prune(1, "daily", "2026-10-01 01:00")]);
    }
    for _ in 0..blocked {
        add(Status::Blocked, &|vm| vm.notes = vec![Note::vm(NoteCode::NoHypervisor, "on no hypervisor")]);
    }
    let summary = Summary {
        create: changed,
        delete_local: changed,
        delete_cloud: prunes,
        blocked,
        ..Summary::default()
    };
    of(vms, summary)
}

fn comment(plan: &Plan, max_bytes: usize) -> String {
    written(&plan_doc(plan, Detail::Usual), Some(MARKER), Some(max_bytes))
}

/// Adds up what a part of a comment says of an action: rows of it, or counts.
fn counted(part: &str, action: &str) -> usize {
    // A row is about one, or says `40 snapshots` or `40 backups`.
    let many = |what: &str| {
        what.split(", ").find_map(|part| {
            let (number, noun) = part.split_once(' ')?;
            let is_count = noun.starts_with("snapshots") || noun.starts_with("backups");
            number.parse::<usize>().ok().filter(|_| is_count)
        })
    };
    let mut count = 0;
    for line in part.lines().map(|line| line.replace("\\|", "").replace("**", "")) {
        if let Some(list) = line.strip_prefix("Only counted here: ") {
            let items = list.split(", ").filter_map(|item| item.split_once(' '));
            count += items
                .filter(|(_, verb)| *verb == action)
                .map(|(n, _)| n.parse::<usize>().unwrap())
                .sum::<usize>();
        }
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        match cells.as_slice() {
            [_, _, verb, what, _] if *verb == action => count += many(what).unwrap_or(1),
            _ => {}
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_there_is_fits_and_every_delete_is_listed_or_counted(
        counts in prop_oneof![proptest::array::uniform3(0..8_usize), proptest::array::uniform3(0..400_usize)],
        policies in 1..60_usize,
        max_bytes in prop_oneof![MAX_BYTES_LEAST..1_700, MAX_BYTES_LEAST..9_000, select(vec![20_000, MAX_BYTES_DEFAULT])],
    ) {
        let [changed, prunes, blocked] = counts;
        let page = comment(&plan_of(changed, prunes, blocked, policies), max_bytes);
        prop_assert!(page.len() <= max_bytes, "{} of {max_bytes} bytes:\n{page}", page.len());
        let begin = format!("{MARKER}\n**Plan: ");
        prop_assert!(page.starts_with(&begin), "{}", page);
        prop_assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
        prop_assert_eq!(page.matches("-->").count(), 1, "only the marker is a comment");
        let (open, _) = page.split_once("<details>").unwrap_or((&page, ""));
        prop_assert_eq!(counted(open, "delete locally"), changed, "{}", page);
        prop_assert_eq!(counted(open, "delete from storage"), prunes, "{}", page);
        let is_cut = page.contains("bytes do not hold all of it");
        prop_assert_eq!(is_cut, page.contains("Only counted here") || page.contains("left out here"), "{}", page);
    }
}

#[test]
fn a_plan_is_whole_where_it_fits_and_is_else_counted_by_action() {
    let plan = plan_of(3, 1, 0, 2);
    insta::assert_snapshot!(comment(&plan, MAX_BYTES_DEFAULT), @r#"
    <!-- fifo-retain plan -->
    **Plan: 3 to create, 3 to delete locally, 1 to delete from storage, for good; 0 up to date, 0 waiting, 0 blocked, 0 unprotected.**

    - **Deleted from storage, for good: 1 backup on 1 VM. Nothing can restore them.**

    | VM | policy |  | what | why |
    |---|---|---|---|---|
    | --&gt;\\n&lt;/details&gt;\\n#&#8203;#&#8203;#&#8203; 0 snapshots to delete2 `4fa44310` | policy-0 | create | weekly, incremental on the monthly of 2026-11-01 01:00 | due since Sun 2026-11-22 01:00 |
    |  |  | delete locally | daily of 2026-11-21 01:00 | once the new weekly is complete |
    | 1 `4fa44310` | policy-1 | create | weekly, incremental on the monthly of 2026-11-01 01:00 | due since Sun 2026-11-22 01:00 |
    |  |  | delete locally | daily of 2026-11-21 01:00 | once the new weekly is complete |
    | a\|b\|c \`x\` \*\*bold\*\* \| \| \|3 `4fa44310` | policy-1 | **delete from storage** | daily of 2026-10-01 01:00, 3.0 GiB | expired: no longer one of the 7 newest of its tier since 2026-10-08 01:00 |
    | web-0 `4fa44310` | policy-0 | create | weekly, incremental on the monthly of 2026-11-01 01:00 | due since Sun 2026-11-22 01:00 |
    |  |  | delete locally | daily of 2026-11-21 01:00 | once the new weekly is complete |
    "#);
    assert!(comment(&plan_of(0, 0, 900, 300), 1_536).contains("\nOnly counted here: **900 blocked**\n"));
}

#[test]
fn what_fewer_readers_need_is_folded_and_goes_first() {
    let plan = cloud();
    let page = comment(&plan, MAX_BYTES_DEFAULT);
    let (open, folded) = page.split_once("<details>").unwrap();
    assert!(!open.contains("| failed |") && folded.contains("| **failed** |"), "{page}");
    let short = comment(&plan, page.len() - 1);
    assert!(short.contains("\nEvery VM with every note and UUID (8 VMs): left out here\n"), "{short}");
    assert!(short.contains("\n**Plan: ") && !short.contains("Only counted here"), "{short}");
}
