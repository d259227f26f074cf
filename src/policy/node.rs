//! YAML as a small tree in which every node has its place in the file: the only module that uses the YAML parser.
//!
//! Serde is no alternative: it stops at the first mistake, and sees neither a repeated key nor the difference between
//! `5` and `"5"`.

use super::text::{DiagnosticSink, Span, quoted};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle};

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
    /// Nothing, `null` or `~`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, repeated keys and all.
    Map(Vec<(Node, Node)>),
}

/// A single value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Whether quotes (or a block sign) make it text whatever it looks like.
    pub(super) quoted: bool,
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

impl Scalar {
    pub(super) fn kind(&self) -> Kind {
        let text = self.text.as_str();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let based = |prefix: &str, base: u32| {
            let rest = text.strip_prefix(prefix)?;
            (!rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
                .then(|| i64::from_str_radix(rest, base).ok())
        };
        match text {
            _ if self.quoted => Kind::Text,
            "true" | "True" | "TRUE" => Kind::Switch(true),
            "false" | "False" | "FALSE" => Kind::Switch(false),
            ".nan" | ".NaN" | ".NAN" => Kind::Fraction,
            _ if matches!(unsigned, ".inf" | ".Inf" | ".INF") => Kind::Fraction,
            _ if digits(unsigned) => Kind::Whole(text.parse().ok()),
            _ => match based("0x", 16).or_else(|| based("0o", 8)) {
                Some(number) => Kind::Whole(number),
                None if is_fraction(unsigned) => Kind::Fraction,
                None => Kind::Text,
            },
        }
    }
}

fn is_fraction(unsigned: &str) -> bool {
    // Rust takes words such as `inf` and `nan` for numbers too; YAML does not.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
}

impl Node {
    /// Says in words what it is, for messages: "the number 5", "a list".
    pub(super) fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(scalar) => match scalar.kind() {
                Kind::Text => format!("the text {}", quoted(&scalar.text)),
                Kind::Switch(_) => quoted(&scalar.text),
                Kind::Whole(_) | Kind::Fraction => format!("the number {}", quoted(&scalar.text)),
            },
        }
    }
}

/// Reads the documents of a file; empty ones are left out. What is no YAML, and what policies have no use for (tags,
/// anchors, aliases, merge keys), is reported; after a mistake of syntax the reading goes on with the next document.
pub(super) fn documents(report: &mut DiagnosticSink<'_>) -> Vec<Node> {
    let text = report.text.to_string();
    let mut options = granit_parser::options! { emit_unresolved_aliases: true, emit_anchor_events: true };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(&text, options);
    let mut reader = Reader { report, node_count: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.document(&mut parser) {
            Ok(Some(Node { value: Value::Null, .. })) => {}
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return documents,
            Err(GiveUp::File) => return documents,
            Err(GiveUp::Document) => match parser.proceed_next_document() {
                Ok(true) => {}
                Ok(false) | Err(_) => return documents,
            },
        }
    }
}

/// A mistake that has been reported and that leaves no sense in reading on.
enum GiveUp {
    Document,
    File,
}

struct Reader<'r, 'a> {
    report: &'r mut DiagnosticSink<'a>,
    node_count: usize,
}

/// A collection whose end has not come yet.
struct Open {
    span: Span,
    is_map: bool,
    bracketed: bool,
    children: Vec<Node>,
}

