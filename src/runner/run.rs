//! One run, the same for `apply`, `reconcile` and `reconcile --every`: lock, safety stop, plan, show, carry out.

use super::approve::{Listed, asked, everything, skip_text};
use super::execute::{Watchers, judge};
use super::fifo::{Fifo, Target};
use super::host::Host;
use super::interrupt::Interrupt;
use super::journal::Journal;
use super::output::{self, Output};
use super::proofs::{OpenedStore, Proofs};
use super::read::{KeptVms, Planned, Query, Selection};
use super::reporting::Reporting;
use super::safety_stop::{AlarmRecorder, refuse_if_set};
use crate::apply::{
    Approval as Approved, Executor, ExecutorSettings, InFlight, ProgressTracker, RunReport, StopFile,
};
use crate::fifo::WriteClient;
use crate::plan::{NoteCode, Plan, SkipReason};
use crate::policy::Policies;
use crate::report::plan::{PlanParts, document};
use crate::report::text::{self, TextOptions};
use crate::report::{Exit, Failure, RunHistory, RunSummary};
use futures::FutureExt as _;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a run is to do, or many of them, and how.
pub struct Order<'a> {
    /// The command, which the lock names.
    pub command: &'static str,
    pub approval: Approval<'a>,
    pub selection: Selection,
    /// How much is done at once and until when, and what the command says of deletes from storage.
    pub settings: ExecutorSettings,
    pub first_contact: Option<Duration>,
    /// The time after which the next run is due, and gets what still waits.
    pub handed_over_after: Option<Duration>,
    /// Reads the policies, as they are by now.
    pub policies: &'a dyn Fn() -> Result<Policies, Failure>,
    /// Finds out which FiFo is meant, and what to sign in with by now.
    pub fifo: &'a dyn Fn() -> Result<Target, Failure>,
    /// Opens the store that new backups are looked for in, if one is named.
    pub store: &'a dyn Fn() -> Result<Option<OpenedStore>, Failure>,
}

impl Order<'_> {
    fn query<'q>(
        &'q self,
        host: &'q Host,
        policies: &'q Policies,
        proofs: &'q Proofs,
        fifo: &'q Fifo,
    ) -> Query<'q> {
        let (selection, prune) = (&self.selection, self.settings.prune);
        Query { host, policies, fifo, proofs, selection, at: None, prune, warns: true }
    }
}

/// What of the plan made now is carried out.
#[derive(Clone, Copy)]
pub enum Approval<'a> {
    /// All of it.
    Everything,
    /// What a person agrees to who is shown a plan and asked.
    Asked,
    /// What the plan in this file lists; `-` is standard input.
    Saved(&'a Path),
}

/// What a process keeps from run to run.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The progress of uploads: one that hung in the run before hangs in the next one as well.
    progress: ProgressTracker,
    /// The digest of the plan that was shown last: it is shown again only when it has changed.
    shown: Option<[u8; 32]>,
}

/// Does one run and reports its result everywhere, unless there was no run: a question was answered with no, or another run is
/// under way. The report of the run before, such as a file with metrics, then stays.
pub async fn run_once(host: &Host, order: &Order<'_>, mut reporting: Reporting<'_>) -> Exit {
    let interrupt = Interrupt::default();
    let summary = run(host, order, &mut reporting, &interrupt, &mut Memory::default()).await;
    let exit = summary.exit;
    let safety_stop = summary.endpoint.as_deref().and_then(|endpoint| host.safety_stop(endpoint));
    let mut history = RunHistory { safety_stop, ..RunHistory::default() };
    history.enter(summary);
    if exit.is_run() {
        reporting.end(&history, &interrupt).await;
    }
    exit
}

/// Does one run, and returns what it came to. It ends whatever happens in it, a fault of this program too; why it failed as a
/// whole is written to standard error.
///
/// The lock is taken before FiFo is read: what another run is about to do must not be planned again. Where a question is
/// asked the lock is taken after the answer, and FiFo is read again: an unanswered question must not hold back
/// other runs, and nothing is reported as started before it.
pub(super) async fn run(
    host: &Host,
    order: &Order<'_>,
    reporting: &mut Reporting<'_>,
    interrupt: &Interrupt,
    memory: &mut Memory,
) -> RunSummary {
    let (alarms, summary) = (AlarmRecorder::default(), RunSummary::new(order.command, host.now()));
    let mut run = Run { host, order, reporting, interrupt, memory, alarms, summary };
    let ended = AssertUnwindSafe(run.steps()).catch_unwind().await;
    let ended = ended.unwrap_or_else(|_| Err(Failure::new("the run was stopped by a fault of this program")));
    let Run { alarms, mut summary, .. } = run;
    let ended = alarms.judge(ended, &mut summary);
    if let Err(failure) = &ended {
        host.output.report(failure);
    }
    summary.end(host.now(), ended);
    summary
}

struct Run<'a, 'r> {
    host: &'a Host,
    order: &'a Order<'a>,
    reporting: &'a mut Reporting<'r>,
    interrupt: &'a Interrupt,
    memory: &'a mut Memory,
    alarms: AlarmRecorder,
    summary: RunSummary,
}

