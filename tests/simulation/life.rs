//! Lives a scenario: the real planner, client and executor on simulated time against the simulated FiFo.

use crate::cloud;
use crate::judges::Judges;
use crate::own_clock::OwnClock;
use crate::scenario::{Run, Scenario, Step, StepAction};
use crate::state_folder::StateFolder;
use crate::transport::{TestClock, Wire};
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::{
    ActionKind, ActionOutcome, Approval, Clock as _, Event, EventKind, Executor, ExecutorSettings, Observer,
    ProgressTracker, Timing,
};
use fifo_retain::fifo::{self, ApiVersion, Credentials, ReadClient, WriteClient};
use fifo_retain::inventory::Inventory;
use fifo_retain::plan::{Plan, Prune, Request, Status, VmPlan, confirm, plan};
use fifo_retain::policy::Policies;
use fifo_retain::sandbox::{UploadOutcome, World};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(1);

/// No run takes longer than this, for what moves on a VM in no policy, and as much more for each VM that something is due
/// on as it may take if all wait for each other and each of its three tiers is tried: what hangs gives its place back, and
/// is given up on after two hours.
const RUN_MAX: TimeDelta = TimeDelta::hours(6);
const RUN_MAX_PER_VM: TimeDelta = TimeDelta::hours(7);

/// How often runs are repeated, in one life of five: then each leaves what it still waits for to the next.
const EVERY: Duration = Duration::from_secs(15 * 60);

const DEADLINE: Duration = Duration::from_secs(3_600);

/// For how many nights full backups come to a bad end: a first of the month is among them.
const HARD_NIGHTS: usize = 34;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lived {
    pub(crate) found: Vec<String>,
    pub(crate) history: String,
    pub(crate) time: Duration,
    pub(crate) requests: usize,
    pub(crate) disturbances: usize,
}

pub(crate) struct Life {
    pub(crate) wire: Wire,
    pub(crate) clock: TestClock,
    pub(crate) own_clock: Arc<OwnClock>,
    pub(crate) folders: [Arc<StateFolder>; 2],
    start: DateTime<Utc>,
    pub(crate) judges: Arc<Mutex<Judges>>,
    pub(crate) changing: Mutex<Changing>,
    settings: ExecutorSettings,
    /// The result of every full backup once the life itself is over, in one of twelve lives.
    hard_nights: Option<UploadOutcome>,
    /// Whether a month more is lived then with one run a night, in one of twelve lives.
    has_single_runs: bool,
    pub(crate) is_old_fifo: bool,
    history: Arc<Mutex<String>>,
}

/// What changes in a life beside the cloud itself.
pub(crate) struct Changing {
    pub(crate) policies: Arc<Policies>,
    /// The VMs that there ever were; those that were deleted are not taken out.
    pub(crate) vms: Vec<Uuid>,
    pub(crate) due_hour: u32,
    pub(crate) prunes: bool,
    pub(crate) saved: Option<Plan>,
    pub(crate) disturbances: usize,
    /// In lives in which runs are repeated by one process, when the next one is due.
    handed_over_after: Option<Duration>,
    /// What that process remembers of uploads, on each machine.
    progress: [Arc<ProgressTracker>; 2],
    /// In other lives, after how long a run leaves what it still waits for to the next.
    deadline: Option<Duration>,
}

/// Lives a scenario to its end, on a runtime of its own with paused time.
pub(crate) fn live(scenario: &Scenario) -> Lived {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let life = Life::begin(scenario);
        for step in &scenario.steps {
            life.step(step).await;
            if !life.judges().found.is_empty() {
                break;
            }
        }
        if life.judges().found.is_empty() {
            life.end().await;
        }
        life.lived()
    })
}

