//! The options of every command, and what surrounds it: the only place that reads the clock, the environment and the terminal,
//! and that knows where files lie.

use super::value::{path, timeout};
use crate::fifo::{ApiVersion, CertificatePin};
use crate::report::text::{self, TextOptions};
use crate::report::{Detail, Doc, Failure, Styles, markdown};
use crate::runner::host::Host;
use crate::runner::output::{self, Output};
use chrono::Utc;
use clap::{ArgAction, Args, ColorChoice, ValueEnum};
use etcetera::BaseStrategy as _;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_POLICIES: &str = "policies";
/// Where `--sandbox` keeps its world, and its state beside it.
pub(super) const SANDBOX_FILE: &str = ".fifo-retain/sandbox.json";
const COLUMNS_ELSEWHERE: usize = 120;
/// The columns that output is made for at least and at most, however wide the terminal.
const COLUMNS_MIN: usize = 60;
const COLUMNS_MAX: usize = 200;

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// A file or folder with policies; can be given several times [default: policies]
    #[arg(short, long, global = true, value_name = "PATH", help_heading = "Policies")]
    #[arg(env = "FIFO_RETAIN_POLICIES", value_delimiter = ':', value_parser = path())]
    pub policies: Vec<PathBuf>,

    /// Where FiFo is, such as `https://fifo.example.com`
    #[arg(long, global = true, value_name = "URL", env = "FIFO_ENDPOINT", help_heading = "Connection")]
    pub endpoint: Option<String>,

    /// Use the built-in simulated FiFo; its world is kept in .fifo-retain/sandbox.json
    #[arg(long, global = true, help_heading = "Connection")]
    pub sandbox: bool,

    /// A profile of ~/.fifo, the file that pyfi keeps, instead of the active one
    #[arg(short = 'c', long, global = true, value_name = "NAME", help_heading = "Connection")]
    #[arg(env = "FIFO_PROFILE")]
    pub profile: Option<String>,

    /// The version of FiFo's API: 3, 2 or 0.2.0 [default: the profile's, else 3]
    #[arg(long, global = true, value_name = "VERSION", help_heading = "Connection")]
    pub api_version: Option<ApiVersion>,

    /// A PEM file with certificates to trust beside the system's
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub ca_file: Option<PathBuf>,

    /// Trust exactly the certificate with this SHA-256 fingerprint, whatever is in it
    #[arg(long, global = true, value_name = "HEX", conflicts_with = "insecure", help_heading = "Connection")]
    pub pin_sha256: Option<CertificatePin>,

    /// Use TLS without checking who answers: anybody on the way can then read the password
    #[arg(long, global = true, help_heading = "Connection")]
    pub insecure: bool,

    /// How long a read of FiFo may take in all, with everything that is tried again
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Connection")]
    #[arg(default_value = "5m", value_parser = timeout)]
    pub timeout: Duration,

    /// Where lock, journal and safety stop are kept [default: fifo-retain in the XDG state folder]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "State")]
    #[arg(env = "FIFO_RETAIN_STATE_DIR", value_parser = path())]
    pub state_dir: Option<PathBuf>,

    /// The form of what goes to standard output; github is for `validate`, markdown for `plan`, `status`, `show` and `simulate`, html for the last three
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    pub format: Format,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value_t, help_heading = "Output")]
    pub color: ColorChoice,

    /// Print more: every VM and note; twice: every attempt as well
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Print nothing when nothing is to do and nothing is wrong, else only counts and warnings; twice: errors only
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    #[arg(conflicts_with = "verbose")]
    pub quiet: u8,

    /// The form of what goes to standard error
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = "Output")]
    #[arg(default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl Global {
    /// Takes what is empty for what is not given, as an empty variable is meant.
    pub(super) fn without_empty(mut self) -> Self {
        self.policies.retain(|path| !path.as_os_str().is_empty());
        self.endpoint = self.endpoint.filter(|text| !text.is_empty());
        self.profile = self.profile.filter(|text| !text.is_empty());
        self.state_dir = self.state_dir.filter(|path| !path.as_os_str().is_empty());
        self
    }
}

/// The forms of output. A command refuses those that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Annotations for a GitHub workflow.
    Github,
    /// For comments and issues.
    Markdown,
    /// A page for a browser.
    Html,
}

/// The forms of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The environment's variables as they were when the program started. An empty one counts as not there.
#[derive(Clone, Default)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns a variable's value as text. An error: it is not UTF-8; the value is not shown, since it may be a secret.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| Failure::new(format!("{name} is not UTF-8 text")))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(_, value)| !value.is_empty()).collect())
    }
}

pub(super) struct Context {
    pub(super) global: Global,
    pub(super) environment: Environment,
    pub(super) host: Host,
}

