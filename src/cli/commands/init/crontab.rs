//! The lines of the old backup script in a crontab: which VM gets which tier when.
//!
//! A line that is not understood completely is reported with its number, never guessed at.

use super::draft::{Draft, DraftTier, Selection};
use crate::cli::args::{Condition, SelectKey};
use crate::inventory::VmId;
use crate::policy::{Schedule, Zone};
use std::collections::{BTreeMap, BTreeSet};

/// The script's words, coarsest first.
pub(super) const TIERS: [&str; 3] = ["monthly", "weekly", "daily"];

/// What the words with an `@` stand for.
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

/// Tiers by their place in [`TIERS`], with their schedules.
type Schedules = Vec<(usize, String)>;

/// A line that is not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnreadLine {
    pub(super) line: usize,
    pub(super) why: String,
}

/// What a crontab asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Crontab {
    jobs: BTreeMap<JobTarget, Jobs>,
    pub(super) unread: Vec<UnreadLine>,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum JobTarget {
    /// Every VM with `metadata.fifo.backup` = 1.
    Marked,
    Vm(VmId),
}

/// The jobs of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Jobs {
    first_line: usize,
    /// The value of CRON_TZ above them.
    zone: Option<String>,
    /// The schedules, by the place of their tier in [`TIERS`].
    schedules: BTreeMap<usize, String>,
}

/// One line that was understood.
struct Job {
    targets: Vec<JobTarget>,
    tiers: Schedules,
}

impl Crontab {
    /// Reads a crontab. `wrapper` names the command that backs up every marked VM.
    pub(super) fn read(text: &str, wrapper: Option<&str>) -> Self {
        let mut crontab = Self::default();
        let mut zone = None;
        for (place, line) in text.lines().enumerate() {
            let (number, line) = (place + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((name, value)) = assignment(line) {
                if name == "CRON_TZ" {
                    zone = Some(value.to_owned());
                }
                continue;
            }
            let added = job(line, wrapper).and_then(|job| crontab.add(number, zone.as_deref(), job));
            if let Err(why) = added {
                crontab.unread.push(UnreadLine { line: number, why });
            }
        }
        crontab
    }

    fn add(&mut self, line: usize, zone: Option<&str>, job: Job) -> Result<(), String> {
        if let Some(zone) = zone
            && Zone::find(zone).is_none()
        {
            return Err(format!("its CRON_TZ, {zone}, is not an IANA time zone"));
        }
        for target in &job.targets {
            let Some(known) = self.jobs.get(target) else { continue };
            if known.zone.as_deref() != zone {
                return Err(format!("it has another CRON_TZ than line {} for the same VM", known.first_line));
            }
            if let Some((tier, _)) = job.tiers.iter().find(|(tier, _)| known.schedules.contains_key(tier)) {
                return Err(format!("an earlier line has a {} for the same VM", TIERS[*tier]));
            }
        }
        for target in job.targets {
            let jobs = self.jobs.entry(target).or_insert_with(|| Jobs {
                first_line: line,
                zone: zone.map(str::to_owned),
                ..Jobs::default()
            });
            jobs.schedules.extend(job.tiers.iter().cloned());
        }
        Ok(())
    }

    /// Says whether no line was understood.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Says whether a line has no CRON_TZ above it, so that the machine's own zone counts.
    pub(super) fn needs_zone(&self) -> bool {
        self.jobs.values().any(|jobs| jobs.zone.is_none())
    }

    /// Makes the policies that do the same: one for all VMs with the same schedules.
    pub(super) fn drafts(&self, name: &str, zone: &str) -> Vec<Draft> {
        let mut groups: BTreeMap<(Schedules, String), BTreeSet<JobTarget>> = BTreeMap::new();
        for (target, jobs) in &self.jobs {
            let schedules = jobs.schedules.iter().map(|(tier, schedule)| (*tier, schedule.clone())).collect();
            let zone = jobs.zone.clone().unwrap_or_else(|| zone.to_owned());
            groups.entry((schedules, zone)).or_default().insert(*target);
        }
        let mut drafts = Vec::new();
        for ((schedules, zone), targets) in groups {
            let vms: BTreeSet<VmId> = targets
                .iter()
                .filter_map(|target| match target {
                    JobTarget::Vm(vm) => Some(*vm),
                    JobTarget::Marked => None,
                })
                .collect();
            let tiers: Vec<DraftTier> = schedules
                .iter()
                .map(|(tier, schedule)| DraftTier {
                    name: TIERS[*tier],
                    schedule: schedule.clone(),
                    keep: None,
                })
                .collect();
            if targets.contains(&JobTarget::Marked) {
                drafts.push(draft(&zone, marked(), &tiers, 0));
            }
            if !vms.is_empty() {
                let is_beside_marked = self.jobs.contains_key(&JobTarget::Marked);
                let priority = if is_beside_marked { SINGLE_VMS_PRIORITY } else { 0 };
                drafts.push(draft(&zone, Selection::Vms(vms), &tiers, priority));
            }
        }
        for (place, draft) in drafts.iter_mut().enumerate() {
            draft.name = if place == 0 { name.to_owned() } else { format!("{name}-{}", place + 1) };
        }
        if let (Some(first), false) = (drafts.first_mut(), self.unread.is_empty()) {
            let lines: Vec<String> = self.unread.iter().map(|unread| unread.line.to_string()).collect();
            first
                .remarks
                .insert(0, format!("Lines of the crontab that are not taken over: {}.", lines.join(", ")));
        }
        drafts
    }
}

fn draft(zone: &str, selection: Selection, tiers: &[DraftTier], priority: i64) -> Draft {
    let mut remarks = Vec::new();
    if let Some(coarsest) = tiers.first().filter(|tier| tier.name != TIERS[0]) {
        remarks.push(format!(
            "The crontab has no {} for these VMs: {} is full here, since increments need a full backup.",
            TIERS[0], coarsest.name
        ));
    }
    Draft {
        name: String::new(),
        description: "Taken over from the crontab of the backup script.".to_owned(),
        remarks,
        priority,
        selection,
        zone: zone.to_owned(),
        tiers: tiers.to_vec(),
    }
}

/// Selects the VMs that the wrapper backs up.
pub(super) fn marked() -> Selection {
    let key = SelectKey::Metadata("fifo.backup".to_owned());
    Selection::Conditions(vec![Condition { key, value: "1".to_owned() }])
}

/// Reads `NAME=value`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let is_name = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    is_name.then(|| (name, value.trim().trim_matches(['"', '\''])))
}

