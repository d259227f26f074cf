//! What surrounds a command: the only place that reads the clock, the environment and the terminal, and that knows where
//! files lie.

use super::options::{Color, Format, Global, LogFormat};
use crate::report::Failure;
use crate::report::text::{self, Detail, TextOptions};
use crate::report::{Doc, Styles, markdown};
use crate::runner::host::Host;
use crate::runner::output::Output;
use chrono::Utc;
use clap::ValueEnum as _;
use etcetera::BaseStrategy as _;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where policies are where no place is given.
const DEFAULT_POLICIES: &str = "policies";
/// The file in which `--sandbox` keeps its world.
const SANDBOX_FILE: &str = ".fifo-retain/sandbox.json";
const COLUMNS_ELSEWHERE: usize = 120;
/// The columns that output is made for at least and at most, however wide the terminal.
const COLUMNS_MIN: usize = 60;
const COLUMNS_MAX: usize = 200;
const HELP_COLUMNS_MAX: usize = 100;

/// The environment's variables as they were when the program started. An empty one counts as not there.
#[derive(Clone, Default)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns a variable's value as text.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8; the value is not shown, since it may be a secret.
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
        let columns_of_out = columns(&environment, io::stdout());
        let output = Output {
            is_json: global.format == Format::Json,
            text: TextOptions { styles: choice(on_out), columns: columns_of_out, detail },
            error_styles: choice(on_err),
            out_columns: io::stdout().is_terminal().then_some(columns_of_out),
            error_columns: io::stderr().is_terminal().then(|| columns(&environment, io::stderr())),
            is_quiet: global.quiet > 0,
            logs_json: global.log_format == LogFormat::Json,
        };
        let host =
            Host { clock: Utc::now, state_dir: state_dir(&global), ca_file: global.ca_file.clone(), output };
        Self { global, environment, host }
    }

    pub(super) fn text(&self) -> &TextOptions {
        &self.host.output.text
    }

    /// Returns how much a document says. Markdown folds what fewer readers need, so it takes no notice of `-v` and `-q`.
    pub(super) fn detail(&self) -> Detail {
        if self.global.format == Format::Markdown { Detail::Usual } else { self.text().detail }
    }

    pub(super) fn write(&self, doc: &Doc, out: &mut dyn Write) -> io::Result<()> {
        match self.global.format {
            Format::Markdown => out.write_all(markdown::written(doc, None, None).as_bytes()),
            _ => text::write(doc, self.text(), out),
        }
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

    pub(super) fn sandbox_file(&self) -> &Path {
        Path::new(SANDBOX_FILE)
    }

    /// Returns the format of standard output.
    pub(super) fn format(&self, known: &[Format]) -> Result<Format, Failure> {
        let asked = self.global.format;
        if known.contains(&asked) {
            return Ok(asked);
        }
        let known: Vec<String> = known.iter().map(|&format| name_of(format)).collect();
        Err(Failure::usage(format!("--format {} is not for this command", name_of(asked)))
            .hint(format!("it has {}", known.join(", "))))
    }
}

fn name_of(format: Format) -> String {
    format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn state_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(path) = &global.state_dir {
        return Ok(path.clone());
    }
    if global.sandbox {
        return Ok(Path::new(SANDBOX_FILE).with_file_name(""));
    }
    let homeless = |error| {
        Failure::new("there is no place for lock and journal")
            .because(error)
            .hint("name a folder with --state-dir or FIFO_RETAIN_STATE_DIR")
    };
    let base = etcetera::choose_base_strategy().map_err(homeless)?;
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("fifo-retain"))
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
    fn the_width_is_kept_within_reason() {
        let wide = |text: &str| columns(&[("COLUMNS", text)].into_iter().collect(), io::stdout());
        assert_eq!([wide("20"), wide("100"), wide("999")], [60, 100, 200]);
    }
}
