//! Chains in characters: every line leads from a backup to the one that it is taken from, and to no other.

use super::*;
use crate::plan::Prune;
use crate::policy::{SourceFile, parse};
use crate::report::drawing::{Drawing, Lane, Node};
use crate::report::graph::guides;
use crate::report::layout::width;
use crate::report::simulate::{Played, document};
use crate::simulate::{Scenario, simulate_with_stories};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Draws backups, each with its tier and parent, oldest first.
fn drawing(backups: &[(usize, Option<usize>)]) -> Drawing {
    let node = |(day, &(lane, parent)): (usize, &(usize, Option<usize>))| Node {
        day: day as i64,
        minute: 60,
        lane,
        parent,
        is_full: parent.is_none(),
        is_restorable: true,
        size_bytes: Some(1 << 30),
        local_until: 0,
        needed_since: 99,
        expired_since: 99,
        gone: 99,
    };
    let lane = |(letter, name): (char, &str)| Lane { name: name.to_owned(), letter };
    Drawing {
        day0: "2027-01-01".parse().unwrap(),
        lanes: [('M', "monthly"), ('W', "weekly"), ('D', "daily")].map(lane).into(),
        nodes: backups.iter().enumerate().map(node).collect(),
        ids: Vec::new(),
        why: Vec::new(),
        last_day: 98,
        vm: None,
    }
}

fn drawn(backups: &[(usize, Option<usize>)], to: usize) -> Vec<String> {
    let drawing = drawing(backups);
    let all: Vec<usize> = (0..backups.len()).collect();
    let guides = guides(&drawing, &all, &drawing.way(to), 40).unwrap();
    guides.into_iter().map(|guide| guide.first.trim_end().to_owned()).collect()
}

#[test]
fn each_tier_has_a_lane_and_the_way_of_a_restore_has_heavy_lines_and_numbers() {
    let nightly =
        [(0, None), (2, Some(0)), (2, Some(1)), (1, Some(0)), (2, Some(3)), (2, Some(4)), (1, Some(3))];
    assert_eq!(drawn(&nightly, 5), ["  w", "  │ 4", "  ┣━3", "┏━2", "┃   d", "┣───d", "1"]);
    // Two were made on the same one, on different ones of a tier that is passed over, and on one that is gone.
    let again = [(0, None), (2, Some(0)), (2, Some(1)), (2, Some(1)), (0, None), (2, Some(0)), (1, Some(9))];
    assert_eq!(drawn(&again, 2), ["    w?", "  ┌───d", "M │", "  │   d─┐", "  │   3━┫", "  ┣━━━2━┛", "1━┛"]);
}

proptest! {
    #[test]
    fn no_line_runs_over_another_one_or_over_a_backup(
        backups in prop::collection::vec((0..3_usize, prop::option::of(0..40_usize)), 1..40),
    ) {
        let backups: Vec<(usize, Option<usize>)> = backups
            .into_iter()
            .enumerate()
            .map(|(at, (lane, parent))| (lane, parent.filter(|_| at > 0).map(|parent| parent % at.max(1))))
            .collect();
        let drawing = drawing(&backups);
        let all: Vec<usize> = (0..backups.len()).collect();
        let guides = guides(&drawing, &all, &drawing.way(backups.len() - 1), 1_000).unwrap();
        let row = |node: usize| backups.len() - 1 - node;
        // The rows of each parent's line, from its newest increment down to itself.
        let mut spans: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (node, parent) in backups.iter().enumerate().filter_map(|(node, (_, parent))| Some((node, (*parent)?))) {
            spans.insert(parent, (row(node), row(parent)));
        }
        let crossing = |from: usize, to: usize| spans.values().filter(|span| span.0 <= from && to <= span.1).count();
        let letters = |text: &str| text.chars().collect::<Vec<char>>();
        let wide = width(&guides[0].first);
        for at in 0..guides.len() {
            let (first, below) = (letters(&guides[at].first), letters(&guides[at].below));
            prop_assert_eq!((width(&guides[at].first), width(&guides[at].below)), (wide, wide));
            let lines = below.iter().filter(|letter| "│┃".contains(**letter)).count();
            prop_assert_eq!(lines, crossing(at, at + 1));
            if at > 0 {
                let above = letters(&guides[at - 1].below);
                let passes = |x: &usize| above[*x] != ' ' && below[*x] != ' ' && !first[*x].is_ascii_alphanumeric();
                prop_assert_eq!((0..wide).filter(passes).count(), crossing(at - 1, at + 1));
            }
        }
    }
}

const POLICY: &str = "version: 1\npolicy: grandfather\nselect: { all: true }\ntiers:\n\
    - { name: monthly, schedule: \"0 1 1 * *\", type: full, keep: KEEP }\n\
    - { name: daily, schedule: \"0 1 * * *\", type: incremental, keep: 3 }\nprune: true\n";

