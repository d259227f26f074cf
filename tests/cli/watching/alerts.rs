use super::{example, read, run, succeeded};
use fifo_retain::report::metrics::METRICS;
use granit_parser::{Parser, StrInput};
use std::collections::BTreeSet;

/// Everything in a text that looks like one of our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("fifo_retain_")).collect()
}

fn known() -> BTreeSet<&'static str> {
    METRICS.iter().map(|metric| metric.name).collect()
}

#[test]
fn the_rules_are_yaml_and_name_only_metrics_that_there_are() {
    for name in ["prometheus-alerts.yaml", "prometheus-alerts.test.yaml"] {
        let text = read(example(name));
        for event in Parser::new(StrInput::new(&text)) {
            event.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let named = metrics_in(&text);
        assert!(named.is_subset(&known()), "{name}: {:?}", named.difference(&known()).collect::<Vec<_>>());
    }
}

#[test]
fn every_rule_is_tried_both_ways() {
    let (rules, tests) =
        (read(example("prometheus-alerts.yaml")), read(example("prometheus-alerts.test.yaml")));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 6, "{alerts:?}");
    for alert in alerts {
        let silent = format!("alertname: {alert} }}");
        let raised = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&silent), "{alert} is never silent");
        assert!(tests.contains(&raised), "{alert} is never raised");
    }
}

#[test]
fn promtool_finds_the_rules_right() {
    let (rules, tests) = (example("prometheus-alerts.yaml"), example("prometheus-alerts.test.yaml"));
    let checked = run("promtool", &["check", "rules", rules.to_str().unwrap()]);
    let Some(checked) = checked else { return };
    succeeded(&checked);
    succeeded(&run("promtool", &["test", "rules", tests.to_str().unwrap()]).unwrap());
}

#[test]
fn the_page_about_metrics_names_every_rule_and_no_other_metric() {
    let (rules, page) = (read(example("prometheus-alerts.yaml")), read("docs/metrics.md"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("`{alert}`")), "{alert}");
    }
    let named = metrics_in(&page);
    assert!(named.is_subset(&known()), "{:?}", named.difference(&known()).collect::<Vec<_>>());
}
