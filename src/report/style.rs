//! What a line is about, and which colours say so again. Colour only ever repeats what words say.

use anstyle::{AnsiColor, Style};

/// What a line is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Nothing of weight.
    #[default]
    Plain,
    /// All is well.
    Fine,
    Create,
    Wait,
    Held,
    /// A snapshot is deleted; the stored backup stays.
    Delete,
    /// Something is deleted for good.
    Destroy,
    Alarm,
}

impl Tone {
    /// Returns the character that stands before its lines.
    pub(super) fn sign(self) -> char {
        match self {
            Self::Plain => ' ',
            Self::Fine => '=',
            Self::Create => '+',
            Self::Wait => '.',
            Self::Held => '~',
            Self::Delete => '-',
            Self::Destroy => 'x',
            Self::Alarm => '!',
        }
    }

    /// Returns its class in HTML.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plain => "quiet",
            Self::Fine | Self::Create => "ok",
            Self::Wait | Self::Held => "warn",
            Self::Delete | Self::Alarm => "bad",
            Self::Destroy => "destroy",
        }
    }
}

/// The colours of an output, or their absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Styles {
    /// A VM's alias, and what else begins a block.
    pub heading: Style,
    pub create: Style,
    pub delete: Style,
    pub destroy: Style,
    pub wait: Style,
    pub alarm: Style,
    pub quiet: Style,
}

impl Styles {
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

    pub(super) fn of(&self, tone: Tone) -> Style {
        match tone {
            Tone::Plain | Tone::Fine => self.quiet,
            Tone::Create => self.create,
            Tone::Wait | Tone::Held => self.wait,
            Tone::Delete => self.delete,
            Tone::Destroy => self.destroy,
            Tone::Alarm => self.alarm,
        }
    }
}
