//! Reads `select` and `exclude`.

use super::fields::{Fields, entries, list, one_or_list, switch, text};
use super::node::{Kind, Node, Value};
use super::text::{DiagnosticSink, quoted};
use super::{Pattern, Selector};
use crate::inventory::VmId;

pub(super) const SELECTOR_FIELDS: [&str; 10] =
    ["all", "uuid", "alias", "owner", "package", "dataset", "hypervisor", "state", "metadata", "any"];

/// Reads a selector; `key` is what it is called where it stands.
pub(super) fn selector(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Selector> {
    let elsewhere =
        |field: &str| field.contains('.').then(|| "put a path into the metadata under `metadata`".to_owned());
    if let Value::Scalar(scalar) = &node.value
        && scalar.text == "all"
    {
        report
            .error(node.span, format!("`{key}` must be a set of fields, found the word `all`"))
            .hint("write `{ all: true }` to select every VM");
        return None;
    }
    let fields = Fields::of(node, &format!("`{key}`"), &SELECTOR_FIELDS, elsewhere, report)?;
    let count = fields.names().count();
    if count == 0 && matches!(&node.value, Value::Map(pairs) if pairs.is_empty()) {
        report.error(node.span, format!("`{key}` is empty")).hint("write `all: true` to select every VM");
        return None;
    }
    let all = fields.optional("all", all, report);
    if let Some(all) = &all
        && count > 1
    {
        report
            .error(all.span, format!("`all` is combined with other fields of `{key}`"))
            .hint("leave it out to select only the VMs that the other fields match");
    }
    let any = fields.optional("any", any, report);
    Some(Selector {
        all: all.is_some(),
        uuid: fields.optional("uuid", uuids, report).map_or_else(Vec::new, |it| it.value),
        alias: fields.optional("alias", patterns, report).map_or_else(Vec::new, |it| it.value),
        owner: words(&fields, "owner", report),
        package: words(&fields, "package", report),
        dataset: words(&fields, "dataset", report),
        hypervisor: words(&fields, "hypervisor", report),
        state: words(&fields, "state", report),
        metadata: fields.optional("metadata", metadata, report).map_or_else(Vec::new, |it| it.value),
        any: any.map_or_else(Vec::new, |it| it.value),
    })
}

/// Reads alias patterns: one, or a list of them.
pub(super) fn patterns(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<Pattern>> {
    each(key, node, report, |word, node, report| match Pattern::new(&word) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            report
                .error(node.span, format!("invalid pattern in `{key}`: {}", error.kind()))
                .hint("`*`, `?`, `[a-z]` and `{a,b}` are special; write one in brackets (`[*]`) to match it literally");
            None
        }
    })
}

fn all(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<bool> {
    let all = switch(key, node, report)?;
    if !all {
        report
            .error(node.span, "`all` can only be true")
            .hint("remove it, and select VMs with the other fields");
    }
    Some(all)
}

fn any(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<Selector>> {
    Some(list(key, node, report)?.iter().filter_map(|item| selector("any", item, report)).collect())
}

fn uuids(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<String>> {
    each(key, node, report, |word, node, report| match word.parse::<VmId>() {
        Ok(id) => Some(id.to_string()),
        Err(_) => {
            report
                .error(node.span, format!("`{key}` must be a UUID of 36 characters, found {}", quoted(&word)))
                .hint("a VM's name is its `alias`");
            None
        }
    })
}

fn words(fields: &Fields<'_>, key: &str, report: &mut DiagnosticSink<'_>) -> Vec<String> {
    fields
        .optional(key, |key, node, report| each(key, node, report, |word, _, _| Some(word)), report)
        .map_or_else(Vec::new, |it| it.value)
}

/// Reads one text, or a list of them, and takes each further.
fn each<T>(
    key: &str,
    node: &Node,
    report: &mut DiagnosticSink<'_>,
    take: impl Fn(String, &Node, &mut DiagnosticSink<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = one_or_list(key, node, report)?;
    Some(items.iter().filter_map(|item| take(text(key, item, report)?, item, report)).collect())
}

fn metadata(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<(String, Vec<String>)>> {
    let entries = entries(node, &format!("`{key}`"), report)?;
    if entries.is_empty() && matches!(&node.value, Value::Map(pairs) if pairs.is_empty()) {
        report
            .error(node.span, format!("`{key}` is empty"))
            .hint("leave it out, or name a path and its value");
    }
    let mut conditions = Vec::new();
    for (path, span, value) in entries {
        if path.split('.').any(str::is_empty) {
            report
                .error(span, format!("{} is not a metadata path", quoted(path)))
                .hint("write names separated by dots, such as `fifo.backup`");
            continue;
        }
        let items = one_or_list(path, value, report).unwrap_or_default();
        let wanted = items.iter().filter_map(|item| metadata_text(path, item, report)).collect();
        conditions.push((path.to_owned(), wanted));
    }
    Some(conditions)
}

/// Returns a value as the inventory holds the metadata: as text, numbers and switches as JSON writes them.
fn metadata_text(path: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => Some(match scalar.kind() {
            Kind::Switch(on) => on.to_string(),
            Kind::Whole(Some(number)) => number.to_string(),
            Kind::Whole(None) | Kind::Fraction | Kind::Text => scalar.text.clone(),
        }),
        Value::Map(pairs) => {
            let next = pairs.first().and_then(|(key, _)| match &key.value {
                Value::Scalar(scalar) => Some(scalar.text.as_str()),
                _ => None,
            });
            let example = quoted(&format!("{path}.{}", next.unwrap_or("name")));
            report
                .error(node.span, format!("{} must have a single value or a list, found a map", quoted(path)))
                .hint(format!("write nested metadata as one path: {example}"));
            None
        }
        Value::Null => {
            report
                .error(node.span, format!("{} has no value", quoted(path)))
                .hint("write \"*\" to match any value");
            None
        }
        Value::List(_) => {
            report.error(
                node.span,
                format!("{} must have single values in its list, found a list", quoted(path)),
            );
            None
        }
    }
}
