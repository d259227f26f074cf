//! Schema and reader say the same.

use crate::policy::SCHEMA;
use crate::policy::read::{KINDS, MISSING_PARENT, POLICY_FIELDS, RETRY_FIELDS, SUSPEND_FIELDS, TIER_FIELDS};
use crate::policy::read_selector::SELECTOR_FIELDS;
use crate::policy::source::Report;
use crate::policy::units::{duration, size};
use crate::policy::yaml::{Kind, Node, Value as Yaml, documents};
use crate::policy::{Policy, Schedule, SourceFile, Zone, parse};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn document() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Returns the validator of one of the schema's parts.
fn validator(part: &str) -> jsonschema::Validator {
    let mut whole = document();
    if !part.is_empty() {
        let defs = whole["$defs"].take();
        whole = json!({"$ref": format!("#/$defs/{part}"), "$defs": defs});
    }
    jsonschema::validator_for(&whole).unwrap()
}

#[test]
fn the_fields_are_those_of_the_reader() {
    let schema = document();
    let parts: [(&str, &[&str]); 5] = [
        ("", &POLICY_FIELDS),
        ("/$defs/Tier", &TIER_FIELDS),
        ("/$defs/Retry", &RETRY_FIELDS),
        ("/$defs/Suspend", &SUSPEND_FIELDS),
        ("/$defs/Selector", &SELECTOR_FIELDS),
    ];
    for (part, known) in parts {
        let part = schema.pointer(part).unwrap();
        let documented: BTreeSet<&str> =
            part["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, known.iter().copied().collect(), "{part}");
        assert_eq!(part["additionalProperties"], false);
        for (name, field) in part["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "{name} is not described");
        }
    }
}

#[test]
fn the_words_are_those_of_the_reader() {
    let schema = document();
    let words = |part: &str| -> Vec<String> {
        let choices = schema["$defs"][part]["oneOf"].as_array().unwrap();
        choices.iter().map(|choice| choice["const"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words("Kind"), KINDS.map(|(word, _)| word));
    assert_eq!(words("MissingParent"), MISSING_PARENT.map(|(word, _)| word));
}

const SMALLEST: &str =
    "version: 1\npolicy: web\nselect: {all: true}\ntiers: [{name: daily, schedule: 0 1 * * *, type: full}]\n";

fn parsed(text: &str) -> Policy {
    let file = SourceFile { name: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    let mut policy = parse(&[file]).unwrap().policies.iter().next().unwrap().clone();
    policy.source.sha256 = String::new();
    policy
}

#[test]
fn the_defaults_are_those_of_the_checker() {
    let schema = document();
    let defaults = |part: &str| -> String {
        let fields = schema.pointer(part).unwrap()["properties"].as_object().unwrap();
        let documented = fields.iter().filter_map(|(name, field)| Some((name, field.get("default")?)));
        documented.map(|(name, value)| format!("{name}: {value}\n")).collect()
    };
    let retry = defaults("/$defs/Retry");
    let tier = defaults("/$defs/Tier");
    assert_eq!((retry.lines().count(), tier.lines().count()), (2, 1));
    let complete = SMALLEST.replace("type: full", &format!("type: full, {}", tier.trim()));
    let complete = format!("{complete}{}retry: {{{}}}\n", defaults(""), retry.trim().replace('\n', ", "));
    assert_eq!(parsed(&complete), parsed(SMALLEST), "{complete}");
    for line in complete.lines().filter(|line| line.starts_with("stuck_after")) {
        let changed = complete.replace(line, "stuck_after: 11h");
        assert_ne!(parsed(&changed), parsed(SMALLEST), "the comparison sees nothing");
    }
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::List(items) => items.iter().map(to_json).collect(),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value)));
            Value::Object(entries.collect())
        }
        Yaml::Scalar(text, kind) => match kind {
            Kind::Text => json!(text),
            Kind::Switch(on) => json!(on),
            Kind::Whole(Some(number)) => json!(number),
            Kind::Whole(None) => json!(1e30),
            Kind::Fraction => json!(text.parse::<f64>().unwrap_or(0.5)),
        },
    }
}

