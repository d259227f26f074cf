//! Reports the result of a run: metrics file, notification, cron monitor.
//!
//! A report that cannot be delivered is a warning. It changes neither what is done nor the exit code.

use crate::cli::args::ReportingArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::{self, Outcome};
use crate::cli::files;
use crate::cli::interrupt::Interrupt;
use crate::cli::settings::secret;
use crate::notify::{BadUrl, NotifyError, Poster, SecretUrl};
use crate::render::metrics::{self, Dialect};
use crate::render::notification;
use crate::run::{RunEnd, RunFailure, RunHistory, RunSummary};
use secrecy::{ExposeSecret as _, SecretString};
use std::io;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// How many bytes of text are sent to a monitor about a failure.
const PING_BYTES_MAX: usize = 8 << 10;

/// The reports of a run, and where they go.
pub(in crate::cli) struct Reporting<'c> {
    context: &'c Context,
    metrics_file: Option<PathBuf>,
    notify: Channel,
    ping: Channel,
}

/// A channel of reports: where its address comes from, and what sends to it, once that could be opened.
struct Channel {
    /// The address on the command line, which has precedence over the variable.
    given: Option<SecretUrl>,
    variable: &'static str,
    poster: Option<Poster>,
}

/// The ping that reports the start of a run; none where no monitor is configured.
#[derive(Default)]
pub(in crate::cli) struct StartPing(Option<JoinHandle<()>>);

impl<'c> Reporting<'c> {
    /// Finds out where to report to; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// An address on the command line is invalid. All other problems only cause a warning: backups must not depend on
    /// notifications.
    pub(in crate::cli) fn of(context: &'c Context, args: &ReportingArgs) -> Result<Self, CliError> {
        let notify = Channel::of("--notify-url", args.notify_url.as_ref(), "FIFO_RETAIN_NOTIFY_URL")?;
        let ping = Channel::of("--ping-url", args.ping_url.as_ref(), "FIFO_RETAIN_PING_URL")?;
        let mut reporting = Self { context, metrics_file: args.metrics_file.clone(), notify, ping };
        reporting.open_channels();
        Ok(reporting)
    }

    /// Tries again what failed before: a file with an address may be there by now.
    pub(in crate::cli) fn open_channels(&mut self) {
        self.notify.open(self.context);
        self.ping.open(self.context);
    }

    /// Says whether the state of the VMs is reported anywhere.
    pub(in crate::cli) fn wants_overview(&self) -> bool {
        self.metrics_file.is_some() || self.notify.poster.is_some()
    }

    /// Pings the monitor at the start of a run, which does not wait for that.
    pub(in crate::cli) fn begin(&self) -> StartPing {
        StartPing(self.ping.poster.clone().map(|ping| {
            tokio::spawn(async move { warn_of("the start", ping.ping(Some("start"), None).await) })
        }))
    }

    /// Reports the last run of the history. A signal meanwhile cuts it short; one that
    /// came before is part of the report.
    pub(in crate::cli) async fn end(
        &self,
        start_ping: StartPing,
        history: &RunHistory,
        interrupt: Option<&Interrupt>,
    ) {
        let sent = self.report_all(start_ping, history);
        let Some(interrupt) = interrupt.filter(|interrupt| interrupt.caught().is_none()) else {
            return sent.await;
        };
        tokio::select! {
            biased;
            () = sent => {}
            _ = interrupt.signalled() => tracing::warn!("stopped by a signal: the remaining reports of the run are not sent"),
        }
    }