/// Simulates so many days from the beginning of 2027 on.
fn simulated(keep: u32, days: u32, terminal: Option<usize>) -> String {
    let scenario =
        Scenario { prune: Prune::REQUESTED, ..Scenario::new("2027-01-01T00:05:00Z".parse().unwrap(), days) };
    let policies = parse(&[SourceFile {
        name: "p.yaml".to_owned(),
        bytes: POLICY.replace("KEEP", &keep.to_string()).into(),
    }])
    .unwrap()
    .policies;
    let (simulation, stories) = simulate_with_stories(&policies, None, &scenario);
    let played = Played { simulation: &simulation, policies: &policies, stories: &stories };
    text_of(&document(played, None, terminal), terminal.unwrap_or(120), Detail::Usual, Styles::Plain)
}

#[test]
fn on_a_terminal_a_simulation_ends_with_its_chains() {
    insta::assert_snapshot!(simulated(2, 35, Some(100)), @r#"
    grandfather, 1 VM
    Made: m monthly, d daily; a capital is a full backup, a point none.

             1   5    10   15   20   25   30
    2027-01  Mdddddddddddddddddddddddddddddd
    2027-02  Mddd.

    Chains at the end of 2027-02-05, the newest first; numbers are the steps of a restore of the newest.
        backup                            size  remark
        4 = daily 2027-02-04 01:00     1.1 GiB  local
        3 = daily 2027-02-03 01:00     1.1 GiB
      ┏━2 = daily 2027-02-02 01:00     1.1 GiB
      1   = monthly 2027-02-01 01:00  40.0 GiB
      M   = monthly 2027-01-01 01:00  40.0 GiB

    Back to Thu 4 Feb 2027, 01:00: 4 backups, 43.5 GiB to fetch; what the VM has written since is lost.
    While its snapshot is on the hypervisor, nothing is fetched.

      month    stored      bytes  chain   restore         age  full  incr  pruned  local
      2027-01      32  115.9 GiB     31  75.9 GiB        23 h     2    30       0      1
      2027-02       5   83.5 GiB     31  43.5 GiB  23 h 5 min     1     3      31      1

    You can go back to any day of the last 3, the 1st of each of the last 2 months; a restore reads at
    most 31 backups, 75.9 GiB; storage comes to 83.5 GiB, in too short a time to see it settle.

    A day without a run costs no backup: the next run makes up for it; until then the newest one gets 47
    h old.
    "#);
    assert!(!simulated(2, 35, None).contains("Chains at the end"));
}

#[test]
fn storage_settles_on_a_day_or_not_within_the_simulated_time() {
    for (keep, days, says) in [
        (2, 35, "storage comes to 83.5 GiB, in too short a time to see it settle."),
        (2, 130, "storage settles at 118.3 GiB from 2027-02-02 on."),
        (12, 130, "in the end and does not settle within the simulated time."),
    ] {
        let text = simulated(keep, days, None).replace('\n', " ");
        assert!(text.contains(says), "{days} days: {says} is not in\n{text}");
    }
}

#[test]
fn on_a_terminal_the_chains_of_a_vm_stand_in_the_place_of_its_tree() {
    let shown = |columns: usize| {
        let doc = crate::report::show::document(
            &explained("web-1", "by hand"),
            None,
            None,
            Detail::Usual,
            Some(columns),
        );
        text_of(&doc, columns, Detail::Usual, Styles::Plain)
    };
    insta::assert_snapshot!(shown(120), @r#"
    web-1  4fa44310-0000-0000-0000-000000000000  grandfather
      ! blocked  cannot be backed up while its state is "frozen"
        chains   newest first; m monthly, w weekly, d daily, n no tier; a capital is a full backup; numbers are the steps of
                 a restore of the newest
        backup                                     UUID         size  local          to restore               stored
            1   backup "by hand" 2026-11-10 01:00  0000000a  1.0 GiB                 1 backup, 3.0 GiB
      ┌───d   = daily 2026-11-10 01:00             0000000a  1.0 GiB                 2 backups, 3.0 GiB
      │ ┌─d   ! failed daily 2026-11-09 01:00      00000009  1.0 GiB                 impossible               expired
      ├─w     = weekly 2026-11-08 01:00            00000008  1.0 GiB  1.0 MiB, goes  2 backups, size unknown
      M       = monthly 2026-11-01 01:00           00000001  1.0 GiB                 1 backup, 3.0 GiB

    FiFo: https://fifo.example.com. Times: Europe/Berlin.
    Shown: 5 backups on 1 VM, 5.0 GiB stored; 1 snapshot local, 1.0 MiB of quota.
    "#);
    for columns in 60..=200 {
        let text = shown(columns);
        assert!(
            text.lines().all(|line| width(line) <= columns || line.starts_with("Shown: ")),
            "{columns}: {text}"
        );
    }
}