impl Life {
    fn begin(scenario: &Scenario) -> Self {
        let days = i64::try_from(scenario.seed % 700).unwrap();
        let start = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(days);
        let clock = TestClock::starting_at(start);
        let (world, vms) = cloud::world(scenario, start);
        let mut judges = Judges::new(scenario.max_uploads, scenario.max_uploads_per_hypervisor);
        judges.rules_change(&scenario.rules, start);
        judges.accept(&world);
        let wire = Wire::new(world, clock);
        let judges = Arc::new(Mutex::new(judges));
        let history = Arc::new(Mutex::new(String::new()));
        let own_clock = Arc::new(OwnClock::new(clock));
        let folders: [Arc<StateFolder>; 2] = Default::default();
        let (judging, noting, own) = (Arc::clone(&judges), Arc::clone(&history), Arc::clone(&own_clock));
        let noted = folders.clone();
        wire.state().judge = Some(Box::new(move |world, asked| {
            let mut judges = judging.lock().unwrap();
            judges.deletes(asked, &noted[asked.sender], own.now());
            judges.asked(world, asked, own.now(), clock.now());
            if asked.method != "GET" {
                writeln!(noting.lock().unwrap(), "{} {} {}", asked.at, asked.method, asked.target).unwrap();
            }
        }));
        let settings = ExecutorSettings {
            max_uploads: scenario.max_uploads,
            max_uploads_per_hypervisor: scenario.max_uploads_per_hypervisor,
            wait: true,
            deadline: None,
            prune: Prune::default(),
            // Fewer looks at what takes hours, so that a test run holds more lives.
            timing: Timing {
                pause_max: Duration::from_secs(300),
                look_first: Duration::from_secs(2),
                look_share: 2,
                ..Timing::default()
            },
        };
        let changing = Changing {
            policies: Arc::new(cloud::policies(&scenario.rules, start)),
            vms,
            due_hour: scenario.rules.due_hour,
            prunes: scenario.rules.prunes,
            saved: None,
            disturbances: 0,
            handed_over_after: (scenario.seed % 5 == 3).then_some(EVERY),
            progress: Default::default(),
            deadline: (scenario.seed % 5 == 1).then_some(DEADLINE),
        };
        Self {
            wire,
            clock,
            own_clock,
            folders,
            start,
            judges,
            changing: Mutex::new(changing),
            settings,
            has_single_runs: scenario.seed % 12 == 5 && scenario.vms.len() <= 4,
            hard_nights: match scenario.seed % 24 {
                _ if scenario.vms.len() > 4 => None,
                7 => Some(UploadOutcome::Hang),
                19 => Some(UploadOutcome::Fail),
                _ => None,
            },
            is_old_fifo: scenario.is_old_fifo,
            history,
        }
    }

