//! What surrounds a run: the only place that reads the clock, the environment and the terminal, and that knows where
//! files lie.

use super::args::{Color, Format, GlobalArgs, LogFormat};
use super::error::{CliError, Kind};
use super::output_queue;
use crate::render::text::{Detail, TextOptions};
use crate::render::{Styles, Terminals};
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use etcetera::BaseStrategy as _;
use sd_notify::NotifyState;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, process};

/// Where policies are where no place is given.
const DEFAULT_POLICIES: &str = "policies";
/// The columns of what goes to no terminal.
const COLUMNS_ELSEWHERE: usize = 120;
/// The columns that output is made for at least and at most, however wide the terminal.
const COLUMNS_MIN: usize = 60;
const COLUMNS_MAX: usize = 200;
/// The columns that help is written for at most.
const HELP_COLUMNS_MAX: usize = 100;

/// The environment's variables as they were when the program started. An empty one counts as not there.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns a variable's value as text.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8; the value is not shown, since it may be a secret.
    pub fn text(&self, name: &str) -> Result<Option<&str>, CliError> {
        self.get(name).map(OsStr::to_str).map_or(Ok(None), |text| match text {
            Some(text) => Ok(Some(text)),
            None => Err(CliError::new(Kind::Settings, format!("{name} is not UTF-8 text"))),
        })
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// What the service manager can be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState<'a> {
    /// It has started, or has read its policies again.
    Ready,
    /// It is about to read its policies again.
    Reloading,
    /// It is about to end.
    Stopping,
    /// It is not hanging.
    Watchdog,
    /// What it does, for people.
    Status(&'a str),
}

pub struct Context {
    /// The options that hold for every command.
    pub global: GlobalArgs,
    pub environment: Environment,
    /// How text on standard output looks.
    pub text_options: TextOptions,
    /// The colours of standard error.
    pub error_styles: Styles,
    /// The columns of standard error, where that is a terminal: no message breaks in a word.
    pub error_columns: Option<usize>,
}

impl Context {
    pub fn new(global: GlobalArgs) -> Self {
        let environment: Environment = env::vars_os().collect();
        let choice = |is_wanted: bool| if is_wanted { Styles::colored() } else { Styles::plain() };
        let (on_out, on_err) = match global.color {
            Color::Always => (true, true),
            Color::Never => (false, false),
            Color::Auto => (is_colored(&io::stdout()), is_colored(&io::stderr())),
        };
        let detail = match (global.quiet, global.verbose) {
            (0, 0) => Detail::Usual,
            (0, _) => Detail::Full,
            (1, _) => Detail::Brief,
            (_, _) => Detail::Errors,
        };
        let text_options =
            TextOptions { styles: choice(on_out), columns: columns(&environment, io::stdout()), detail };
        let error_columns = io::stderr().is_terminal().then(|| columns(&environment, io::stderr()));
        Self { global, environment, text_options, error_styles: choice(on_err), error_columns }
    }

    /// Returns the number of this process.
    pub fn process_id(&self) -> u32 {
        process::id()
    }

    /// Says whether questions can be asked: standard input and standard error are both a terminal.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Says which of standard output and standard error are terminals.
    pub fn terminals(&self) -> Terminals {
        Terminals { out: io::stdout().is_terminal(), err: io::stderr().is_terminal() }
    }

    /// Asks for a yes or a no; anything but a clear yes is a no.
    ///
    /// A whole line is read, and the terminal left as it is: no stray key is an answer, and Ctrl-C simply ends it.
    pub fn ask(&self, question: &str) -> Result<bool, CliError> {
        let answer = self.ask_line(&format!("{question} [y/N] "))?.unwrap_or_default();
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line; `None` where the input has ended.
    pub(super) fn ask_line(&self, question: &str) -> Result<Option<String>, CliError> {
        let gone =
            |error: io::Error| CliError::new(Kind::Files, "failed to ask on this terminal").because(error);
        let mut err = io::stderr().lock();
        write!(err, "{question}").and_then(|()| err.flush()).map_err(gone)?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer).map_err(gone)? == 0 {
            writeln!(err).map_err(gone)?;
            return Ok(None);
        }
        Ok(Some(answer))
    }

    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// Returns the clock, for callers that outlive a borrow of the context.
    pub fn clock(&self) -> fn() -> DateTime<Utc> {
        Utc::now
    }

    /// Notifies the service manager; does nothing without one.
    pub fn notify_service(&self, states: &[ServiceState<'_>]) -> io::Result<()> {
        let mut messages = Vec::new();
        for state in states {
            let state = match *state {
                ServiceState::Ready => NotifyState::Ready,
                ServiceState::Reloading => {
                    // The two belong together since systemd 253.
                    messages.push(NotifyState::Reloading);
                    NotifyState::monotonic_usec_now()?
                }
                ServiceState::Stopping => NotifyState::Stopping,
                ServiceState::Watchdog => NotifyState::Watchdog,
                ServiceState::Status(what) => NotifyState::Status(what),
            };
            messages.push(state);
        }
        sd_notify::notify(&messages)
    }

    /// Returns after how long without [`ServiceState::Watchdog`] the service manager treats this process as hanging; `None`
    /// where it does not watch.
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
    }

    /// Returns a seed that differs in each run, for random pauses.
    pub fn run_number(&self) -> u64 {
        let micros = u64::try_from(self.now().timestamp_micros()).unwrap_or_default();
        micros ^ u64::from(process::id()).rotate_right(16)
    }

    /// Returns the files and folders with the policies: from the command line, else from the environment, else
    /// `policies`.
    pub fn policy_paths(&self) -> Vec<PathBuf> {
        if !self.global.policies.is_empty() {
            return self.global.policies.clone();
        }
        match self.environment.get("FIFO_RETAIN_POLICIES") {
            Some(paths) => env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()).collect(),
            None => vec![PathBuf::from(DEFAULT_POLICIES)],
        }
    }

    /// Says whether no policies were given and the default folder does not exist.
    pub(super) fn has_no_policies(&self) -> bool {
        self.global.policies.is_empty()
            && self.environment.get("FIFO_RETAIN_POLICIES").is_none()
            && !Path::new(DEFAULT_POLICIES).exists()
    }

    /// Returns the file with pyfi's profiles, whether or not it is there; `None` when the user has no home.
    pub fn profile_file(&self) -> Option<PathBuf> {
        match self.environment.get("FIFO_CONFIG") {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(etcetera::home_dir().ok()?.join(".fifo")),
        }
    }

    /// Returns the folder for lock, journal and safety stop, whether or not it is there.
    ///
    /// # Errors
    ///
    /// None was given and the user has no home.
    pub fn state_dir(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.global.state_dir {
            return Ok(path.clone());
        }
        if let Some(path) = self.environment.get("FIFO_RETAIN_STATE_DIR") {
            return Ok(PathBuf::from(path));
        }
        if self.global.sandbox {
            return Ok(self.sandbox_file().with_file_name(""));
        }
        let homeless = |error| {
            CliError::new(Kind::Settings, "there is no place for lock and journal")
                .because(error)
                .hint("name a folder with --state-dir or FIFO_RETAIN_STATE_DIR")
        };
        let base = etcetera::choose_base_strategy().map_err(homeless)?;
        Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("fifo-retain"))
    }

    /// Returns the file in which `--sandbox` keeps its world.
    pub fn sandbox_file(&self) -> &Path {
        Path::new(".fifo-retain/sandbox.json")
    }

    /// Writes to standard output. A reader that closes it early is no error.
    pub fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        print(write)
    }

    /// Writes to standard output in its turn, where that stops nothing: that it cannot be written is only warned about.
    pub fn print_or_warn(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let mut text = Vec::new();
        // A text takes everything that is written to it.
        drop(write(&mut text));
        output_queue::write(move || {
            if let Err(error) = print(|out| out.write_all(&text)) {
                tracing::warn!("{}; the run goes on", error.chain().join(": "));
            }
        });
    }

    /// Writes to standard error how a command failed. Where even that cannot be written, the exit code says it.
    pub fn report_error(&self, error: &CliError) {
        // A timer that meets a long run every time it fires must not send a mail each time. The exit code is the same.
        if error.kind() == Kind::RunInProgress && self.global.quiet > 0 {
            return;
        }
        match self.global.log_format {
            LogFormat::Json => error.log(),
            LogFormat::Text => {
                let mut text = Vec::new();
                drop(error.write(&self.error_styles, self.error_columns, &mut text));
                output_queue::write(move || drop(io::stderr().lock().write_all(&text)));
            }
        }
    }

    /// Says whether standard output is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.global.format == Format::Json
    }

    /// Returns the format of standard output as one of the formats that a command has.
    ///
    /// # Errors
    ///
    /// The command does not have the format that was asked for.
    pub fn format<T: ValueEnum>(&self) -> Result<T, CliError> {
        let asked = value_name(&self.global.format);
        T::from_str(&asked, false).map_err(|_| {
            let known: Vec<String> = T::value_variants().iter().map(value_name).collect();
            CliError::new(Kind::Usage, format!("--format {asked} is not for this command"))
                .hint(format!("it has {}", known.join(", ")))
        })
    }
}

