//! What a policy file means, from its text to the checked policy and its warnings.

mod schema;

use super::*;
use crate::inventory::{Metadata, Vm, VmId};
use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

const HEAD: &str = "version: 1\npolicy: web\n";
const ALL: &str = "select: { all: true }\n";
const THREE: &str = r#"tiers:
  - { name: monthly, schedule: "0 1 1 * *", type: full }
  - { name: weekly, schedule: "0 1 * * SUN", type: incremental }
  - { name: daily, schedule: "0 1 * * *", type: incremental }
"#;

fn source(text: &str) -> SourceFile {
    SourceFile { name: "policies/a.yaml".to_owned(), bytes: text.into() }
}

fn loaded(text: &str) -> Loaded {
    parse(&[source(text)]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The only policy of a text, which must be free of warnings.
fn policy(text: &str) -> Policy {
    let loaded = loaded(text);
    assert_eq!(loaded.warnings, []);
    loaded.policies.iter().next().unwrap().clone()
}

fn vm(alias: &str, metadata: &[(&str, &str)]) -> Vm {
    Vm {
        id: VmId::new(Uuid::from_u128(7)),
        alias: alias.to_owned(),
        owner: None,
        package: None,
        dataset: None,
        hypervisor: Some("hv-1".to_owned()),
        state: "running".to_owned(),
        creating: false,
        deleting: false,
        delegated_datasets: false,
        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Metadata>(),
        backups: Default::default(),
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let policy = policy(&format!("# first\n---\n{HEAD}{ALL}{THREE}"));
    assert_eq!((&*policy.name, policy.description.as_str(), policy.priority), ("web", "", 0));
    assert_eq!((policy.exclude, policy.suspend, policy.prune), (None, None, false));
    assert_eq!(policy.zone, Zone::UTC);
    assert_eq!(policy.missing_parent, MissingParent::Full);
    assert_eq!((policy.stuck_after, policy.min_full_size_bytes), (TimeDelta::hours(12), 65_536));
    assert_eq!(policy.retry, Retry { attempts: 3, backoff: TimeDelta::hours(1) });
    assert_eq!(policy.max_age, TimeDelta::hours(26));
    let kinds: Vec<&TierKind> = policy.tiers.iter().map(|tier| &tier.kind).collect();
    let from = |tiers: &[TierIndex]| TierKind::Incremental { from: tiers.to_vec() };
    assert_eq!(kinds, [&TierKind::Full, &from(&[0, 1]), &from(&[0, 1, 2])]);
    for tier in &policy.tiers {
        assert_eq!((tier.comment.as_str(), tier.keep, tier.keep_local), (&*tier.name, None, 0));
        assert_eq!(tier.also, Vec::<String>::new());
        assert_eq!(tier.spread, TimeDelta::zero());
    }
    assert_eq!((policy.source.file.as_str(), policy.source.line), ("policies/a.yaml", 3));
}

#[test]
fn what_is_given_is_taken() {
    let text = format!(
        r#"{HEAD}description: |
  for the web
priority: -5
select: {{ alias: "web-*" }}
exclude: {{ alias: "*-scratch" }}
timezone: Europe/Berlin
tiers:
  - {{ name: monthly, schedule: "0 1 1 * *", type: full, keep: 12, spread: 4h }}
  - {{ name: weekly, schedule: "0 1 * * SUN", type: incremental, from: [monthly], keep: 5, spread: 4h }}
  - name: daily
    schedule: "0 1 * * *"
    type: incremental
    from: [weekly, monthly]
    keep: 7
    keep_local: 2
    comment: every day
    also: [daily, nightly]
    spread: 4h
missing_parent: block
stuck_after: 6h
min_full_size: 1 MiB
retry: {{ attempts: 5, backoff: 90m }}
max_age: 2d
prune: true
suspend: {{ reason: storage move, until: 2026-12-24, vms: [web-1] }}
"#
    );
    let policy = policy(&text);
    assert_eq!((policy.description.as_str(), policy.priority), ("for the web\n", -5));
    assert_eq!(policy.zone.name(), "Europe/Berlin");
    let daily = &policy.tiers[2];
    assert_eq!((daily.keep.unwrap().get(), daily.keep_local, daily.comment.as_str()), (7, 2, "every day"));
    assert_eq!(
        (daily.also.clone(), daily.spread),
        (vec!["daily".into(), "nightly".into()], TimeDelta::hours(4))
    );
    assert_eq!(daily.kind, TierKind::Incremental { from: vec![0, 1] });
    assert_eq!(policy.missing_parent, MissingParent::Block);
    assert_eq!((policy.stuck_after, policy.min_full_size_bytes), (TimeDelta::hours(6), 1 << 20));
    assert_eq!(policy.retry, Retry { attempts: 5, backoff: TimeDelta::minutes(90) });
    assert_eq!((policy.max_age, policy.prune), (TimeDelta::days(2), true));
    let suspend = policy.suspend.as_ref().unwrap();
    assert_eq!(suspend.until_instant.to_rfc3339(), "2026-12-23T23:00:00+00:00");
    assert!(suspend.is_for(&vm("web-1", &[])) && !suspend.is_for(&vm("web-2", &[])));
    assert!(policy.matches(&vm("web-1", &[])) && !policy.matches(&vm("web-1-scratch", &[])));
}

#[test]
fn several_documents_are_several_policies_and_empty_ones_none() {
    let text = format!("---\n{HEAD}{ALL}{THREE}---\n# nothing here\n---\n{HEAD}{ALL}{THREE}...\n");
    let loaded = loaded(&text.replacen("policy: web", "policy: zeta", 1));
    let places: Vec<_> = loaded.policies.iter().map(|it| (&*it.name, it.source.line)).collect();
    assert_eq!(places, [("web", 12), ("zeta", 2)]);
}

#[test]
fn the_checksum_is_of_the_file_as_it_is() {
    let bare = format!("{HEAD}{ALL}{THREE}");
    let marked = format!("\u{feff}{bare}");
    assert_ne!(policy(&bare).source.sha256, policy(&marked).source.sha256);
    assert_eq!(policy(&bare).source.sha256.len(), 64);
}

#[test]
fn metadata_matches_equal_numbers_and_the_same_text() {
    let value = |condition: &str| {
        let text = format!("{HEAD}select: {{ metadata: {{ fifo.backup: {condition} }} }}\n{THREE}");
        policy(&text).select
    };
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("1", &["1", "1.0", "1e0", "10e-1"], &["2", "true", "01", "+1", "1.", ""]),
        ("1.0", &["1", "1.0"], &["1.01"]),
        ("1.10", &["1.1", "1.10"], &["1.01"]),
        ("1e3", &["1000", "1e3", "1000.0"], &["100"]),
        ("-0.5", &["-0.5", "-5e-1"], &["0.5", "-5"]),
        ("0", &["0", "0.0", "0e7"], &["-1", "null"]),
        // Beyond what a float can tell apart.
        ("9007199254740993", &["9007199254740993"], &["9007199254740992", "9.007199254740992e15"]),
        ("\"1\"", &["1"], &["1.0"]),
        ("\"007\"", &["007"], &["7"]),
        ("[0, 1]", &["0", "1"], &["2"]),
        ("\"*\"", &["1", "", "x"], &[]),
        ("True", &["true"], &["True", "1"]),
        ("\"true\"", &["true"], &["false"]),
        ("yes", &["yes"], &["true"]),
    ];
    for (condition, fitting, others) in cases {
        let select = value(condition);
        let fits = |found: &&&str| select.matches(&vm("x", &[("fifo.backup", found)]));
        assert_eq!(fitting.iter().find(|found| !fits(found)), None, "{condition}");
        assert_eq!(others.iter().find(fits), None, "{condition}");
    }
}

/// The value of each key, in `select` and in `exclude`, alone and in a list.
#[test]
fn each_key_selects_by_each_of_its_values_and_excludes_by_each() {
    const UUIDS: [&str; 3] = [
        "4fa44310-0000-4000-8000-00000000000a",
        "4fa44310-0000-4000-8000-00000000000b",
        "4fa44310-0000-4000-8000-00000000000c",
    ];
    type Set = fn(&mut Vm, &str);
    let keys: [(&str, [&str; 3], Set); 7] = [
        ("uuid", UUIDS, |vm, uuid| vm.id = uuid.parse().unwrap()),
        ("alias", ["web-*", "db-1", "büro-?"], |vm, alias| vm.alias = alias.replace(['*', '?'], "9")),
        ("owner", UUIDS, |vm, owner| vm.owner = Some(owner.to_uppercase())),
        ("package", UUIDS, |vm, package| vm.package = Some(package.to_owned())),
        ("dataset", UUIDS, |vm, dataset| vm.dataset = Some(dataset.to_owned())),
        ("metadata: { a.b", ["1", "x", "y"], |vm, value| {
            vm.metadata = Metadata::from_iter([("a.b".to_owned(), value.to_owned())]);
        }),
        ("any: [{ alias", ["web-*", "db-1", "büro-?"], |vm, alias| {
            vm.alias = alias.replace(['*', '?'], "9")
        }),
    ];
    for (key, [first, second, other], set) in keys {
        let close =
            key.chars().rev().filter_map(|c| [('{', " }"), ('[', "]")].iter().find(|(open, _)| *open == c));
        let close: String = close.map(|(_, close)| *close).collect();
        let selector = |values: &str| format!("{{ {key}: {values}{close} }}");
        let matched = |select: &str, exclude: &str| -> Vec<bool> {
            let policy = policy(&format!("{HEAD}select: {select}\n{exclude}{THREE}"));
            let mut vms = [first, second, other].map(|value| (vm("none", &[]), value));
            vms.iter_mut().for_each(|(vm, value)| set(vm, value));
            vms.iter().map(|(vm, _)| policy.matches(vm)).collect()
        };
        let (one, two) =
            (selector(&format!("\"{second}\"")), selector(&format!("[\"{first}\", \"{second}\"]")));
        assert_eq!(matched(&one, ""), [false, true, false], "{key}");
        assert_eq!(matched(&two, ""), [true, true, false], "{key}");
        assert_eq!(matched("{ all: true }", &format!("exclude: {one}\n")), [true, false, true], "{key}");
        assert_eq!(matched("{ all: true }", &format!("exclude: {two}\n")), [false, false, true], "{key}");
    }
}

#[test]
fn every_key_of_a_selector_must_match_and_one_of_those_in_any() {
    let text = format!(
        "{HEAD}select:\n  metadata: {{ a: 1 }}\n  any:\n    - {{ alias: [web-1, web-2] }}\n    - {{ metadata: {{ b: 2 }} }}\n\
         exclude: {{ alias: web-1, metadata: {{ c: 3 }} }}\n{THREE}"
    );
    let policy = policy(&text);
    let matches = |alias: &str, keys: &[(&str, &str)]| policy.matches(&vm(alias, keys));
    assert!(matches("web-1", &[("a", "1")]) && matches("db-1", &[("a", "1"), ("b", "2")]));
    assert!(!matches("web-1", &[]) && !matches("db-1", &[("a", "1")]));
    assert!(!matches("web-1", &[("a", "1"), ("c", "3")]) && matches("web-2", &[("a", "1"), ("c", "3")]));
    let shown = "metadata: {a: 1}, any: [{alias: [web-1, web-2]}, {metadata: {b: 2}}]";
    assert_eq!(policy.select.to_string(), shown);
}

#[test]
fn a_suspension_is_for_vms_by_uuid_in_any_case_and_by_alias() {
    let text =
        |vms: &str| format!("{HEAD}{ALL}{THREE}suspend: {{ reason: move, until: 2026-12-24, vms: {vms} }}\n");
    let is_for = |vms: &str, vm: &Vm| policy(&text(vms)).suspend.is_some_and(|suspend| suspend.is_for(vm));
    let mut named = vm("büro-1", &[]);
    named.id = "4fa44310-0000-4000-8000-00000000000a".parse().unwrap();
    for vms in ["4FA44310-0000-4000-8000-00000000000A", "[db-1, \"b?ro-*\"]", "\"b[ü]ro-1\""] {
        assert!(is_for(vms, &named) && !is_for(vms, &vm("b??ro-1", &[])), "{vms}");
    }
    assert!(!is_for("b??ro-1", &named));
}

/// The warnings of a text, with what they stand at.
fn warnings(text: &str) -> Vec<(String, String)> {
    let warnings = loaded(text).warnings;
    let lines = warnings.into_iter().map(|it| {
        let spot = it.spot.unwrap();
        (spot.text[spot.mark].to_owned(), it.message)
    });
    lines.collect()
}

fn warned(at: &str, message: &str) -> Vec<(String, String)> {
    vec![(at.to_owned(), message.to_owned())]
}

#[test]
fn a_tier_that_others_always_do_for_is_warned_of() {
    let tiers = |second: &str| {
        format!(
            "{HEAD}{ALL}tiers:\n  - {{ name: daily, schedule: \"0 1 * * *\", type: full }}\n  \
             - {{ name: other, type: incremental, {second} }}\n"
        )
    };
    let message = "`other` is always due together with `daily`, which satisfies it";
    assert_eq!(warnings(&tiers("schedule: \"00 01 * * *\"")), warned("other", message));
    assert_eq!(warnings(&tiers("schedule: \"0 2 * * *\"")), []);
    assert_eq!(warnings(&tiers("schedule: \"0 1,13 * * *\"")), []);
    let halves = |third: &str| {
        format!(
            "{HEAD}{ALL}tiers:\n  - {{ name: early, schedule: \"0 1,2 1-15 * *\", type: full }}\n  \
             - {{ name: late, schedule: \"0 1,2 16-31 * *\", type: full }}\n  \
             - {{ name: both, schedule: \"{third}\", type: full }}\nstuck_after: 1h\n"
        )
    };
    // A tier alone is due together with none, however rarely it comes.
    let rare = format!("{HEAD}{ALL}tiers: [{{ name: rare, schedule: \"0 1 29 2 +MON\", type: full }}]\n");
    assert!(warnings(&rare).iter().all(|(_, message)| !message.contains("always due")));
    let message = "`both` is always due together with `early` or `late`, which satisfies it";
    assert_eq!(warnings(&halves("0 1 * * *")), warned("both", message));
    assert_eq!(warnings(&halves("0 1,3 * * *")), []);
}

#[test]
fn a_backup_is_of_the_tier_whose_comment_or_former_comment_it_carries() {
    let text = format!("{HEAD}{ALL}{THREE}")
        .replace("name: daily, ", "name: nightly, comment: every night, also: [daily, Daily full], ");
    let policy = policy(&text);
    let tier = |comment: &str| policy.tier_of(Some(comment));
    assert_eq!([tier("every night"), tier("daily"), tier("Daily full")], [Some(2); 3]);
    assert_eq!([tier("nightly"), tier("Daily"), tier("daily "), tier("")], [None; 4]);
    assert_eq!((tier("weekly"), policy.tier_of(None)), (Some(1), None));
}

#[test]
fn the_age_that_is_let_pass_is_that_of_the_tier_that_comes_most_often() {
    // The last tier is as long apart on the wall clock; elapsed time makes one of its gaps longer.
    let text = format!(
        "{HEAD}{ALL}timezone: America/Havana\ntiers:\n  \
         - {{ name: noon, schedule: \"0 12 * * *\", type: full }}\n  \
         - {{ name: night, schedule: \"0 */24 * * *\", type: full }}\n"
    );
    let policy = loaded(&text).policies.iter().next().unwrap().clone();
    assert_eq!(policy.tiers[1].schedule.gap_max(), TimeDelta::hours(47));
    assert_eq!(policy.max_age, TimeDelta::hours(27));
}

#[test]
fn tiers_of_one_night_with_different_spreads_are_warned_of() {
    let tiers = |weekly: &str, daily: &str| {
        format!(
            "{HEAD}{ALL}tiers:\n  - {{ name: weekly, schedule: \"0 1 * * SUN\", type: full{weekly} }}\n  \
             - {{ name: daily, schedule: {daily}, type: incremental, keep: 7 }}\n"
        )
    };
    let message = "`weekly` and `daily` are due on the same night with different `spread`";
    assert_eq!(warnings(&tiers("", "0 1 * * *, spread: 4h")), warned("4h", message));
    assert_eq!(warnings(&tiers(", spread: 4h", "0 1 * * *")), warned("daily", message));
    assert_eq!(warnings(&tiers(", spread: 4h", "0 1 * * *, spread: 4h")), []);
    assert_eq!(warnings(&tiers(", spread: 4h", "0 7 * * *, spread: 2h")), []);
    assert_eq!(warnings(&tiers(", spread: 4h", "0 1 * * MON-SAT")), []);
}

#[test]
fn a_day_that_may_fit_either_field_is_warned_of() {
    let hint = |schedule: &str| {
        let text =
            format!("{HEAD}{ALL}tiers:\n  - {{ name: sometimes, schedule: \"{schedule}\", type: full }}\n");
        let warnings = loaded(&text).warnings;
        assert!(warnings.len() < 2, "{warnings:?}");
        for warning in &warnings {
            let message = "`sometimes` is due on days that match either day field, as in cron";
            assert_eq!(warning.message, message);
        }
        warnings.into_iter().next().and_then(|it| it.hint)
    };
    let write = |such: &str, instead: &str| Some(format!("for {such} write `{instead}`"));
    assert_eq!(hint("0 1 1-7 * SUN"), write("the first such day of the month", "0 1 * * SUN#1"));
    assert_eq!(hint("0 1 15-21 * 6,0"), write("the third such day of the month", "0 1 * * 6#3,0#3"));
    assert_eq!(hint("0 1 1-7 * MON-FRI"), write("days that match both", "0 1 1-7 * +MON-FRI"));
    assert_eq!(hint("0 1 13 * fri"), write("days that match both", "0 1 13 * +fri"));
    assert_eq!(hint("0 1 13 * FRI"), write("days that match both", "0 1 13 * +FRI"));
    assert_eq!(hint("0 1 13 * +FRI"), None);
    assert_eq!(hint("0 1 * * SUN#1"), None);
    assert_eq!(hint("0 1 1-7 * ?"), None);
    for (schedule, days_max) in [("0 1 1-7 * SUN", 7), ("0 1 * * SUN#1", 35), ("0 1 1-7 * +SUN", 35)] {
        let schedule = Schedule::parse(schedule, Zone::UTC).unwrap();
        assert_eq!(schedule.gap_max(), TimeDelta::days(days_max), "{schedule}");
    }
}

#[test]
fn a_day_that_some_months_lack_is_warned_of() {
    let hint = |schedule: &str| {
        let text = format!("{HEAD}{ALL}tiers:\n  - {{ name: late, schedule: \"{schedule}\", type: full }}\n");
        let warnings = loaded(&text).warnings;
        let warning = warnings.into_iter().find(|it| it.message.contains("that has no day"));
        warning.map(|it| (it.message.chars().rev().take(2).collect::<String>(), it.hint.unwrap()))
    };
    for (schedule, day, better) in [
        ("0 1 31 * *", "13", "`0 1 L * *`"),
        ("0 1 30 * *", "03", "`0 1 L * *`"),
        ("0 1 29,30 * *", "92", "`0 1 L * *`"),
        ("0 1 29 2 *", "92", "`0 1 L 2 *`"),
        ("0 1 31 3,4 *", "13", "`0 1 L 3,4 *`"),
    ] {
        let (found, hint) = hint(schedule).unwrap();
        assert!(found == day && hint.contains(better), "{schedule}: {found} {hint}");
    }
    for schedule in [
        "0 1 28 * *",
        "0 1 L * *",
        "0 1 */10 * *",
        "0 1 1,31 * *",
        "0 1 31 1,3 *",
        "0 1 30 4 *",
        "0 1 31 * SUN",
        "0 1 * * *",
    ] {
        assert_eq!(hint(schedule), None, "{schedule}");
    }
}

#[test]
fn a_full_tier_kept_shorter_than_its_chains_is_warned_of() {
    let tiers = |monthly: &str, weekly: &str| {
        format!(
            "{HEAD}{ALL}tiers:\n  - {{ name: monthly, schedule: \"0 1 1 * *\", type: full, keep: {monthly} }}\n  \
             - {{ name: weekly, schedule: \"0 1 * * SUN\", type: incremental, {weekly} }}\n"
        )
    };
    let message = "`keep: 1` of `monthly` is shorter than the backups based on it are kept";
    assert_eq!(warnings(&tiers("1", "keep: 5")), []);
    assert_eq!(warnings(&tiers("1", "keep: 6")), warned("1", message));
    assert_eq!(warnings(&tiers("1", "from: [monthly]")), warned("1", message));
    assert_eq!(warnings(&tiers("1", "from: [weekly]")), []);
    assert_eq!(warnings(&tiers("12", "keep: 52")), []);
}

#[test]
fn what_counts_as_stuck_after_the_next_is_due_is_warned_of() {
    let text = format!(
        "{HEAD}{ALL}tiers:\n  - {{ name: often, schedule: \"0 */6 * * *\", type: full }}\nmax_age: 1d\n"
    );
    let message = "`often` is due every 6h, and a backup counts as stuck only after 12h";
    assert_eq!(warnings(&text), warned("\"0 */6 * * *\"", message));
    assert_eq!(warnings(&format!("{text}stuck_after: 6h\n")), []);
    let late = "`often` is due every 6h, and a backup counts as stuck only after 6h1m";
    assert_eq!(warnings(&format!("{text}stuck_after: 361m\n")), warned("361m", late));
    // Once a year these are eleven hours apart, and in the night of the change to summer time one falls away.
    let berlin = format!("{text}timezone: Europe/Berlin\n");
    assert_eq!(warnings(&berlin.replace("0 */6", "0 0,12")), []);
    let skipped =
        warnings(&(berlin.replace("0 */6 * * *", "0,30 2 * * *").replace("1d", "2d") + "stuck_after: 30m\n"));
    assert_eq!(skipped.len(), 1, "only the skipped hour: {skipped:?}");
}

#[test]
fn a_skipped_hour_and_a_short_age_and_a_local_surplus_are_warned_of() {
    let text = format!(
        "{HEAD}{ALL}timezone: Europe/Berlin\ntiers:\n  \
         - {{ name: daily, schedule: \"30 2 * * *\", type: full, keep: 2, keep_local: 3 }}\nmax_age: 24h\n"
    );
    let expected = [
        ("\"30 2 * * *\"", "clocks in Europe/Berlin skip 02:30 on some days, such as 2024-03-31"),
        ("3", "`keep_local` exceeds `keep: 2`"),
        ("24h", "`max_age` is shorter than the longest gap of `daily`, 1d1h"),
    ];
    assert_eq!(warnings(&text), expected.map(|(at, message)| (at.to_owned(), message.to_owned())));
}

#[test]
fn for_a_step_of_hours_that_loses_one_the_hours_to_name_are_told() {
    let text = format!(
        "{HEAD}{ALL}timezone: America/Havana\ntiers:\n  - {{ name: often, schedule: \"0 */6 * * *\", type: full }}\n\
         stuck_after: 6h\n"
    );
    let hints: Vec<String> = loaded(&text).warnings.into_iter().filter_map(|it| it.hint).collect();
    assert!(hints.iter().any(|hint| hint.contains("with named hours, `0,6,12,18`, it is due")), "{hints:?}");
}

/// Lines and pieces that YAML and policies make something of, so that chance comes further than the first character.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "version: 1\n",
        "policy: ",
        "select: ",
        "all: true",
        "tiers:\n",
        "  - ",
        "name: x\n",
        "    schedule: ",
        "\"0 1 * * *\"\n",
        "type: full\n",
        "    type: incremental\n",
        "    from: ",
        "spread: 1h\n",
        "keep: 0\n",
        "timezone: ",
        "Europe/Berlin\n",
        "suspend: ",
        "until: 2026-02-30",
        "metadata: ",
        "a.b: 1",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "- ",
        "? ",
        "&a ",
        "*a ",
        "!t ",
        "<<: ",
        "|\n",
        "> \n",
        "\"",
        "'",
        "#",
        "%",
        "---\n",
        "...\n",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "  ",
        "~",
        "null",
        "\u{feff}",
        "ä",
        "\u{0}",
        "\u{85}",
        "9",
        "-",
        "*",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

/// Every place in a result can be shown.
fn read_and_show(bytes: Vec<u8>) {
    if let Err(mistakes) = parse(&[SourceFile { name: "a.yaml".to_owned(), bytes }]) {
        assert!(mistakes.diagnostics().iter().any(|it| it.severity == Severity::Error));
        render_text(mistakes.diagnostics(), true);
        render_github(mistakes.diagnostics());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_and_show(bytes);
    }

    #[test]
    fn no_text_like_a_policy_makes_it_panic(text in pieces()) {
        read_and_show(text.into_bytes());
    }

    #[test]
    fn no_change_of_a_few_bytes_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = format!("{HEAD}{ALL}timezone: Europe/Berlin\n{THREE}suspend: {{ reason: x, until: 2026-12-24 }}\n")
            .into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        read_and_show(bytes);
    }
}
