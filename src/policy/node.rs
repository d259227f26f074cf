//! YAML as a small tree in which every part knows its place: the only module that knows the YAML parser.
//!
//! A tree of our own and not serde, for serde stops at the first mistake and cannot see a repeated key or tell `5` from
//! `"5"`, while people want all their mistakes told at once.

use super::text::{DiagnosticSink, Span, quoted};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle};
use std::collections::BTreeMap;

/// How many anchors and aliases a file may have, how many nodes with the aliases written out, and how deep they may nest:
/// far more than policies need, and too few for an alias bomb.
const ANCHORS_AND_ALIASES_MAX: usize = 64;
const NODES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 32;

/// A YAML node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it stands: a scalar or a collection in brackets from its first to its last character, a block collection at
    /// its first entry, and what came from an alias at the alias.
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a node is.
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
    /// Says what it is.
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

    /// Counts it and everything in it, and how deep that nests.
    fn measure(&self) -> (usize, usize) {
        let add = |(count, depth): (usize, usize), node: &Self| {
            let (more, deeper) = node.measure();
            (count + more, depth.max(deeper + 1))
        };
        match &self.value {
            Value::Null | Value::Scalar(_) => (1, 1),
            Value::List(items) => items.iter().fold((1, 1), add),
            Value::Map(pairs) => pairs.iter().fold((1, 1), |sum, (key, value)| add(add(sum, key), value)),
        }
    }
}

/// Reads the documents of a file; empty ones are left out. What is no YAML, and what policies have no use for (tags, merge
/// keys), is reported; after a mistake of syntax the reading goes on with the next document.
pub(super) fn documents(report: &mut DiagnosticSink<'_>) -> Vec<Node> {
    let text = report.text.to_string();
    let mut options = granit_parser::options! { emit_unresolved_aliases: true };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(&text, options);
    let mut reader = Reader { report, anchors: BTreeMap::new(), anchored_count: 0, node_count: 0 };
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
    anchors: BTreeMap<usize, Node>,
    anchored_count: usize,
    node_count: usize,
}

/// A collection whose end has not come yet.
struct Open {
    span: Span,
    anchor: usize,
    is_map: bool,
    bracketed: bool,
    children: Vec<Node>,
}

impl Reader<'_, '_> {
    /// Reads up to the end of the next document; `None` is the end of the file.
    fn document<'t>(&mut self, parser: &mut Parser<'t, StrInput<'t>>) -> Result<Option<Node>, GiveUp> {
        self.anchors.clear();
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
            let (node, anchor) = match event {
                Event::DocumentEnd => return Ok(root),
                Event::Scalar(text, style, anchor, _) => {
                    self.count(span, 1, open.len() + 1)?;
                    (scalar(span, text.into_owned(), style), anchor)
                }
                Event::SequenceStart(style, anchor, _) | Event::MappingStart(style, anchor, _) => {
                    self.count(span, 1, open.len() + 1)?;
                    let is_map = matches!(event, Event::MappingStart(..));
                    let bracketed = style == StructureStyle::Flow;
                    open.push(Open { span, anchor, is_map, bracketed, children: Vec::new() });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(done) = open.pop() else { continue };
                    let anchor = done.anchor;
                    (self.close(done, span), anchor)
                }
                Event::Alias(anchor) => (self.alias(span, anchor, open.len())?, 0),
                Event::UnresolvedAlias(name) => {
                    self.report
                        .error(span, format!("unknown anchor {}", quoted(&format!("&{name}"))))
                        .hint("put a value that begins with `*` in quotes");
                    // Taken as the text that it most likely is, so that it is not told a second time as missing.
                    let text = Scalar { text: format!("*{name}"), quoted: true };
                    self.count(span, 1, open.len() + 1)?;
                    (Node { span, value: Value::Scalar(text) }, 0)
                }
                _ => continue,
            };
            if anchor != 0 {
                self.count_anchor(span)?;
                // The copy kept for its aliases counts too: anchors can nest in each other.
                self.count(span, node.measure().0, 0)?;
                self.anchors.insert(anchor, node.clone());
            }
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

    fn alias(&mut self, span: Span, anchor: usize, depth: usize) -> Result<Node, GiveUp> {
        self.count_anchor(span)?;
        let Some(target) = self.anchors.get(&anchor) else {
            self.report.error(span, "this alias is part of the value that it refers to");
            return Err(GiveUp::Document);
        };
        let (count, deep) = target.measure();
        let value = target.value.clone();
        self.count(span, count, depth + deep)?;
        Ok(Node { span, value })
    }

    fn count(&mut self, span: Span, nodes: usize, depth: usize) -> Result<(), GiveUp> {
        self.node_count += nodes;
        if self.node_count > NODES_MAX {
            self.report
                .error(span, format!("the file contains more than {NODES_MAX} values, aliases written out"));
            return Err(GiveUp::File);
        }
        if depth > DEPTH_MAX {
            self.report.error(span, format!("nested more than {DEPTH_MAX} levels deep"));
            return Err(GiveUp::Document);
        }
        Ok(())
    }

    fn count_anchor(&mut self, span: Span) -> Result<(), GiveUp> {
        self.anchored_count += 1;
        if self.anchored_count > ANCHORS_AND_ALIASES_MAX {
            let message = format!("the file has more than {ANCHORS_AND_ALIASES_MAX} anchors and aliases");
            self.report.error(span, message).hint("write the values out");
            return Err(GiveUp::File);
        }
        Ok(())
    }

    fn syntax(&mut self, error: &ScanError, open: &[Open]) -> GiveUp {
        let (message, hint) = in_plain_words(error.kind());
        let mut start = error.marker().byte_offset().unwrap_or(0);
        if is_about_a_tab(error.kind()) {
            // The parser tells where the value before it began.
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
    fn a_value_from_an_alias_is_at_the_alias() {
        let text = "a: &x [1, 2]\nb: *x\n";
        let mut report = DiagnosticSink::new("a.yaml", text.as_bytes());
        let documents = documents(&mut report);
        let Value::Map(pairs) = &documents[0].value else { panic!("{documents:?}") };
        let shown = |node: &Node| &text[node.span.start..node.span.end];
        assert_eq!((shown(&pairs[0].1), shown(&pairs[1].1)), ("[1, 2]", "*x"));
        assert_eq!(pairs[0].1.value, pairs[1].1.value);
        assert_eq!(report.error_count(), 0);
    }

    #[test]
    fn anchors_end_with_their_document_and_repeated_keys_are_kept() {
        let mut report = DiagnosticSink::new("a.yaml", b"a: &x 1\na: 2\n---\nb: *x\n");
        let documents = documents(&mut report);
        assert!(matches!(&documents[0].value, Value::Map(pairs) if pairs.len() == 2));
        let found = report.into_found();
        assert_eq!((found.len(), found[0].line(), found[0].column()), (1, Some(4), Some(4)));
    }
}
