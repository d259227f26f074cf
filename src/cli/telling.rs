//! Who hears what came of a run: a file with metrics, somebody's address, a cron monitor.
//!
//! None of them is worth a backup: what cannot be told is warned about, and changes neither what is done nor the exit
//! code.

use super::args::TellingArgs;
use super::context::Context;
use super::error::{CliError, Kind};
use super::exit::{self, Outcome};
use super::files;
use super::interrupt::Interrupt;
use super::target::secret;
use crate::notify::{NotifyError, Poster, SecretUrl};
use crate::render::metrics::{self, Dialect};
use crate::render::{Account, Ended, Failure, Ledger, notification};
use secrecy::{ExposeSecret as _, SecretString};
use std::io;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// How many bytes of text a monitor is sent about a failure.
const PING_BYTES_MAX: usize = 8 << 10;

/// Those who are told.
pub(super) struct Telling<'c> {
    context: &'c Context,
    metrics_file: Option<PathBuf>,
    notify: Option<Poster>,
    ping: Option<Poster>,
}

/// A run that the monitor has been told, or is just being told, to have begun.
pub(super) struct Begun(Option<JoinHandle<()>>);

impl<'c> Telling<'c> {
    /// Finds out who is to be told; nobody is yet.
    ///
    /// # Errors
    ///
    /// An address on the command line is none. One from the environment is warned about instead: a run that nobody set
    /// up on a keyboard must not come to nothing for it.
    pub(super) fn of(context: &'c Context, args: &TellingArgs) -> Result<Self, CliError> {
        Ok(Self {
            context,
            metrics_file: args.metrics_file.clone(),
            notify: poster(context, "--notify-url", args.notify_url.as_ref(), "FIFO_RETAIN_NOTIFY_URL")?,
            ping: poster(context, "--ping-url", args.ping_url.as_ref(), "FIFO_RETAIN_PING_URL")?,
        })
    }

    /// Says whether anybody wants to know how the VMs stand.
    pub(super) fn is_anybody_there(&self) -> bool {
        self.metrics_file.is_some() || self.notify.is_some()
    }

    /// Tells the monitor that a run begins. The run does not wait for that.
    pub(super) fn begin(&self) -> Begun {
        Begun(self.ping.clone().map(|ping| {
            tokio::spawn(async move { warn_of("the start", ping.ping(Some("start"), None).await) })
        }))
    }

    /// Tells everybody what came of a run, the last one in the ledger. A signal that comes meanwhile cuts it short; one that
    /// came before is what is told.
    pub(super) async fn end(&self, begun: Begun, ledger: &Ledger, interrupt: Option<&Interrupt>) {
        let told = self.tell_all(begun, ledger);
        let Some(interrupt) = interrupt.filter(|interrupt| interrupt.caught().is_none()) else {
            return told.await;
        };
        tokio::select! {
            biased;
            () = told => {}
            _ = interrupt.told() => tracing::warn!("told to end: nobody more is told of the run"),
        }
    }

    async fn tell_all(&self, begun: Begun, ledger: &Ledger) {
        if let Some(path) = &self.metrics_file
            && let Err(error) = write_metrics(self.context, path, ledger)
        {
            tracing::warn!("{}", error.chain().join(": "));
        }
        let Some(account) = &ledger.last else { return };
        let posted = async {
            if let Some(poster) = &self.notify {
                match notification::json(account) {
                    Ok(json) => warn_of("the notification", poster.post_json(json).await),
                    Err(error) => tracing::warn!("the notification could not be written: {error}"),
                }
            }
        };
        let pinged = async {
            let Some(poster) = &self.ping else { return };
            // The start may not arrive after the end. One that has not got through by now is of no use any more.
            if let Some(start) = begun.0 {
                start.abort();
                let _ = start.await;
            }
            let told = if account.is_success() {
                poster.ping(None, None).await
            } else {
                poster.ping(Some("fail"), Some(notification::lines(account, PING_BYTES_MAX))).await
            };
            warn_of("the end", told);
        };
        tokio::join!(posted, pinged);
    }
}

fn warn_of(what: &str, told: Result<(), NotifyError>) {
    if let Err(error) = told {
        tracing::warn!("{what} of the run could not be told: {error}");
    }
}

/// Runs something once, and tells everybody what came of it, unless somebody was asked and said no: then there was none.
///
/// # Errors
///
/// Those of the run; an address on the command line is none.
pub(super) async fn around(
    context: &Context,
    args: &TellingArgs,
    command: &'static str,
    is_asked: bool,
    interrupt: Option<&Interrupt>,
    run: impl AsyncFnOnce(&mut Account, bool) -> Result<Outcome, CliError>,
) -> Result<Outcome, CliError> {
    let telling = Telling::of(context, args)?;
    let mut account = Account::new(command, context.now());
    // A question may stand for hours, and nothing has begun before it is answered.
    let begun = if is_asked { Begun(None) } else { telling.begin() };
    let ended = run(&mut account, telling.is_anybody_there()).await;
    close(&mut account, context, &ended);
    let mut ledger = Ledger::default();
    ledger.enter(account);
    if !ended.as_ref().is_err_and(|error| error.kind() == Kind::Declined) {
        telling.end(begun, &ledger, interrupt).await;
    }
    ended
}

/// Enters into an account how its run ended.
pub(super) fn close(account: &mut Account, context: &Context, ended: &Result<Outcome, CliError>) {
    let exit_code = exit::code(ended);
    account.ended = Some(Ended { at: context.now(), exit_code, outcome: exit::word(exit_code) });
    account.failure = ended
        .as_ref()
        .err()
        .map(|error| Failure { causes: error.chain(), hint: error.advice().map(str::to_owned) });
}

/// Writes a file with metrics that everybody may read, whole or not at all.
///
/// # Errors
///
/// It could not be written.
pub(super) fn write_metrics(context: &Context, path: &Path, ledger: &Ledger) -> Result<(), CliError> {
    let written = metrics::text(ledger, context.now(), Dialect::Prometheus)
        .map_err(io::Error::other)
        .and_then(|text| files::put(path, files::PUBLIC, |out| out.write_all(text.as_bytes())));
    written.map_err(|error| {
        CliError::new(Kind::Files, format!("could not write the metrics to {}", path.display()))
            .because(error)
    })
}

/// Finds an address on the command line, or else in the environment.
fn poster(
    context: &Context,
    option: &str,
    given: Option<&SecretString>,
    variable: &str,
) -> Result<Option<Poster>, CliError> {
    if let Some(text) = given {
        let url = text.expose_secret().parse::<SecretUrl>();
        let url = url
            .map_err(|error| CliError::new(Kind::Usage, format!("{option} cannot be used")).because(error))?;
        return made(context, url).map(Some);
    }
    let found = secret(&context.environment, variable).and_then(|text| {
        let url = text.map(|text| text.parse::<SecretUrl>()).transpose();
        let url = url.map_err(|error| {
            CliError::new(Kind::Settings, format!("{variable} cannot be used")).because(error)
        })?;
        url.map(|url| made(context, url)).transpose()
    });
    Ok(found.unwrap_or_else(|error| {
        tracing::warn!("{}; nobody is told there", error.chain().join(": "));
        None
    }))
}

fn made(context: &Context, url: SecretUrl) -> Result<Poster, CliError> {
    if !url.is_https() && !url.is_loopback() {
        tracing::warn!("{url} is plain HTTP: what is told can be read on the way");
    }
    Ok(Poster::new(url, context.global.ca_file.clone(), context.run_number())?)
}