/// What the schema has to say of a text with one document.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is no YAML, which no schema gets to see.
    NoYaml,
    Accepted,
    Refused,
}

fn by_schema(validator: &jsonschema::Validator, text: &str) -> Verdict {
    let report = Report::new("a.yaml", text.as_bytes());
    let documents = documents(&report);
    match documents.as_slice() {
        _ if report.error_count() > 0 => Verdict::NoYaml,
        [node] if validator.is_valid(&to_json(node)) => Verdict::Accepted,
        _ => Verdict::Refused,
    }
}

fn by_checker(text: &str) -> bool {
    parse(&[SourceFile { name: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }]).is_ok()
}

/// Returns a folder's documents, by file and the name of the policy (`tiers.yaml: finest-first`), or their number in the file
/// where they have none.
fn in_folder(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let file = path.file_name().unwrap().to_str().unwrap();
            for (place, part) in text.split("\n---\n").enumerate() {
                let name = part.lines().find_map(|line| line.strip_prefix("policy: "));
                let name = name.map_or_else(|| place.to_string(), str::to_owned);
                found.insert(format!("{file}: {name}"), part.to_owned());
            }
        }
    }
    found
}

/// The broken documents that a schema cannot see through, and why.
const FOR_THE_CHECKER: [(&str, &str); 13] = [
    ("tiers.yaml: one-comment", "compares tiers"),
    ("tiers.yaml: one-comment-in-also", "compares tiers"),
    ("values.yaml: never", "knows the calendar"),
    ("tiers.yaml: days-off", "measures schedules"),
    ("tiers.yaml: finest-first", "measures schedules"),
    ("tiers.yaml: never-begins", "compares `from` with the tiers above, under `missing_parent: block`"),
    ("tiers.yaml: one-name", "compares tiers"),
    ("tiers.yaml: spread-of-a-gap", "compares `spread` with the gaps of the schedule"),
    ("tiers.yaml: spread-of-the-gap-of-one-day", "compares `spread` with the gaps of the schedule"),
    ("values.yaml: city", "knows the time zones"),
    ("values.yaml: misspelt-zone", "knows the time zones"),
    ("values.yaml: offset", "knows the time zones"),
    ("select.yaml: odd-numbers", "JSON has no such spellings of numbers"),
];
/// What is broken only beside another one, and what is only doubtful.
const GOOD_ALONE: [&str; 2] = ["shape.yaml: one-name-twice", "values.yaml: warned"];

#[test]
fn schema_and_checker_agree_on_every_example() {
    let validator = validator("");
    let examples = in_folder("policies");
    assert!(examples.len() >= 4);
    for (name, text) in examples {
        assert!(by_checker(&text), "{name}");
        assert_eq!(by_schema(&validator, &text), Verdict::Accepted, "{name}");
    }
}

