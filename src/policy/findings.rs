//! What is wrong, or doubtful, with a policy file, and how it is shown: to people, and to GitHub.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The renderer is given longer lines only around the place: it would take minutes for a line with many mistakes.
const LINE_WHOLE_BYTES: usize = 1_000;
const AROUND_BYTES: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

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
    /// Where the first of two that must differ is, with its file.
    pub first: Option<(String, SourcePosition)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    pub line: usize,
    /// The column, counted in characters from 1.
    pub column: usize,
    pub text: Arc<str>,
    /// The bytes of `text` that are meant.
    pub mark: Range<usize>,
}

impl Diagnostic {
    /// Makes one about a file as a whole. An empty hint is none.
    pub(super) fn new(
        severity: Severity,
        file: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self { severity, file: file.to_owned(), spot: None, message: message.into(), hint, first: None }
    }

    pub fn line(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.line)
    }

    pub fn column(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.column)
    }

    fn order(&self) -> (&str, Option<usize>, Option<usize>, Severity, &str) {
        (&self.file, self.line(), self.column(), self.severity, &self.message)
    }
}

pub(super) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// Everything that was found wrong with the policies, at least one error among it, by file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub(super) Vec<Diagnostic>);

impl PolicyErrors {
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

/// Writes findings for people: what, where, the line with the place marked, and what would be right.
pub fn render_text(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let blocks: Vec<String> = diagnostics.iter().map(|it| renderer.render(&[group(it)]) + "\n").collect();
    blocks.join("\n")
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let Diagnostic { severity, file, spot, message, hint, first } = diagnostic;
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(message.as_str()));
    if spot.is_none() && !file.is_empty() {
        group = group.element(Origin::path(file.as_str()));
    }
    if let Some(spot) = spot {
        group = place(group, file, spot, AnnotationKind::Primary, None);
    }
    if let Some((file, spot)) = first {
        group = place(group, file, spot, AnnotationKind::Context, Some("the first one"));
    }
    match hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => group,
    }
}

fn place<'a>(
    group: Group<'a>,
    file: &'a str,
    SourcePosition { line, column, text, mark }: &'a SourcePosition,
    kind: AnnotationKind,
    label: Option<&'a str>,
) -> Group<'a> {
    let is_whole = text.len() <= LINE_WHOLE_BYTES;
    let from = if is_whole { 0 } else { text.floor_char_boundary(mark.start.saturating_sub(AROUND_BYTES)) };
    let until = if is_whole { text.len() } else { text.floor_char_boundary(mark.start + AROUND_BYTES) };
    let mark = kind.span(mark.start - from..mark.end.min(until) - from).label(label);
    let snippet = Snippet::source(&text[from..until]).line_start(*line).annotation(mark);
    if from == 0 {
        return group.element(snippet.path(file));
    }
    // The snippet counts columns in what it is given.
    group.element(Origin::path(file).line(*line).char_column(*column)).element(snippet)
}

/// Writes findings as GitHub workflow commands, one a line, which a pull request shows beside the lines they are about.
pub fn render_github(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for Diagnostic { severity, file, spot, message, hint, first } in diagnostics {
        let first = first.as_ref();
        let first = first.map(|(file, it)| format!("\nthe first one: {file}:{}:{}", it.line, it.column));
        let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}"));
        let message = [Some(message.clone()), first, hint].into_iter().flatten().collect::<String>();
        let file = (!file.is_empty())
            .then(|| format!("file={}", escape(file).replace(':', "%3A").replace(',', "%2C")));
        let spot = spot.as_ref().map(|it| format!("line={},col={}", it.line, it.column));
        let place = file.into_iter().chain(spot).collect::<Vec<_>>().join(",");
        let gap = if place.is_empty() { "" } else { " " };
        out += &format!("::{}{gap}{place}::{}\n", severity.as_str(), escape(&message));
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(line: usize, text: &str, mark: Range<usize>) -> SourcePosition {
        SourcePosition { line, column: mark.start + 1, text: text.into(), mark }
    }

    fn finding() -> Diagnostic {
        let mut finding =
            Diagnostic::new(Severity::Error, "a,b:c.yaml", "100% wrong", "write `db`\r\nor nothing");
        finding.spot = Some(spot(12, "policy: web", 8..11));
        finding.first = Some(("b.yaml".to_owned(), spot(2, "policy: web # the first", 8..11)));
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
   |         --- the first one
   |
   = hint: write `db`
";
        assert_eq!(render_text(&[finding], false), expected);
    }

    #[test]
    fn of_a_very_long_line_the_part_around_the_place_is_shown() {
        let mut finding = Diagnostic::new(Severity::Error, "a.yaml", "wrong", "");
        let text = format!("{}HERE{}", "ü".repeat(1_000), "日".repeat(1_000));
        finding.spot = Some(SourcePosition { line: 1, column: 1_001, text: text.into(), mark: 2_000..2_004 });
        let shown = render_text(&[finding], false);
        assert!(shown.contains("--> a.yaml:1:1001\n") && shown.contains("üHERE日"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
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
::error file=a%2Cb%3Ac.yaml,line=12,col=9::100%25 wrong%0Athe first one: b.yaml:2:9%0Ahint: write `db`%0D%0Aor nothing
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
