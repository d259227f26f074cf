//! What one seed decides: the policies, the cloud, and everything that happens to it, as plain data.

use fifo_retain::sandbox::{Rule, UploadScript};
use std::time::Duration;

/// A whole simulated life of a cloud.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Whether the FiFo is one of 2015.
    pub(crate) is_old_fifo: bool,
    pub(crate) rules: Rules,
    pub(crate) vms: Vec<VmStart>,
    pub(crate) max_uploads: usize,
    pub(crate) max_uploads_per_hypervisor: usize,
    pub(crate) steps: Vec<Step>,
}

/// What is in the policies, apart from who they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The hour at which everything is due, in UTC.
    pub(crate) due_hour: u32,
    pub(crate) has_weekly: bool,
    pub(crate) daily_keeps_local: u32,
    pub(crate) attempts: u32,
    /// The zone in which the hour is meant.
    pub(crate) zone: &'static str,
    /// Whether an increment without a parent is not made rather than a full one.
    pub(crate) blocks_without_parent: bool,
    /// Whether dailies are taken from coarser ones only.
    pub(crate) daily_from_coarser: bool,
    /// Over how many hours the due times of the VMs are spread.
    pub(crate) spread_hours: Option<u32>,
    /// Whether the tier of the dailies is called otherwise by now, and takes those of the old name along.
    pub(crate) is_renamed: bool,
    /// How many dailies are to stay stored.
    pub(crate) keep: Option<u32>,
    /// How many monthlies and weeklies are to stay stored.
    pub(crate) keep_coarser: Option<(u32, u32)>,
    /// Whether the policies say that what has expired is deleted from storage.
    pub(crate) prunes: bool,
    /// For how many days the policy of the protected VMs is suspended, from when it is written.
    pub(crate) suspended_days: Option<i64>,
}

/// How a VM begins.
#[derive(Clone, Debug)]
pub(crate) struct VmStart {
    pub(crate) hypervisor: usize,
    pub(crate) mark: Mark,
    /// How many disks it has.
    pub(crate) disks: usize,
    /// How many nights of the old script it has behind it.
    pub(crate) nights: u32,
}

/// What the policies make of a VM.
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

/// Something that happens, some time after what happened before.
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
    /// A person makes a plan and saves it.
    Plan,
    /// Requests are disturbed from now on.
    Disturb(Vec<Rule>),
    /// They are no longer.
    Calm,
    /// The policies are written anew.
    Policies(Rules),
    /// The result of a VM's next upload.
    UploadScript(usize, UploadScript),
    /// A person makes a backup by hand.
    CreateByHand(usize, ByHand),
    /// A person has an old backup's snapshot on the hypervisor again for a moment, and makes an increment on it.
    IncrementOnOld(usize, usize),
    /// A person deletes a backup from the cloud, by its place in age, and with it all that descend from it.
    DeleteByHand(usize, usize),
    /// A person deletes a snapshot.
    DeleteLocallyByHand(usize, usize),
    /// A VM is moved to another hypervisor, or stored.
    Move(usize, Option<usize>),
    /// A VM is deleted.
    DeleteVm(usize),
    /// There is a new VM.
    NewVm(VmStart),
    /// A VM's metadata are changed so that it is in another policy, or in none.
    Mark(usize, Mark),
    /// A VM changes its state.
    VmState(usize, &'static str),
    /// A VM gets a delegated dataset, or loses it.
    Datasets(usize, bool),
    /// A hypervisor's agent stops answering, or answers again.
    Agent(usize, bool),
    /// The store stops taking anything, or takes it again.
    Store(bool),
    /// The backend goes down, or comes up.
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

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// It is killed after that long.
    pub(crate) killed_after: Option<Duration>,
    /// It is asked to stop after that long.
    pub(crate) ended_after: Option<Duration>,
    /// Another machine runs it at the same time.
    pub(crate) two_at_once: bool,
    /// Whether it waits for its uploads.
    pub(crate) waits: bool,
    /// Whether the command says that what has expired is deleted from storage.
    pub(crate) prunes: bool,
    /// Whether it carries out the plan that was saved last, if there is one.
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

/// A backup that a person makes by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByHand {
    pub(crate) comment: &'static str,
    /// Whether it is an increment on the newest snapshot, however that stands.
    pub(crate) is_increment: bool,
    /// By how many hours its date is too late: a clock was wrong just then.
    pub(crate) ahead_hours: Option<i64>,
}
