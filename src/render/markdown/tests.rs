//! Pages of every size: what has no room is counted, and no name writes anything but itself.

mod storage;

use super::sections::sections;
use super::{MARKER, MAX_BYTES_DEFAULT, MAX_BYTES_LEAST, PlanPageParts, plan as write};
use crate::insight::forecast::{Forecast, ForecastCounts, ForecastGroup, TierForecast};
use crate::insight::{
    AbandonedBackups, ActionCounts, Comparison, ComparisonSummary, PolicyChange, PolicyChangeKind,
    Protection, ProtectionChange, StoredBackups, VmChange,
};
use crate::inventory::{BackupId, VmId};
use crate::plan::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, FORMAT, Note, NoteCode, Plan, SnapshotUsage,
    Status, Summary, SuspendedUntil, VmPlan,
};
use chrono::{DateTime, FixedOffset, TimeDelta};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Aliases that would like to be something else.
const ALIASES: [&str; 10] = [
    "web-1",
    "",
    "-->\n</details>\n### 0 snapshots to delete",
    "db-1 of 2026-11-01 01:00",
    "a|b|c `x` **bold** | | |",
    "@everyone #1 !2 http://evil.example www.evil.example :tada:",
    "データベースサーバー-本番環境-東京リージョン",
    "\u{202e}\u{200b}\u{1b}[2J",
    "[click](javascript:alert(1)) <img src=x onerror=y>",
    "an alias of more than sixty characters, which nobody would ever give to any VM of theirs, would they?",
];

/// How much of what a plan holds.
#[derive(Clone, Debug, Default)]
struct Sizes {
    creates: usize,
    /// How many of the new backups' own snapshots go.
    own: usize,
    deletes: usize,
    /// How many backups are deleted from storage.
    prunes: usize,
    blocked: usize,
    failed: usize,
    suspended: usize,
    unprotected: usize,
    policies: usize,
    alias: Option<usize>,
}

fn at() -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339("2026-11-22T01:01:00+01:00").unwrap()
}

fn create() -> Action {
    Action::Create(Create {
        tier: "weekly".to_owned(),
        kind: BackupKind::Incremental,
        parent: Some(BackupId::new(Uuid::from_u128(1))),
        parent_tier: Some("monthly".to_owned()),
        parent_taken: Some(at()),
        comment: "weekly".to_owned(),
        due_since: at(),
        reason: "due since Sun 2026-11-22 01:01".to_owned(),
        is_retry: false,
    })
}

fn delete(n: usize) -> Action {
    Action::DeleteLocal(DeleteLocal {
        backup: Some(BackupId::new(Uuid::from_u128((n as u128) << 96 | n as u128))),
        tier: ["monthly", "weekly", "daily"][n % 3].to_owned(),
        taken: Some(at() + TimeDelta::minutes(n as i64)),
        after_create: true,
        reason: "once the new weekly is complete".to_owned(),
    })
}

fn prune(n: usize) -> Action {
    Action::DeleteCloud(DeleteCloud {
        backup: BackupId::new(Uuid::from_u128((n as u128) << 96 | n as u128)),
        tier: ["monthly", "weekly", "daily"][n % 3].to_owned(),
        taken: at() + TimeDelta::minutes(n as i64),
        size_bytes: Some(3 << 30),
        reason: "expired: no longer one of the 7 newest of its tier since 2026-11-22 01:01".to_owned(),
    })
}

fn delete_new() -> Action {
    Action::DeleteLocal(DeleteLocal {
        backup: None,
        tier: "weekly".to_owned(),
        taken: None,
        after_create: true,
        reason: "not needed once it is complete".to_owned(),
    })
}

impl Sizes {
    fn vm(&self, n: usize, status: Status) -> VmPlan {
        let alias = ALIASES[self.alias.unwrap_or(n % ALIASES.len())];
        VmPlan {
            uuid: Some(VmId::new(Uuid::from_u128((n as u128 + 1) << 96))),
            alias: if alias == "web-1" { format!("web-{n}") } else { alias.to_owned() },
            policy: Some(format!("policy-{}", n % self.policies.max(1)).into()),
            status,
            fingerprint: None,
            suspended: None,
            actions: Vec::new(),
            unmanaged: SnapshotUsage::default(),
            stored: 0,
            refused_deletes: 0,
            notes: Vec::new(),
        }
    }

