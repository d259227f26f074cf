//! What one seed decides: the policies, the cloud, and everything that happens to it, as plain data.

use fifo_retain::sandbox::{Rule, UploadScript};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) is_old_fifo: bool,
    pub(crate) rules: Rules,
    pub(crate) vms: Vec<VmStart>,
    pub(crate) max_uploads: usize,
    pub(crate) max_uploads_per_hypervisor: usize,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The hour at which everything is due, in UTC.
    pub(crate) due_hour: u32,
    pub(crate) has_weekly: bool,
    pub(crate) daily_keeps_local: u32,
    pub(crate) attempts: u32,
    pub(crate) zone: &'static str,
    pub(crate) blocks_without_parent: bool,
    pub(crate) daily_from_coarser: bool,
    pub(crate) spread_hours: Option<u32>,
    /// Whether the tier of the dailies is called otherwise by now, and takes those of the old name along.
    pub(crate) is_renamed: bool,
    pub(crate) keep: Option<u32>,
    pub(crate) keep_coarser: Option<(u32, u32)>,
    pub(crate) prunes: bool,
    /// For how many days the policy of the protected VMs is suspended, from when it is written.
    pub(crate) suspended_days: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct VmStart {
    pub(crate) hypervisor: usize,
    pub(crate) mark: Mark,
    pub(crate) disks: usize,
    /// How many nights of the old script it has behind it.
    pub(crate) nights: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Protected,
    Unprotected,
    /// Two policies of one priority claim it.
    Conflict,
    Suspended,
    /// Its record has something in it that cannot be read.
    Unreadable,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) what: StepAction,
}

/// What happens. VMs are meant by their place, counted round.
#[derive(Clone, Debug)]
pub(crate) enum StepAction {
    /// A person runs `reconcile`, or `apply` with a plan; meanwhile other things happen.
    Run(Run),
    Plan,
    Disturb(Vec<Rule>),
    Calm,
    Policies(Rules),
    UploadScript(usize, UploadScript),
    CreateByHand(usize, ByHand),
    /// A person has an old backup's snapshot on the hypervisor again for a moment, and makes an increment on it.
    IncrementOnOld(usize, usize),
    /// A person deletes a backup from the cloud, by its place in age, and with it all that descend from it.
    DeleteByHand(usize, usize),
    DeleteLocallyByHand(usize, usize),
    Move(usize, Option<usize>),
    DeleteVm(usize),
    NewVm(VmStart),
    Mark(usize, Mark),
    VmState(usize, &'static str),
    Datasets(usize, bool),
    Agent(usize, bool),
    Store(bool),
    Backend(bool),
    /// FiFo cuts every list, so that VMs are read one by one, or none.
    ListsCut(bool),
    /// FiFo stamps backups by a clock that is so many seconds ahead of the one that its answers show.
    StampsAhead(i64),
    /// FiFo's clock is set: by so many seconds it is ahead from now on.
    Clock(i64),
    /// The clock of the machine that the program runs on is set: by so many seconds it is ahead from now on.
    OwnClock(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) killed_after: Option<Duration>,
    pub(crate) ended_after: Option<Duration>,
    pub(crate) two_at_once: bool,
    pub(crate) waits: bool,
    pub(crate) prunes: bool,
    pub(crate) takes_saved: bool,
    pub(crate) meanwhile: Vec<Step>,
}

impl Run {
    /// A person runs `reconcile`, with `--prune` or without, and nothing is in its way.
    pub(crate) fn quiet(prunes: bool) -> Self {
        Self {
            killed_after: None,
            ended_after: None,
            two_at_once: false,
            waits: true,
            prunes,
            takes_saved: false,
            meanwhile: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ByHand {
    pub(crate) comment: &'static str,
    /// Whether it is an increment on the newest snapshot, however that stands.
    pub(crate) is_increment: bool,
    /// By how many hours its date is too late: a clock was wrong just then.
    pub(crate) ahead_hours: Option<i64>,
}
