//! What is wrong, or doubtful, with a policy file, and how it is shown: to people, and to GitHub.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policies cannot be used.
    Error,
    /// They can, but hardly mean what they say.
    Warning,
}

impl Severity {
    /// Returns its name, which is also GitHub's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding about a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file or folder, as it was found from the path that was given; empty when none was.
    pub file: String,
    /// The place in the file; `None` when it is about the file as a whole.
    pub spot: Option<SourcePosition>,
    /// What is wrong: one line, lower-case, without a full stop.
    pub message: String,
    pub hint: Option<String>,
    /// Another place that has to do with it.
    pub related: Option<Box<Related>>,
}

/// A place in a file, with its line to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted in characters from 1.
    pub column: usize,
    /// The line's text, or the part around the place when the line is very long.
    pub excerpt: String,
    /// The bytes of `excerpt` that are meant.
    pub mark: Range<usize>,
}

/// Another place that has to do with a [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    pub label: String,
    pub file: String,
    pub spot: SourcePosition,
}

impl Diagnostic {
    /// Makes one about a file as a whole. An empty hint is none.
    pub(super) fn new(
        severity: Severity,
        file: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (file, message) = (file.to_owned(), message.into());
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self { severity, file, spot: None, message, hint, related: None }
    }

    /// Returns the line, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.line)
    }

    /// Returns the column, counted in characters from 1.
    pub fn column(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.column)
    }

    fn order(&self) -> (&str, Option<usize>, Option<usize>, Severity, &str) {
        (&self.file, self.line(), self.column(), self.severity, &self.message)
    }
}

/// Brings findings into the order of file, line and column.
pub(super) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// Everything that was found wrong with the policies: at least one error, and the warnings beside it, by file, line and
/// column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub(super) Vec<Diagnostic>);

impl PolicyErrors {
    /// Returns them one by one.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render_text(&self.0, false).trim_end())
    }
}

impl std::error::Error for PolicyErrors {}

/// Writes findings for people: what, where, the line itself with the place marked, and what would be right.
///
/// Ends with a line break, unless there are none. `colour` adds ANSI escapes and nothing else.
pub fn render_text(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let blocks: Vec<String> = diagnostics.iter().map(|it| renderer.render(&[group(it)]) + "\n").collect();
    blocks.join("\n")
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    match &diagnostic.spot {
        Some(spot) => {
            group = place(group, &diagnostic.file, spot, AnnotationKind::Primary.span(spot.mark.clone()));
        }
        None if diagnostic.file.is_empty() => {}
        None => group = group.element(Origin::path(diagnostic.file.as_str())),
    }
    if let Some(related) = &diagnostic.related {
        let mark = AnnotationKind::Context.span(related.spot.mark.clone()).label(related.label.as_str());
        group = place(group, &related.file, &related.spot, mark);
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    group
}

fn place<'a>(group: Group<'a>, file: &'a str, spot: &'a SourcePosition, mark: Annotation<'a>) -> Group<'a> {
    let snippet = Snippet::source(spot.excerpt.as_str()).line_start(spot.line).annotation(mark);
    let column_shown = spot.excerpt[..spot.mark.start].chars().count() + 1;
    if column_shown == spot.column {
        return group.element(snippet.path(file));
    }
    // The snippet counts columns in what it is given, which is only a part of a very long line.
    group.element(Origin::path(file).line(spot.line).char_column(spot.column)).element(snippet)
}

/// Writes findings as GitHub workflow commands, one a line, which a pull request shows beside the lines they are about.
pub fn render_github(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let mut message = diagnostic.message.clone();
        if let Some(related) = &diagnostic.related {
            let Related { label, file, spot } = &**related;
            message += &format!("\n{label}: {file}:{}:{}", spot.line, spot.column);
        }
        if let Some(hint) = &diagnostic.hint {
            message += &format!("\nhint: {hint}");
        }
        let mut place = Vec::new();
        if !diagnostic.file.is_empty() {
            place.push(format!("file={}", escape_property(&diagnostic.file)));
        }
        if let Some(spot) = &diagnostic.spot {
            place.push(format!("line={},col={}", spot.line, spot.column));
        }
        let gap = if place.is_empty() { "" } else { " " };
        let severity = diagnostic.severity.as_str();
        out += &format!("::{severity}{gap}{}::{}\n", place.join(","), escape(&message));
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(line: usize, excerpt: &str, mark: Range<usize>) -> SourcePosition {
        SourcePosition { line, column: mark.start + 1, excerpt: excerpt.to_owned(), mark }
    }

    fn finding() -> Diagnostic {
        let mut finding =
            Diagnostic::new(Severity::Error, "a,b:c.yaml", "100% wrong", "write `db`\r\nor nothing");
        finding.spot = Some(spot(12, "policy: web", 8..11));
        finding.related = Some(Box::new(Related {
            label: "first here".to_owned(),
            file: "b.yaml".to_owned(),
            spot: spot(2, "policy: web # the first", 8..11),
        }));
        finding
    }

    #[test]
    fn both_places_are_shown_with_their_lines() {
        let mut finding = finding();
        finding.hint = Some("write `db`".to_owned());
        let expected = "\
error: 100% wrong
  --> a,b:c.yaml:12:9
   |
12 | policy: web
   |         ^^^
   |
  ::: b.yaml:2:9
   |
 2 | policy: web # the first
   |         --- first here
   |
   = hint: write `db`
";
        assert_eq!(render_text(&[finding], false), expected);
    }

    #[test]
    fn colour_adds_escapes_and_nothing_else() {
        let plain = render_text(&[finding()], false);
        let coloured = render_text(&[finding()], true);
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn github_gets_one_escaped_line_each() {
        let whole = Diagnostic::new(Severity::Warning, "x.yaml", "doubtful", "");
        let none = Diagnostic::new(Severity::Error, "", "nothing given", "");
        let expected = "\
::error file=a%2Cb%3Ac.yaml,line=12,col=9::100%25 wrong%0Afirst here: b.yaml:2:9%0Ahint: write `db`%0D%0Aor nothing
::warning file=x.yaml::doubtful
::error::nothing given
";
        assert_eq!(render_github(&[finding(), whole, none]), expected);
    }

    #[test]
    fn findings_come_by_file_line_and_column() {
        let at = |file: &str, place: Option<(usize, usize)>| {
            let mut finding = Diagnostic::new(Severity::Error, file, "x", "");
            finding.spot = place.map(|(line, column)| spot(line, "0123456789", column..column));
            finding
        };
        let mut findings =
            vec![at("b", None), at("a", Some((10, 1))), at("a", Some((9, 2))), at("a", Some((9, 1)))];
        sort(&mut findings);
        let places: Vec<_> = findings.iter().map(|it| (it.file.as_str(), it.line(), it.column())).collect();
        assert_eq!(
            places,
            [("a", Some(9), Some(2)), ("a", Some(9), Some(3)), ("a", Some(10), Some(2)), ("b", None, None)]
        );
    }
}
