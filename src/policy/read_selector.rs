//! Reads `select` and `exclude`.

use super::fields::At;
use super::selector::{MetadataValue, Number};
use super::source::quoted;
use super::yaml::{Kind, Value};
use super::{Pattern, Selector};
use crate::inventory::VmId;

pub(super) const SELECTOR_FIELDS: [&str; 8] =
    ["all", "uuid", "alias", "owner", "package", "dataset", "metadata", "any"];

/// What selected once, and must not: it comes and goes by itself.
const PASSING: [&str; 2] = ["hypervisor", "state"];

/// Reads a selector.
pub(super) fn selector(at: At<'_>) -> Option<Selector> {
    let key = at.key;
    if let Value::Scalar(scalar) = &at.node.value
        && scalar.text == "all"
    {
        return at.wrong(
            format!("`{key}` must be a set of fields, found the word `all`"),
            "write `{ all: true }` to select every VM",
        );
    }
    let fields = at.fields(&format!("`{key}`"), &SELECTOR_FIELDS, |field| {
        if PASSING.contains(&field) {
            format!(
                "a VM's {field} changes by itself, and must not decide which policy applies; select by `metadata` or `uuid`"
            )
        } else if field.contains('.') {
            "put a path into the metadata under `metadata`".to_owned()
        } else {
            String::new()
        }
    })?;
    if matches!(&at.node.value, Value::Map(entries) if entries.is_empty()) {
        return at.wrong(format!("`{key}` is empty"), "write `all: true` to select every VM");
    }
    let all = fields.get("all").filter(|at| all(*at));
    if let Some(all) = all
        && fields.count() > 1
    {
        let hint = "leave it out to select only the VMs that the other fields match";
        all.wrong::<()>(format!("`all` is combined with other fields of `{key}`"), hint);
    }
    let any = fields.get("any").and_then(At::list);
    let words = |key| each(fields.get(key), |at| at.compared().map(str::to_owned));
    Some(Selector {
        all: all.is_some(),
        uuid: each(fields.get("uuid"), uuid),
        alias: each(fields.get("alias"), pattern),
        owner: words("owner"),
        package: words("package"),
        dataset: words("dataset"),
        metadata: fields.get("metadata").map_or_else(Vec::new, metadata),
        any: any.map_or_else(Vec::new, |items| items.filter_map(selector).collect()),
    })
}

/// Reads one value, or a list of them.
pub(super) fn each<T>(at: Option<At<'_>>, read: impl Fn(At<'_>) -> Option<T>) -> Vec<T> {
    at.and_then(At::one_or_list).map_or_else(Vec::new, |items| items.filter_map(read).collect())
}

/// Reads an alias pattern.
pub(super) fn pattern(at: At<'_>) -> Option<Pattern> {
    match Pattern::new(at.compared()?) {
        Ok(pattern) => Some(pattern),
        Err(error) => at.wrong(
            format!("invalid pattern in `{}`: {error}", at.key),
            "`*`, `?`, `[a-z]` and `{a,b}` are special; write one in brackets (`[*]`) to match it literally",
        ),
    }
}

fn all(at: At<'_>) -> bool {
    let all = at.switch();
    if all == Some(false) {
        at.wrong::<()>("`all` can only be true", "remove it, and select VMs with the other fields");
    }
    all == Some(true)
}

fn uuid(at: At<'_>) -> Option<String> {
    let word = at.text()?;
    match word.parse::<VmId>() {
        Ok(id) => Some(id.to_string()),
        Err(_) => at.wrong(
            format!("`{}` must be a UUID of 36 characters, found {}", at.key, quoted(word)),
            "a VM's name is its `alias`",
        ),
    }
}

fn metadata(at: At<'_>) -> Vec<(String, Vec<MetadataValue>)> {
    let Value::Map(entries) = &at.node.value else {
        at.wrong::<()>(format!("`metadata` must be a map of fields, found {}", at.node.described()), "");
        return Vec::new();
    };
    if entries.is_empty() {
        at.wrong::<()>("`metadata` is empty", "leave it out, or name a path and its value");
    }
    let mut conditions = Vec::new();
    for entry in entries {
        if entry.key.split('.').any(str::is_empty) {
            let message = format!("{} is not a metadata path", quoted(&entry.key));
            at.report.error(entry.key_span, message, "write names separated by dots, such as `fifo.backup`");
            continue;
        }
        let value = At { key: &entry.key, node: &entry.value, report: at.report };
        value.warn_of_invisible(&entry.key);
        conditions.push((entry.key.clone(), each(Some(value), metadata_value)));
    }
    conditions
}

/// Reads a value of metadata. A number that another reader of YAML could take for another one has to be quoted.
fn metadata_value(at: At<'_>) -> Option<MetadataValue> {
    let path = quoted(at.key);
    let scalar = match &at.node.value {
        Value::Scalar(scalar) => scalar,
        Value::Map(entries) => {
            let next = entries.first().map_or("name", |entry| &entry.key);
            let example = quoted(&format!("{}.{next}", at.key));
            return at.wrong(
                format!("{path} must have a single value or a list, found a map"),
                format!("write nested metadata as one path: {example}"),
            );
        }
        Value::Null => {
            return at.wrong(format!("{path} has no value"), "write \"*\" to match any value");
        }
        Value::List(_) => {
            return at.wrong(format!("{path} must have single values in its list, found a list"), "");
        }
    };
    let text = scalar.text.as_str();
    match scalar.kind() {
        Kind::Switch(on) => Some(MetadataValue::Text(on.to_string())),
        Kind::Text if text == "*" => Some(MetadataValue::Any),
        Kind::Text => {
            at.warn_of_invisible(text);
            Some(MetadataValue::Text(text.to_owned()))
        }
        Kind::Whole(_) | Kind::Fraction => match Number::parse(text) {
            Some(number) => Some(MetadataValue::Number(number)),
            None => at.wrong(
                format!("{path} has a number that is not spelled plainly: {}", quoted(text)),
                format!("put it in quotes to match this text: \"{text}\""),
            ),
        },
    }
}
