//! A report as data: what is said, in which order and how urgent it is. The builders of this module make documents; the
//! backends [`text`](super::text), [`markdown`](super::markdown) and [`html`](super::html) print any of them, so that terminal,
//! pull request and page say the same in the same words.
//!
//! Strings are what they are: each backend makes them harmless and escapes them in its own way.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Nothing of weight.
    #[default]
    Plain,
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

#[derive(Clone, Debug, Default)]
pub struct Doc {
    /// What stands above everything else: a safety stop.
    pub(super) alarms: Vec<Block>,
    pub(super) blocks: Vec<Block>,
    /// What is worth knowing about all of it; near the summary.
    pub(super) remarks: Vec<(Tone, String)>,
    /// The counts, in a form that never changes: last in text, first elsewhere.
    pub(super) summary: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Block {
    Heading(String),
    Para(Tone, String),
    List(Vec<(Tone, String)>),
    Table(Table),
    /// What there is to say of each of some VMs.
    Entries(Vec<Entry>),
    /// Lines as they are, in a fixed width: a diff, a calendar. With a title they are folded in Markdown and HTML.
    Lines {
        title: Option<String>,
        lines: Vec<(Tone, String)>,
    },
    /// What fewer readers need: folded in Markdown and HTML. Text leaves it to `-v`.
    Details {
        title: String,
        blocks: Vec<Block>,
    },
}

impl Block {
    pub(super) fn diff(lines: Vec<(Tone, String)>) -> Self {
        Self::Lines { title: Some("Actual against desired backups".to_owned()), lines }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Heading(_) | Self::Para(..) => false,
            Self::List(items) => items.is_empty(),
            Self::Table(table) => table.rows.is_empty(),
            Self::Entries(entries) => entries.is_empty(),
            Self::Lines { lines, .. } => lines.is_empty(),
            Self::Details { blocks, .. } => blocks.iter().all(Self::is_empty),
        }
    }
}

/// A table; with depths of rows in it, a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
    /// From which row on it is folded in Markdown and HTML, and what these rows are.
    pub(super) folded: Option<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// When a narrow terminal leaves the column out: 1 first, 0 never.
    pub(super) drop: u8,
    pub(super) wraps: bool,
    /// Whether it has numbers, which stand at the right.
    pub(super) is_number: bool,
}

impl Column {
    pub(super) const fn new(title: &'static str, drop: u8) -> Self {
        Self { title, drop, wraps: false, is_number: false }
    }

    pub(super) const fn number(title: &'static str, drop: u8) -> Self {
        Self { is_number: true, ..Self::new(title, drop) }
    }

    pub(super) const fn wrapping(title: &'static str, drop: u8) -> Self {
        Self { wraps: true, ..Self::new(title, drop) }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) tone: Tone,
    /// In a tree, its number of ancestors.
    pub(super) depth: Option<usize>,
    /// What is drawn left of it instead, where the table is a drawing.
    pub(super) guide: Option<Guide>,
    pub(super) cells: Vec<String>,
    pub(super) below: Vec<String>,
}

/// Lines left of a row: of its first line, and of its others.
#[derive(Clone, Debug, Default)]
pub(super) struct Guide {
    pub(super) first: String,
    pub(super) below: String,
}

impl Table {
    pub(super) fn is_tree(&self) -> bool {
        self.rows.iter().any(|row| row.depth.is_some() || row.guide.is_some())
    }

    /// Returns the places of the columns that have anything in them.
    pub(super) fn used(&self) -> Vec<usize> {
        let is_used = |&place: &usize| self.rows.iter().any(|row| !row.cells[place].is_empty());
        (0..self.columns.len()).filter(is_used).collect()
    }
}

/// What there is to say of a VM, or of several with the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The beginning of its UUID where the name does not have it, or the number of VMs.
    pub(super) id: String,
    pub(super) policy: String,
    pub(super) lines: Vec<Line>,
}

/// `! blocked  on no hypervisor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) verb: &'static str,
    pub(super) what: String,
    /// Stands in a column of its own; where it is empty, `what` has the whole line.
    pub(super) why: String,
    pub(super) count: usize,
}

impl Line {
    pub(super) fn new(tone: Tone, verb: &'static str, what: String) -> Self {
        Self { tone, verb, what, why: String::new(), count: 1 }
    }

    #[must_use]
    pub(super) fn because(self, why: String) -> Self {
        Self { why, ..self }
    }
}

/// The number of steps of a chain that are indented; further ones stay at the last indentation.
const LEVELS_MAX: usize = 8;

/// Returns what is drawn left of the rows: the branches of a tree, where they have nothing of their own.
pub(super) fn guides(rows: &[Row]) -> Vec<Guide> {
    // Read from the end, so that it is known of each whether a sibling and whether a child follows.
    let mut goes_on: Vec<bool> = Vec::new();
    let mut all = Vec::with_capacity(rows.len());
    let mut depth_below = 0;
    for row in rows.iter().rev() {
        let depth = row.depth.unwrap_or(0);
        goes_on.resize(depth.max(goes_on.len()) + 1, false);
        let has_sibling = goes_on[depth];
        let has_child = depth_below > depth;
        let bar = |is_open: bool| if is_open { "│ " } else { "  " };
        let beside: String = (1..depth.min(LEVELS_MAX)).map(|level| bar(goes_on[level])).collect();
        let own = match (depth, has_sibling) {
            (0, _) => "",
            _ if depth > LEVELS_MAX => "… ",
            (_, true) => "├ ",
            (_, false) => "└ ",
        };
        let own_below = if depth == 0 || depth > LEVELS_MAX { "" } else { bar(has_sibling) };
        let below = match row.depth {
            None => "",
            Some(depth) if depth < LEVELS_MAX => bar(has_child),
            Some(_) => "  ",
        };
        let tree = Guide { first: format!("{beside}{own}"), below: format!("{beside}{own_below}{below}") };
        all.push(row.guide.clone().unwrap_or(tree));
        goes_on.truncate(depth + 1);
        goes_on[depth] = true;
        depth_below = depth;
    }
    all.reverse();
    all
}
