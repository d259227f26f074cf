//! Which colours mean what. Colour only ever repeats what words say.

use anstyle::{AnsiColor, Style};

/// The colours of an output, or their absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Styles {
    /// A VM's alias, and what else begins a block.
    pub heading: Style,
    /// Something is made.
    pub create: Style,
    /// Something is deleted.
    pub delete: Style,
    /// Something is deleted for good.
    pub destroy: Style,
    /// Something waits, or is held back.
    pub wait: Style,
    /// Something is wrong.
    pub alarm: Style,
    /// Something of little weight.
    pub quiet: Style,
}

impl Styles {
    /// Returns the style without colours.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Returns the colours for a terminal, of its own sixteen, so that they suit its background.
    pub fn colored() -> Self {
        Self {
            heading: Style::new().bold(),
            create: AnsiColor::Green.on_default(),
            delete: AnsiColor::Red.on_default(),
            destroy: AnsiColor::Magenta.on_default().bold(),
            wait: AnsiColor::Yellow.on_default(),
            alarm: AnsiColor::Red.on_default().bold(),
            quiet: Style::new().dimmed(),
        }
    }
}
