//! Lives a scenario: the real planner, client and executor on simulated time against the simulated FiFo.

use crate::judges::{Judges, restorable};
use crate::scenario::{Mark, Scenario, Step, VmStart, What};
use crate::transport::{TestClock, Wire};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};
use fifo_retain::apply::{
    Clock as _, Ending, Event, Executor, Observer, Pace, Settings, Step as Deed, What as Told,
};
use fifo_retain::fifo::{self, Credentials, ReadClient, WriteClient};
use fifo_retain::plan::plan;
use fifo_retain::policy::{self, Policies, SourceFile};
use fifo_retain::sandbox::{ApiStyle, Effect, EmptyMaps, Order, Outcome, Shape, Vm, World};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What came of a life.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lived {
    /// The promises that were broken.
    pub(crate) found: Vec<String>,
    /// Everything that happened, in words; the same for the same seed.
    pub(crate) history: String,
}

struct Life {
    wire: Wire,
    clock: TestClock,
    policies: Policies,
    settings: Settings,
    vms: Vec<Uuid>,
    judges: Arc<Mutex<Judges>>,
    history: Arc<Mutex<String>>,
}

/// Lives a scenario to its end, on a runtime of its own with paused time.
pub(crate) fn live(scenario: &Scenario) -> Lived {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let life = Life::begin(scenario);
        for step in &scenario.steps {
            life.step(step).await;
        }
        life.end(scenario).await;
        let found = life.judges.lock().unwrap().found.clone();
        let history = life.history.lock().unwrap().clone();
        Lived { found, history }
    })
}

impl Life {
    fn begin(scenario: &Scenario) -> Self {
        let days = i64::try_from(scenario.seed % 700).unwrap();
        let start = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(days);
        let clock = TestClock::starting_at(start);
        let mut world =
            World::new(Shape { style: ApiStyle::V3, empty_maps: EmptyMaps::Object }, scenario.seed);
        let vms: Vec<Uuid> =
            scenario.vms.iter().map(|vm| add_vm(&mut world, vm, start, scenario.due_hour)).collect();
        let untouchable = vms.iter().zip(&scenario.vms).filter(|(_, vm)| vm.mark != Mark::Protected);
        let mut judges = Judges {
            untouchable: untouchable.map(|(id, _)| *id).collect(),
            due_hour: scenario.due_hour,
            max_uploads: scenario.max_uploads,
            max_uploads_per_hypervisor: scenario.max_uploads_per_hypervisor,
            ..Judges::default()
        };
        judges.accept(&world);
        let wire = Wire::new(world, clock);
        let judges = Arc::new(Mutex::new(judges));
        let history = Arc::new(Mutex::new(String::new()));
        let (judging, noting) = (Arc::clone(&judges), Arc::clone(&history));
        wire.state().judge = Some(Box::new(move |world, asked| {
            judging.lock().unwrap().asked(world, asked);
            if asked.method != "GET" {
                writeln!(noting.lock().unwrap(), "{} {} {}", asked.at, asked.method, asked.target).unwrap();
            }
        }));
        let settings = Settings {
            max_uploads: scenario.max_uploads,
            max_uploads_per_hypervisor: scenario.max_uploads_per_hypervisor,
            wait: true,
            pace: Pace::default(),
        };
        Self { wire, clock, policies: policies(scenario), settings, vms, judges, history }
    }

    fn note(&self, what: &str) {
        if std::env::var_os("FIFO_RETAIN_SIM_TRACE").is_some() {
            eprintln!("{} {what}", self.clock.now());
        }
        writeln!(self.history.lock().unwrap(), "{} {what}", self.clock.now()).unwrap();
    }

    async fn step(&self, step: &Step) {
        tokio::time::sleep(step.after).await;
        self.catch_up();
        match &step.what {
            What::Run { killed_after, two_at_once, meanwhile } => {
                self.note(&format!("run, killed after {killed_after:?}, two at once: {two_at_once}"));
                self.judges.lock().unwrap().run_begins(*two_at_once);
                let runs = async {
                    if *two_at_once {
                        tokio::join!(self.reconcile(), self.reconcile());
                    } else {
                        self.reconcile().await;
                    }
                };
                let runs = async {
                    match killed_after {
                        Some(after) => _ = tokio::time::timeout(*after, runs).await,
                        None => runs.await,
                    }
                };
                let happenings = async {
                    for step in meanwhile {
                        tokio::time::sleep(step.after).await;
                        self.happen(&step.what);
                    }
                };
                tokio::join!(runs, happenings);
                self.judges.lock().unwrap().two_runners = false;
            }
            what => self.happen(what),
        }
    }