impl Run<'_, '_> {
    async fn steps(&mut self) -> Result<Exit, Failure> {
        let (host, order, interrupt) = (self.host, self.order, self.interrupt);
        let mut listed = match order.approval {
            Approval::Saved(path) => Some(Listed::read(path, order.settings.prune.is_requested)?),
            Approval::Everything | Approval::Asked => None,
        };
        let policies = (order.policies)()?;
        let target = (order.fifo)()?;
        let endpoint = target.name();
        self.summary.endpoint = Some(endpoint.clone());
        self.summary.identity = Some(target.identity());
        self.summary.verified = host.verified(&endpoint);
        if let Some(saved) = &listed {
            saved.refuse_other_endpoint(&endpoint)?;
        }
        let stop_file = host.stop_file(&endpoint)?;
        let proofs = host.proofs(&endpoint, (order.store)()?);
        let mut open = None;
        if matches!(order.approval, Approval::Asked) {
            refuse_if_set(&stop_file)?;
            let fifo = target.open(host, order.first_contact).await?;
            listed = Some(self.ask(order.query(host, &policies, &proofs, &fifo)).await?);
            open = Some(fifo);
        }
        interrupt.listen()?;
        let _lock = host.lock(&endpoint, order.command)?;
        refuse_if_set(&stop_file)?;
        let fifo = match open {
            Some(fifo) => fifo,
            None => target.open(host, order.first_contact).await?,
        };
        self.reporting.begin();
        let query = order.query(host, &policies, &proofs, &fifo);
        let planned = tokio::select! {
            // Nothing was sent yet, so the run can end at once.
            biased;
            exit = interrupt.signalled() => return Ok(exit),
            planned = self.plan(query) => planned?,
        };
        let exit = self.carry_out(query, stop_file, planned, listed.as_ref()).await?;
        // A failure to close it does not change the result of the run.
        if let Err(failure) = fifo.close().await {
            tracing::warn!("{}", failure.text());
        }
        Ok(exit)
    }

