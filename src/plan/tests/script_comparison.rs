//! The scheme that people ran by hand, against the rules: the same creates, parents and local deletes, night by night.
//!
//! The old script and its wrapper are modelled here to the letter, with a calendar of their own.

use super::fixtures::*;
use crate::inventory::BackupId;
use crate::plan::projection::executed;
use crate::plan::{Action, Status};
use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use std::collections::BTreeSet;

/// From a month's first day over two Octobers' and a March's clock change, a year's end and 29 February.
const NIGHTS: u64 = 400;

/// A zone's clock: its hours ahead of UTC at first, and each change in UTC with the hours from then on.
struct Clock {
    zone: &'static str,
    before_hours: i64,
    changes: [(&'static str, i64); 3],
}

const BERLIN: Clock = Clock {
    zone: "Europe/Berlin",
    before_hours: 2,
    changes: [("2027-10-31 01:00", 1), ("2028-03-26 01:00", 2), ("2028-10-29 01:00", 1)],
};

const NEW_YORK: Clock = Clock {
    zone: "America/New_York",
    before_hours: -4,
    changes: [("2027-11-07 06:00", -5), ("2028-03-12 07:00", -4), ("2028-11-05 06:00", -5)],
};

impl Clock {
    fn ahead(&self, instant: DateTime<Utc>) -> TimeDelta {
        let last = self.changes.iter().rev().find(|(change, _)| at(change) <= instant);
        TimeDelta::hours(last.map_or(self.before_hours, |&(_, hours)| hours))
    }

    /// When cron starts a job of that local time: at the first of two such times, and at the change that skips it.
    fn instant(&self, day: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
        let local = day.and_time(time).and_utc();
        let changes = self.changes.iter().map(|(change, _)| at(change));
        let mut ahead: Vec<TimeDelta> = [1, -1].map(|days| self.ahead(local - TimeDelta::days(days))).into();
        ahead.sort();
        let exact = ahead.iter().rev().map(|&ahead| (local - ahead, ahead));
        exact
            .into_iter()
            .find(|&(instant, ahead)| self.ahead(instant) == ahead)
            .map(|(instant, _)| instant)
            .or_else(|| changes.min_by_key(|change| (*change - local).abs()))
            .unwrap()
    }
}

/// One backup as the script's `list` shows it.
struct Line {
    id: BackupId,
    comment: &'static str,
    taken: DateTime<Utc>,
    local: bool,
}

/// What a night came to.
#[derive(Debug, PartialEq)]
struct Night {
    comment: String,
    parent: Option<BackupId>,
    deleted_locally: BTreeSet<BackupId>,
    local_at_dawn: BTreeSet<BackupId>,
}

/// The script, with the list of backups that it works on.
#[derive(Default)]
struct Script {
    list: Vec<Line>,
}

impl Script {
    /// `list | grep local | grep -e … | sort by time | tail -1`
    fn newest_local(&self, comments: &[&str]) -> Option<BackupId> {
        let mut lines: Vec<&Line> =
            self.list.iter().filter(|line| line.local && comments.contains(&line.comment)).collect();
        lines.sort_by_key(|line| line.taken);
        lines.last().map(|line| line.id)
    }

    fn comment_of(&self, id: BackupId) -> &'static str {
        self.list.iter().find(|line| line.id == id).unwrap().comment
    }

    /// The wrapper: monthly on the first, weekly on Sundays, daily on all other days.
    fn run(&mut self, day: NaiveDate, taken: DateTime<Utc>, id: BackupId) -> Night {
        let mut deleted = Vec::new();
        let (comment, parent) = if day.day() == 1 {
            deleted.extend(self.newest_local(&["weekly"]));
            deleted.extend(self.newest_local(&["daily"]));
            ("monthly", None)
        } else if day.weekday() == Weekday::Sun {
            let parent = self.newest_local(&["monthly", "weekly"]);
            deleted.extend(parent);
            deleted.extend(self.newest_local(&["daily"]));
            ("weekly", parent)
        } else {
            let parent = self.newest_local(&["daily", "weekly", "monthly"]);
            deleted.extend(parent.filter(|&parent| self.comment_of(parent) == "daily"));
            ("daily", parent)
        };
        self.list.push(Line { id, comment, taken, local: true });
        let deleted_locally: BTreeSet<BackupId> = deleted.into_iter().collect();
        for line in self.list.iter_mut().filter(|line| deleted_locally.contains(&line.id)) {
            line.local = false;
        }
        let local_at_dawn = self.list.iter().filter(|line| line.local).map(|line| line.id).collect();
        Night { comment: comment.to_owned(), parent, deleted_locally, local_at_dawn }
    }
}

/// A new UUID for each night, in no order.
fn nights_id(night: u64) -> BackupId {
    backup_id(u128::from(night + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn replay(clock: &Clock, time: &str) {
    let (hour, minute) = time.split_once(':').unwrap();
    let mut policy = grandfather_in(clock.zone);
    for (tier, days) in policy.tiers.iter_mut().zip(["1 * *", "* * SUN", "* * *"]) {
        let schedule = format!("{} {} {days}", minute.parse::<u8>().unwrap(), hour.parse::<u8>().unwrap());
        tier.schedule = crate::policy::Schedule::parse(&schedule, policy.zone.clone()).unwrap();
    }
    let time = NaiveTime::parse_from_str(time, "%H:%M").unwrap();
    let first_day = NaiveDate::from_ymd_opt(2027, 10, 1).unwrap();
    let mut script = Script::default();
    let mut ours = vm(1);
    let mut kinds = BTreeSet::new();
    for night in 0..NIGHTS {
        let day = first_day + Days::new(night);
        let now = clock.instant(day, time);
        let plan = |vm: &VmBuilder, now| plan_all(std::slice::from_ref(&policy), [vm.clone()], now);
        if night > 0 {
            let before = plan(&ours, now - TimeDelta::microseconds(1));
            assert_eq!(before.vms[0].status, Status::UpToDate, "{day}: right before");
            assert_eq!(before.valid_until, Some(now), "{day}");
        }

        let planned = plan(&ours, now).vms.remove(0);
        let Some(Action::Create(create)) = planned.actions.first() else {
            panic!("{day}: {:?}", planned.actions)
        };
        let deleted: Vec<_> = planned.actions[1..]
            .iter()
            .map(|action| match action {
                Action::DeleteLocal(delete) if delete.after_create => delete.backup.unwrap(),
                other => panic!("{day}: {other:?}"),
            })
            .collect();
        ours.vm = executed(&ours.vm, &planned.actions, nights_id(night), now);
        let ours_did = Night {
            comment: create.comment.clone(),
            parent: create.parent,
            deleted_locally: deleted.into_iter().collect(),
            local_at_dawn: ours.vm.backups.values().filter(|b| b.holds_snapshot()).map(|b| b.id).collect(),
        };
        let script_did = script.run(day, now, nights_id(night));
        assert_eq!(ours_did, script_did, "{day}, ours and the script's");
        assert_eq!(plan(&ours, now).vms[0].status, Status::UpToDate, "{day}: planned again");
        kinds.insert((create.comment.clone(), create.parent_tier.clone()));
    }
    let seen: Vec<_> = kinds.iter().map(|(kind, on)| (kind.as_str(), on.as_deref().unwrap_or("-"))).collect();
    let all = [
        ("daily", "daily"),
        ("daily", "monthly"),
        ("daily", "weekly"),
        ("monthly", "-"),
        ("weekly", "monthly"),
        ("weekly", "weekly"),
    ];
    assert_eq!(seen, all, "every step of the scheme came up");
}

#[test]
fn four_hundred_nights_are_what_the_old_script_made_of_them() {
    replay(&BERLIN, "01:00");
}

#[test]
fn four_hundred_nights_at_a_time_that_one_night_lacks_and_one_has_twice() {
    replay(&BERLIN, "02:30");
}

#[test]
fn four_hundred_nights_west_of_greenwich_in_the_skipped_hour() {
    replay(&NEW_YORK, "02:30");
}

#[test]
fn the_nights_hold_what_makes_calendars_hard() {
    let half_past_two = NaiveTime::from_hms_opt(2, 30, 0).unwrap();
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let last = day("2027-10-01") + Days::new(NIGHTS - 1);
    assert!(last > day("2028-11-01"), "a 1 November twice, 29 February 2028 and New Year between");
    assert_eq!(BERLIN.instant(day("2027-10-31"), half_past_two), at("2027-10-31 00:30"), "the first of two");
    assert_eq!(BERLIN.instant(day("2028-03-26"), half_past_two), at("2028-03-26 01:00"), "at the change");
    assert_eq!(BERLIN.instant(day("2028-03-27"), half_past_two), at("2028-03-27 00:30"));
    assert_eq!(NEW_YORK.instant(day("2028-03-12"), half_past_two), at("2028-03-12 07:00"));
    assert_eq!(day("2027-10-31").weekday(), Weekday::Sun);
    assert_eq!(day("2027-10-31").succ_opt().map(|day| day.day()), Some(1), "a monthly follows the weekly");
}
