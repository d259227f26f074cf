//! YAML as a small tree in which every node has its place in the file. Serde is no alternative: it stops at the first mistake
//! of syntax, and shows neither how a number is spelled nor the difference between `5` and `"5"`.

use super::findings::{Diagnostic, Severity};
use super::source::{Report, Span, quoted, retyped};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle};
use std::collections::BTreeMap;

/// How many nodes a file may have, and how deep they may nest: far more than policies need.
const NODES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// A scalar or a collection in brackets from its first to its last character, a block collection at its first entry.
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// A single value as it is written, and what it is.
    Scalar(String, Kind),
    List(Vec<Node>),
    /// In the order of the file, each key once.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// What a scalar is by YAML 1.2's core schema, in which `yes` and `on` are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Switch(bool),
    /// A whole number; `None` is one of more than 64 bits.
    Whole(Option<i64>),
    Fraction,
}

impl Kind {
    /// Returns what a scalar is that no quotes make text.
    pub(super) fn of(text: &str) -> Self {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let whole = |digits: &str, base: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
        let based = |prefix: &str, base: u32| text.strip_prefix(prefix).filter(|rest| whole(rest, base));
        match text {
            "true" | "True" | "TRUE" => Self::Switch(true),
            "false" | "False" | "FALSE" => Self::Switch(false),
            ".nan" | ".NaN" | ".NAN" => Self::Fraction,
            _ if matches!(unsigned, ".inf" | ".Inf" | ".INF") => Self::Fraction,
            _ if whole(unsigned, 10) => Self::Whole(text.parse().ok()),
            _ if let Some(rest) = based("0x", 16) => Self::Whole(i64::from_str_radix(rest, 16).ok()),
            _ if let Some(rest) = based("0o", 8) => Self::Whole(i64::from_str_radix(rest, 8).ok()),
            // Rust takes words such as `inf` and `nan` for numbers too; YAML does not.
            _ if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                && unsigned.parse::<f64>().is_ok() =>
            {
                Self::Fraction
            }
            _ => Self::Text,
        }
    }
}

impl Node {
    pub(super) fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(text, Kind::Text) => format!("the text {}", quoted(text)),
            Value::Scalar(text, Kind::Switch(_)) => quoted(text),
            Value::Scalar(text, Kind::Whole(_) | Kind::Fraction) => format!("the number {}", quoted(text)),
        }
    }
}

/// Reads the documents of a file; empty ones are left out. What is no YAML, repeated keys, and what policies have no use
/// for (tags, anchors, aliases, merge keys) is reported; after a mistake of syntax the reading goes on with the next
/// document.
pub(super) fn documents(report: &Report<'_>) -> Vec<Node> {
    let mut options = granit_parser::options! { emit_unresolved_aliases: true, emit_anchor_events: true };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(&report.text, options);
    let mut reader = Reader { report, documents: Vec::new(), node_count: 0, open: Vec::new() };
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, place)) => reader.take(event, place),
            Err(error) => Err(reader.syntax(&error)),
        };
        let goes_on = taken.is_ok() || matches!(parser.proceed_next_document(), Ok(true));
        if !goes_on || reader.node_count > NODES_MAX {
            break;
        }
    }
    reader.documents
}

/// A mistake that has been reported, and that leaves no sense in reading on in the document.
struct Lost;

struct Reader<'t> {
    report: &'t Report<'t>,
    documents: Vec<Node>,
    node_count: usize,
    /// The collections that have not ended yet, outermost first.
    open: Vec<Open>,
}

struct Open {
    span: Span,
    is_flow: bool,
    is_map: bool,
    /// The keys and values of a map by turns.
    children: Vec<Node>,
}

