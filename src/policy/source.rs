//! A policy file's text, and the findings about it as they are made.

use super::findings::{Diagnostic, Severity, SourcePosition};
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

const QUOTED_CHARS_MAX: usize = 60;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A file's name and text, and the findings about it.
pub(super) struct Report<'a> {
    pub(super) file: &'a str,
    pub(super) text: Cow<'a, str>,
    /// Where each line begins, and its text, which all findings about it share.
    lines: Vec<(usize, Arc<str>)>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Report<'a> {
    /// Takes a file's text; what is not UTF-8 in it is found wrong at once.
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let lines = lines(&text);
        let report = Self { file, text, lines, found: RefCell::default() };
        if let Err(error) = std::str::from_utf8(bytes) {
            let start = error.valid_up_to();
            let span = Span { start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() };
            let hint = "save it as UTF-8, or move it out of the folder if it is not a policy";
            report.error(span, "the file is not UTF-8 text", hint);
        }
        report
    }

    /// Notes a mistake. An empty hint is none. An unusual character in what is wrong is named.
    pub(super) fn error(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        let text = self.text.get(span.start..span.end).unwrap_or_default();
        let is_single = !text.starts_with(['{', '[']) && !text.contains('\n');
        let hint = hint.into();
        let hint = if is_single { retyped(text, &hint) } else { hint };
        self.add(Diagnostic::new(Severity::Error, self.file, message, hint), span);
    }

    pub(super) fn warning(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Diagnostic::new(Severity::Warning, self.file, message, hint), span);
    }

    pub(super) fn add(&self, diagnostic: Diagnostic, span: Span) {
        self.found.borrow_mut().push(Diagnostic { spot: Some(self.spot(span)), ..diagnostic });
    }

    pub(super) fn error_count(&self) -> usize {
        self.found.borrow().iter().filter(|it| it.severity == Severity::Error).count()
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Counts the line, from 1, that a byte is on.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|(start, _)| *start <= byte)
    }

    /// Finds the line and column of a span, and its line's text. Of a span over several lines the first is meant.
    pub(super) fn spot(&self, span: Span) -> SourcePosition {
        let at = self.text.floor_char_boundary(span.start);
        let line = self.line_of(at);
        let (line_start, text) = &self.lines[line - 1];
        let start = (at - line_start).min(text.len());
        let end = text.floor_char_boundary(span.end.saturating_sub(*line_start)).max(start);
        let column = text[..start].chars().count() + 1;
        SourcePosition { line, column, text: Arc::clone(text), mark: start..end }
    }
}

/// Takes a text apart. YAML takes CR LF, LF and a lone CR each as one line break.
fn lines(text: &str) -> Vec<(usize, Arc<str>)> {
    let bytes = text.as_bytes();
    let ends_line = |at: &usize| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let (mut lines, mut start) = (Vec::new(), 0);
    for end in (0..bytes.len()).filter(ends_line).map(|at| at + 1).chain([bytes.len()]) {
        lines.push((start, text[start..end].trim_end_matches(['\n', '\r']).into()));
        start = end;
    }
    lines
}

/// Puts before a hint that an unusual character in a text is to be typed anew, where there is one.
pub(super) fn retyped(text: &str, hint: &str) -> String {
    let Some(unusual) = text.chars().find(|c| is_unusual(*c)) else { return hint.to_owned() };
    let gap = if hint.is_empty() { "" } else { "; " };
    format!("it contains {}: type it anew{gap}{hint}", named(unusual))
}

/// Says whether a character cannot be seen.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || (c.is_whitespace() && !c.is_ascii())
}

/// Says whether a character cannot be seen, or is another one than it looks like.
pub(super) fn is_unusual(c: char) -> bool {
    is_invisible(c) || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201f}' | '\u{2212}')
}

/// Names a character by its code point, and says what it is.
pub(super) fn named(c: char) -> String {
    let what = match c {
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a no-break space",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "a dash other than `-`",
        '\u{2018}'..='\u{201f}' => "a typographic quote",
        _ if c.is_whitespace() => "an unusual space",
        _ if is_invisible(c) => "an invisible character",
        _ => "a letter of another alphabet",
    };
    format!("U+{:04X} ({what})", u32::from(c))
}

/// Puts a text from a file between backquotes, for a message: on one line, and shortened when it is long.
pub(super) fn quoted(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() || is_invisible(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    let shown: String = text.chars().take(QUOTED_CHARS_MAX).map(escaped).collect();
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bytes: &[u8], start: usize, end: usize) -> (usize, usize, String, String) {
        let spot = Report::new("a.yaml", bytes).spot(Span { start, end });
        let marked = spot.text[spot.mark].to_owned();
        (spot.line, spot.column, spot.text.to_string(), marked)
    }

    #[test]
    fn columns_count_characters_and_leave_a_byte_order_mark_out() {
        let text = "\u{feff}a: ü\nb: öx";
        assert_eq!(place(text.as_bytes(), 9, 10), (2, 4, "b: öx".into(), "".into()));
        assert_eq!(place(text.as_bytes(), 11, 12), (2, 5, "b: öx".into(), "x".into()));
    }

    #[test]
    fn every_kind_of_line_break_counts_once() {
        let text = b"a\r\nb\rc\nd";
        assert_eq!(place(text, 3, 4), (2, 1, "b".into(), "b".into()));
        assert_eq!(place(text, 5, 6), (3, 1, "c".into(), "c".into()));
        assert_eq!(place(text, 7, 8), (4, 1, "d".into(), "d".into()));
        assert_eq!(place(text, 8, 8), (4, 2, "d".into(), "".into()));
    }

    #[test]
    fn a_span_over_several_lines_is_marked_to_the_end_of_its_first() {
        assert_eq!(place(b"x: ab\ncd", 3, 8), (1, 4, "x: ab".into(), "ab".into()));
    }

    #[test]
    fn what_is_not_utf8_is_found_at_its_place() {
        let found = Report::new("a.yaml", b"policy: x\nname: \xff\xfe\n").into_found();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line(), found[0].column()), (Some(2), Some(7)));
    }

    #[test]
    fn quoted_text_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }
}
