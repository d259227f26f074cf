//! `reconcile --every`: one run after the other, until a signal.

use super::host::Host;
use super::interrupt::Interrupt;
use super::reporting::Reporting;
use super::run::{Memory, Order, run};
use super::serve::{Answer, Asked, Server, vm};
use super::site::{self, Shown};
use crate::apply::StopFile;
use crate::report::{self, Exit, Failure, RunHistory, failed};
use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, ready};
use sd_notify::NotifyState;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// How much later than planned a run may start, as a share of the interval, so that processes that were started together do
/// not read FiFo together indefinitely.
const JITTER: f64 = 0.1;

/// How often the safety stop is read while it is set.
const STOP_READ_EVERY: Duration = Duration::from_secs(5);

/// Runs again and again, at this interval, and serves how that goes on an address.
///
/// No failure ends it: the next run may succeed, and a loop that has ended makes no backups. A signal does. After backups
/// vanished, in a run of this process or of another one, no run starts until a person has lifted it, since another
/// run could delete another chain: with an address this waits for that, and shows it; otherwise it ends.
pub async fn run_every(
    host: &Host,
    order: &Order<'_>,
    mut reporting: Reporting<'_>,
    every: Duration,
    address: Option<&str>,
) -> Result<Exit, Failure> {
    let interrupt = Interrupt::default();
    interrupt.listen()?;
    let mut hangups = signal(SignalKind::hangup()).map_err(failed("failed to listen for signals"))?;
    let (shown, site) = watch::channel(Shown::new(every, order.settings.deadline.unwrap_or(Duration::MAX)));
    let (wanted, asked) = mpsc::channel(vm::WAITING_MAX);
    let runs = site.clone();
    let mut server = None;
    if let Some(address) = address {
        server = Some(listen(address, site, wanted, host.clock).await?);
    }
    reporting.serves = server.is_some();
    let memory = Memory::default();
    let mut scheduler = Scheduler { host, order, every, interrupt, reporting, shown, memory };
    tokio::select! {
        exit = scheduler.run_until_signal(&mut hangups) => {
            notify(&[NotifyState::Stopping]);
            Ok(exit)
        }
        never = stay_alive() => match never {},
        never = vm::answer_all(host, order, asked, runs) => match never {},
    }
}

async fn listen(
    address: &str,
    site: watch::Receiver<Shown>,
    wanted: mpsc::Sender<vm::Wanted>,
    clock: fn() -> DateTime<Utc>,
) -> Result<Server, Failure> {
    let answer = move |asked: Asked| -> BoxFuture<'static, Option<Answer>> {
        if let Some(vm) = vm::vm_of(&asked.path) {
            return Box::pin(vm::asked(vm, wanted.clone()));
        }
        let answer = site::answer(&site.borrow(), clock(), &asked.path, asked.accept.as_deref());
        Box::pin(ready(answer))
    };
    let server = Server::start(address, false, "the names of all VMs", answer).await?;
    tracing::info!("serving /metrics, /healthz and a page at http://{}/", server.address());
    Ok(server)
}

struct Scheduler<'a> {
    host: &'a Host,
    order: &'a Order<'a>,
    every: Duration,
    interrupt: Interrupt,
    reporting: Reporting<'a>,
    shown: watch::Sender<Shown>,
    memory: Memory,
}

enum Next {
    AsPlanned,
    AtOnce,
    End(Exit),
}