/// Returns a value as it is written on the command line.
fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Writes to standard output; see [`Context::print`].
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Kind::Files, "failed to write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Says whether colour suits a stream: a terminal that supports it, without NO_COLOR.
fn is_colored(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// Returns the columns that help is written for: at most 100, since longer lines are hard to read.
pub(super) fn help_columns() -> usize {
    columns(&env::vars_os().collect(), io::stdout()).min(HELP_COLUMNS_MAX)
}

fn columns(environment: &Environment, stream: impl AsFd) -> usize {
    let asked = environment.get("COLUMNS").and_then(OsStr::to_str).and_then(|text| text.parse().ok());
    let terminal = || terminal_size::terminal_size_of(stream).map(|(columns, _)| usize::from(columns.0));
    asked.or_else(terminal).unwrap_or(COLUMNS_ELSEWHERE).clamp(COLUMNS_MIN, COLUMNS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_none() {
        let environment: Environment = [("A", ""), ("B", "b")].into_iter().collect();
        assert_eq!((environment.get("A"), environment.text("B").unwrap()), (None, Some("b")));
    }

    #[test]
    fn the_width_is_kept_within_reason() {
        let wide = |text: &str| columns(&[("COLUMNS", text)].into_iter().collect(), io::stdout());
        assert_eq!([wide("20"), wide("100"), wide("999")], [60, 100, 200]);
    }
}
