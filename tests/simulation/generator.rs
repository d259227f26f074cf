//! How a seed becomes a life.

use crate::scenario::{ByHand, Mark, Rules, Run, Scenario, Step, StepAction, VmStart};
use fastrand::Rng;
use fifo_retain::sandbox::{Effect, Operation, Rule, UploadOutcome, UploadScript};
use std::time::Duration;

const HOUR_S: u64 = 3_600;

/// What people write on a backup of their own.
const COMMENTS: [&str; 6] = ["daily", "weekly", "monthly", "monthly", "before upgrade", ""];

/// Zones with and without clock changes, in either hemisphere, one of half an hour among them.
const ZONES: [&str; 5] = ["UTC", "UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"];

/// The states of a VM: in the first four it can be backed up.
const STATES: [&str; 8] =
    ["running", "stopped", "booting", "shutting_down", "creating", "failed", "deleting", "rolling_back"];

/// How large a life is: what most are like, and what is rare since it takes long.
struct Size {
    vms: usize,
    hypervisors: usize,
    days: u64,
}

impl Scenario {
    /// Throws the dice.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let size = size(&mut dice);
        let vms = (0..size.vms).map(|_| vm_start(&mut dice, &size)).collect();
        let mut scenario = Self {
            seed,
            is_old_fifo: dice.u8(0..4) == 0,
            rules: Rules { suspended_days: None, ..rules(&mut dice) },
            vms,
            max_uploads: [1, 1, 2, 3, 8][dice.usize(0..5)],
            max_uploads_per_hypervisor: dice.usize(1..=2),
            steps: Vec::new(),
        };
        let mut passed_s = 0;
        while passed_s < size.days * 24 * HOUR_S {
            let after_s = dice.u64(60..=10 * HOUR_S);
            passed_s += after_s;
            let what = what(&mut dice, &size);
            scenario.steps.push(Step { after: Duration::from_secs(after_s), what });
        }
        add_prunes(&mut scenario);
        scenario
    }
}

/// Has half of all policies, and three of four runs under them, delete from storage. By dice of its own: what else happens
/// in a life does not change with it.
fn add_prunes(scenario: &mut Scenario) {
    let mut dice = Rng::with_seed(!scenario.seed);
    let expire = |dice: &mut Rng, rules: &mut Rules| {
        rules.prunes = dice.bool();
        if rules.prunes {
            rules.keep_coarser = Some((dice.u32(1..=2), dice.u32(1..=3)));
            rules.keep.get_or_insert(dice.u32(1..=5));
        }
    };
    expire(&mut dice, &mut scenario.rules);
    let mut current = scenario.rules.clone();
    for step in &mut scenario.steps {
        match &mut step.what {
            StepAction::Policies(rules) => {
                match current.keep {
                    // Only one copy fewer is to stay: what that expires may go at once.
                    Some(keep) if keep > 1 && dice.bool() => {
                        *rules = Rules { keep: Some(keep - 1), ..current };
                    }
                    _ => expire(&mut dice, rules),
                }
                current = rules.clone();
            }
            StepAction::Run(run) => {
                run.prunes = dice.u8(0..4) > 0;
                if scenario.rules.prunes && dice.u8(0..6) == 0 {
                    let what =
                        StepAction::IncrementOnOld(dice.usize(0..scenario.vms.len()), dice.usize(0..12));
                    // Most uploads take a few seconds, and what has expired goes after them.
                    let after = Duration::from_millis(dice.u64(0..6_000));
                    run.meanwhile.push(Step { after, what });
                }
            }
            StepAction::Disturb(rules) => match dice.u8(0..12) {
                0 => rules.push(Rule::new(Effect::TakeNewest).on(Operation::Delete)),
                // A proxy answers in the place of FiFo, once: nothing is done, and nothing shows what was.
                1..4 => {
                    let done = Effect::Answer { status: 204, retry_after_s: None, location: None };
                    rules.push(Rule::new(done).on(Operation::Delete).times(1));
                }
                _ => {}
            },
            _ => {}
        }
    }
}

fn size(dice: &mut Rng) -> Size {
    match dice.u8(0..100) {
        0..3 => Size { vms: dice.usize(16..=40), hypervisors: dice.usize(2..=6), days: dice.u64(2..=6) },
        3..6 => Size { vms: dice.usize(1..=2), hypervisors: 2, days: dice.u64(40..=90) },
        6..20 => Size { vms: dice.usize(5..=12), hypervisors: dice.usize(1..=4), days: dice.u64(3..=10) },
        _ => Size { vms: dice.usize(1..=4), hypervisors: dice.usize(1..=3), days: dice.u64(3..=25) },
    }
}

fn mark(dice: &mut Rng) -> Mark {
    match dice.u8(0..20) {
        0 => Mark::Unprotected,
        1 => Mark::Conflict,
        2 => Mark::Suspended,
        3 => Mark::Unreadable,
        _ => Mark::Protected,
    }
}

