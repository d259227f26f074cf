//! The options of text output.

use crate::render::Styles;

/// The options of text output.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    pub styles: Styles,
    /// The columns there are; 60 or more is sensible.
    pub columns: usize,
    pub detail: Detail,
}

/// The level of detail of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only what makes a run fail.
    Errors,
    /// The counts alone, and nothing where nothing is to do and nothing is wrong.
    Brief,
    /// The VMs with something to do or in some trouble.
    Usual,
    /// Every VM with every note, and backups with their UUIDs.
    Full,
}