    async fn report_all(&self, start_ping: StartPing, history: &RunHistory) {
        if let Some(path) = &self.metrics_file
            && let Err(error) = write_metrics(self.context, path, history)
        {
            tracing::warn!("{}", error.chain().join(": "));
        }
        let Some(summary) = &history.last else { return };
        let posted = async {
            if let Some(poster) = &self.notify.poster {
                match notification::json(summary) {
                    Ok(json) => warn_of("the notification", poster.post_json(json).await),
                    Err(error) => tracing::warn!("failed to write the notification: {error}"),
                }
            }
        };
        let pinged = async {
            let Some(poster) = &self.ping.poster else { return };
            // The start must not arrive after the end. One that has not arrived by now is useless.
            if let Some(start) = start_ping.0 {
                start.abort();
                let _ = start.await;
            }
            let sent = if summary.is_success() {
                poster.ping(None, None).await
            } else {
                poster.ping(Some("fail"), Some(notification::lines(summary, PING_BYTES_MAX))).await
            };
            warn_of("the end", sent);
        };
        tokio::join!(posted, pinged);
    }
}

fn warn_of(what: &str, sent: Result<(), NotifyError>) {
    if let Err(error) = sent {
        tracing::warn!("failed to send {what} of the run: {error}");
    }
}

/// Says whether there was no run to report: a question was answered with no, or another run is under way, which reports
/// itself. The report of the run before, such as a file with metrics, stays.
pub(in crate::cli) fn is_not_a_run(ended: &Result<Outcome, CliError>) -> bool {
    ended
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), Kind::Declined | Kind::Locked | Kind::RunInProgress))
}

/// Enters the end of a run into its summary.
pub(in crate::cli) fn close(summary: &mut RunSummary, context: &Context, ended: &Result<Outcome, CliError>) {
    summary.ended =
        Some(RunEnd { at: context.now(), exit_code: exit::code(ended), outcome: exit::word(ended) });
    summary.failure = ended
        .as_ref()
        .err()
        .map(|error| RunFailure { causes: error.chain(), hint: error.advice().map(str::to_owned) });
}

/// Writes a file with metrics that everybody may read, whole or not at all.
pub(in crate::cli) fn write_metrics(
    context: &Context,
    path: &Path,
    history: &RunHistory,
) -> Result<(), CliError> {
    let written = metrics::text(history, context.now(), Dialect::Prometheus)
        .map_err(io::Error::other)
        .and_then(|text| files::put_file(path, files::PUBLIC, |out| out.write_all(text.as_bytes())));
    written.map_err(|error| {
        CliError::new(Kind::Files, format!("failed to write the metrics to {}", path.display()))
            .because(error)
    })
}

impl Channel {
    fn of(option: &str, given: Option<&SecretString>, variable: &'static str) -> Result<Self, CliError> {
        let given = given.map(|text| text.expose_secret().parse::<SecretUrl>()).transpose();
        let given = given
            .map_err(|error| CliError::new(Kind::Usage, format!("{option} cannot be used")).because(error))?;
        Ok(Self { given, variable, poster: None })
    }

    /// Opens the channel, where it is not open yet and has an address.
    fn open(&mut self, context: &Context) {
        if self.poster.is_none() {
            self.poster = self.made(context).unwrap_or_else(|error| {
                tracing::warn!("{}; nothing is sent there", error.chain().join(": "));
                None
            });
        }
    }

    fn made(&self, context: &Context) -> Result<Option<Poster>, CliError> {
        let url = match &self.given {
            Some(url) => Some(url.clone()),
            None => {
                let text = secret(&context.environment, self.variable)?;
                text.map(|text| text.parse()).transpose().map_err(|error: BadUrl| {
                    CliError::new(Kind::Settings, format!("{} cannot be used", self.variable)).because(error)
                })?
            }
        };
        let Some(url) = url else { return Ok(None) };
        let poster = Poster::new(url.clone(), context.global.ca_file.clone(), context.run_number());
        let poster = poster.map_err(|error| {
            CliError::new(Kind::Settings, format!("nothing can be sent to {url}")).because(error)
        })?;
        if url.is_exposed() {
            tracing::warn!("{url} is plain HTTP: what is sent can be read on the way");
        }
        Ok(Some(poster))
    }
}