fn vm_start(dice: &mut Rng, size: &Size) -> VmStart {
    VmStart {
        hypervisor: dice.usize(0..size.hypervisors),
        mark: mark(dice),
        disks: if dice.u8(0..4) == 0 { dice.usize(2..=3) } else { 1 },
        nights: dice.u32(0..40),
    }
}

fn rules(dice: &mut Rng) -> Rules {
    Rules {
        due_hour: dice.u32(0..24),
        has_weekly: dice.u8(0..5) > 0,
        daily_keeps_local: if dice.u8(0..4) == 0 { dice.u32(1..3) } else { 0 },
        attempts: dice.u32(1..=3),
        zone: ZONES[dice.usize(0..ZONES.len())],
        blocks_without_parent: dice.u8(0..8) == 0,
        daily_from_coarser: dice.u8(0..8) == 0,
        spread_hours: (dice.u8(0..6) == 0).then(|| dice.u32(1..=6)),
        is_renamed: dice.u8(0..6) == 0,
        keep: (dice.u8(0..3) == 0).then(|| dice.u32(1..=9)),
        keep_coarser: None,
        prunes: false,
        suspended_days: (dice.u8(0..3) == 0).then(|| dice.i64(1..=5)),
    }
}

fn what(dice: &mut Rng, size: &Size) -> StepAction {
    match dice.u8(0..100) {
        0..58 => StepAction::Run(run(dice, size)),
        58..60 => StepAction::Plan,
        60 => StepAction::StampsAhead(dice.i64(600..=3_500)),
        61 => StepAction::Disturb(late_without_body(dice)),
        62 => StepAction::ListsCut(true),
        63 => StepAction::Disturb(old_and_refused()),
        64 => StepAction::Disturb(one_stale_node(dice)),
        65..74 => StepAction::Disturb((0..dice.usize(1..=3)).map(|_| rule(dice)).collect()),
        74..83 => StepAction::Calm,
        83..86 => StepAction::Policies(rules(dice)),
        _ => incident(dice, size),
    }
}

fn run(dice: &mut Rng, size: &Size) -> Run {
    let some_time = |dice: &mut Rng| {
        let longest_ms = if dice.u8(0..4) == 0 { 2 * HOUR_S * 1_000 } else { 20_000 };
        Duration::from_millis(dice.u64(0..=longest_ms))
    };
    Run {
        killed_after: (dice.u8(0..4) == 0).then(|| some_time(dice)),
        ended_after: (dice.u8(0..6) == 0).then(|| some_time(dice)),
        two_at_once: dice.u8(0..8) == 0,
        waits: dice.u8(0..6) > 0,
        prunes: false,
        takes_saved: dice.u8(0..6) == 0,
        meanwhile: (0..dice.usize(0..=3))
            .map(|_| Step { after: some_time(dice), what: incident(dice, size) })
            .collect(),
    }
}

fn incident(dice: &mut Rng, size: &Size) -> StepAction {
    let vm = dice.usize(0..size.vms);
    let hypervisor = dice.usize(0..size.hypervisors);
    match dice.u8(0..108) {
        100..103 => StepAction::VmState(vm, STATES[dice.usize(0..STATES.len())]),
        103..105 => StepAction::Datasets(vm, dice.bool()),
        105.. => StepAction::OwnClock(match dice.u8(0..6) {
            0 => dice.i64(-6 * 3_600..=6 * 3_600),
            1..4 => dice.i64(-3_000..=3_000),
            _ => 0,
        }),
        0..30 => StepAction::UploadScript(vm, fate(dice)),
        30..52 => StepAction::CreateByHand(vm, by_hand(dice)),
        52..57 => StepAction::DeleteByHand(vm, dice.usize(0..30)),
        57..62 => StepAction::DeleteLocallyByHand(vm, dice.usize(0..30)),
        62..70 => StepAction::Move(vm, (dice.u8(0..3) > 0).then_some(hypervisor)),
        70..72 => StepAction::DeleteVm(vm),
        72..75 => StepAction::NewVm(VmStart { nights: 0, ..vm_start(dice, size) }),
        75..80 => StepAction::Mark(vm, mark(dice)),
        80..84 => StepAction::Agent(hypervisor, false),
        84..88 => StepAction::Agent(hypervisor, true),
        88..92 => StepAction::Store(dice.bool()),
        92..93 => StepAction::Backend(false),
        93..96 => StepAction::Backend(true),
        96..100 => StepAction::Clock(match dice.u8(0..6) {
            0 => dice.i64(-6 * 3_600..=6 * 3_600),
            1..4 => dice.i64(-3_000..=3_000),
            _ => 0,
        }),
    }
}

