//! The findings of `check`, as text and as JSON.

use crate::report::Failure;
use crate::report::text::TextOptions;
use crate::report::{visible, wrapped};
use serde::Serialize;
use std::io::{self, Write};

/// The columns for the finding.
const INDENT: usize = 12;

/// What a check found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    Ok,
    /// A run works, but perhaps not as intended.
    Warning,
    /// A run fails, or cannot do everything.
    Problem,
    /// It cannot be known without changing something in FiFo.
    Unverified,
    /// An earlier problem leaves nothing to check.
    Skipped,
}

impl Finding {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unverified => "unverified",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    /// What was checked; a name that programs rely on.
    check: &'static str,
    finding: Finding,
    message: String,
    /// What to do about it.
    advice: Option<String>,
}

/// All checks, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks(Vec<Check>);

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    endpoint: Option<&'a str>,
    problems: usize,
    checks: &'a [Check],
}

impl Checks {
    pub(super) fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.0.push(Check { check, finding: Finding::Ok, message: message.into(), advice: None });
    }

    /// Adds what is not as it should be, with what to do about it.
    pub(super) fn add(
        &mut self,
        check: &'static str,
        finding: Finding,
        message: impl Into<String>,
        advice: &str,
    ) {
        self.0.push(Check { check, finding, message: message.into(), advice: Some(advice.to_owned()) });
    }

    /// Adds a failure, with its own hint, or else this.
    pub(super) fn fail(&mut self, check: &'static str, failure: &Failure, advice: Option<&str>) {
        let advice = failure.hint.as_deref().or(advice).map(str::to_owned);
        self.0.push(Check { check, finding: Finding::Problem, message: failure.text(), advice });
    }

    pub(super) fn count(&self, finding: Finding) -> usize {
        self.0.iter().filter(|check| check.finding == finding).count()
    }

    pub(super) fn write_json(&self, endpoint: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let problems = self.count(Finding::Problem);
        let document = Document { format: "fifo-retain.check/1", endpoint, problems, checks: &self.0 };
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)
    }

    /// Writes each check with its advice below it.
    pub(super) fn write_text(&self, text_options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
        for Check { check, finding, message, advice } in &self.0 {
            let style = match finding {
                Finding::Ok => text_options.styles.create,
                Finding::Problem => text_options.styles.alarm,
                Finding::Warning | Finding::Unverified => text_options.styles.wait,
                Finding::Skipped => text_options.styles.quiet,
            };
            let entry = format!("{check}: {}", visible(message));
            let advice = advice.as_ref().map(|advice| format!("hint: {}", visible(advice)));
            let space = text_options.columns.saturating_sub(INDENT);
            let entry = std::iter::once(entry).chain(advice).flat_map(|text| wrapped(&text, space));
            for (place, line) in entry.enumerate() {
                let word = if place == 0 { finding.word() } else { "" };
                writeln!(out, "{style}{word:<INDENT$}{style:#}{line}")?;
            }
        }
        let counted = |finding, noun: &str, none: &str| match self.count(finding) {
            0 => none.to_owned(),
            1 => format!(", 1 {noun}"),
            count => format!(", {count} {noun}s"),
        };
        let problems = counted(Finding::Problem, "problem", ", no problems");
        let warnings = counted(Finding::Warning, "warning", "");
        writeln!(out, "\nCheck: {}{warnings}.", problems.trim_start_matches(", "))
    }
}
