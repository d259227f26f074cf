//! What one seed decides: the policies, the cloud, and everything that happens to it, as plain data.

use fastrand::Rng;
use fifo_retain::sandbox::{Effect, Fate, Operation, Outcome, Rule};
use std::time::Duration;

const HOUR: u64 = 3_600;

/// A whole simulated life of a cloud.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// The hour at which everything is due, in UTC.
    pub(crate) due_hour: u32,
    pub(crate) daily_keeps_local: u32,
    pub(crate) vms: Vec<VmStart>,
    pub(crate) max_uploads: usize,
    pub(crate) max_uploads_per_hypervisor: usize,
    pub(crate) steps: Vec<Step>,
}

/// How a VM begins.
#[derive(Clone, Debug)]
pub(crate) struct VmStart {
    pub(crate) hypervisor: usize,
    pub(crate) mark: Mark,
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
    pub(crate) what: What,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Somebody runs `reconcile`; meanwhile other things happen.
    Run {
        /// It is killed after that long.
        killed_after: Option<Duration>,
        /// Another machine runs it at the same time.
        two_at_once: bool,
        meanwhile: Vec<Step>,
    },
    /// Requests are disturbed from now on.
    Disturb(Vec<Rule>),
    /// They are no longer.
    Calm,
    /// What becomes of a VM's next upload.
    Fate(usize, Fate),
    /// Somebody makes a backup by hand.
    CreateByHand(usize, &'static str),
    /// Somebody deletes a backup from the cloud, by its place in age, and with it all that descend from it.
    DeleteByHand(usize, usize),
    /// Somebody deletes a snapshot.
    DeleteLocallyByHand(usize, usize),
    /// A VM is moved to another hypervisor, or stored.
    Move(usize, Option<usize>),
    /// A hypervisor's agent stops answering, or answers again.
    Agent(usize, bool),
    /// The store stops taking anything, or takes it again.
    Store(bool),
    /// The backend goes down, or comes up.
    Backend(bool),
}

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let vms: Vec<VmStart> = (0..dice.usize(1..=6)).map(|_| vm_start(&mut dice)).collect();
        let mut scenario = Self {
            seed,
            due_hour: dice.u32(0..24),
            daily_keeps_local: if dice.u8(0..4) == 0 { dice.u32(1..3) } else { 0 },
            max_uploads: dice.usize(1..=8),
            max_uploads_per_hypervisor: dice.usize(1..=2),
            steps: Vec::new(),
            vms,
        };
        let days = dice.u64(3..=25);
        let mut passed_s = 0;
        while passed_s < days * 24 * HOUR {
            let after_s = dice.u64(60..=10 * HOUR);
            passed_s += after_s;
            let what = what(&mut dice, scenario.vms.len());
            scenario.steps.push(Step { after: Duration::from_secs(after_s), what });
        }
        scenario
    }
}

fn vm_start(dice: &mut Rng) -> VmStart {
    let mark = match dice.u8(0..20) {
        0 => Mark::Unprotected,
        1 => Mark::Conflict,
        2 => Mark::Suspended,
        3 => Mark::Unreadable,
        _ => Mark::Protected,
    };
    VmStart { hypervisor: dice.usize(0..3), mark, nights: dice.u32(0..40) }
}

fn what(dice: &mut Rng, vms: usize) -> What {
    match dice.u8(0..100) {
        0..60 => run(dice, vms),
        60..75 => What::Disturb((0..dice.usize(1..=3)).map(|_| rule(dice)).collect()),
        75..85 => What::Calm,
        _ => incident(dice, vms),
    }
}

fn run(dice: &mut Rng, vms: usize) -> What {
    let killed_after = (dice.u8(0..4) == 0).then(|| Duration::from_millis(dice.u64(0..=20_000)));
    let meanwhile = (0..dice.usize(0..=2))
        .map(|_| Step { after: Duration::from_millis(dice.u64(0..=10_000)), what: incident(dice, vms) })
        .collect();
    What::Run { killed_after, two_at_once: dice.u8(0..8) == 0, meanwhile }
}

fn incident(dice: &mut Rng, vms: usize) -> What {
    let vm = dice.usize(0..vms);
    match dice.u8(0..20) {
        0..8 => {
            let outcome = *pick(
                dice,
                &[
                    Outcome::Fail,
                    Outcome::FailForgotten,
                    Outcome::Hang,
                    Outcome::Hollow,
                    Outcome::NeverStarts,
                    Outcome::SnapshotOnly,
                    Outcome::Complete,
                ],
            );
            let upload_ms = Some(dice.u64(500..=30 * 60_000));
            What::Fate(vm, Fate { outcome, upload_ms, size_bytes: None })
        }
        8..11 => {
            const COMMENTS: [&str; 5] = ["daily", "weekly", "monthly", "before upgrade", ""];
            What::CreateByHand(vm, COMMENTS[dice.usize(0..COMMENTS.len())])
        }
        11 => What::DeleteByHand(vm, dice.usize(0..30)),
        12 => What::DeleteLocallyByHand(vm, dice.usize(0..30)),
        13 | 14 => What::Move(vm, (dice.u8(0..3) > 0).then(|| dice.usize(0..3))),
        15 => What::Agent(dice.usize(0..3), false),
        16 => What::Agent(dice.usize(0..3), true),
        17 => What::Store(dice.bool()),
        18 => What::Backend(false),
        _ => What::Backend(true),
    }
}

fn rule(dice: &mut Rng) -> Rule {
    let status = |status| Effect::Answer { status, retry_after_s: None, location: None };
    let effect = match dice.u8(0..20) {
        0 => status(503),
        1 => status(502),
        2 => status(504),
        3 => Effect::Answer { status: 429, retry_after_s: Some(dice.u32(0..30)), location: None },
        4 => status(500),
        5 => status(403),
        6 => status(404),
        7 => Effect::Drop,
        8 | 9 => Effect::ActThenDrop,
        10 | 11 => Effect::ActThenAnswer { status: *pick(dice, &[500, 502, 503, 504]) },
        12 => Effect::Delay { ms: dice.u64(0..=40_000) },
        13 => Effect::Cut { after_bytes: dice.usize(0..2_000) },
        14 => Effect::Stale { seconds: Some(dice.u32(1..30)) },
        15 => Effect::Stale { seconds: None },
        16 => Effect::DropBody,
        17 => Effect::ShiftDate { seconds: dice.i64(-500..=500) },
        18 => Effect::ExpireTokens,
        _ => Effect::Garble { body: "<html>Bad Gateway</html>".to_owned(), content_type: None },
    };
    let operation = *pick(
        dice,
        &[Operation::List, Operation::ReadVm, Operation::Create, Operation::Create, Operation::Delete],
    );
    let operation = if matches!(effect, Effect::DropBody) { Operation::Delete } else { operation };
    let (skip, every) = (dice.u32(0..3), dice.u32(1..6));
    if matches!(effect, Effect::DropBody) {
        // A proxy that drops only some is beyond what a first, lone delete can find out.
        return Rule::new(effect).on(operation);
    }
    let mut rule = Rule::new(effect).on(operation).after(skip);
    rule.every = every;
    rule
}

fn pick<'a, T>(dice: &mut Rng, among: &'a [T]) -> &'a T {
    &among[dice.usize(0..among.len())]
}
