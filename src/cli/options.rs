//! The options of every command.

use super::value::{path, timeout};
use crate::fifo::{ApiVersion, CertificatePin};
use clap::{ArgAction, Args, ColorChoice, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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