    /// Lets the world come up to the present, and has that judged.
    fn catch_up(&self) {
        let state = &mut *self.wire.state();
        state.world.advance(self.clock.now().timestamp_micros());
        self.judges.lock().unwrap().time_passed(&state.world);
    }

    fn happen(&self, what: &What) {
        self.note(&format!("{what:?}"));
        let now_us = self.clock.now().timestamp_micros();
        let state = &mut *self.wire.state();
        let world = &mut state.world;
        world.advance(now_us);
        match what {
            What::Run { .. } => {}
            What::Disturb(rules) => state.faults.rules.extend(rules.iter().cloned()),
            What::Calm => state.faults.clear(),
            What::Fate(vm, fate) => world.vms.get_mut(&self.vms[*vm]).unwrap().fates.push_back(*fate),
            What::CreateByHand(vm, comment) => {
                let order = Order { comment: (*comment).to_owned(), parent: None, delete: false };
                _ = world.create_backup(self.vms[*vm], &order, now_us);
            }
            What::DeleteByHand(vm, place) => {
                let id = self.vms[*vm];
                // On no hypervisor FiFo would leave records of what is gone: nobody could know.
                if let (Some(backup), true) = (nth(world, id, *place), world.vms[&id].hypervisor().is_some())
                {
                    world.uploads.retain(|upload, _| *upload != backup);
                    world.delete_cloud(id, backup, now_us);
                }
            }
            What::DeleteLocallyByHand(vm, place) => {
                if let Some(backup) = nth(world, self.vms[*vm], *place) {
                    _ = world.delete_local(self.vms[*vm], backup, now_us);
                }
            }
            What::Move(vm, to) => {
                let to = to.map(|to| format!("hv-{to}"));
                world.leave_hypervisor(self.vms[*vm], to.as_deref());
            }
            What::Agent(hypervisor, true) => _ = world.agents_down.remove(&format!("hv-{hypervisor}")),
            What::Agent(hypervisor, false) => _ = world.agents_down.insert(format!("hv-{hypervisor}")),
            What::Store(is_up) => {
                world.outcome = if *is_up { Outcome::Complete } else { Outcome::SnapshotOnly };
            }
            What::Backend(is_up) => world.backend_up = *is_up,
        }
        let is_drop = |rule: &fifo_retain::sandbox::Rule| matches!(rule.effect, Effect::DropBody);
        let mut judges = self.judges.lock().unwrap();
        judges.bodies_are_dropped = state.faults.rules.iter().any(is_drop);
        judges.accept(&state.world);
    }

    async fn reconcile(&self) {
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        let credentials = Credentials::Password { user: "admin".to_owned(), password: "admin".into() };
        let mut settings = fifo::Settings::new(endpoint, credentials);
        settings.read_timeout = Duration::from_secs(300);
        let client = WriteClient::new(ReadClient::new(Arc::new(self.wire.clone()), settings));
        let listing = match client.read().list().await {
            Ok(listing) => listing,
            Err(error) => return self.note(&format!("could not read: {error}")),
        };
        let now = listing.server_date.map_or(self.clock.now(), |date| date.max(self.clock.now()));
        let plan = match plan(&self.policies, &listing.inventory, now) {
            Ok(plan) => plan,
            Err(broken) => return self.judges.lock().unwrap().found.push(format!("no plan: {broken:?}")),
        };
        let stop = CancellationToken::new();
        let executor = Executor {
            client: &client,
            policies: &self.policies,
            clock: &self.clock,
            observer: self,
            stop: &stop,
            settings: self.settings,
        };
        let report = executor.carry_out(&plan.vms, &listing.inventory).await;
        self.note(&format!("ran: {:?}", report.tally()));
    }

    /// Calms everything, and gives the program two quiet nights.
    async fn end(&self, scenario: &Scenario) {
        self.note("quiet");
        {
            let state = &mut *self.wire.state();
            state.faults.clear();
            state.world.agents_down.clear();
            state.world.backend_up = true;
            state.world.outcome = Outcome::Complete;
            state.world.vms.values_mut().for_each(|vm| vm.fates.clear());
            let mut judges = self.judges.lock().unwrap();
            judges.bodies_are_dropped = false;
            judges.accept(&state.world);
        }
        for hours in [25, 2] {
            tokio::time::sleep(Duration::from_secs(hours * 3_600)).await;
            self.catch_up();
            self.judges.lock().unwrap().run_begins(false);
            self.reconcile().await;
        }
        let asked = self.writes();
        self.reconcile().await;
        if self.writes() != asked {
            self.judges
                .lock()
                .unwrap()
                .found
                .push("a third quiet run still finds something to do".to_owned());
        }
        self.catch_up();
        let protected: BTreeSet<Uuid> = self
            .vms
            .iter()
            .zip(&scenario.vms)
            .filter(|(_, vm)| vm.mark == Mark::Protected)
            .map(|(id, _)| *id)
            .collect();
        let state = self.wire.state();
        let now_us = self.clock.now().timestamp_micros();
        self.judges.lock().unwrap().at_the_end(&state.world, &protected, scenario.daily_keeps_local, now_us);
    }

