//! How a command fails: what kind of failure, what happened and why, and what to do about it.

use crate::fifo::{FifoError, HttpSetupError, ProfileError, TransportErrorKind};
use crate::render::{Styles, visible, wrapped};
use std::error::Error;
use std::io::{self, Write};
use std::iter::successors;

/// The kind of failure, by what it means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Policies,
    /// Endpoint, credentials or another setting is missing or wrong.
    Settings,
    /// FiFo is unreachable, or its answer is invalid.
    Fifo,
    /// This user can see no VM, so nothing can be concluded.
    NothingVisible,
    /// A file, folder or stream could not be read or written.
    Files,
    /// A saved plan is invalid, or is for another FiFo.
    SavedPlan,
    /// The user answered no.
    Declined,
    /// Another run for the same FiFo is in progress.
    Locked,
    /// The same, met by a `reconcile` that a timer may have started, and for less than a day: routine.
    RunInProgress,
    /// Our clock and the server's are too far apart.
    Clocks,
    /// Backups have vanished, in an earlier run or so that it cannot be remembered.
    SafetyStop,
    /// A fault of this program.
    Internal,
    /// The arguments do not go together.
    Usage,
}

#[derive(Debug)]
pub struct CliError {
    kind: Kind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl CliError {
    /// Makes one. The message is lower-case and leaves its cause to [`CliError::because`].
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hint: None }
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns its kind, which decides on the exit code.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Lists the message and its causes, each of them once: some layers repeat what lies below them.
    pub fn chain(&self) -> Vec<String> {
        let mut chain = vec![self.message.clone()];
        let source = self.source.as_deref().map(|source| source as &(dyn Error + 'static));
        for text in successors(source, |&cause| cause.source()).map(ToString::to_string) {
            if !chain.iter().any(|shown| shown.contains(&text)) {
                chain.push(text);
            }
        }
        chain
    }

    /// Writes it for people, on a terminal wrapped to its columns.
    pub fn write(&self, styles: &Styles, columns: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let alarm = styles.alarm;
        for (place, text) in self.chain().into_iter().enumerate() {
            if place == 0 {
                let text = lines(&format!("error: {text}"), columns);
                writeln!(out, "{alarm}error:{alarm:#}{}", text.strip_prefix("error:").unwrap_or(&text))?;
            } else {
                writeln!(out, "  {}", lines(&format!("caused by: {text}"), columns))?;
            }
        }
        self.hint.iter().try_for_each(|hint| writeln!(out, "{}", lines(&format!("hint: {hint}"), columns)))
    }

    /// Hands it to the log, for programs.
    pub fn log(&self) {
        tracing::error!(kind = ?self.kind, hint = self.hint.as_deref(), "{}", self.chain().join(": "));
    }
}

/// Makes a text harmless that may contain an answer of a server; its line breaks stay. With `columns` longer lines are
/// wrapped, except indented ones, which are excerpts.
fn lines(text: &str, columns: Option<usize>) -> String {
    let line = |line: &str| match (visible(line), columns) {
        (line, Some(columns)) if !line.starts_with(' ') => wrapped(&line, columns).join("\n"),
        (line, _) => line,
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

impl From<FifoError> for CliError {
    fn from(error: FifoError) -> Self {
        let hint = match &error {
            FifoError::Connection { source, .. } if source.kind() == TransportErrorKind::Untrusted => Some(
                "name the certificate of the authority that signed the server's with --ca-file; a self-signed one \
                 is its own authority, but must not be marked as one (CA:TRUE)",
            ),
            error if error.is_silence() => Some("is the endpoint right, and can it be reached from here?"),
            _ => None,
        };
        let message = error.to_string();
        let mut made = Self::new(Kind::Fifo, message).because(error);
        made.hint = hint.map(str::to_owned);
        made
    }
}

impl From<ProfileError> for CliError {
    fn from(error: ProfileError) -> Self {
        Self::new(Kind::Settings, error.to_string()).because(error)
    }
}

impl From<HttpSetupError> for CliError {
    fn from(error: HttpSetupError) -> Self {
        Self::new(Kind::Settings, error.to_string()).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::TransportError;
    use http::StatusCode;
    use std::time::Duration;

    fn written(error: &CliError) -> String {
        let mut out = Vec::new();
        error.write(&Styles::plain(), None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_no_question_of_the_address() {
        let hint = |kind| {
            let source = TransportError::new(kind, "refused");
            let (doing, endpoint) = ("sign in".to_owned(), "https://fifo".to_owned());
            written(&CliError::from(FifoError::Connection { doing, endpoint, source }))
        };
        assert!(hint(TransportErrorKind::Untrusted).contains("with --ca-file"));
        assert!(hint(TransportErrorKind::NotSent).contains("is the endpoint right"));
    }

    #[test]
    fn whoever_was_answered_is_not_asked_whether_the_endpoint_is_right() {
        let timed_out = |last: Option<FifoError>| {
            let (doing, timeout) = ("read the list of VMs".to_owned(), Duration::from_secs(120));
            let last = last.map(Box::new);
            written(&CliError::from(FifoError::TimedOut { doing, timeout, attempts: 9, last }))
        };
        let asks = |text: &str| text.contains("is the endpoint right");
        let unavailable = FifoError::Status {
            doing: "x".to_owned(),
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        };
        let cut = FifoError::Unreadable { doing: "x".to_owned(), why: "cut".to_owned(), is_cut: true };
        assert!(!asks(&timed_out(Some(unavailable))) && !asks(&timed_out(Some(cut))));
        let source = TransportError::new(TransportErrorKind::NotSent, "refused");
        let (doing, endpoint) = ("x".to_owned(), "https://fifo".to_owned());
        let silence = FifoError::Connection { doing, endpoint, source };
        assert!(asks(&timed_out(Some(silence))) && asks(&timed_out(None)));
    }

    #[test]
    fn each_cause_is_reported_once() {
        let source =
            ProfileError::File { path: "/x".into(), source: io::Error::other("disk \u{1b}[2J gone") };
        let error = CliError::from(source).hint("mount it");
        assert_eq!(
            written(&error),
            "error: failed to read the profiles in /x\n  caused by: disk \\u{1b}[2J gone\nhint: mount it\n"
        );
    }
}