    pub(crate) fn judges(&self) -> MutexGuard<'_, Judges> {
        self.judges.lock().unwrap()
    }

    pub(crate) fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap()
    }

    pub(crate) fn note(&self, what: &str) {
        if is_traced() {
            eprintln!("{} {what}", self.clock.now());
        }
        writeln!(self.history.lock().unwrap(), "{} {what}", self.clock.now()).unwrap();
    }

    pub(crate) fn lift(&self, sender: usize) {
        self.folders[sender].lift();
        self.judges().stop_lifted(sender);
    }

    async fn step(&self, step: &Step) {
        tokio::time::sleep(step.after).await;
        self.time_passed();
        for sender in (0..self.folders.len()).filter(|sender| self.folders[*sender].is_to_be_lifted()) {
            self.note("the safety stop is lifted");
            self.lift(sender);
        }
        match &step.what {
            StepAction::Run(run) => self.run(run).await,
            StepAction::Plan => {
                if let Some((plan, _)) = self.plan(&self.client(0), &self.policies(), Prune::REQUESTED).await
                {
                    self.note("a plan is saved");
                    self.changing().saved = Some(plan);
                }
            }
            what => self.happen(what),
        }
    }

    async fn run(&self, run: &Run) {
        self.note(&format!("{run:?}"));
        self.run_begins(run.two_at_once);
        let stop = CancellationToken::new();
        let runs = async {
            if run.two_at_once {
                tokio::join!(self.reconcile(0, run, &stop), self.reconcile(1, run, &stop));
            } else {
                self.reconcile(0, run, &stop).await;
            }
        };
        let runs = async {
            match run.killed_after {
                Some(after) => {
                    if tokio::time::timeout(after, runs).await.is_err() {
                        self.changing().progress = Default::default();
                        self.judges().unproven_at.clear();
                    }
                }
                None => runs.await,
            }
        };
        // Asked to stop only while it goes on: what ends a run must not prolong a life.
        let told_to_end = async {
            match run.ended_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            stop.cancel();
            self.judges().stopped_at = Some(self.clock.now());
            std::future::pending::<()>().await;
        };
        let runs = async {
            tokio::select! {
                biased;
                () = runs => {}
                () = told_to_end => {}
            }
        };
        let happenings = async {
            for step in &run.meanwhile {
                tokio::time::sleep(step.after).await;
                self.happen(&step.what);
            }
        };
        tokio::join!(runs, happenings);
        self.judges().two_runners = false;
    }

    fn run_begins(&self, two_runners: bool) {
        let state = self.wire.state();
        let mut changing = self.changing();
        let is_new = changing.handed_over_after.is_none();
        if is_new {
            changing.progress = Default::default();
        }
        self.judges().run_begins(&state.world, two_runners, is_new);
    }

    fn time_passed(&self) {
        self.wire.arrive();
        let now_us = self.wire.server_now().timestamp_micros();
        let state = &mut *self.wire.state();
        state.world.advance(now_us);
        self.judges().time_passed(&state.world);
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.changing().policies)
    }

    fn client(&self, sender: usize) -> WriteClient {
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        let credentials = Credentials::Password { user: "admin".to_owned(), password: "admin".into() };
        let mut settings = fifo::ClientSettings::new(endpoint, credentials);
        settings.read_timeout = Duration::from_secs(300);
        settings.api = if self.is_old_fifo { ApiVersion::V2 } else { ApiVersion::V3 };
        WriteClient::new(ReadClient::new(Arc::new(self.wire.of_sender(sender)), settings))
    }

    async fn plan(
        &self,
        client: &WriteClient,
        policies: &Policies,
        prune: Prune,
    ) -> Option<(Plan, Inventory)> {
        let listing = match client.read().list().await {
            Ok(listing) => listing,
            Err(error) => {
                self.note(&format!("could not read: {error}"));
                return None;
            }
        };
        let ours = self.own_clock.now();
        let server = listing.server_date.unwrap_or(ours);
        if (server - ours).abs() > CLOCKS_APART_MAX {
            self.note("the clocks are too far apart");
            return None;
        }
        let plan = plan(policies, &listing.inventory, Request::by_clocks(ours, Some(server), prune));
        for vm in plan.vms.iter().filter(|_| is_traced()) {
            let (actions, notes) = (&vm.actions, &vm.notes);
            eprintln!("  {}: {:?} {actions:?} {notes:?}", vm.alias, vm.status);
        }
        for vm in plan.vms.iter().filter(|vm| vm.status == Status::Fault) {
            self.judges().found.push(format!("no plan for a VM: {:?}", vm.notes));
        }
        Some((plan, listing.inventory))
    }

    async fn reconcile(&self, sender: usize, run: &Run, stop: &CancellationToken) {
        if self.folders[sender].refuses_run() {
            return self.note("the safety stop is set");
        }
        self.folders[sender].run_begins();
        let policies = self.policies();
        let prune = if run.prunes { Prune::REQUESTED } else { Prune::default() };
        let client = self.client(sender);
        let Some((fresh, inventory)) = self.plan(&client, &policies, prune).await else { return };
        let saved = if run.takes_saved { self.changing().saved.clone() } else { None };
        let (vms, approval) = match &saved {
            Some(saved) => (confirm(saved, &fresh).vms, Approval::Listed),
            None => (fresh.vms, Approval::Everything),
        };
        let may_prune = run.prunes && self.changing().prunes;
        self.judges().lists(sender, may_prune, approval, &vms);
        let hand_over = CancellationToken::new();
        let progress = Arc::clone(&self.changing().progress[sender]);
        let executor = Executor {
            client: &client,
            policies: &policies,
            clock: &*self.own_clock,
            observer: &Eyes { life: self, sender },
            stop,
            hand_over: &hand_over,
            progress: &progress,
            notes: &*self.folders[sender],
            proof: None,
            settings: ExecutorSettings {
                wait: run.waits,
                prune,
                deadline: self.changing().deadline,
                ..self.settings
            },
        };
        let began = self.clock.now();
        let handed_over_after = self.changing().handed_over_after;
        let next_is_due = async {
            if let Some(after) = handed_over_after {
                tokio::time::sleep(after).await;
                hand_over.cancel();
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let report = tokio::select! {
            biased;
            never = next_is_due => match never {},
            report = executor.execute(&vms, inventory, approval) => report,
        };
        let took = self.clock.now() - began;
        let due = vms.iter().filter(|vm| !vm.due_actions().is_empty()).count();
        if took > RUN_MAX + RUN_MAX_PER_VM * i32::try_from(due).unwrap() {
            self.judges().found.push(format!("a run took {} hours", took.num_hours()));
        }
        let is_whole = !report.interrupted && report.uncompared.is_empty();
        self.judges().run_ends(sender, is_whole, self.clock.now());
        let tally = report.tally();
        self.note(&format!("ran: {tally:?}"));
        let planned = vms.iter().flat_map(VmPlan::due_actions).count();
        let not_done = tally.started + tally.left + tally.failed + tally.dropped + tally.interrupted;
        if not_done == 0 && tally.created + tally.deleted_local + tally.deleted_cloud < planned {
            let why = format!("{planned} actions were planned, and all is well after {tally:?}");
            self.judges().found.push(why);
        }
    }

    /// Calms everything, and gives the program as many quiet runs as there are tiers, and one for what comes due meanwhile.
    async fn end(&self) {
        self.note("quiet");
        self.happen(&StepAction::Calm);
        // So few runs can only be enough where they wait for what they begin.
        self.changing().handed_over_after = None;
        self.changing().deadline = None;
        {
            let state = &mut *self.wire.state();
            state.server_ahead = TimeDelta::zero();
            self.own_clock.set(0);
            state.world.agents_down.clear();
            state.world.backend_up = true;
            state.world.outcome = UploadOutcome::Complete;
            for vm in state.world.vms.values_mut() {
                vm.scripts.clear();
                vm.fields.insert("config".to_owned(), serde_json::json!({}));
                if vm.hypervisor().is_some() {
                    vm.fields.insert("state".to_owned(), serde_json::json!("running"));
                }
            }
            // What has not ended and has a wrong date is taken away by people: it may be waited for at any time to come.
            let now_us = self.clock.now().timestamp_micros();
            for vm in state.world.vms.values_mut() {
                vm.backups.retain(|_, record| {
                    let is_over = record.state.as_deref().is_some_and(|it| it != "uploading");
                    is_over || record.timestamp <= Some(now_us)
                });
            }
            let World { vms, uploads, .. } = &mut state.world;
            uploads.retain(|id, upload| vms.get(&upload.vm).is_some_and(|vm| vm.backups.contains_key(id)));
            self.judges().accept(&state.world);
        }
        let (stop, quiet) = (CancellationToken::new(), Run::quiet(self.changing().prunes));
        // A suspension that ends between the quiet runs would give the last of them something to do.
        let now = self.clock.now();
        let lifted =
            self.judges().suspended_until().filter(|at| (now..now + TimeDelta::hours(40)).contains(at));
        if let Some(at) = lifted {
            tokio::time::sleep((at - now).to_std().unwrap()).await;
        }
        for hours in [25, 2, 2, 2] {
            tokio::time::sleep(Duration::from_secs(hours * 3_600)).await;
            self.time_passed();
            self.run_begins(false);
            self.reconcile(0, &quiet, &stop).await;
        }
        // Something may come due just before the first of these, and what that leaves behind expires in the second.
        let mut has_written = true;
        for _ in 0..3 {
            if !has_written {
                break;
            }
            let asked = self.writes();
            self.reconcile(0, &quiet, &stop).await;
            has_written = self.writes() != asked;
        }
        if has_written {
            self.judges().found.push("one more quiet run still finds something to do".to_owned());
        }
        self.time_passed();
        self.judges().at_the_end(&self.wire.state().world, self.clock.now());
        if self.judges().found.is_empty() {
            match self.hard_nights {
                Some(outcome) => self.hard_nights(outcome).await,
                None if self.has_single_runs => self.one_run_a_night().await,
                None => {}
            }
        }
    }

    /// Runs once a night from now on, and has the full backups of the first of a month fail: they are made up in the next
    /// night.
    async fn one_run_a_night(&self) {
        self.note("one run a night");
        let (stop, quiet) = (CancellationToken::new(), Run::quiet(self.changing().prunes));
        let mut failed_at = None;
        for _ in 0..HARD_NIGHTS {
            let before = self.clock.now();
            tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
            self.time_passed();
            self.run_begins(false);
            let now = self.clock.now();
            let fails =
                failed_at.is_none() && self.judges().has_month_started(&self.wire.state().world, before, now);
            let outcome = fails.then_some(UploadOutcome::Fail);
            self.wire.state().world.vms.values_mut().for_each(|vm| vm.full_outcome = outcome);
            self.reconcile(0, &quiet, &stop).await;
            if let Some(failed_at) = failed_at {
                self.judges().after_the_next_night(&self.wire.state().world, failed_at);
                break;
            }
            failed_at = fails.then_some(now);
        }
    }

    /// Has every full backup come to a bad end from now on: the increments must be made all the same.
    async fn hard_nights(&self, outcome: UploadOutcome) {
        self.note(&format!("full backups: {outcome:?}"));
        self.wire.state().world.vms.values_mut().for_each(|vm| vm.full_outcome = Some(outcome));
        let (stop, quiet) = (CancellationToken::new(), Run::quiet(self.changing().prunes));
        for _ in 0..HARD_NIGHTS {
            let mut first = None;
            for hours in [20, 2, 2] {
                tokio::time::sleep(Duration::from_secs(hours * 3_600)).await;
                self.time_passed();
                self.run_begins(false);
                first.get_or_insert(self.clock.now());
                self.reconcile(0, &quiet, &stop).await;
            }
            // What comes due meanwhile is left to the next night.
            let began = first.unwrap_or(self.clock.now());
            self.judges().after_a_hard_night(&self.wire.state().world, began);
            if !self.judges().found.is_empty() {
                break;
            }
        }
    }

    fn writes(&self) -> usize {
        self.wire.state().asked.iter().filter(|asked| asked.target.contains("/backups")).count()
    }

    fn lived(&self) -> Lived {
        Lived {
            found: self.judges().found.clone(),
            history: self.history.lock().unwrap().clone(),
            time: (self.clock.now() - self.start).to_std().unwrap(),
            requests: self.wire.state().asked.len(),
            disturbances: self.changing().disturbances,
        }
    }
}

/// Says whether everything is printed while it happens.
fn is_traced() -> bool {
    std::env::var_os("FIFO_RETAIN_SIM_TRACE").is_some()
}

struct Eyes<'a> {
    life: &'a Life,
    sender: usize,
}