    fn writes(&self) -> usize {
        self.wire.state().asked.iter().filter(|asked| asked.target.contains("/backups")).count()
    }
}

impl Observer for Life {
    /// What is told as done must be so in the world, at that moment.
    fn observe(&self, event: &Event) {
        if !matches!(event.what, Told::Progress { .. }) {
            self.note(&format!("  {:?}", event.what));
        }
        let Told::ActionEnded { at, step, outcome: Ending::Done, .. } = &event.what else { return };
        let state = self.wire.state();
        let vm = at.vm.uuid();
        let is_true = match step {
            Deed::Create { backup: Some(backup), .. } => restorable(&state.world, vm, backup.uuid()),
            Deed::Create { backup: None, .. } => false,
            Deed::DeleteLocal { backup, .. } => state.world.vms[&vm]
                .backups
                .get(&backup.uuid())
                .is_some_and(|record| record.local == Some(false)),
        };
        drop(state);
        if !is_true {
            self.judges.lock().unwrap().found.push(format!("told as done, and is not so: {:?}", event.what));
        }
    }
}

fn nth(world: &World, vm: Uuid, place: usize) -> Option<Uuid> {
    let mut backups: Vec<_> =
        world.vms[&vm].backups.iter().map(|(id, record)| (record.timestamp, *id)).collect();
    backups.sort_unstable();
    (!backups.is_empty()).then(|| backups[place % backups.len()].1)
}

fn policies(scenario: &Scenario) -> Policies {
    let (hour, keep_local) = (scenario.due_hour, scenario.daily_keeps_local);
    let policy = |name: &str, mark: &str, more: &str| {
        format!(
            "
version: 1
policy: {name}
select: {{ metadata: {{ sim.mark: {mark} }} }}
stuck_after: 2h
tiers:
  - {{ name: monthly, schedule: '0 {hour} 1 * *', type: full }}
  - {{ name: weekly, schedule: '0 {hour} * * SUN', type: incremental }}
  - {{ name: daily, schedule: '0 {hour} * * *', type: incremental, keep_local: {keep_local} }}
{more}"
        )
    };
    let held = "suspend: { reason: a test, until: 2099-01-01 }\n";
    let texts = [
        policy("protected", "[Protected, Unreadable]", ""),
        policy("one", "Conflict", ""),
        policy("two", "Conflict", ""),
        policy("held", "Suspended", held),
    ];
    let files: Vec<SourceFile> = texts
        .into_iter()
        .enumerate()
        .map(|(n, text)| SourceFile { name: format!("{n}.yaml"), bytes: text.into_bytes() })
        .collect();
    policy::parse(&files).unwrap().policies
}

/// Makes a VM with the nights of the old script behind it.
fn add_vm(world: &mut World, start: &VmStart, now: DateTime<Utc>, due_hour: u32) -> Uuid {
    let id = world.new_uuid();
    let mut vm = Vm::new(&format!("vm-{}", world.vms.len()), &format!("hv-{}", start.hypervisor))
        .with("metadata", json!({"sim": {"mark": format!("{:?}", start.mark)}}));
    if start.mark == Mark::Unreadable {
        vm.fields.insert("alias".to_owned(), json!(7));
    }
    vm.full_bytes = 3 << 20;
    world.vms.insert(id, vm);
    let mut parent: Option<Uuid> = None;
    for nights_ago in (1..=start.nights).rev() {
        let night = (now - TimeDelta::days(i64::from(nights_ago))).date_naive();
        let at = night.and_hms_opt(due_hour, 0, 20).unwrap().and_utc();
        if at + TimeDelta::hours(1) > now {
            continue;
        }
        let comment = match (night.day(), night.weekday(), parent) {
            (1, _, _) | (_, _, None) => "monthly",
            (_, Weekday::Sun, _) => "weekly",
            _ => "daily",
        };
        let on = parent.filter(|_| comment != "monthly");
        let order = Order { comment: comment.to_owned(), parent: on.map(|id| id.to_string()), delete: false };
        let made = world.create_backup(id, &order, at.timestamp_micros()).unwrap();
        world.advance((at + TimeDelta::hours(1)).timestamp_micros());
        if let Some(parent) = parent {
            _ = world.delete_local(id, parent, (at + TimeDelta::hours(1)).timestamp_micros());
        }
        parent = Some(made);
    }
    world.advance(now.timestamp_micros());
    id
}
