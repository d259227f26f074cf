//! The lines of the old backup script in a crontab: which VM gets which tier when.
//!
//! A line that is not understood completely is reported with its number, never guessed at.

use super::draft::{Condition, DAYS, Draft, TIERS};
use crate::inventory::VmId;
use crate::policy::{Schedule, Zone};
use std::collections::{BTreeMap, BTreeSet};

const MACROS: [(&str, &str); 5] = [
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The signs of a command that runs under a condition, or of several commands.
const CONDITIONS: [&str; 5] = ["&&", "||", "$(", "`", ";"];
/// The priority of policies for single VMs beside one for all marked VMs.
const SINGLE_VMS_PRIORITY: i64 = 10;
const DAILY: usize = 2;
/// What a line is taken for that runs the daily command of FiFo's own client.
const DECIDES_ITSELF: &str = "The daily command of FiFo's client, from the 2nd to the 31st, makes a weekly backup on Sundays by itself: that is a tier \
                              of its own here.";

/// What a line is for: one VM, or, where there is none, every VM with `metadata.fifo.backup` = 1.
type Target = Option<VmId>;

/// Schedules by the place of their tier in [`TIERS`].
type Schedules = [Option<String>; 3];

#[derive(Clone, Debug, Default)]
pub(super) struct Crontab {
    jobs: BTreeMap<Target, Jobs>,
    /// The lines that are not taken over, by their number, with the reason.
    pub(super) unread: Vec<(usize, String)>,
}

/// What one line does, or all that are for one target.
#[derive(Clone, Debug, Default)]
struct Jobs {
    first_line: usize,
    /// The value of CRON_TZ above them.
    zone: Option<String>,
    schedules: Schedules,
    remark: Option<&'static str>,
}

impl Crontab {
    /// Reads a crontab. `wrappers` name the commands that back up every marked VM.
    pub(super) fn read(text: &str, wrappers: &[String]) -> Self {
        let mut crontab = Self::default();
        let mut zone = None;
        let lines = text.lines().map(str::trim).zip(1..);
        for (line, first_line) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            let added = match assignment(line) {
                Some(("CRON_TZ", value)) => {
                    zone = Some(value.to_owned());
                    Ok(())
                }
                Some(("TZ", value)) => Err(format!(
                    "on illumos {value} is the zone of the lines below, in Vixie cron it is not: where it is, write \
                     CRON_TZ={value} in a copy and read that"
                )),
                Some(_) => Ok(()),
                None => jobs(line, wrappers).and_then(|(targets, jobs)| {
                    crontab.add(&targets, Jobs { first_line, zone: zone.clone(), ..jobs })
                }),
            };
            crontab.unread.extend(added.err().map(|why| (first_line, why)));
        }
        crontab
    }

    fn add(&mut self, targets: &[Target], new: Jobs) -> Result<(), String> {
        if let Some(zone) = new.zone.as_deref().filter(|zone| Zone::find(zone).is_none()) {
            return Err(format!("its CRON_TZ, {zone}, is not an IANA time zone"));
        }
        for known in targets.iter().filter_map(|target| self.jobs.get(target)) {
            if known.zone != new.zone {
                return Err(format!("it has another CRON_TZ than line {} for the same VM", known.first_line));
            }
            let mut both = new.schedules.iter().zip(&known.schedules);
            if let Some(tier) = both.position(|(new, old)| new.is_some() && old.is_some()) {
                return Err(format!("an earlier line has a {} for the same VM", TIERS[tier]));
            }
        }
        for target in targets {
            let jobs = self.jobs.entry(*target).or_insert_with(|| new.clone());
            for (schedule, new) in jobs.schedules.iter_mut().zip(&new.schedules) {
                *schedule = schedule.take().or_else(|| new.clone());
            }
            jobs.remark = jobs.remark.or(new.remark);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Says whether a line has no CRON_TZ above it, so that the machine's own zone counts.
    pub(super) fn needs_zone(&self) -> bool {
        self.jobs.values().any(|jobs| jobs.zone.is_none())
    }

    /// Makes the policies that do the same: one for all VMs with the same schedules.
    pub(super) fn drafts(&self, name: &str, zone: &str) -> Vec<Draft> {
        // What is marked goes apart from single VMs.
        type Group<'a> = (&'a Schedules, &'a str, bool);
        let mut groups: BTreeMap<Group<'_>, (Vec<Condition>, Option<&str>)> = BTreeMap::new();
        for (target, jobs) in &self.jobs {
            let zone = jobs.zone.as_deref().unwrap_or(zone);
            let (key, value) = match target {
                Some(vm) => ("uuid", vm.to_string()),
                None => ("metadata.fifo.backup", "1".to_owned()),
            };
            let group = groups.entry((&jobs.schedules, zone, target.is_some())).or_default();
            group.0.push(Condition { key: key.to_owned(), value });
            group.1 = group.1.or(jobs.remark);
        }
        let has_marked = self.jobs.contains_key(&None);
        type Of<'a> = (Group<'a>, (Vec<Condition>, Option<&'a str>));
        let draft = |(place, ((schedules, zone, is_single), (select, remark))): (usize, Of<'_>)| {
            let tiers = TIERS.into_iter().zip(schedules);
            let tiers: Vec<_> = tiers.filter_map(|(tier, when)| Some((tier, when.clone()?, None))).collect();
            let mut remarks: Vec<String> = remark.map(str::to_owned).into_iter().collect();
            if let Some((coarsest, ..)) = tiers.first().filter(|(name, ..)| *name != TIERS[0]) {
                remarks.push(format!(
                    "The crontab has no {} for these VMs: {coarsest} is full here, since increments need a full backup.",
                    TIERS[0]
                ));
            }
            Draft {
                name: if place == 0 { name.to_owned() } else { format!("{name}-{}", place + 1) },
                description: "Taken over from the crontab of the backup script.",
                remarks,
                priority: if has_marked && is_single { SINGLE_VMS_PRIORITY } else { 0 },
                select,
                zone: zone.to_owned(),
                tiers,
                prune: false,
            }
        };
        let mut drafts: Vec<Draft> = groups.into_iter().enumerate().map(draft).collect();
        if let (Some(first), false) = (drafts.first_mut(), self.unread.is_empty()) {
            let lines: Vec<String> = self.unread.iter().map(|(line, _)| line.to_string()).collect();
            let remark = format!("Lines of the crontab that are not taken over: {}.", lines.join(", "));
            first.remarks.insert(0, remark);
        }
        drafts
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let is_name = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    is_name.then(|| (name, value.trim().trim_matches(['"', '\''])))
}

/// Reads what a line does for which targets, or says why it is not understood.
fn jobs(line: &str, wrappers: &[String]) -> Result<(Vec<Target>, Jobs), String> {
    let (schedule, command) = split(line)?;
    Schedule::parse(&schedule, Zone::UTC).map_err(|error| error.to_string())?;
    refuse_doubtful_days(&schedule)?;
    let words: Vec<&str> =
        command.iter().map(|word| word.trim_matches(['"', '\''])).filter(|word| !word.is_empty()).collect();
    let wrapper = words.iter().find(|word| wrappers.iter().any(|it| it == *word || it == name_of(word)));
    // A wrapper may be called after its tier.
    let wrapper_tier = wrapper.and_then(|word| tier_of(name_of(word).split('.').next()?));
    let tiers: BTreeSet<usize> = words.iter().filter_map(|word| tier_of(word)).chain(wrapper_tier).collect();
    let vms: BTreeSet<VmId> =
        words.iter().filter(|word| word.len() == 36).filter_map(|word| word.parse().ok()).collect();
    let is_conditional = words.iter().any(|word| {
        matches!(*word, "[" | "[[" | "test" | "if") || CONDITIONS.iter().any(|sign| word.contains(sign))
    });
    if wrapper.is_some() && !vms.is_empty() {
        return Err("it gives VMs to the wrapper".to_owned());
    }
    let targets: Vec<Target> =
        if wrapper.is_some() { vec![None] } else { vms.into_iter().map(Some).collect() };
    let on_days = |time: &str| DAYS.map(|days| Some(format!("{time} {days}")));
    let mut remark = None;
    let tiers: Vec<usize> = tiers.into_iter().collect();
    let schedules = match (tiers.as_slice(), targets.as_slice()) {
        ([_], [_, ..]) | ([], [None]) if is_conditional => {
            return Err("its command has a condition, or is more than one command".to_owned());
        }
        ([DAILY], [None]) if wrapper_tier.is_some() && schedule.ends_with(" 2-31 * *") => {
            let [_, weekly, daily] = on_days(schedule.trim_end_matches(" 2-31 * *"));
            remark = Some(DECIDES_ITSELF);
            [None, weekly, daily]
        }
        ([tier], [_, ..]) => {
            let mut schedules = Schedules::default();
            schedules[*tier] = Some(schedule);
            schedules
        }
        // The wrapper's own calendar: the first of the month monthly, Sundays weekly, other days daily.
        ([], [None]) => schedule
            .strip_suffix(" * * *")
            .map(on_days)
            .ok_or("it does not run the wrapper every day, and does not name the tier")?,
        ([], [_, ..]) => return Err(format!("it names a VM and no tier ({})", TIERS.join(", "))),
        ([_] | [], []) => {
            let named = if tiers.is_empty() { "neither a tier nor a VM" } else { "a tier and no VM" };
            return Err(format!("it names {named}; name the command for all marked VMs with --wrapper"));
        }
        _ => return Err("it names several tiers".to_owned()),
    };
    Ok((targets, Jobs { schedules, remark, ..Jobs::default() }))
}

fn name_of(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn tier_of(word: &str) -> Option<usize> {
    TIERS.iter().position(|tier| *tier == word)
}

/// Refuses a schedule that means other days in one cron than in another.
fn refuse_doubtful_days(schedule: &str) -> Result<(), String> {
    let [minute, hour, days, months, weekdays] = schedule.split(' ').collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    let is_step = |field: &str| field.starts_with('*') && field != "*";
    if days == "*" || weekdays == "*" || !(is_step(days) || is_step(weekdays)) {
        return Ok(());
    }
    let plain = |field: &str, all: &str| field.replacen('*', all, usize::from(field.starts_with('*')));
    let time = format!("{minute} {hour} {} {months}", plain(days, "1-31"));
    let weekdays = plain(weekdays, "0-6");
    Err(format!(
        "a day field that begins with `*` means days that match both fields in Vixie cron, and days that match either in \
         POSIX and on illumos; for both write `{time} +{weekdays}` in a copy and read that, for either `{time} {weekdays}`"
    ))
}

fn split(line: &str) -> Result<(String, Vec<&str>), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(first) = words.first().filter(|word| word.starts_with('@')) {
        let schedule = MACROS.iter().find(|(name, _)| name == first);
        let (_, schedule) = schedule.ok_or_else(|| format!("{first} is not a schedule of a policy"))?;
        return Ok(((*schedule).to_owned(), words[1..].to_vec()));
    }
    match words.split_at_checked(5) {
        Some((fields, command @ [_, ..])) => Ok((fields.join(" "), command.to_vec())),
        _ => Err("it has fewer than five fields and a command".to_owned()),
    }
}
