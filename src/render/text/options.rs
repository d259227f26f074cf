//! How a text is to look.

use crate::render::Styles;

/// How a text is to look.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// Its colours.
    pub styles: Styles,
    /// The columns there are; 60 or more is sensible.
    pub columns: usize,
    /// How much is told.
    pub detail: Detail,
}

/// How much a text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The counts alone.
    Brief,
    /// The VMs with something to do or in some trouble.
    Usual,
    /// Every VM with every note, and backups with their UUIDs.
    Full,
}