impl Reader<'_, '_> {
    /// Reads up to the end of the next document; `None` is the end of the file.
    fn document<'t>(&mut self, parser: &mut Parser<'t, StrInput<'t>>) -> Result<Option<Node>, GiveUp> {
        let mut open: Vec<Open> = Vec::new();
        let mut root = None;
        while let Some(event) = parser.next_event() {
            let (event, place) = event.map_err(|error| self.syntax(&error, &open))?;
            let span = bytes_of(place);
            if let Some(tag) = place.tag_span() {
                self.report
                    .error(bytes_of(tag), "tags (`!…`) are not supported in policies")
                    .hint("put a value in quotes to make it text");
            }
            let node = match event {
                Event::DocumentEnd => return Ok(root),
                Event::Anchor(..) => {
                    self.report
                        .error(span, "anchors (`&…`) are not supported in policies")
                        .hint("remove the anchor, and write the value out wherever it is used");
                    continue;
                }
                Event::Alias(_) | Event::UnresolvedAlias(_) => {
                    self.count(span, open.len() + 1)?;
                    self.alias(span)
                }
                Event::Scalar(text, style, ..) => {
                    self.count(span, open.len() + 1)?;
                    scalar(span, text.into_owned(), style)
                }
                Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                    self.count(span, open.len() + 1)?;
                    let is_map = matches!(event, Event::MappingStart(..));
                    let bracketed = style == StructureStyle::Flow;
                    open.push(Open { span, is_map, bracketed, children: Vec::new() });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(done) = open.pop() else { continue };
                    self.close(done, span)
                }
                _ => continue,
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(node),
                None => root = Some(node),
            }
        }
        Ok(None)
    }

    fn close(&mut self, done: Open, end: Span) -> Node {
        let Open { mut span, is_map, bracketed, children, .. } = done;
        // A block collection begins with its first entry and has no end of its own to show.
        match children.first() {
            _ if bracketed => span.end = end.end,
            Some(first) => span = first.span,
            None => {}
        }
        if !is_map {
            return Node { span, value: Value::List(children) };
        }
        let mut pairs = Vec::with_capacity(children.len() / 2);
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            if key.value == Value::Scalar(Scalar { text: "<<".to_owned(), quoted: false }) {
                self.report
                    .error(key.span, "merge keys (`<<`) are not supported in policies")
                    .hint("write the fields out");
            } else {
                pairs.push((key, value));
            }
        }
        Node { span, value: Value::Map(pairs) }
    }

    /// Reports an alias. It is read as the text that it most likely is, so that its field is not reported as missing too.
    fn alias(&mut self, span: Span) -> Node {
        self.report
            .error(span, "aliases (`*…`) are not supported in policies")
            .hint("write the value out, or put text that begins with `*` in quotes");
        let text = self.report.text.get(span.start..span.end).unwrap_or_default().to_owned();
        Node { span, value: Value::Scalar(Scalar { text, quoted: true }) }
    }

    fn count(&mut self, span: Span, depth: usize) -> Result<(), GiveUp> {
        self.node_count += 1;
        if self.node_count > NODES_MAX {
            self.report.error(span, format!("the file contains more than {NODES_MAX} values"));
            return Err(GiveUp::File);
        }
        if depth > DEPTH_MAX {
            self.report.error(span, format!("nested more than {DEPTH_MAX} levels deep"));
            return Err(GiveUp::Document);
        }
        Ok(())
    }

    fn syntax(&mut self, error: &ScanError, open: &[Open]) -> GiveUp {
        let (message, hint) = in_plain_words(error.kind());
        let mut start = error.marker().byte_offset().unwrap_or(0);
        if is_about_a_tab(error.kind()) {
            // The parser gives the start of the value before it.
            start += self.report.text.get(start..).and_then(|rest| rest.find('\t')).unwrap_or(0);
        }
        let character = self.report.text.get(start..).and_then(|rest| rest.chars().next());
        let span = Span { start, end: start + character.map_or(0, char::len_utf8) };
        let bracket = open.iter().rev().find(|it| it.bracketed).map(|it| self.report.line_of(it.span.start));
        let bracket = bracket.map(|line| format!("the bracket that is opened on line {line} is not closed"));
        let diagnostic = self.report.error(span, message);
        if let Some(hint) = hint.map(str::to_owned).or(bracket) {
            diagnostic.hint(hint);
        }
        GiveUp::Document
    }
}

fn bytes_of(span: granit_parser::Span) -> Span {
    span.byte_range().map_or(Span { start: 0, end: 0 }, |range| Span { start: range.start, end: range.end })
}