#[test]
fn schema_and_checker_agree_on_every_broken_policy_but_for_what_is_listed() {
    let validator = validator("");
    let listed: BTreeMap<&str, &str> = FOR_THE_CHECKER.iter().copied().collect();
    let mut seen = BTreeSet::new();
    let (mut wrong, mut good) = (Vec::new(), Vec::new());
    for (name, text) in &in_folder("tests/policies_broken") {
        let schema = by_schema(&validator, text);
        let checker = by_checker(text);
        match (checker, schema, listed.get_key_value(name.as_str())) {
            (false, Verdict::Accepted, Some((name, _))) => drop(seen.insert(*name)),
            (true, Verdict::Accepted, None) => good.push(name.clone()),
            (false, Verdict::Refused | Verdict::NoYaml, None) => {}
            (checker, schema, listed) => wrong.push(format!(
                "{name}: good for the checker: {checker}, by the schema: {schema:?}, listed: {listed:?}"
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, listed.keys().copied().collect(), "what is listed is there");
    assert_eq!(good, GOOD_ALONE);
}

/// A field of numbers up to one beyond the last, and of words: those that belong into it.
fn field(last: u32, words: &[&'static str]) -> impl Strategy<Value = String> {
    let number = (0..last + 2).prop_map(|it| it.to_string());
    let word = prop::sample::select([&["*", "?", "00", "7"], words].concat());
    let one = prop_oneof![4 => number.clone(), 3 => word.prop_map(str::to_owned)];
    let range = (one.clone(), number.clone()).prop_map(|(from, to)| format!("{from}-{to}"));
    let step =
        (prop_oneof![one.clone(), range.clone()], 1..30_u32).prop_map(|(of, step)| format!("{of}/{step}"));
    let item = prop_oneof![4 => one, 1 => range, 1 => step];
    let item = prop_oneof![12 => item, 1 => Just(String::new())];
    prop::collection::vec(item, 1..3).prop_map(|items| items.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_schema_refuses_no_schedule_that_the_reader_takes(
        minute in field(59, &[]),
        hour in field(23, &[]),
        day in field(31, &["L", "15W", "LW"]),
        month in field(12, &["JAN", "dec"]),
        weekday in field(7, &["SUN", "mon", "L", "5L", "MON#2", "6#1"]),
    ) {
        thread_local! { static OF: jsonschema::Validator = validator("Schedule"); }
        let text = [minute, hour, day, month, weekday].join(" ");
        if Schedule::parse(&text, Zone::UTC).is_ok() {
            prop_assert!(OF.with(|it| it.is_valid(&json!(text))), "{}", text);
        }
    }

    #[test]
    fn a_duration_is_one_for_both(text in "([0-9]{1,3}[dhms]?){0,4}|[0-9dhms. -]{0,6}") {
        thread_local! { static OF: jsonschema::Validator = validator("Duration"); }
        // How long it is in all is beyond a pattern.
        let is_one = !matches!(duration(&text), Err(why) if why != "is longer than ten years");
        prop_assert_eq!(OF.with(|it| it.is_valid(&json!(text))), is_one, "{}", text);
    }

    #[test]
    fn a_size_is_one_for_both(text in "[0-9]{0,3} {0,2}(B|KiB|MiB|GiB|TiB|KB|k|)|[0-9KiB. -]{0,6}") {
        thread_local! { static OF: jsonschema::Validator = validator("Size"); }
        prop_assert_eq!(OF.with(|it| it.is_valid(&json!(text))), size(&text).is_ok(), "{}", text);
    }
}

#[test]
fn a_tier_that_is_named_twice_in_from_is_refused_by_both() {
    let policy = |from: &str| {
        let added = format!("- {{name: daily, schedule: 0 1 * * *, type: incremental, from: {from}}}");
        let tiers = format!("tiers:\n- {{name: weekly, schedule: 0 1 * * 0, type: full}}\n{added}\n");
        format!("version: 1\npolicy: web\nselect: {{all: true}}\n{tiers}")
    };
    let verdicts = |from: &str| (by_schema(&validator(""), &policy(from)), by_checker(&policy(from)));
    assert_eq!(verdicts("[weekly, daily]"), (Verdict::Accepted, true));
    assert_eq!(verdicts("[daily, daily]"), (Verdict::Refused, false));
}

#[test]
fn a_schedule_of_another_form_is_refused_while_it_is_typed() {
    let schedule = validator("Schedule");
    for good in ["0 1 * * SUN", "15 */6 * * *", "0,30 8-18 L * MON-FRI", " 5  4 1 JAN,JUL * "] {
        assert!(schedule.is_valid(&json!(good)) && Schedule::parse(good, Zone::UTC).is_ok(), "{good}");
    }
    // A step through one number, and an element that is not there.
    for bad in [
        "5/10 1 * * *",
        "0 0/15 * * *",
        "0 1 1/2 * *",
        "0 1 * 1/2 *",
        "0 1 * * 1/2",
        "0,,5 1 * * *",
        "0 1 * * 1,",
    ] {
        assert!(!schedule.is_valid(&json!(bad)) && Schedule::parse(bad, Zone::UTC).is_err(), "{bad}");
    }
    for bad in ["0 1 * *", "0 0 1 * * *", "61 1 * * *", "0 24 * * *", "@daily", ""] {
        assert!(!schedule.is_valid(&json!(bad)) && Schedule::parse(bad, Zone::UTC).is_err(), "{bad}");
    }
}
