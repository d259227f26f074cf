//! A policy file's text, and where in it something stands.

use super::diagnostic::{Diagnostic, Severity, SourcePosition};
use std::borrow::Cow;

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

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) span: Span,
    pub(super) value: T,
}

/// A file's name and text, and the findings about it as they are made.
pub(super) struct DiagnosticSink<'a> {
    pub(super) file: &'a str,
    pub(super) text: Cow<'a, str>,
    line_starts: Vec<usize>,
    found: Vec<Diagnostic>,
    error_count: usize,
}

impl<'a> DiagnosticSink<'a> {
    /// Takes a file's text; what is not UTF-8 in it is found wrong at once.
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let line_starts = line_starts(&text);
        let mut report = Self { file, text, line_starts, found: Vec::new(), error_count: 0 };
        if let Err(error) = std::str::from_utf8(bytes) {
            let start = error.valid_up_to();
            let end = start + char::REPLACEMENT_CHARACTER.len_utf8();
            report
                .error(Span { start, end }, "the file is not UTF-8 text")
                .hint("save it as UTF-8, or move it out of the folder if it is not a policy");
        }
        report
    }

    /// Notes a mistake; a hint can be put on what comes back.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.error_count += 1;
        self.note(Severity::Error, span, message)
    }

    /// Notes something doubtful; a hint can be put on what comes back.
    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.note(Severity::Warning, span, message)
    }

    fn note(&mut self, severity: Severity, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic::new(severity, self.file, message);
        diagnostic.spot = Some(self.spot(span));
        self.found.push_mut(diagnostic)
    }

    /// Counts the mistakes so far.
    pub(super) fn error_count(&self) -> usize {
        self.error_count
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found
    }

    /// Counts the line, from 1, that a byte is on.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= byte)
    }

    /// Finds the line and column of a span, and its line's text. Of a span over several lines the first is shown.
    pub(super) fn spot(&self, span: Span) -> SourcePosition {
        let text: &str = &self.text;
        let at = text.floor_char_boundary(span.start);
        let line = self.line_of(at);
        let line_start = self.line_starts[line - 1];
        let next_line = self.line_starts.get(line).copied().unwrap_or(text.len());
        let shown = text[line_start..next_line].trim_end_matches(['\n', '\r']);
        let at = (at - line_start).min(shown.len());
        let end = shown.floor_char_boundary(span.end.saturating_sub(line_start)).max(at);
        let column = shown[..at].chars().count() + 1;
        if shown.len() <= LINE_WHOLE_BYTES {
            return SourcePosition { line, column, excerpt: shown.to_owned(), mark: at..end };
        }
        let before = &shown[..at];
        let from = before.char_indices().rev().take(LINE_AROUND_CHARS).last().map_or(at, |(byte, _)| byte);
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

/// Puts a text from a file between backquotes, for a message: on one line, and shortened when it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == QUOTED_CHARS_MAX {
            out.push('…');
            break;
        }
        match c {
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out + "`"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bytes: &[u8], start: usize, end: usize) -> (usize, usize, String, String) {
        let spot = DiagnosticSink::new("a.yaml", bytes).spot(Span { start, end });
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
        let found = DiagnosticSink::new("a.yaml", b"policy: x\nname: \xff\xfe\n").into_found();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line(), found[0].column()), (Some(2), Some(7)));
    }

    #[test]
    fn quoted_text_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }
}