impl Scheduler<'_> {
    async fn run_until_signal(&mut self, hangups: &mut Signal) -> Exit {
        let mut chance = fastrand::Rng::with_seed(self.host.seed());
        loop {
            let next = Instant::now() + self.every + self.every.mul_f64(JITTER * chance.f64());
            match self.run_and_report(next, hangups).await {
                Next::End(exit) => return exit,
                Next::AtOnce => continue,
                Next::AsPlanned => {}
            }
            tokio::select! {
                // Polled in this order, so that nothing new starts when both have come.
                biased;
                _ = self.interrupt.signalled() => return Exit::Done,
                _ = hangups.recv() => {
                    reloading();
                    tracing::info!("SIGHUP: the policies are read again, and a run begins");
                }
                () = sleep_until(next) => {}
            }
        }
    }

    async fn run_and_report(&mut self, next: Instant, hangups: &mut Signal) -> Next {
        let host = self.host;
        self.reporting.open_channels();
        // Of use the first time, and after every SIGHUP; in between it changes nothing.
        notify(&[NotifyState::Ready, NotifyState::Status("a run is under way")]);
        self.shown.send_modify(|shown| shown.begin(host.now()));
        let mut at_once = false;
        let summary = {
            let run = run(host, self.order, &mut self.reporting, &self.interrupt, &mut self.memory);
            let mut run = pin!(run);
            loop {
                tokio::select! {
                    biased;
                    ended = &mut run => break ended,
                    _ = hangups.recv() => {
                        at_once = true;
                        reload_policies(host, self.order);
                    }
                }
            }
        };
        let (signal, exit) = (self.interrupt.caught(), summary.exit);
        let is_remembered = summary.failure.is_none() || !summary.has_alarm();
        let stop_file = summary.endpoint.as_deref().and_then(|endpoint| host.stop_file(endpoint).ok());
        let pause = if at_once { Duration::ZERO } else { next.saturating_duration_since(Instant::now()) };
        let stop = stop_file.as_ref().and_then(StopFile::read);
        self.shown.send_modify(|shown| shown.end(summary, stop, host.now(), pause));
        let history = self.shown.borrow().history.clone();
        announce_next(&history);
        if exit.is_run() {
            self.reporting.end(&history, &self.interrupt).await;
        }
        if exit == Exit::SafetyStop {
            let is_lifted = self.reporting.serves
                && self.wait_for_resume(stop_file.filter(|_| is_remembered), hangups).await;
            return if is_lifted { Next::AtOnce } else { Next::End(Exit::SafetyStop) };
        }
        match (signal, self.interrupt.caught()) {
            (Some(interrupted), _) => Next::End(interrupted),
            // It came after the run.
            (None, Some(_)) => Next::End(Exit::Done),
            (None, None) if at_once => Next::AtOnce,
            (None, None) => Next::AsPlanned,
        }
    }

    /// Keeps page, metrics and health until a person has lifted the safety stop or a signal comes: no scrape would see one that
    /// ends with the process. No run starts meanwhile. Returns whether it was lifted; one that could not be set never is.
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
                    reloading();
                    tracing::warn!("SIGHUP: no run begins during a safety stop");
                    notify(&[NotifyState::Ready]);
                }
                () = sleep(self.every.min(STOP_READ_EVERY)) => {}
            }
            if stop_file.as_ref().is_some_and(|stop_file| stop_file.read().is_none()) {
                tracing::info!("the safety stop is lifted: runs begin again");
                self.shown.send_modify(Shown::resume);
                return true;
            }
        }
    }
}

/// Reads the policies in the middle of a run, which goes on by the old ones: mistakes in them are reported at once.
fn reload_policies(host: &Host, order: &Order<'_>) {
    reloading();
    match (order.policies)() {
        Ok(_) => tracing::info!("SIGHUP: the next run begins by the new policies, right after this one"),
        Err(failure) => host.output.report(&failure),
    }
    notify(&[NotifyState::Ready]);
}

/// Reports to the log and the service manager how the run ended and when the next one starts.
fn announce_next(history: &RunHistory) {
    let Some(last) = &history.last else { return };
    let last = report::run::summary(last);
    if history.is_stopped() {
        let status = format!("safety stop: no run begins until `fifo-retain resume`; the last one: {last}");
        notify(&[NotifyState::Status(&status)]);
    } else if let Some(next) = history.next_run {
        let next = next.format("%Y-%m-%d %H:%M:%S UTC");
        tracing::info!("the next run begins at {next}");
        let status = format!("the next run begins at {next}; the last one: {last}");
        notify(&[NotifyState::Status(&status)]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("failed to notify the service manager of {states:?}: {error}");
    }
}

/// Says that something is read again. With the time, as systemd wants it since version 253.
fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("failed to read the clock for the service manager: {error}"),
    }
}

/// Sends the watchdog signal twice as often as it is asked for. That shows that the runtime works, not that a run makes
/// progress: an upload may take hours.
async fn stay_alive() -> Infallible {
    if let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) {
        let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    }
    std::future::pending().await
}
