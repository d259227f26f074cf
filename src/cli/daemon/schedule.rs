//! `reconcile --every`: one run after the other, until a signal.

use super::observer::{LiveView, RunMonitor};
use super::reporting::{Reporting, close, is_not_a_run};
use super::single::{RunMemory, reconcile_once};
use super::state::DaemonState;
use crate::apply::StopFile;
use crate::cli::args::ReconcileArgs;
use crate::cli::context::{Context, ServiceState};
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::{self, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::cli::policies;
use crate::cli::safety_stop;
use crate::policy::Policies;
use crate::render::notification;
use crate::run::{RunHistory, RunSummary};
use crate::serve::Server;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// How much later than planned a run may start, as a share of the interval, so that processes that were started together do
/// not read FiFo together indefinitely.
const JITTER: f64 = 0.1;

/// How often the safety stop is read while it is set.
const STOP_READ_EVERY: Duration = Duration::from_secs(5);

/// Runs again and again.
///
/// No failure ends it: the next run may succeed, and a loop that has ended makes no backups. A signal does. After backups
/// vanished, in a run of this process or of another one, no run starts until a person has lifted it, since another
/// run could delete another chain: with `--listen` this waits for that, and shows it; otherwise it ends.
///
/// # Errors
///
/// It cannot start: listening on the address or for signals fails.
pub(in crate::cli) async fn run(
    args: &ReconcileArgs,
    every: Duration,
    context: &Context,
) -> Result<Outcome, CliError> {
    let interrupt = Interrupt::listen()?;
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| CliError::new(Kind::Internal, "failed to listen for signals").because(error))?;
    let reporting = Reporting::of(context, &args.reporting)?;
    let state = Arc::new(DaemonState::new(context, every));
    let _server = match args.listen {
        Some(address) => Some(listen(address, &state).await?),
        None => None,
    };
    let mut scheduler = Scheduler {
        args,
        context,
        every,
        interrupt: &interrupt,
        reporting,
        state,
        memory: RunMemory::default(),
    };
    let alive = stay_alive(context);
    let never = tokio::select! {
        ended = scheduler.run_until_signal(&mut hangups) => {
            service(context, &[ServiceState::Stopping]);
            return ended;
        }
        never = alive => never,
    };
    match never {}
}

async fn listen(address: SocketAddr, state: &Arc<DaemonState>) -> Result<Server, CliError> {
    let site: Arc<DaemonState> = Arc::clone(state);
    let server = Server::start(address, site).await.map_err(|error| {
        CliError::new(Kind::Files, format!("failed to listen on {address}"))
            .because(error)
            .hint("is another process listening there? name another address with --listen")
    })?;
    let bound = server.address();
    if !bound.ip().is_loopback() {
        tracing::warn!("{bound} can be reached from other machines, which can then see the names of all VMs");
    }
    tracing::info!("serving /metrics, /healthz and a page at http://{bound}/");
    Ok(server)
}

/// Sends the watchdog signal to the service manager, twice as often as it asks for. That shows that the runtime works, not
/// that a run makes progress: an upload may take hours.
async fn stay_alive(context: &Context) -> std::convert::Infallible {
    if let Some(period) = context.watchdog() {
        let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            service(context, &[ServiceState::Watchdog]);
        }
    }
    std::future::pending().await
}

/// A failure to notify the service manager stops no backup.
fn service(context: &Context, states: &[ServiceState<'_>]) {
    if let Err(error) = context.notify_service(states) {
        tracing::debug!("failed to notify the service manager of {states:?}: {error}");
    }
}

struct Scheduler<'c> {
    args: &'c ReconcileArgs,
    context: &'c Context,
    every: Duration,
    interrupt: &'c Interrupt,
    reporting: Reporting<'c>,
    state: Arc<DaemonState>,
    memory: RunMemory,
}