/// Reads a line, or says why it is not understood.
fn job(line: &str, wrapper: Option<&str>) -> Result<Job, String> {
    let (schedule, command) = split(line)?;
    if let Err(error) = Schedule::parse(&schedule, Zone::UTC) {
        return Err(error.to_string());
    }
    let words: Vec<&str> =
        command.iter().map(|word| word.trim_matches(['"', '\''])).filter(|word| !word.is_empty()).collect();
    let tiers: BTreeSet<usize> =
        words.iter().filter_map(|word| TIERS.iter().position(|tier| tier == word)).collect();
    let vms: BTreeSet<VmId> =
        words.iter().filter(|word| word.len() == 36).filter_map(|word| word.parse().ok()).collect();
    let is_wrapper = wrapper.is_some_and(|wrapper| {
        words.iter().any(|word| *word == wrapper || word.rsplit('/').next() == Some(wrapper))
    });
    let is_conditional = words.iter().any(|word| {
        matches!(*word, "[" | "[[" | "test" | "if") || CONDITIONS.iter().any(|sign| word.contains(sign))
    });
    let targets: Vec<JobTarget> =
        if is_wrapper { vec![JobTarget::Marked] } else { vms.iter().copied().map(JobTarget::Vm).collect() };
    match (tiers.iter().copied().collect::<Vec<_>>().as_slice(), targets.as_slice()) {
        _ if is_wrapper && !vms.is_empty() => Err("it gives VMs to the wrapper".to_owned()),
        ([_], [_, ..]) | ([], [JobTarget::Marked]) if is_conditional => {
            Err("its command has a condition, or is more than one command".to_owned())
        }
        ([tier], [_, ..]) => Ok(Job { targets, tiers: vec![(*tier, schedule)] }),
        ([], [JobTarget::Marked]) => Ok(Job { targets, tiers: wrapper_calendar(&schedule)? }),
        ([_], []) => {
            Err("it names a tier and no VM; name the wrapper for all marked VMs with --wrapper".to_owned())
        }
        ([], [_, ..]) => Err(format!("it names a VM and no tier ({})", TIERS.join(", "))),
        ([], []) => {
            Err("it names neither a tier nor a VM; name the wrapper for all marked VMs with --wrapper"
                .to_owned())
        }
        _ => Err("it names several tiers".to_owned()),
    }
}

/// Splits a line into its schedule and the words of its command.
fn split(line: &str) -> Result<(String, Vec<&str>), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(first) = words.first().filter(|word| word.starts_with('@')) {
        let schedule = MACROS.iter().find(|(name, _)| name == first);
        let (_, schedule) = schedule.ok_or_else(|| format!("{first} is not a schedule of a policy"))?;
        return Ok(((*schedule).to_owned(), words[1..].to_vec()));
    }
    match words.len() {
        0..=5 => Err("it has fewer than five fields and a command".to_owned()),
        _ => Ok((words[..5].join(" "), words[5..].to_vec())),
    }
}

/// Returns the wrapper's own calendar: the first of the month monthly, Sundays weekly, other days daily.
fn wrapper_calendar(schedule: &str) -> Result<Schedules, String> {
    let Some(time) = schedule.strip_suffix(" * * *") else {
        return Err("it does not run the wrapper every day, and does not name the tier".to_owned());
    };
    let days = ["1 * *", "* * SUN", "* * *"];
    Ok(days.iter().enumerate().map(|(tier, days)| (tier, format!("{time} {days}"))).collect())
}