impl Reader<'_> {
    /// Takes an event of the parser. Reports what policies have no use for.
    fn take(&mut self, event: Event<'_>, place: granit_parser::Span) -> Result<(), Lost> {
        let span = bytes_of(place);
        if let Some(tag) = place.tag_span() {
            let hint = "put a value in quotes to make it text";
            self.report.error(bytes_of(tag), "tags (`!…`) are not supported in policies", hint);
        }
        let node = match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => return Ok(()),
            Event::DocumentStart(..) => {
                self.open.clear();
                return Ok(());
            }
            Event::Anchor(..) => {
                let hint = "remove the anchor, and write the value out wherever it is used";
                self.report.error(span, "anchors (`&…`) are not supported in policies", hint);
                return Ok(());
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { span: opened, is_flow, is_map, children }) = self.open.pop() else {
                    return Ok(());
                };
                // A block collection begins with its first entry and has no end of its own to show.
                let span = match children.first() {
                    _ if is_flow => Span { end: span.end, ..opened },
                    first => first.map_or(opened, |first| first.span),
                };
                let value = if is_map { Value::Map(self.entries(children)) } else { Value::List(children) };
                Node { span, value }
            }
            event => {
                self.node_count += 1;
                if self.node_count > NODES_MAX {
                    self.report.error(span, format!("the file contains more than {NODES_MAX} values"), "");
                    return Err(Lost);
                }
                if self.open.len() == DEPTH_MAX {
                    self.report.error(span, format!("nested more than {DEPTH_MAX} levels deep"), "");
                    return Err(Lost);
                }
                if let Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) = event {
                    let is_map = matches!(event, Event::MappingStart(..));
                    let is_flow = style == StructureStyle::Flow;
                    self.open.push(Open { span, is_flow, is_map, children: Vec::new() });
                    return Ok(());
                }
                Node { span, value: self.single(event, span) }
            }
        };
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None if node.value == Value::Null => {}
            None => self.documents.push(node),
        }
        Ok(())
    }

    fn single(&self, event: Event<'_>, span: Span) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
                "" | "~" | "null" | "Null" | "NULL" => Value::Null,
                text => Value::Scalar(text.to_owned(), Kind::of(text)),
            },
            Event::Scalar(text, ..) => Value::Scalar(text.into_owned(), Kind::Text),
            _ => {
                let hint = "write the value out, or put text that begins with `*` in quotes";
                self.report.error(span, "aliases (`*…`) are not supported in policies", hint);
                // It is read as the text that it most likely is, so that its field is not reported as missing too.
                let text = self.report.text.get(span.start..span.end).unwrap_or_default();
                Value::Scalar(text.to_owned(), Kind::Text)
            }
        }
    }

    /// Pairs keys and values. What is no key, and a key that was there before, is reported and left out.
    fn entries(&self, children: Vec<Node>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(children.len() / 2);
        let mut first: BTreeMap<String, Span> = BTreeMap::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            let Value::Scalar(text, _) = key.value else {
                let found = key.described();
                self.report.error(key.span, format!("a field name must be text, found {found}"), "");
                continue;
            };
            let key_span = key.span;
            if text == "<<" && key_span.end - key_span.start == text.len() {
                let message = "merge keys (`<<`) are not supported in policies";
                self.report.error(key_span, message, "write the fields out");
            } else if let Some(before) = first.get(&text) {
                let line = self.report.line_of(before.start);
                let hint = format!("keep one of them; the first is on line {line}");
                self.report.error(key_span, format!("duplicate field {}", quoted(&text)), hint);
            } else {
                first.insert(text.clone(), key_span);
                entries.push(Entry { key: text, key_span, value });
            }
        }
        entries
    }

    /// Reports a mistake of syntax: in plain words, with what would be right for those that people make often.
    fn syntax(&self, error: &ScanError) -> Lost {
        use ErrorKind as K;
        let text = &*self.report.text;
        let mut start = error.marker().byte_offset().unwrap_or(0);
        let (message, mut hint) = match error.kind() {
            K::TabNotAllowed | K::TabInBlockIndentation | K::TabInIndentation | K::TabInPlainScalar => {
                // The parser gives the start of the value before it.
                start += text.get(start..).and_then(|rest| rest.find('\t')).unwrap_or(0);
                ("a tab where YAML does not allow one", "indent with spaces")
            }
            K::MissingAnchorOrAliasName => {
                ("`*` or `&` without the name of an alias or anchor", "put such a value in quotes")
            }
            K::UnclosedQuotedScalar => ("unclosed quote", "close it"),
            K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
                ("unexpected text after a closing quote", "an earlier quote may be unclosed and end here")
            }
            K::MappingValueNotAllowed => (
                "unexpected `:`",
                "indent the fields of one map alike, and put text with `: ` in it in quotes",
            ),
            K::ExpectedBlockMappingKey | K::ExpectedBlockSequenceEntry | K::InvalidIndentation => {
                ("inconsistent indentation", "indent the fields of one map alike, and the `-` of one list")
            }
            other => (&*format!("invalid YAML: {other}"), ""),
        };
        let line_of = |open: &Open| self.report.line_of(open.span.start);
        let bracket = self.open.iter().rfind(|open| open.is_flow).filter(|_| hint.is_empty());
        let bracket =
            bracket.map(|it| format!("the bracket that is opened on line {} is not closed", line_of(it)));
        hint = bracket.as_deref().unwrap_or(hint);
        let character = text.get(start..).and_then(|rest| rest.chars().next());
        let span = Span { start, end: start + character.map_or(0, char::len_utf8) };
        // Whatever the parser stumbles over, an unusual character anywhere in the line may be the reason.
        let hint = retyped(&self.report.spot(span).text, hint);
        self.report.add(Diagnostic::new(Severity::Error, self.report.file, message, hint), span);
        Lost
    }
}

fn bytes_of(span: granit_parser::Span) -> Span {
    span.byte_range().map_or(Span::default(), |range| Span { start: range.start, end: range.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_what_the_core_schema_says() {
        for (text, number) in [("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("0x1F", 31), ("0o17", 15)] {
            assert_eq!(Kind::of(text), Kind::Whole(Some(number)), "{text}");
        }
        assert_eq!(Kind::of("9223372036854775808"), Kind::Whole(None));
        assert_eq!((Kind::of("True"), Kind::of("FALSE")), (Kind::Switch(true), Kind::Switch(false)));
        for text in ["1.5", "-1e3", ".5", "1.", ".inf", "-.INF", ".nan"] {
            assert_eq!(Kind::of(text), Kind::Fraction, "{text}");
        }
        for text in
            ["yes", "on", "tRUE", "inf", "NaN", "1_000", "0xg", "0x", "-", ".", "1h", "2026-12-24", "1.2.3"]
        {
            assert_eq!(Kind::of(text), Kind::Text, "{text}");
        }
    }

    #[test]
    fn an_alias_is_read_as_the_text_that_it_looks_like() {
        let text = "a: &x [1, 2]\nb: *x\n---\nb: *x\n";
        let report = Report::new("a.yaml", text.as_bytes());
        let documents = documents(&report);
        let Value::Map(entries) = &documents[0].value else { panic!("{documents:?}") };
        let shown = |node: &Node| &text[node.span.start..node.span.end];
        assert_eq!((shown(&entries[0].value), shown(&entries[1].value)), ("[1, 2]", "*x"));
        assert_eq!(entries[1].value.value, Value::Scalar("*x".to_owned(), Kind::Text));
        let places: Vec<_> = report.into_found().iter().map(|it| (it.line(), it.column())).collect();
        assert_eq!(places, [(1, 4), (2, 4), (4, 4)].map(|(line, column)| (Some(line), Some(column))));
    }
}
