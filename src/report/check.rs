//! What `check` has found out: whether this machine and this user can do the work.

use super::doc::{Block, Doc, Entry, Line, Tone};
use super::exit::Failure;
use super::json;
use super::words::counted;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
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
    #[must_use]
    pub fn unless(self, is_ok: bool) -> Self {
        if is_ok { Self::Ok } else { self }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    /// What was checked; a name that programs rely on.
    check: &'static str,
    finding: Finding,
    message: String,
    advice: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.0.push(Check { check, finding: Finding::Ok, message: message.into(), advice: None });
    }

    /// Adds a finding, with what to do about it where it is not as it should be.
    pub fn add(&mut self, check: &'static str, finding: Finding, message: impl Into<String>, advice: &str) {
        let advice = (finding != Finding::Ok).then(|| advice.to_owned());
        self.0.push(Check { check, finding, message: message.into(), advice });
    }

    /// Adds a failure, with its own hint, or else this.
    pub fn fail(&mut self, check: &'static str, failure: &Failure, advice: Option<&str>) {
        let advice = failure.hint.as_deref().or(advice).map(str::to_owned);
        self.0.push(Check { check, finding: Finding::Problem, message: failure.text(), advice });
    }

    pub fn count(&self, finding: Finding) -> usize {
        self.0.iter().filter(|check| check.finding == finding).count()
    }

    pub fn document(&self) -> Doc {
        let lines = self.0.iter().flat_map(|Check { check, finding, message, advice }| {
            let (tone, verb) = match finding {
                Finding::Ok => (Tone::Fine, "ok"),
                Finding::Warning => (Tone::Held, "warning"),
                Finding::Problem => (Tone::Alarm, "problem"),
                Finding::Unverified => (Tone::Held, "unverified"),
                Finding::Skipped => (Tone::Plain, "skipped"),
            };
            let advice = advice.as_ref().map(|advice| Line::new(Tone::Plain, "", format!("hint: {advice}")));
            std::iter::once(Line::new(tone, verb, format!("{check}: {message}"))).chain(advice)
        });
        let problems = match self.count(Finding::Problem) {
            0 => "no problems".to_owned(),
            count => counted(count, "problem"),
        };
        let warnings = match self.count(Finding::Warning) {
            0 => String::new(),
            count => format!(", {}", counted(count, "warning")),
        };
        let entry = Entry { lines: lines.collect(), ..Entry::default() };
        let summary = vec![format!("Check: {problems}{warnings}.")];
        Doc { blocks: vec![Block::Entries(vec![entry])], summary, ..Doc::default() }
    }

    /// Writes them in the format `fifo-retain.check/1`.
    pub fn json(&self, endpoint: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            format: &'static str,
            endpoint: Option<&'a str>,
            problems: usize,
            checks: &'a [Check],
        }
        let problems = self.count(Finding::Problem);
        json::document(
            &Document { format: "fifo-retain.check/1", endpoint, problems, checks: &self.0 },
            None,
            out,
        )
    }
}