    fn plan(&self) -> Plan {
        let mut vms = Vec::new();
        let mut add = |status, actions: Vec<Action>, notes: Vec<Note>| {
            let vm = self.vm(vms.len(), status);
            let policy = vm.policy.filter(|_| status != Status::Unprotected);
            let is_suspended = notes.iter().any(|note| note.code == NoteCode::Suspended);
            let suspended = is_suspended.then(|| {
                Box::new(SuspendedUntil {
                    until: "2026-12-24".parse().unwrap(),
                    reason: "storage move".to_owned(),
                })
            });
            vms.push(VmPlan { suspended, actions, notes, policy, ..vm });
        };
        for n in 0..self.creates.max(self.deletes).max(self.prunes) {
            let own = (n < self.own.min(self.creates)).then(delete_new);
            let actions = [
                (n < self.creates).then(create),
                (n < self.deletes).then(|| delete(n)),
                own,
                (n < self.prunes).then(|| prune(n)),
            ];
            add(Status::Changes, actions.into_iter().flatten().collect(), Vec::new());
        }
        for _ in 0..self.blocked {
            let note =
                Note::vm(NoteCode::NoHypervisor, "on no hypervisor (stored); it has no restorable backup");
            add(Status::Blocked, Vec::new(), vec![note]);
        }
        for n in 0..self.failed {
            let id = BackupId::new(Uuid::from_u128(n as u128));
            let note = Note::backup(id, NoteCode::FailedBackup, "the weekly of 2026-11-22 01:01 failed");
            add(Status::UpToDate, Vec::new(), vec![note]);
        }
        for n in 0..self.suspended {
            let note = Note::vm(NoteCode::Suspended, "nothing is carried out until 2026-12-24: storage move");
            add(Status::Changes, vec![delete(1_000_000 + n)], vec![note]);
        }
        for _ in 0..self.unprotected {
            add(Status::Unprotected, Vec::new(), vec![Note::vm(NoteCode::Unprotected, "matches no policy")]);
        }
        Plan {
            format: FORMAT.to_owned(),
            tool: String::new(),
            at: at().to_utc(),
            valid_until: Some(at().to_utc()),
            endpoint: "https://fifo.example.com".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            policies: Vec::new(),
            summary: Summary {
                create: self.creates,
                delete_local: self.deletes + self.own.min(self.creates),
                delete_cloud: self.prunes,
                blocked: self.blocked,
                unprotected: self.unprotected,
                suspended: self.suspended,
                up_to_date: self.failed,
                ..Summary::default()
            },
            vms,
            checksum: String::new(),
        }
    }
}

/// A change of policies that causes every second VM's actions and every delete of a new backup, takes as many back as there
/// are VMs, and shifts every third one.
fn comparison(plan: &Plan) -> Comparison {
    let active = |policy: &str| Protection::Active { policy: policy.to_owned() };
    let mut summary = ComparisonSummary::default();
    let mut vms = Vec::new();
    for (n, vm) in plan.vms.iter().enumerate() {
        let is_caused = n % 2 == 0;
        let (caused, anyway): (Vec<Action>, Vec<Action>) =
            vm.due_actions().iter().cloned().partition(|action| is_caused || *action == delete_new());
        summary.caused.delete_local += caused.iter().filter(|action| action.is_local_delete()).count();
        let shift = (n % 3 == 0).then(|| ProtectionChange::ALL[n / 3 % ProtectionChange::ALL.len()]);
        let expired = StoredBackups {
            backups: n % 5,
            size_bytes: 3 << 30,
            oldest: (n % 5 > 0).then(at),
            newest: (n % 5 > 0).then(at),
        };
        vms.push(VmChange {
            uuid: vm.uuid,
            alias: vm.alias.clone(),
            shift,
            before: active("old | policy"),
            after: Protection::Unprotected,
            caused,
            anyway,
            stranded: AbandonedBackups::default(),
            expired,
            prunable: StoredBackups::default(),
            no_longer: vec![delete(2_000_000 + n)],
        });
        summary.loses_protection += usize::from(shift == Some(ProtectionChange::LosesProtection));
    }
    summary.no_longer = ActionCounts { delete_local: vms.len(), ..ActionCounts::default() };
    let outlook = |n: usize| ForecastCounts {
        creates: vec![TierForecast { tier: "daily".to_owned(), full: n, incremental: 3 * n }],
        deleted_locally: n,
        ..ForecastCounts::default()
    };
    Comparison {
        against: Vec::new(),
        stored_peaks: Vec::new(),
        policies: (0..vms.len().min(40))
            .map(|n| PolicyChange {
                name: format!("policy-{n}"),
                change: PolicyChangeKind::Changed,
                fields: vec!["tiers.daily.keep: 7 -> 3".to_owned()],
            })
            .collect(),
        summary,
        forecast: Forecast {
            from: plan.at,
            until: plan.at,
            groups: (0..vms.len().min(30))
                .map(|n| ForecastGroup {
                    before: Some(format!("policy-{n}")),
                    after: None,
                    vms: 1,
                    without: outlook(1),
                    with: outlook(2),
                })
                .collect(),
            left_out: 3,
        },
        vms,
    }
}