    /// Shows a plan, and asks where it has anything to do. No signal is caught meanwhile: it ends the process.
    async fn ask(&mut self, query: Query<'_>) -> Result<Listed, Failure> {
        let planned = self.plan(query).await?;
        if planned.plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
            self.show(&planned, &planned.plan);
            return Ok(Listed::shown(planned.plan));
        }
        self.show_where_asked(&planned)?;
        let question = format!("Carry this out on {} {}?", query.fifo.name, query.fifo.identity);
        Ok(Listed::shown(asked(planned.plan, &question)?))
    }

    /// Reads FiFo and plans. Where a due instant lies between the two clocks, the slower one is waited for.
    async fn plan(&mut self, query: Query<'_>) -> Result<Planned, Failure> {
        query.proofs.refresh(true).await;
        let kept = KeptVms::ForRun { overview: self.reporting.wants_overview() };
        let mut planned = query.plan(kept).await?;
        if let Some(wait) = planned.wait_for_clocks() {
            tracing::info!(
                "a backup is due by one of the clocks and not by the other: waiting {} s for the slower one",
                wait.as_secs()
            );
            tokio::time::sleep(wait).await;
            planned = query.plan(kept).await?;
        }
        self.summary.overview = planned.overview.take();
        Ok(planned)
    }

    async fn carry_out(
        &mut self,
        query: Query<'_>,
        stop_file: StopFile,
        planned: Planned,
        listed: Option<&Listed>,
    ) -> Result<Exit, Failure> {
        let work = listed.map_or_else(|| everything(&planned.plan), |listed| listed.work(&planned.plan));
        match listed {
            None => {
                let now = Some(planned.plan.digest_without_notes());
                if self.memory.shown != now {
                    self.show(&planned, &planned.plan);
                    self.memory.shown = now;
                }
            }
            Some(listed) if listed.is_saved && !(work.vms.is_empty() && work.skipped.is_empty()) => {
                self.show(&planned, &planned.plan.limited_to(work.vms.clone()));
            }
            Some(_) => {}
        }
        // Once more right before anything is done: the file may have been put there by hand.
        refuse_if_set(&stop_file)?;
        self.alarms.arm(stop_file);
        output::start();
        let folder = self.host.made_state_dir()?;
        let watchers = Watchers::new(self.host, Journal::of_run(folder), &self.alarms);
        for skipped in &work.skipped {
            watchers.warn_of(&skipped.alias, skipped.vm, skip_text(skipped.why));
        }
        let has_changed = work.skipped.iter().any(|skipped| skipped.why == SkipReason::Changed);
        let Planned { plan, inventory, too_old, .. } = planned;
        self.summary.refused_deletes = Some(plan.vms.iter().map(|vm| vm.refused_deletes).sum());
        for vm in plan.vms.iter().filter(|vm| vm.refused_deletes > 0) {
            vm.note(NoteCode::OverPruneLimit).iter().for_each(|note| {
                watchers.warn_of(&vm.alias, vm.uuid, note.to_string());
            });
        }
        // A token of its own: the warning is to come before the executor ends.
        let (stop, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let executor = Executor {
            client: &WriteClient::new(query.fifo.client.clone()),
            policies: query.policies,
            clock: self.host,
            observer: &watchers,
            stop: &stop,
            hand_over: &hand_over,
            progress: &self.memory.progress,
            notes: &InFlight::new(folder, &query.fifo.name),
            proof: Some(query.proofs),
            settings: ExecutorSettings { timing: query.fifo.timing(), ..self.order.settings },
        };
        let approval = if listed.is_some() { Approved::Listed } else { Approved::Everything };
        let executed = executor.execute(&work.vms, inventory, approval);
        let report = self.attended(executed, &watchers, &stop, &hand_over).await;
        report.uncompared.iter().for_each(|text| watchers.warn(None, text.clone()));
        let exit = judge(&report, &plan, &too_old, self.interrupt.caught());
        let is_changed = report.vms.iter().any(|vm| !vm.steps.is_empty());
        // Before anything else, which may take long or fail: an alarm must not be lost.
        self.summary.report = Some(report);
        self.summary.verified = self.host.verified(&query.fifo.name);
        if self.reporting.wants_overview() && is_changed && !self.summary.has_alarm() {
            self.reread(query).await;
        }
        Ok(if exit == Exit::Done && has_changed { Exit::SomeFailed } else { exit })
    }

    /// Waits for the executor. A signal stops it, and when the next run is due it hands over what waits.
    async fn attended(
        &self,
        executed: impl Future<Output = RunReport>,
        watchers: &Watchers<'_>,
        stop: &CancellationToken,
        hand_over: &CancellationToken,
    ) -> RunReport {
        let next_is_due = tokio::time::sleep(self.order.handed_over_after.unwrap_or(Duration::MAX));
        let (mut executed, mut next_is_due) = (pin!(executed), pin!(next_is_due));
        loop {
            tokio::select! {
                // Reported before its consequences.
                biased;
                _ = self.interrupt.signalled(), if !stop.is_cancelled() => {
                    let message = "stopping: nothing new is started; a second signal ends the process at once";
                    watchers.warn(None, message.to_owned());
                    stop.cancel();
                }
                () = &mut next_is_due, if !hand_over.is_cancelled() => hand_over.cancel(),
                report = &mut executed => return report,
            }
        }
    }

    /// Reads FiFo after something was done, for the reports of how the VMs stand. Where that fails, these show the state before
    /// the run, with its instant.
    async fn reread(&mut self, query: Query<'_>) {
        let looked = tokio::select! {
            biased;
            _ = self.interrupt.signalled() => return,
            looked = Query { warns: false, ..query }.plan(KeptVms::Overview) => looked,
        };
        match looked {
            Ok(looked) => self.summary.overview = looked.overview,
            Err(failure) => tracing::warn!("failed to read the VMs after the run: {}", failure.text()),
        }
    }

    /// Shows a plan as text, without asking. Output that cannot be written, because of a full disk or a blocked terminal,
    /// stops no backup.
    fn show(&self, made: &Planned, plan: &Plan) {
        output::start();
        let Output { is_json, text, .. } = &self.host.output;
        if !is_json {
            output::print_or_warn(|out| write_plan(made, plan, text, out));
        }
    }

    /// Shows the plan that a question is about; with JSON output, which has only the events, on standard error.
    fn show_where_asked(&self, made: &Planned) -> Result<(), Failure> {
        let Output { is_json, text, error_styles, .. } = self.host.output;
        if !is_json {
            return output::print(|out| write_plan(made, &made.plan, &text, out));
        }
        let options = TextOptions { styles: error_styles, ..text };
        write_plan(made, &made.plan, &options, &mut io::stderr().lock())
            .map_err(|error| Failure::new("failed to show the plan on standard error").because(error))
    }
}

fn write_plan(made: &Planned, plan: &Plan, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let estimate = made.estimate(plan);
    let parts =
        PlanParts { identity: Some(&made.identity), estimate: Some(&estimate), ..PlanParts::default() };
    text::write(&document(plan, parts, options.detail), options, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Timing;
    use crate::plan::Prune;

    #[tokio::test]
    async fn a_run_that_panics_ends_as_a_failed_one_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::for_tests(folder.path());
        let order = Order {
            command: "reconcile",
            approval: Approval::Everything,
            selection: Selection::default(),
            settings: ExecutorSettings {
                max_uploads: 1,
                max_uploads_per_hypervisor: 1,
                wait: true,
                deadline: None,
                timing: Timing::default(),
                prune: Prune::default(),
            },
            first_contact: None,
            handed_over_after: None,
            policies: &|| panic!("a fault"),
            fifo: &|| Err(Failure::new("not asked")),
            store: &|| Ok(None),
        };
        let metrics = folder.path().join("run.prom");
        let none = || Box::new(|| Ok(None));
        let reporting = Reporting::new(&host, Some(&metrics), none(), none());
        assert_eq!(run_once(&host, &order, reporting).await, Exit::Failed);
        let text = std::fs::read_to_string(&metrics).unwrap();
        assert!(text.contains("\nfifo_retain_last_run_exit_code 1\n"), "{text}");
    }
}
