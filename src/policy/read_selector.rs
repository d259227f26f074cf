//! Reads `select` and `exclude`.

use super::fields::At;
use super::selector::MetadataValue;
use super::source::quoted;
use super::yaml::{Entry, Kind, Value};
use super::{Pattern, Selector};
use crate::inventory::VmId;

pub(super) const SELECTOR_FIELDS: [&str; 8] =
    ["all", "uuid", "alias", "owner", "package", "dataset", "metadata", "any"];

pub(super) fn selector(at: At<'_>) -> Option<Selector> {
    let key = at.key;
    match &at.node.value {
        Value::Scalar(word, _) if word == "all" => {
            let hint = "write `{ all: true }` to select every VM";
            return at.wrong(format!("`{key}` must be a set of fields, found the word `all`"), hint);
        }
        Value::Map(entries) if entries.is_empty() => {
            return at.wrong(format!("`{key}` is empty"), "write `all: true` to select every VM");
        }
        _ => {}
    }
    let fields = at.fields(&format!("`{key}`"), &SELECTOR_FIELDS, |field| match field {
        // What selected once, and must not: it comes and goes by itself.
        "hypervisor" | "state" => format!(
            "a VM's {field} changes by itself, and must not decide which policy applies; select by `metadata` or `uuid`"
        ),
        _ if field.contains('.') => "put a path into the metadata under `metadata`".to_owned(),
        _ => String::new(),
    })?;
    let all = fields.get("all").and_then(all);
    if let Some(all) = all
        && fields.values.len() > 1
    {
        let hint = "leave it out to select only the VMs that the other fields match";
        all.wrong::<()>(format!("`all` is combined with other fields of `{key}`"), hint);
    }
    let words = |key| fields.each(key, |at| at.compared().map(str::to_owned));
    let any = fields.get("any").and_then(At::list).unwrap_or_default();
    Some(Selector {
        all: all.is_some(),
        uuid: fields.each("uuid", uuid),
        alias: fields.each("alias", pattern),
        owner: words("owner"),
        package: words("package"),
        dataset: words("dataset"),
        metadata: fields.get("metadata").map_or_else(Vec::new, metadata),
        any: any.into_iter().filter_map(selector).collect(),
    })
}

pub(super) fn pattern(at: At<'_>) -> Option<Pattern> {
    let hint =
        "`*`, `?`, `[a-z]` and `{a,b}` are special; write one in brackets (`[*]`) to match it literally";
    match Pattern::new(at.compared()?) {
        Ok(pattern) => Some(pattern),
        Err(error) => at.wrong(format!("invalid pattern in `{}`: {error}", at.key), hint),
    }
}

/// Returns `all` where it is true.
fn all(at: At<'_>) -> Option<At<'_>> {
    match at.switch()? {
        true => Some(at),
        false => at.wrong("`all` can only be true", "remove it, and select VMs with the other fields"),
    }
}

fn uuid(at: At<'_>) -> Option<String> {
    let word = at.text()?;
    match word.parse::<VmId>() {
        Ok(id) => Some(id.to_string()),
        Err(_) => {
            let message = format!("`{}` must be a UUID of 36 characters, found {}", at.key, quoted(word));
            at.wrong(message, "a VM's name is its `alias`")
        }
    }
}

fn metadata(at: At<'_>) -> Vec<(String, Vec<MetadataValue>)> {
    let entries = at.map("`metadata`");
    if entries.is_some_and(<[Entry]>::is_empty) {
        at.wrong::<()>("`metadata` is empty", "leave it out, or name a path and its value");
    }
    let mut conditions = Vec::new();
    for Entry { key, key_span, value } in entries.unwrap_or_default() {
        if key.split('.').any(str::is_empty) {
            let message = format!("{} is not a metadata path", quoted(key));
            at.report.error(*key_span, message, "write names separated by dots, such as `fifo.backup`");
            continue;
        }
        let value = At { key, node: value, ..at };
        value.warn_of_invisible(key);
        conditions.push((key.clone(), value.each(metadata_value)));
    }
    conditions
}

/// Reads a value of metadata. A number that another reader of YAML could take for another one has to be quoted.
fn metadata_value(at: At<'_>) -> Option<MetadataValue> {
    let path = quoted(at.key);
    match &at.node.value {
        Value::Scalar(_, Kind::Switch(on)) => Some(MetadataValue::text(on.to_string())),
        Value::Scalar(text, Kind::Text) => {
            at.warn_of_invisible(text);
            Some(MetadataValue::text(text))
        }
        Value::Scalar(text, Kind::Whole(_) | Kind::Fraction) => MetadataValue::number(text).or_else(|| {
            at.wrong(
                format!("{path} has a number that is not spelled plainly: {}", quoted(text)),
                format!("put it in quotes to match this text: \"{text}\""),
            )
        }),
        Value::Map(entries) => {
            let next = entries.first().map_or("name", |entry| &entry.key);
            let example = quoted(&format!("{}.{next}", at.key));
            at.wrong(
                format!("{path} must have a single value or a list, found a map"),
                format!("write nested metadata as one path: {example}"),
            )
        }
        Value::Null => at.wrong(format!("{path} has no value"), "write \"*\" to match any value"),
        Value::List(_) => at.wrong(format!("{path} must have single values in its list, found a list"), ""),
    }
}
