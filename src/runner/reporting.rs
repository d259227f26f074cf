//! Reports the result of a run: metrics file, notification, cron monitor.
//!
//! A report that cannot be delivered is a warning. It changes neither what is done nor the exit code.

use super::files::{self, Put};
use super::host::Host;
use super::interrupt::Interrupt;
use super::notify::{NotifyError, Poster, SecretUrl};
use crate::report::metrics::{self, Dialect};
use crate::report::run::{lines, notification};
use crate::report::{Failure, RunHistory, failed};
use std::path::Path;
use tokio::task::JoinHandle;

const PING_BYTES_MAX: usize = 8 << 10;

/// Returns the address to report to, as it is by now; `None` where there is none.
pub type Address<'a> = Box<dyn Fn() -> Result<Option<SecretUrl>, Failure> + 'a>;

pub struct Reporting<'a> {
    host: &'a Host,
    metrics_file: Option<&'a Path>,
    notify: Channel<'a>,
    ping: Channel<'a>,
    /// Whether a page and metrics are served as well.
    pub(super) serves: bool,
    /// The ping of the start of the present run.
    start: Option<JoinHandle<()>>,
}

/// An address, and what sends to it, once that could be opened.
struct Channel<'a> {
    address: Address<'a>,
    poster: Option<Poster>,
}

impl<'a> Reporting<'a> {
    /// Opens the channels; nothing is sent yet. A problem with an address causes a warning, and the address is asked for again
    /// before the next run: backups must not depend on notifications.
    pub fn new(
        host: &'a Host,
        metrics_file: Option<&'a Path>,
        notify: Address<'a>,
        ping: Address<'a>,
    ) -> Self {
        let [notify, ping] = [notify, ping].map(|address| Channel { address, poster: None });
        let mut reporting = Self { host, metrics_file, notify, ping, serves: false, start: None };
        reporting.open_channels();
        reporting
    }

    /// Tries again what failed before: a file with an address may be there by now.
    pub(super) fn open_channels(&mut self) {
        self.notify.open(self.host);
        self.ping.open(self.host);
    }

    pub(super) fn wants_overview(&self) -> bool {
        self.serves || self.metrics_file.is_some() || self.notify.poster.is_some()
    }

    /// Pings the monitor at the start of a run, which does not wait for that. Called once the run has the lock.
    pub(super) fn begin(&mut self) {
        self.start = self.ping.poster.clone().map(|ping| {
            tokio::spawn(async move { warn_of("the start", ping.ping(Some("start"), None).await) })
        });
    }

    /// Reports the last run of the history. A signal meanwhile cuts it short; one that came before is part of the report.
    pub(super) async fn end(&mut self, history: &RunHistory, interrupt: &Interrupt) {
        if interrupt.caught().is_some() {
            return self.report_all(history).await;
        }
        tokio::select! {
            biased;
            () = self.report_all(history) => {}
            _ = interrupt.signalled() => tracing::warn!("stopped by a signal: the remaining reports of the run are not sent"),
        }
    }

    async fn report_all(&mut self, history: &RunHistory) {
        let text = || metrics::text(history, self.host.now(), Dialect::Prometheus);
        let written = self.metrics_file.map_or(Ok(()), |path| write_metrics(path, &text()));
        if let Err(failure) = written {
            tracing::warn!("{}", failure.text());
        }
        let Some(summary) = &history.last else { return };
        let start = self.start.take();
        let posted = async {
            let Some(poster) = &self.notify.poster else { return };
            match notification(summary) {
                Ok(json) => warn_of("the notification", poster.post_json(json).await),
                Err(error) => tracing::warn!("failed to write the notification: {error}"),
            }
        };
        let pinged = async {
            let Some(poster) = &self.ping.poster else { return };
            // The start must not arrive after the end. One that has not arrived by now is useless.
            if let Some(start) = start {
                start.abort();
                _ = start.await;
            }
            let (part, text) = match summary.is_success() {
                true => (None, None),
                false => (Some("fail"), Some(lines(summary, PING_BYTES_MAX))),
            };
            warn_of("the end", poster.ping(part, text).await);
        };
        tokio::join!(posted, pinged);
    }
}

/// Writes a file with metrics that everybody may read, whole or not at all.
pub fn write_metrics(path: &Path, text: &str) -> Result<(), Failure> {
    let written = files::put(path, files::PUBLIC, Put::OverFile, |out| out.write_all(text.as_bytes()));
    written.map_err(failed(format!("failed to write the metrics to {}", path.display())))
}

fn warn_of(what: &str, sent: Result<(), NotifyError>) {
    if let Err(error) = sent {
        tracing::warn!("failed to send {what} of the run: {error}");
    }
}

impl Channel<'_> {
    fn open(&mut self, host: &Host) {
        if self.poster.is_none() {
            self.poster = self.made(host).unwrap_or_else(|failure| {
                tracing::warn!("{}; nothing is sent there", failure.text());
                None
            });
        }
    }

    fn made(&self, host: &Host) -> Result<Option<Poster>, Failure> {
        let Some(url) = (self.address)()? else { return Ok(None) };
        let poster = Poster::new(url.clone(), host.ca_file.clone(), host.seed());
        let poster = poster.map_err(failed(format!("nothing can be sent to {url}")))?;
        if url.is_exposed() {
            tracing::warn!("{url} is plain HTTP: what is sent can be read on the way");
        }
        Ok(Some(poster))
    }
}