fn scalar(span: Span, text: String, style: ScalarStyle) -> Node {
    let quoted = style != ScalarStyle::Plain;
    let value = match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" if !quoted => Value::Null,
        _ => Value::Scalar(Scalar { text, quoted }),
    };
    Node { span, value }
}

/// Says what is wrong with the YAML, and for the mistakes that people make often, what would be right.
fn in_plain_words(kind: &ErrorKind) -> (String, Option<&'static str>) {
    use ErrorKind as K;
    let (message, hint) = match kind {
        _ if is_about_a_tab(kind) => ("a tab where YAML does not allow one", "indent with spaces"),
        K::MissingAnchorOrAliasName => {
            ("`*` or `&` without the name of an alias or anchor", "put such a value in quotes")
        }
        K::UnclosedQuotedScalar => ("unclosed quote", "close it"),
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
            ("unexpected text after a closing quote", "an earlier quote may be unclosed and end here")
        }
        K::MappingValueNotAllowed => {
            ("unexpected `:`", "indent the fields of one map alike, and put text with `: ` in it in quotes")
        }
        K::ExpectedBlockMappingKey | K::ExpectedBlockSequenceEntry | K::InvalidIndentation => {
            ("inconsistent indentation", "indent the fields of one map alike, and the `-` of one list")
        }
        other => return (format!("invalid YAML: {other}"), None),
    };
    (message.to_owned(), Some(hint))
}

fn is_about_a_tab(kind: &ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(kind, K::TabNotAllowed | K::TabInBlockIndentation | K::TabInIndentation | K::TabInPlainScalar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Scalar { text: text.to_owned(), quoted: false }.kind()
    }

    #[test]
    fn plain_values_are_what_the_core_schema_says() {
        for (text, number) in [("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("0x1F", 31), ("0o17", 15)] {
            assert_eq!(kind(text), Kind::Whole(Some(number)), "{text}");
        }
        assert_eq!(kind("9223372036854775808"), Kind::Whole(None));
        assert_eq!((kind("True"), kind("FALSE")), (Kind::Switch(true), Kind::Switch(false)));
        for text in ["1.5", "-1e3", ".5", "1.", ".inf", "-.INF", ".nan"] {
            assert_eq!(kind(text), Kind::Fraction, "{text}");
        }
        for text in
            ["yes", "on", "tRUE", "inf", "NaN", "1_000", "0xg", "0x", "-", ".", "1h", "2026-12-24", "1.2.3"]
        {
            assert_eq!(kind(text), Kind::Text, "{text}");
        }
        assert_eq!(Scalar { text: "5".to_owned(), quoted: true }.kind(), Kind::Text);
    }

    #[test]
    fn an_alias_is_read_as_the_text_that_it_looks_like() {
        let text = "a: &x [1, 2]\nb: *x\n---\nb: *x\n";
        let mut report = DiagnosticSink::new("a.yaml", text.as_bytes());
        let documents = documents(&mut report);
        let Value::Map(pairs) = &documents[0].value else { panic!("{documents:?}") };
        let shown = |node: &Node| &text[node.span.start..node.span.end];
        assert_eq!((shown(&pairs[0].1), shown(&pairs[1].1)), ("[1, 2]", "*x"));
        assert_eq!(pairs[1].1.value, Value::Scalar(Scalar { text: "*x".to_owned(), quoted: true }));
        let places: Vec<_> = report.into_found().iter().map(|it| (it.line(), it.column())).collect();
        assert_eq!(places, [(1, 4), (2, 4), (4, 4)].map(|(line, column)| (Some(line), Some(column))));
    }

    #[test]
    fn repeated_keys_are_kept() {
        let mut report = DiagnosticSink::new("a.yaml", b"a: 1\na: 2\n");
        let documents = documents(&mut report);
        assert!(matches!(&documents[0].value, Value::Map(pairs) if pairs.len() == 2));
    }
}