impl Scheduler<'_> {
    async fn run_until_signal(&mut self, hangups: &mut Signal) -> Result<Outcome, CliError> {
        let mut chance = fastrand::Rng::with_seed(self.context.run_number());
        loop {
            let next = Instant::now() + self.every + self.every.mul_f64(JITTER * chance.f64());
            let policies = policies::load_for(self.context, self.args.execute.prune);
            // Of use the first time, and after every SIGHUP; in between it changes nothing.
            service(self.context, &[ServiceState::Ready, ServiceState::Status("a run is under way")]);
            let (ended, at_once) = self.run_once(policies, next, hangups).await;
            if let Some(ended) = ended {
                return ended;
            }
            if self.interrupt.caught().is_some() {
                return Ok(Outcome::Done);
            }
            if at_once {
                continue;
            }
            tokio::select! {
                // Polled in this order, so that nothing new starts when both have come.
                biased;
                _ = self.interrupt.signalled() => return Ok(Outcome::Done),
                _ = hangups.recv() => {
                    service(self.context, &[ServiceState::Reloading]);
                    tracing::info!("SIGHUP: the policies are read again, and a run begins");
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Does one run and reports its result. Returns how the loop ends, where it does, and whether the next run starts at
    /// once.
    async fn run_once(
        &mut self,
        policies: Result<Policies, CliError>,
        next: Instant,
        hangups: &mut Signal,
    ) -> (Option<Result<Outcome, CliError>>, bool) {
        let context = self.context;
        self.reporting.open_channels();
        self.state.begin();
        let mut summary = RunSummary::new("reconcile", context.now());
        let mut at_once = false;
        let live_view = LiveView { state: &self.state, every: self.every };
        let mut monitor = RunMonitor::new(&self.reporting, self.args.listen.map(|_| live_view));
        let mut memory = std::mem::take(&mut self.memory);
        let ended = {
            let run = reconcile_once(
                self.args,
                context,
                self.interrupt,
                policies,
                &mut memory,
                &mut monitor,
                &mut summary,
            );
            let mut run = pin!(run);
            loop {
                tokio::select! {
                    biased;
                    ended = &mut run => break ended,
                    _ = hangups.recv() => {
                        at_once = true;
                        self.reload_policies();
                    }
                }
            }
        };
        self.memory = memory;
        let signal = self.interrupt.caught();
        // A safety stop that could not be written is worse than one that is set.
        let not_remembered = monitor.alarm_recorder().failure();
        let is_remembered = not_remembered.is_none();
        let ended = not_remembered.map_or(ended, Err);
        if let Err(error) = &ended {
            context.report_error(error);
        }
        close(&mut summary, context, &ended);
        let is_stopped = exit::is_safety_stop(&ended);
        let endpoint = summary.endpoint.clone();
        let stop_file = endpoint.and_then(|endpoint| safety_stop::of(context, &endpoint).ok());
        let pause = if at_once { Duration::ZERO } else { next.saturating_duration_since(Instant::now()) };
        let history = self.state.end(summary, stop_file.as_ref().and_then(StopFile::read), pause);
        announce_next(context, &history);
        if !is_not_a_run(&ended) {
            self.reporting.end(monitor.into_start_ping(), &history, Some(self.interrupt)).await;
        }
        if is_stopped {
            let is_lifted = self.args.listen.is_some()
                && self.wait_for_resume(stop_file.filter(|_| is_remembered), hangups).await;
            return (if is_lifted { None } else { Some(Ok(Outcome::Alarm)) }, is_lifted);
        }
        (signal.map(|signal| Ok(Outcome::Interrupted(signal))), at_once)
    }

    /// Keeps page, metrics and health until a person has lifted the safety stop or a signal comes: no scrape would see
    /// one that ends with the process. No run starts meanwhile. Returns whether it was lifted; one that could not be set
    /// never is.
    async fn wait_for_resume(&self, stop_file: Option<StopFile>, hangups: &mut Signal) -> bool {
        if self.interrupt.caught().is_none() {
            tracing::warn!(
                "no further run begins until `fifo-retain resume`; the page stays, and the process with it"
            );
        }
        loop {
            tokio::select! {
                biased;
                _ = self.interrupt.signalled() => return false,
                _ = hangups.recv() => {
                    service(self.context, &[ServiceState::Reloading]);
                    tracing::warn!("SIGHUP: no run begins during a safety stop");
                    service(self.context, &[ServiceState::Ready]);
                }
                () = sleep(self.every.min(STOP_READ_EVERY)) => {}
            }
            if stop_file.as_ref().is_some_and(|stop_file| stop_file.read().is_none()) {
                tracing::info!("the safety stop is lifted: runs begin again");
                self.state.resume();
                return true;
            }
        }
    }

    /// Reads the policies in the middle of a run, which goes on by the old ones: mistakes in them are reported at once.
    fn reload_policies(&self) {
        service(self.context, &[ServiceState::Reloading]);
        match policies::load(self.context) {
            Ok(_) => tracing::info!("SIGHUP: the next run begins by the new policies, right after this one"),
            Err(error) => self.context.report_error(&error),
        }
        service(self.context, &[ServiceState::Ready]);
    }
}

/// Reports to the log and the service manager how the run ended and when the next one starts.
fn announce_next(context: &Context, history: &RunHistory) {
    let Some(last) = &history.last else { return };
    if history.is_stopped() {
        let summary = notification::summary(last);
        let doing = format!("safety stop: no run begins until `fifo-retain resume`; the last one: {summary}");
        return service(context, &[ServiceState::Status(&doing)]);
    }
    let Some(next) = history.next_run else { return };
    let next = next.format("%Y-%m-%d %H:%M:%S UTC");
    tracing::info!("the next run begins at {next}");
    let summary = notification::summary(last);
    service(
        context,
        &[ServiceState::Status(&format!("the next run begins at {next}; the last one: {summary}"))],
    );
}
