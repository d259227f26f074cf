//! How a seed becomes a life.

use crate::scenario::{ByHand, Mark, Rules, Run, Scenario, Step, StepAction, VmStart};
use fastrand::Rng;
use fifo_retain::sandbox::{Effect, Operation, Rule, UploadOutcome, UploadScript};
use std::time::Duration;

const HOUR_S: u64 = 3_600;

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
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let size = size(&mut rng);
        let vms = (0..size.vms).map(|_| vm_start(&mut rng, &size)).collect();
        let mut scenario = Self {
            seed,
            is_old_fifo: rng.u8(0..4) == 0,
            rules: Rules { suspended_days: None, ..rules(&mut rng) },
            vms,
            max_uploads: [1, 1, 2, 3, 8][rng.usize(0..5)],
            max_uploads_per_hypervisor: rng.usize(1..=2),
            steps: Vec::new(),
        };
        let mut passed_s = 0;
        while passed_s < size.days * 24 * HOUR_S {
            let after_s = rng.u64(60..=10 * HOUR_S);
            passed_s += after_s;
            let what = what(&mut rng, &size);
            scenario.steps.push(Step { after: Duration::from_secs(after_s), what });
        }
        add_prunes(&mut scenario);
        scenario
    }
}

/// Has half of all policies, and three of four runs under them, delete from storage. By random numbers of its own: what else happens
/// in a life does not change with it.
fn add_prunes(scenario: &mut Scenario) {
    let mut rng = Rng::with_seed(!scenario.seed);
    let expire = |rng: &mut Rng, rules: &mut Rules| {
        rules.prunes = rng.bool();
        if rules.prunes {
            rules.keep_coarser = Some((rng.u32(1..=2), rng.u32(1..=3)));
            rules.keep.get_or_insert(rng.u32(1..=5));
        }
    };
    expire(&mut rng, &mut scenario.rules);
    let mut current = scenario.rules.clone();
    for step in &mut scenario.steps {
        match &mut step.what {
            StepAction::Policies(rules) => {
                match current.keep {
                    // Only one copy fewer is to stay: what that expires may go at once.
                    Some(keep) if keep > 1 && rng.bool() => {
                        *rules = Rules { keep: Some(keep - 1), ..current };
                    }
                    _ => expire(&mut rng, rules),
                }
                current = rules.clone();
            }
            StepAction::Run(run) => {
                run.prunes = rng.u8(0..4) > 0;
                if scenario.rules.prunes && rng.u8(0..6) == 0 {
                    let what = StepAction::IncrementOnOld(rng.usize(0..scenario.vms.len()), rng.usize(0..12));
                    // Most uploads take a few seconds, and what has expired goes after them.
                    let after = Duration::from_millis(rng.u64(0..6_000));
                    run.meanwhile.push(Step { after, what });
                }
            }
            StepAction::Disturb(rules) => match rng.u8(0..12) {
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

fn size(rng: &mut Rng) -> Size {
    match rng.u8(0..100) {
        0..3 => Size { vms: rng.usize(16..=40), hypervisors: rng.usize(2..=6), days: rng.u64(2..=6) },
        3..6 => Size { vms: rng.usize(1..=2), hypervisors: 2, days: rng.u64(40..=90) },
        6..20 => Size { vms: rng.usize(5..=12), hypervisors: rng.usize(1..=4), days: rng.u64(3..=10) },
        _ => Size { vms: rng.usize(1..=4), hypervisors: rng.usize(1..=3), days: rng.u64(3..=25) },
    }
}

fn mark(rng: &mut Rng) -> Mark {
    match rng.u8(0..20) {
        0 => Mark::Unprotected,
        1 => Mark::Conflict,
        2 => Mark::Suspended,
        3 => Mark::Unreadable,
        _ => Mark::Protected,
    }
}

fn vm_start(rng: &mut Rng, size: &Size) -> VmStart {
    VmStart {
        hypervisor: rng.usize(0..size.hypervisors),
        mark: mark(rng),
        disks: if rng.u8(0..4) == 0 { rng.usize(2..=3) } else { 1 },
        nights: rng.u32(0..40),
    }
}

fn rules(rng: &mut Rng) -> Rules {
    Rules {
        due_hour: rng.u32(0..24),
        has_weekly: rng.u8(0..5) > 0,
        daily_keeps_local: if rng.u8(0..4) == 0 { rng.u32(1..3) } else { 0 },
        attempts: rng.u32(1..=3),
        zone: ZONES[rng.usize(0..ZONES.len())],
        blocks_without_parent: rng.u8(0..8) == 0,
        daily_from_coarser: rng.u8(0..8) == 0,
        spread_hours: (rng.u8(0..6) == 0).then(|| rng.u32(1..=6)),
        is_renamed: rng.u8(0..6) == 0,
        keep: (rng.u8(0..3) == 0).then(|| rng.u32(1..=9)),
        keep_coarser: None,
        prunes: false,
        suspended_days: (rng.u8(0..3) == 0).then(|| rng.i64(1..=5)),
    }
}

fn what(rng: &mut Rng, size: &Size) -> StepAction {
    match rng.u8(0..100) {
        0..58 => StepAction::Run(run(rng, size)),
        58..60 => StepAction::Plan,
        60 => StepAction::StampsAhead(rng.i64(600..=3_500)),
        61 => StepAction::Disturb(late_without_body(rng)),
        62 => StepAction::ListsCut(true),
        63 => StepAction::Disturb(old_and_refused()),
        64 => StepAction::Disturb(one_stale_node(rng)),
        65..74 => StepAction::Disturb((0..rng.usize(1..=3)).map(|_| rule(rng)).collect()),
        74..83 => StepAction::Calm,
        83..86 => StepAction::Policies(rules(rng)),
        _ => incident(rng, size),
    }
}

fn run(rng: &mut Rng, size: &Size) -> Run {
    let some_time = |rng: &mut Rng| {
        let longest_ms = if rng.u8(0..4) == 0 { 2 * HOUR_S * 1_000 } else { 20_000 };
        Duration::from_millis(rng.u64(0..=longest_ms))
    };
    Run {
        killed_after: (rng.u8(0..4) == 0).then(|| some_time(rng)),
        ended_after: (rng.u8(0..6) == 0).then(|| some_time(rng)),
        two_at_once: rng.u8(0..8) == 0,
        waits: rng.u8(0..6) > 0,
        prunes: false,
        takes_saved: rng.u8(0..6) == 0,
        meanwhile: (0..rng.usize(0..=3))
            .map(|_| Step { after: some_time(rng), what: incident(rng, size) })
            .collect(),
    }
}

fn incident(rng: &mut Rng, size: &Size) -> StepAction {
    let vm = rng.usize(0..size.vms);
    let hypervisor = rng.usize(0..size.hypervisors);
    match rng.u8(0..108) {
        100..103 => StepAction::VmState(vm, STATES[rng.usize(0..STATES.len())]),
        103..105 => StepAction::Datasets(vm, rng.bool()),
        105.. => StepAction::OwnClock(match rng.u8(0..6) {
            0 => rng.i64(-6 * 3_600..=6 * 3_600),
            1..4 => rng.i64(-3_000..=3_000),
            _ => 0,
        }),
        0..30 => StepAction::UploadScript(vm, script(rng)),
        30..52 => StepAction::CreateByHand(vm, by_hand(rng)),
        52..57 => StepAction::DeleteByHand(vm, rng.usize(0..30)),
        57..62 => StepAction::DeleteLocallyByHand(vm, rng.usize(0..30)),
        62..70 => StepAction::Move(vm, (rng.u8(0..3) > 0).then_some(hypervisor)),
        70..72 => StepAction::DeleteVm(vm),
        72..75 => StepAction::NewVm(VmStart { nights: 0, ..vm_start(rng, size) }),
        75..80 => StepAction::Mark(vm, mark(rng)),
        80..84 => StepAction::Agent(hypervisor, false),
        84..88 => StepAction::Agent(hypervisor, true),
        88..92 => StepAction::Store(rng.bool()),
        92..93 => StepAction::Backend(false),
        93..96 => StepAction::Backend(true),
        96..100 => StepAction::Clock(match rng.u8(0..6) {
            0 => rng.i64(-6 * 3_600..=6 * 3_600),
            1..4 => rng.i64(-3_000..=3_000),
            _ => 0,
        }),
    }
}

fn script(rng: &mut Rng) -> UploadScript {
    let outcome = *pick(
        rng,
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
    let longest_ms = match rng.u8(0..9) {
        0 => 5 * 3_600_000,
        1..3 => 110 * 60_000,
        _ => 30 * 60_000,
    };
    UploadScript { outcome, upload_ms: Some(rng.u64(500..=longest_ms)), size_bytes: None }
}

fn by_hand(rng: &mut Rng) -> ByHand {
    ByHand {
        comment: COMMENTS[rng.usize(0..COMMENTS.len())],
        is_increment: rng.u8(0..3) == 0,
        ahead_hours: (rng.u8(0..6) == 0).then(|| rng.i64(1..=40 * 24)),
    }
}

/// A proxy that drops the bodies of DELETEs, and lets them through late: nothing shows what they did when it is looked at.
fn late_without_body(rng: &mut Rng) -> Vec<Rule> {
    let mut late = Rule::new(late(rng)).on(Operation::Delete);
    late.every = rng.u32(1..3);
    vec![Rule::new(Effect::DropBody).on(Operation::Delete), late]
}

/// A cache that is old for ever, behind which no condition fits.
fn old_and_refused() -> Vec<Rule> {
    vec![Rule::new(Effect::RefuseConditions), Rule::new(Effect::Stale { seconds: None })]
}

/// Several API nodes, each with a cache of its own or one of them alone: that one is old for ever.
fn one_stale_node(rng: &mut Rng) -> Vec<Rule> {
    let stale = Rule::new(Effect::Stale { seconds: None });
    match rng.u32(0..3) {
        0 => vec![stale.clone().at_node(0), stale.at_node(1)],
        last => vec![stale.at_node(last)],
    }
}

fn late(rng: &mut Rng) -> Effect {
    Effect::ActLate { ms: rng.u64(1_000..=50_000) }
}

fn rule(rng: &mut Rng) -> Rule {
    let status = |status| Effect::Answer { status, retry_after_s: None, location: None };
    let on_list = |body: &str| {
        let body = Effect::Garble { body: body.to_owned(), content_type: None };
        Rule::new(body).on(Operation::List).after(2)
    };
    match rng.u8(0..60) {
        0..3 => return on_list(["]", "[]"][rng.usize(0..2)]),
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
            twice.every = rng.u32(1..3);
            return twice;
        }
        10 => {
            let location = Some("http://127.0.0.1:2/api/3/vms".to_owned());
            let status = *pick(rng, &[301, 302, 307, 308]);
            let answer = Effect::Answer { status, retry_after_s: None, location };
            return Rule::new(answer).on(*pick(rng, &[Operation::Create, Operation::Delete])).times(3);
        }
        11 => {
            let refused = status(*pick(rng, &[408, 412, 415]));
            return Rule::new(refused).on(*pick(rng, &[Operation::Create, Operation::Delete])).times(4);
        }
        12..15 => {
            let mut rule = Rule::new(late(rng)).on(*pick(rng, &[Operation::Create, Operation::Delete]));
            rule.every = rng.u32(1..4);
            return rule;
        }
        _ => {}
    }
    let effect = match rng.u8(0..20) {
        0 => status(503),
        1 => status(*pick(rng, &[502, 401])),
        2 => status(504),
        3 => Effect::Answer { status: 429, retry_after_s: Some(rng.u32(0..30)), location: None },
        4 => status(500),
        5 => status(403),
        6 => status(404),
        7 => Effect::Drop,
        8 | 9 => Effect::ActThenDrop,
        10 | 11 => Effect::ActThenAnswer { status: *pick(rng, &[500, 502, 503, 504]) },
        12 => Effect::Delay { ms: rng.u64(0..=40_000) },
        13 => Effect::Cut { after_bytes: rng.usize(0..2_000) },
        14 => Effect::Stale { seconds: Some(rng.u32(1..30)) },
        15 => Effect::Stale { seconds: None },
        16 => Effect::DropBody,
        17 => Effect::ShiftDate { seconds: rng.i64(-500..=500) },
        18 => Effect::ExpireTokens,
        _ => Effect::Garble { body: "<html>Bad Gateway</html>".to_owned(), content_type: None },
    };
    if matches!(effect, Effect::DropBody) {
        // A proxy that drops only some is beyond what a first, lone delete can find out.
        return Rule::new(effect).on(Operation::Delete);
    }
    let operations =
        [Operation::List, Operation::ReadVm, Operation::Create, Operation::Create, Operation::Delete];
    let mut rule = Rule::new(effect).on(*pick(rng, &operations)).after(rng.u32(0..3));
    rule.every = rng.u32(1..6);
    rule
}

fn pick<'a, T>(rng: &mut Rng, among: &'a [T]) -> &'a T {
    &among[rng.usize(0..among.len())]
}
