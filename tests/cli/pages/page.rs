//! A page in Markdown, as far as its fenced blocks go.

use crate::shell::repository;
use std::fs;

/// A page of the documentation.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'p> {
    /// What stands behind the fence.
    pub(crate) language: &'p str,
    /// The number of its first line in the page, counted from 0.
    pub(crate) first: usize,
    pub(crate) lines: Vec<&'p str>,
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let text = fs::read_to_string(repository(name));
        Self { name: name.to_owned(), text: text.unwrap_or_else(|error| panic!("{name}: {error}")) }
    }

    /// Reads all of them: the READMEs, and everything below `docs`.
    pub(crate) fn all() -> Vec<Self> {
        let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
        for folder in ["policies", "fuzz", "examples", "tests/wire"] {
            let name = format!("{folder}/README.md");
            names.extend(repository(&name).exists().then_some(name));
        }
        pages_below("docs", &mut names);
        assert!(names.len() > 5, "where are the pages? {names:?}");
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// Lists the fenced blocks, in their order.
    pub(crate) fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<(&str, usize, Block<'_>)> = None;
        for (number, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            let indent = line.len() - bare.len();
            let ticks = bare.len() - bare.trim_start_matches('`').len();
            open = match open {
                None if ticks >= 3 => {
                    let (fence, language) = bare.split_at(ticks);
                    let language = language.split_whitespace().next().unwrap_or_default();
                    Some((fence, indent, Block { language, first: number + 1, lines: Vec::new() }))
                }
                Some((fence, _, block)) if bare.trim_end() == fence => {
                    blocks.push(block);
                    None
                }
                Some((fence, indent, mut block)) => {
                    block.lines.push(line.get(indent..).unwrap_or_default());
                    Some((fence, indent, block))
                }
                None => None,
            };
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        blocks
    }

    /// Returns the part of the page below a heading, as far as the next one of its level or above.
    pub(crate) fn section(&self, heading: &str) -> &str {
        let level = heading.chars().take_while(|sign| *sign == '#').count();
        let start = self.text.find(&format!("\n{heading}\n")).unwrap_or_else(|| {
            panic!("{} has no heading {heading:?}", self.name);
        });
        let body = &self.text[start + heading.len() + 2..];
        let is_next = |line: &str| {
            let signs = line.chars().take_while(|sign| *sign == '#').count();
            (1..=level).contains(&signs) && line[signs..].starts_with(' ')
        };
        let length: usize = body.split_inclusive('\n').take_while(|line| !is_next(line)).map(str::len).sum();
        &body[..length]
    }
}

fn pages_below(folder: &str, names: &mut Vec<String>) {
    let mut entries: Vec<_> =
        fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{folder}/{}", path.file_name().and_then(|name| name.to_str()).unwrap());
        if path.is_dir() {
            pages_below(&name, names);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            names.push(name);
        }
    }
}