impl Observer for Eyes<'_> {
    /// What is reported as done must be so in the world, at that moment.
    fn observe(&self, event: &Event) {
        let life = self.life;
        if !matches!(event.what, EventKind::Progress { .. }) {
            life.note(&format!("  {:?}", event.what));
        }
        let state = life.wire.state();
        let mut judges = life.judges();
        match &event.what {
            EventKind::CascadeAlarm(alarm) => {
                life.folders[self.sender].set_stop();
                judges.alarmed(self.sender, alarm.vm.uuid(), life.clock.now());
                judges.is_alarm(alarm.gone.iter().map(|id| id.uuid()), &format!("{:?}", event.what));
            }
            EventKind::ActionEnded { at, step, outcome: ActionOutcome::Unverified, .. } => {
                judges.unverified(at.vm.uuid());
                if step.kind == ActionKind::DeleteLocal {
                    judges.does_not_know(self.sender, life.clock.now());
                }
            }
            EventKind::ActionEnded { at, step, outcome: ActionOutcome::Done, .. } => {
                let vm = at.vm.uuid();
                let fault = match (step.kind, step.backup.map(|id| id.uuid())) {
                    (_, None) => Some("it has no name".to_owned()),
                    (ActionKind::Create, Some(backup)) => {
                        let parent = step.parent.map(|id| id.uuid());
                        judges.is_not_done(&state.world, vm, backup, &step.tier, parent)
                    }
                    (ActionKind::DeleteLocal, Some(backup)) => {
                        let is_gone = judges.is_or_was_not_local(&state.world, vm, backup);
                        (!is_gone).then(|| "it is still local".to_owned())
                    }
                    (ActionKind::DeleteCloud, Some(backup)) => {
                        let vm = state.world.vms.get(&vm);
                        let is_there = vm.is_some_and(|vm| vm.backups.contains_key(&backup));
                        is_there.then(|| "it is still there".to_owned())
                    }
                };
                if let Some(fault) = fault {
                    judges.found.push(format!("reported as done, and is not so ({fault}): {:?}", event.what));
                }
            }
            _ => {}
        }
    }
}