fn page(plan: &Plan, comparison: Option<&Comparison>, max_bytes: usize) -> String {
    let mut out = Vec::new();
    write(plan, &PlanPageParts { comparison, ..PlanPageParts::default() }, max_bytes, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Reads the first number in a text.
fn number(text: &str) -> usize {
    let digits: String = text
        .chars()
        .skip_while(|letter| !letter.is_ascii_digit())
        .take_while(|letter| letter.is_ascii_digit())
        .collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in {text:?}"))
}

/// What a page says, read back from it.
#[derive(Debug, Default)]
struct ReadBack {
    /// Deletes that are listed, and those that are counted.
    deletes: usize,
    /// The same for deletes from storage.
    prunes: usize,
    /// Rows, by the title of their section.
    rows: BTreeMap<String, usize>,
    /// What was left out, by its noun.
    left_out: BTreeMap<String, usize>,
}

impl ReadBack {
    /// Returns the count of the deletes under a heading.
    fn counter(&mut self, title: &str) -> &mut usize {
        if title.contains(" to delete from storage, for good") { &mut self.prunes } else { &mut self.deletes }
    }
}

fn read_back(page: &str) -> Result<ReadBack, TestCaseError> {
    let mut read = ReadBack::default();
    let mut title = String::new();
    let mut columns = 0;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("**Left out, for ") {
            let (_, list) = rest.split_once(" bytes hold no more: ").unwrap();
            for item in list.trim_end_matches(".**").split(", ") {
                let (count, noun) = item.split_once(' ').unwrap();
                read.left_out.insert(noun.to_owned(), count.parse().unwrap());
            }
        } else if let Some((_, list)) = line.split_once(" local deletes are only counted here:") {
            read.deletes += list.split(';').map(number).sum::<usize>();
        } else if let Some((_, list)) =
            line.split_once(" deletes from storage, for good, are only counted here:")
        {
            read.prunes += list.split(';').map(number).sum::<usize>();
        } else if let Some(rest) = line.strip_prefix("### ") {
            title = rest.to_owned();
        } else if let Some(rest) = line.strip_prefix("<details><summary>") {
            title = rest.strip_suffix("</summary>").unwrap().to_owned();
        } else if line.starts_with("|---") {
            columns = line.matches("---").count();
            read.rows.insert(title.clone(), 0);
        } else if let Some(list) = line.strip_prefix("- **") {
            let (tier, items) = list.split_once("):** ").unwrap();
            let count = number(tier.rsplit_once('(').unwrap().1);
            let new = items.matches("` (new)").count();
            prop_assert_eq!(items.matches("` of 2026-").count() + new, count, "{}", line);
            *read.counter(&title) += count;
        } else if line.starts_with("| ") {
            let pipes = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            let Some(rows) = read.rows.get_mut(&title).filter(|_| columns > 0) else { continue };
            prop_assert_eq!(pipes, columns + 1, "{}", line);
            *rows += 1;
            if title.contains(" to delete ") {
                // A row is one delete, or counts those of a tier.
                let cells: Vec<&str> = line.split(" | ").collect();
                *read.counter(&title) += if columns == 3 { number(cells[1]) } else { 1 };
            }
        }
        if line.is_empty() && !title.is_empty() && read.rows.get(&title).is_some_and(|rows| *rows > 0) {
            columns = 0;
        }
    }
    Ok(read)
}

/// Checks that everything is there, or counted, in no more bytes than there may be.
fn judge(plan: &Plan, comparison: Option<&Comparison>, max_bytes: usize) -> Result<String, TestCaseError> {
    let page = page(plan, comparison, max_bytes);
    prop_assert!(page.len() <= max_bytes, "{} of {max_bytes} bytes:\n{page}", page.len());
    prop_assert!(page.starts_with(&format!("{MARKER}\n**Plan: ")), "{page}");
    prop_assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
    prop_assert_eq!(page.matches("-->").count(), 1, "only the marker is a comment");
    let read = read_back(&page)?;
    prop_assert_eq!(read.deletes, plan.summary.delete_local, "deletes in\n{}", &page);
    prop_assert_eq!(read.prunes, plan.summary.delete_cloud, "deletes from storage in\n{}", &page);
    for section in sections(plan, comparison, "") {
        let total = section.rows.len();
        let shown = read.rows.get(&section.title).copied().unwrap_or(0);
        let left = [section.noun.0, section.noun.1].iter().find_map(|noun| read.left_out.get(*noun));
        prop_assert_eq!(shown + left.copied().unwrap_or(0), total, "{} in\n{}", section.title, &page);
        if shown > 0 && shown < total {
            let and_more = format!("… and {} ", total - shown);
            prop_assert!(page.contains(&and_more), "{and_more} is not in\n{page}");
        }
    }
    Ok(page)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_there_is_fits_and_the_counts_add_up(
        counts in prop_oneof![
            proptest::array::uniform7(0..8_usize),
            proptest::array::uniform7(0..120_usize),
            proptest::array::uniform7(prop_oneof![Just(0_usize), 0..700_usize]),
        ],
        policies in 1..60_usize,
        alias in proptest::option::of(0..ALIASES.len()),
        max_bytes in prop_oneof![MAX_BYTES_LEAST..1_700, MAX_BYTES_LEAST..9_000, select(vec![20_000, MAX_BYTES_DEFAULT])],
        compared in any::<bool>(),
    ) {
        let [creates, deletes, prunes, blocked, failed, suspended, unprotected] = counts;
        // Of none, some or all creates the own snapshots go.
        let own = creates.min(unprotected);
        let sizes = Sizes { creates, own, deletes, prunes, blocked, failed, suspended, unprotected, policies, alias };
        let plan = sizes.plan();
        let comparison = compared.then(|| comparison(&plan));
        judge(&plan, comparison.as_ref(), max_bytes)?;
    }
}

#[test]
fn fifteen_hundred_changes_of_every_kind_fit_into_a_comment() {
    for alias in (0..ALIASES.len()).map(Some).chain([None]) {
        for (creates, deletes, prunes) in [(1_500, 0, 0), (0, 1_500, 0), (750, 750, 750), (1_500, 1_500, 0)] {
            let sizes = Sizes {
                creates,
                deletes,
                prunes,
                blocked: 40,
                failed: 40,
                policies: 4,
                alias,
                ..Sizes::default()
            };
            let plan = sizes.plan();
            judge(&plan, None, MAX_BYTES_DEFAULT).unwrap();
            judge(&plan, Some(&comparison(&plan)), MAX_BYTES_DEFAULT).unwrap();
        }
    }
}

#[test]
fn deletes_are_said_in_fewer_words_before_they_are_only_counted() {
    let of = |deletes, max_bytes| {
        let sizes = Sizes { deletes, alias: Some(0), policies: 2, ..Sizes::default() };
        judge(&sizes.plan(), None, max_bytes).unwrap()
    };
    assert!(of(1_500, 1 << 20).contains("| once the new weekly is complete |"));
    let few = of(1_500, MAX_BYTES_DEFAULT);
    assert!(
        few.contains(
            "\n- **policy-0, daily (250):** web-2 `00000003` of 2026-11-22 01:03, \
         web-8 `00000009` of"
        ),
        "{few}"
    );
    assert!(!few.contains("only counted"), "{few}");
    let counts = of(1_500, 4_096);
    assert!(
        counts.contains(
            "\n**1500 deletes are only counted here, by policy and tier: there is no room to list them.**\n"
        ),
        "{counts}"
    );
    assert!(counts.contains("\n| policy-0, daily | 250 | 250 |\n"), "{counts}");
}

#[test]
fn a_new_backups_own_snapshot_that_goes_is_listed_among_the_deletes() {
    let sizes =
        Sizes { creates: 900, own: 147, deletes: 60, alias: Some(0), policies: 2, ..Sizes::default() };
    let plan = sizes.plan();
    let page = judge(&plan, None, 1 << 20).unwrap();
    assert!(page.contains("\n### 207 snapshots to delete locally\n"), "{page}");
    assert!(page.matches("| the new weekly | not needed once it is complete |").count() == 147, "{page}");
    let few = judge(&plan, None, 12_000).unwrap();
    assert!(few.contains("\n- **policy-0, weekly (84):** web-0 `00000001` (new), web-2 "), "{few}");
    // Those of backups that are made in any case go because of this change.
    let page = judge(&plan, Some(&comparison(&plan)), MAX_BYTES_DEFAULT).unwrap();
    assert!(page.contains("\n### 177 snapshots to delete locally because of this change\n"), "{page}");
    assert!(page.contains("\n### 30 snapshots to delete locally in any case\n"), "{page}");
    let sizes = Sizes { own: 900, policies: 20, ..sizes };
    let page = judge(&sizes.plan(), None, MAX_BYTES_LEAST).unwrap();
    assert!(page.contains("**960 local deletes are only counted here:"), "{page}");
}

#[test]
fn what_is_deleted_in_any_case_does_not_crowd_out_what_the_change_does() {
    let sizes = Sizes { deletes: 1_500, blocked: 9, alias: Some(0), policies: 2, ..Sizes::default() };
    let plan = sizes.plan();
    let mut comparison = comparison(&plan);
    for vm in &mut comparison.vms {
        vm.anyway.append(&mut vm.caused);
        vm.shift = vm.shift.filter(|shift| shift.is_worse());
    }
    let page = judge(&plan, Some(&comparison), MAX_BYTES_DEFAULT).unwrap();
    let counted = "\n**1500 deletes in any case are only counted here, by policy and tier: the room is for what this \
                   change does.**\n";
    assert!(page.contains(counted), "{page}");
    let worse = comparison.vms.iter().filter(|vm| vm.shift.is_some()).count();
    assert!(page.contains(&format!("\n### {worse} VMs protected worse than before\n")), "{page}");
    assert!(!page.contains(" VMs protected worse than before that had no room"), "{page}");
    // The worst come first.
    let place = |what: &str| page.find(what).unwrap_or_else(|| panic!("{what} is not in\n{page}"));
    let last = page.rfind("| loses protection |").unwrap();
    assert!(last < place("| in conflict |"), "{page}");
    assert!(page.rfind("| in conflict |").unwrap() < place("| suspended |"), "{page}");
    // Where there is room enough, each is listed.
    let page = judge(&plan, Some(&comparison), 1 << 20).unwrap();
    assert!(page.matches("| once the new weekly is complete |").count() == 1_500);
}

#[test]
fn deletes_come_before_everything_that_may_be_left_out() {
    let sizes =
        Sizes { creates: 500, deletes: 60, blocked: 9, alias: Some(0), policies: 2, ..Sizes::default() };
    let plan = sizes.plan();
    let page = judge(&plan, None, 9_000).unwrap();
    assert!(page.matches("| once the new weekly is complete |").count() == 60, "{page}");
    assert!(page.contains("\n**Left out, for 9000 bytes hold no more: 494 creates.**\n"), "{page}");
    assert!(page.find("### 60 snapshots").unwrap() < page.find("<details>").unwrap());
}

#[test]
fn what_is_short_is_not_left_out_for_more_of_what_is_long() {
    let sizes =
        Sizes { creates: 900, blocked: 3, failed: 2, alias: Some(0), policies: 2, ..Sizes::default() };
    let plan = sizes.plan();
    let page = judge(&plan, None, 9_000).unwrap();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in\n{page}"));
    assert!(place("<summary>900 to create</summary>") < place("<summary>2 notes</summary>"), "{page}");
    assert!(page.contains(" creates that had no room here\n") && page.contains("| failed |"), "{page}");
}

#[test]
fn large_numbers_leave_room_for_themselves() {
    let sizes =
        Sizes { creates: 3, deletes: 3, prunes: 3, blocked: 3, failed: 3, policies: 3, ..Sizes::default() };
    let mut plan = sizes.plan();
    let million = 9_999_999;
    let deletes = plan.summary.delete_local;
    plan.summary = Summary {
        create: million,
        delete_local: deletes,
        delete_cloud: 3,
        up_to_date: million,
        waiting: million,
        blocked: million,
        unprotected: million,
        conflict: million,
        unmanaged: SnapshotUsage { snapshots: million, size_bytes: u64::MAX },
        stored: 0,
        fault: 0,
        unreadable: million,
        suspended: million,
    };
    let mut comparison = comparison(&plan);
    let counts = ActionCounts { create: million, delete_local: million, delete_cloud: million };
    let stored = StoredBackups {
        backups: million,
        size_bytes: u64::MAX,
        oldest: Some(at()),
        newest: Some(at() + TimeDelta::days(1)),
    };
    comparison.summary = ComparisonSummary {
        caused: counts,
        anyway: counts,
        no_longer: counts,
        stranded: AbandonedBackups {
            backups: million,
            held: SnapshotUsage { snapshots: million, size_bytes: u64::MAX },
        },
        expired: stored,
        prunable: stored,
        loses_protection: million,
        comes_into_conflict: million,
        suspended: million,
        gains_protection: million,
        resumed: million,
        leaves_conflict: million,
        changes_policy: million,
    };
    plan.endpoint = format!("https://{}.example.com", "x".repeat(2_000));
    judge(&plan, Some(&comparison), MAX_BYTES_LEAST).unwrap();
}