fn fate(dice: &mut Rng) -> UploadScript {
    let outcome = *pick(
        dice,
        &[
            UploadOutcome::Fail,
            UploadOutcome::FailForgotten,
            UploadOutcome::Hang,
            UploadOutcome::Hollow,
            UploadOutcome::HollowDisk,
            UploadOutcome::NeverStarts,
            UploadOutcome::SnapshotOnly,
            UploadOutcome::NoFiles,
            UploadOutcome::NoChecksums,
            UploadOutcome::NoBytes,
            UploadOutcome::Complete,
            UploadOutcome::Complete,
            UploadOutcome::Complete,
            UploadOutcome::Complete,
        ],
    );
    let longest_ms = match dice.u8(0..9) {
        0 => 5 * 3_600_000,
        1..3 => 110 * 60_000,
        _ => 30 * 60_000,
    };
    UploadScript { outcome, upload_ms: Some(dice.u64(500..=longest_ms)), size_bytes: None }
}

fn by_hand(dice: &mut Rng) -> ByHand {
    ByHand {
        comment: COMMENTS[dice.usize(0..COMMENTS.len())],
        is_increment: dice.u8(0..3) == 0,
        ahead_hours: (dice.u8(0..6) == 0).then(|| dice.i64(1..=40 * 24)),
    }
}

/// A proxy that drops the bodies of DELETEs, and lets them through late: nothing shows what they did when it is looked at.
fn late_without_body(dice: &mut Rng) -> Vec<Rule> {
    let mut late = Rule::new(late(dice)).on(Operation::Delete);
    late.every = dice.u32(1..3);
    vec![Rule::new(Effect::DropBody).on(Operation::Delete), late]
}

/// A cache that is old for ever, behind which no condition fits.
fn old_and_refused() -> Vec<Rule> {
    vec![Rule::new(Effect::RefuseConditions), Rule::new(Effect::Stale { seconds: None })]
}

/// Several API nodes, each with a cache of its own or one of them alone: that one is old for ever.
fn one_stale_node(dice: &mut Rng) -> Vec<Rule> {
    let stale = Rule::new(Effect::Stale { seconds: None });
    match dice.u32(0..3) {
        0 => vec![stale.clone().at_node(0), stale.at_node(1)],
        last => vec![stale.at_node(last)],
    }
}

fn late(dice: &mut Rng) -> Effect {
    Effect::ActLate { ms: dice.u64(1_000..=50_000) }
}

fn rule(dice: &mut Rng) -> Rule {
    let status = |status| Effect::Answer { status, retry_after_s: None, location: None };
    let on_list = |body: &str| {
        let body = Effect::Garble { body: body.to_owned(), content_type: None };
        Rule::new(body).on(Operation::List).after(2)
    };
    match dice.u8(0..60) {
        0..3 => return on_list(["]", "[]"][dice.usize(0..2)]),
        3 | 4 => {
            let mut turns = Rule::new(Effect::Stale { seconds: None });
            turns.every = 2;
            return turns;
        }
        5 | 6 => return Rule::new(Effect::RefuseConditions),
        7 => return Rule::new(Effect::HideEtag).on(Operation::ReadVm),
        8 => return Rule::new(Effect::WeakEtag).on(Operation::ReadVm),
        9 => return Rule::new(Effect::HideDate),
        15 => return Rule::new(Effect::DropBody).on(Operation::Create),
        16 | 17 => {
            let mut twice = Rule::new(Effect::Twice).on(Operation::Delete);
            twice.every = dice.u32(1..3);
            return twice;
        }
        10 => {
            let location = Some("http://127.0.0.1:2/api/3/vms".to_owned());
            let status = *pick(dice, &[301, 302, 307, 308]);
            let answer = Effect::Answer { status, retry_after_s: None, location };
            return Rule::new(answer).on(*pick(dice, &[Operation::Create, Operation::Delete])).times(3);
        }
        11 => {
            let refused = status(*pick(dice, &[408, 412, 415]));
            return Rule::new(refused).on(*pick(dice, &[Operation::Create, Operation::Delete])).times(4);
        }
        12..15 => {
            let mut rule = Rule::new(late(dice)).on(*pick(dice, &[Operation::Create, Operation::Delete]));
            rule.every = dice.u32(1..4);
            return rule;
        }
        _ => {}
    }
    let effect = match dice.u8(0..20) {
        0 => status(503),
        1 => status(*pick(dice, &[502, 401])),
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
    if matches!(effect, Effect::DropBody) {
        // A proxy that drops only some is beyond what a first, lone delete can find out.
        return Rule::new(effect).on(Operation::Delete);
    }
    let operations =
        [Operation::List, Operation::ReadVm, Operation::Create, Operation::Create, Operation::Delete];
    let mut rule = Rule::new(effect).on(*pick(dice, &operations)).after(dice.u32(0..3));
    rule.every = dice.u32(1..6);
    rule
}

fn pick<'a, T>(dice: &mut Rng, among: &'a [T]) -> &'a T {
    &among[dice.usize(0..among.len())]
}
