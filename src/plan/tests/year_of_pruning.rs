//! Nights of the grandfather scheme with daily pruning: what is stored settles under the bound that `docs/retention.md`
//! derives, and each backup can be restored every single night. The page shows the figures of this run.

use super::fixtures::*;
use crate::inventory::{StoredFile, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::standing::VmView;
use crate::plan::{Action, projection};
use crate::policy::{Policy, Prune};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use std::fmt::Write as _;
use std::num::NonZeroU32;

/// What is needed at the most, by `docs/retention.md`: 12 monthlies, 5 + 4 weeklies, 7 + 5 dailies.
const NEEDED_MAX: usize = 12 + (5 + 4) + (7 + 5);
const NIGHTS: i64 = 2 * 365;
const DOCS: &str = include_str!("../../../docs/retention.md");

fn keeping_12_5_7(prune: Prune) -> Policy {
    let mut policy = grandfather();
    for (tier, keep) in policy.tiers.iter_mut().zip([12, 5, 7]) {
        tier.keep = NonZeroU32::new(keep);
    }
    Policy { prune, ..policy }
}

fn size_bytes(comment: Option<&str>) -> u64 {
    match comment {
        Some("monthly") => 100 * GIB,
        Some("weekly") => 20 * GIB,
        _ => 5 * GIB,
    }
}

/// Lets one run of a night happen, and sees to it that what is stored can be restored before, meanwhile and after.
fn night(vm: &Vm, policy: &Policy, now: DateTime<Utc>, number: usize) -> Vm {
    let new = backup_id(1 << 64 | number as u128);
    let planned = decide_under(vm, policy, &Occurrences::new(policy, now));
    let prunes = planned.actions.iter().position(Action::is_cloud_delete).unwrap_or(planned.actions.len());
    let mut vm = projection::executed(vm, &planned.actions[..prunes], new, now);
    if let Some(made) = vm.backups.get_mut(new) {
        let size_bytes = Some(size_bytes(made.comment.as_deref()));
        made.files = vec![StoredFile { size_bytes, has_checksum: true }];
    }
    for action in &planned.actions[prunes..] {
        vm = projection::executed(&vm, std::slice::from_ref(action), new, now);
        assert!(VmView::new(&vm, policy, now).backups.iter().all(|it| it.restorable), "{action:?} at {now}");
    }
    vm
}

fn held(vm: &Vm) -> (usize, u64) {
    (vm.backups.len(), vm.backups.values().filter_map(|backup| backup.size_bytes()).sum())
}

/// Writes a line of the table: the evening before a month begins.
fn line(text: &mut String, now: DateTime<Utc>, with: &Vm, without: &Vm) {
    let of = |vm: &Vm| {
        let (count, bytes) = held(vm);
        format!("{count} | {}", bytes / GIB)
    };
    writeln!(text, "| {} | {} | {} |", now.format("%Y-%m-%d"), of(with), of(without)).unwrap();
}

#[test]
fn two_years_of_nights_with_12_5_7_kept_settle_under_the_bound_of_the_documentation() {
    let (pruning, keeping) = (keeping_12_5_7(Prune::Requested), keeping_12_5_7(Prune::OnRequest));
    let first = at("2027-01-01 01:05");
    let (mut with, mut without) = (vm(1).vm, vm(1).vm);
    let (mut table, mut peak, mut peak_bytes) = (String::new(), 0, 0);
    for number in 0..NIGHTS {
        let now = first + TimeDelta::days(number);
        if number > 0 && now.day() == 1 && now.month() % 3 == 1 {
            line(&mut table, now - TimeDelta::days(1), &with, &without);
        }
        with = night(&with, &pruning, now, number as usize);
        without = night(&without, &keeping, now, number as usize);
        let (count, bytes) = held(&with);
        // The one of tonight comes on top: what it makes expire goes with the next run.
        assert!(count <= NEEDED_MAX + 1, "{count} at {now}");
        (peak, peak_bytes) = (peak.max(count), peak_bytes.max(bytes / GIB));
    }
    assert_eq!(without.backups.len() as i64, NIGHTS);
    line(&mut table, first + TimeDelta::days(NIGHTS - 1), &with, &without);
    let peaks = format!("at most {peak} backups and {peak_bytes} GiB");
    assert!(DOCS.contains(&table), "the page has other figures than\n{table}");
    assert!(DOCS.contains(&peaks), "the page does not say {peaks:?}");
    assert!(DOCS.contains(&format!("{NEEDED_MAX}")));
}
