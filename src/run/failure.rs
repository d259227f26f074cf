//! Why a command or a run fails as a whole: what happened and why, what to do about it, and the exit code.
//!
//! It is text from the start: no code asks what kind of failure it was, and reports show it as it is.

use super::exit::Exit;
use std::error::Error;
use std::iter::successors;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, lower-case, and what caused it: each text once, since some layers repeat what lies below them.
    pub causes: Vec<String>,
    /// The next step for the operator, if there is one.
    pub hint: Option<String>,
    pub exit: Exit,
}

impl Failure {
    /// Makes one with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self::ending(Exit::Failed, message)
    }

    /// Makes one that ends the command in another way.
    pub fn ending(exit: Exit, message: impl Into<String>) -> Self {
        Self { causes: vec![message.into()], hint: None, exit }
    }

    /// Makes one of arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::ending(Exit::WrongUsage, message)
    }

    /// Makes one of an error and its causes.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self { causes: Vec::new(), hint: None, exit: Exit::Failed };
        failure.add(error);
        failure
    }

    #[must_use]
    pub fn because(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.add(error.into().as_ref());
        self
    }

    fn add(&mut self, error: &(dyn Error + 'static)) {
        for text in successors(Some(error), |&cause| cause.source()).map(ToString::to_string) {
            if !self.causes.iter().any(|told| told.contains(&text)) {
                self.causes.push(text);
            }
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns what happened and why in one line.
    pub fn text(&self) -> String {
        self.causes.join(": ")
    }
}