impl Context {
    pub(super) fn new(global: Global) -> Self {
        let (global, environment) = (global.without_empty(), env::vars_os().collect::<Environment>());
        let styles = |on_terminal: bool| match global.color {
            ColorChoice::Never => Styles::Plain,
            ColorChoice::Auto if !on_terminal => Styles::Plain,
            ColorChoice::Auto | ColorChoice::Always => Styles::Colored,
        };
        let detail = match (global.quiet, global.verbose) {
            (0, 0) => Detail::Usual,
            (0, _) => Detail::Full,
            (1, _) => Detail::Brief,
            (_, _) => Detail::Errors,
        };
        let (out, err) = (io::stdout(), io::stderr());
        let columns_of_out = columns(&environment, &out);
        let output = Output {
            is_json: global.format == Format::Json,
            text: TextOptions { styles: styles(takes_color(&out)), columns: columns_of_out, detail },
            error_styles: styles(takes_color(&err)),
            out_columns: out.is_terminal().then_some(columns_of_out),
            error_columns: err.is_terminal().then(|| columns(&environment, &err)),
            logs_json: global.log_format == LogFormat::Json,
        };
        let (state_dir, ca_file) = (state_dir(&global), global.ca_file.clone());
        Self { global, environment, host: Host { clock: Utc::now, state_dir, ca_file, output } }
    }

    pub(super) fn text(&self) -> &TextOptions {
        &self.host.output.text
    }

    /// Returns how much a document says. Markdown folds what fewer readers need, so it takes no notice of `-v` and `-q`.
    pub(super) fn detail(&self) -> Detail {
        if self.global.format == Format::Markdown { Detail::Usual } else { self.text().detail }
    }

    /// Prints what a command has found: a document for people, or what `json` writes for programs.
    pub(super) fn print(
        &self,
        doc: impl FnOnce() -> Doc,
        json: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        output::print(|out| match self.global.format {
            Format::Json => json(out),
            Format::Markdown => out.write_all(markdown::written(&doc(), None, None).as_bytes()),
            _ => text::write(&doc(), self.text(), out),
        })
    }

    /// Returns the columns for drawings in characters: of a terminal that shows UTF-8, where text is written to it.
    pub(super) fn drawn_columns(&self) -> Option<usize> {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| self.environment.get(name))?;
        let locale = locale.to_str()?.to_lowercase();
        let shows =
            self.global.format == Format::Text && (locale.contains("utf-8") || locale.contains("utf8"));
        self.host.output.out_columns.filter(|_| shows)
    }

    pub(super) fn policy_paths(&self) -> Vec<PathBuf> {
        let given = &self.global.policies;
        if given.is_empty() { vec![PathBuf::from(DEFAULT_POLICIES)] } else { given.clone() }
    }

    /// Says whether no policies were given and the default folder does not exist.
    pub(super) fn has_no_policies(&self) -> bool {
        self.global.policies.is_empty() && !Path::new(DEFAULT_POLICIES).exists()
    }

    /// Returns the file with pyfi's profiles, whether or not it is there; `None` when the user has no home.
    pub(super) fn profile_file(&self) -> Option<PathBuf> {
        match self.environment.get("FIFO_CONFIG") {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(etcetera::home_dir().ok()?.join(".fifo")),
        }
    }

    /// Returns the format of standard output, which has to be one that the command has.
    pub(super) fn format(&self, known: &[Format]) -> Result<Format, Failure> {
        let asked = self.global.format;
        if known.contains(&asked) {
            return Ok(asked);
        }
        let name = |format: Format| {
            format.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned())
        };
        let known: Vec<String> = known.iter().copied().map(name).collect();
        Err(Failure::usage(format!("--format {} is not for this command", name(asked)))
            .hint(format!("it has {}", known.join(", "))))
    }
}

fn state_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(path) = &global.state_dir {
        return Ok(path.clone());
    }
    if global.sandbox {
        return Ok(Path::new(SANDBOX_FILE).with_file_name(""));
    }
    let base = etcetera::choose_base_strategy().map_err(|error| {
        Failure::new("there is no place for lock and journal")
            .because(error)
            .hint("name a folder with --state-dir or FIFO_RETAIN_STATE_DIR")
    })?;
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("fifo-retain"))
}

/// Says whether colour suits a stream: a terminal that supports it, without NO_COLOR.
fn takes_color(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
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
    fn the_width_is_kept_within_reason() {
        let wide = |text: &str| columns(&[("COLUMNS", text)].into_iter().collect(), io::stdout());
        assert_eq!([wide("20"), wide("100"), wide("999")], [60, 100, 200]);
    }
}
