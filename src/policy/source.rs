//! A policy file's text, and the findings about it as they are made.

use super::findings::{Diagnostic, Severity, SourcePosition};
use std::borrow::Cow;
use std::cell::RefCell;

/// A line of up to this many bytes is kept whole.
const LINE_WHOLE_BYTES: usize = 1_000;
/// Of a longer one, this many characters on each side of the place are.
const LINE_AROUND_CHARS: usize = 60;
/// A message shows up to this many characters of a value.
const QUOTED_CHARS_MAX: usize = 60;

/// Bytes of a text, from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A file's name and text, and the findings about it.
pub(super) struct Report<'a> {
    pub(super) file: &'a str,
    pub(super) text: Cow<'a, str>,
    line_starts: Vec<usize>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Report<'a> {
    /// Takes a file's text; what is not UTF-8 in it is found wrong at once.
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let line_starts = line_starts(&text);
        let report = Self { file, text, line_starts, found: RefCell::default() };
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
        self.error_in(span, if is_single { text } else { "" }, message, hint);
    }

    /// Notes a mistake for which an unusual character in a text may be the reason.
    pub(super) fn error_in(
        &self,
        span: Span,
        text: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let mut hint = hint.into();
        if let Some(unusual) = text.chars().find(|c| is_unusual(*c)) {
            let gap = if hint.is_empty() { "" } else { "; " };
            hint = format!("it contains {}: type it anew{gap}{hint}", named(unusual));
        }
        self.add(Severity::Error, span, message, hint);
    }

    /// Notes something doubtful.
    pub(super) fn warning(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, span, message, hint);
    }

    fn add(&self, severity: Severity, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        let spot = Some(self.spot(span));
        let diagnostic = Diagnostic::new(severity, self.file, message, hint);
        self.found.borrow_mut().push(Diagnostic { spot, ..diagnostic });
    }

    /// Changes the newest finding.
    pub(super) fn amend(&self, change: impl FnOnce(&mut Diagnostic)) {
        self.found.borrow_mut().last_mut().map(change);
    }

    /// Counts the mistakes so far.
    pub(super) fn error_count(&self) -> usize {
        self.found.borrow().iter().filter(|it| it.severity == Severity::Error).count()
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Counts the line, from 1, that a byte is on.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= byte)
    }

    /// Returns the text of a line, which is counted from 1.
    pub(super) fn line_text(&self, line: usize) -> &str {
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        self.text[self.line_starts[line - 1]..end].trim_end_matches(['\n', '\r'])
    }

    /// Finds the line and column of a span, and its line's text. Of a span over several lines the first is shown.
    pub(super) fn spot(&self, span: Span) -> SourcePosition {
        let at = self.text.floor_char_boundary(span.start);
        let line = self.line_of(at);
        let (shown, line_start) = (self.line_text(line), self.line_starts[line - 1]);
        let at = (at - line_start).min(shown.len());
        let end = shown.floor_char_boundary(span.end.saturating_sub(line_start)).max(at);
        let column = shown[..at].chars().count() + 1;
        if shown.len() <= LINE_WHOLE_BYTES {
            return SourcePosition { line, column, excerpt: shown.to_owned(), mark: at..end };
        }
        let before = shown[..at].char_indices().rev().take(LINE_AROUND_CHARS).last();
        let from = before.map_or(at, |(byte, _)| byte);
        let until = shown[at..].char_indices().nth(LINE_AROUND_CHARS).map_or(shown.len(), |(b, _)| at + b);
        let head = if from > 0 { "…" } else { "" };
        let tail = if until < shown.len() { "…" } else { "" };
        let shift = |byte: usize| byte.min(until) - from + head.len();
        let excerpt = format!("{head}{}{tail}", &shown[from..until]);
        SourcePosition { line, column, excerpt, mark: shift(at)..shift(end) }
    }
}

/// Where lines begin. YAML takes CR LF, LF and a lone CR each as one line break.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let breaks = bytes.iter().enumerate().filter(|&(at, &byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect()
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
        let marked = spot.excerpt[spot.mark.clone()].to_owned();
        (spot.line, spot.column, spot.excerpt, marked)
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
    fn of_a_very_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}HERE{}", "x".repeat(1_000), "y".repeat(1_000));
        let (line, column, excerpt, marked) = place(text.as_bytes(), 1_000, 1_004);
        assert_eq!((line, column, marked.as_str()), (1, 1_001, "HERE"));
        assert_eq!(excerpt, format!("…{}HERE{}…", "x".repeat(60), "y".repeat(56)));
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
