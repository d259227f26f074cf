//! The pages: numbers as elsewhere, markup as text, and how large they get.

use super::fixtures::*;
use crate::insight::status::BackupHealth;
use crate::inventory::VmId;
use crate::plan::Prune;
use crate::policy::{Policies, SourceFile, parse};
use crate::report::html::simulation::{findings, live_page, page};
use crate::report::html::vm;
use crate::report::page::status_page;
use crate::report::simulate::Played;
use crate::simulate::{Scenario, simulate_with_stories};
use chrono::{DateTime, Utc};
use uuid::Uuid;

const POLICY: &str = "version: 1\npolicy: grandfather\ndescription: \"<b>hm</b>\"\nselect: { all: true }\ntiers:\n\
    - { name: monthly, schedule: \"0 1 1 * *\", type: full, keep: 3 }\n\
    - { name: daily, schedule: \"0 1 * * *\", type: incremental, keep: 7 }\nprune: true\n";

fn policies() -> Policies {
    parse(&[SourceFile { name: "p.yaml".to_owned(), bytes: POLICY.into() }]).unwrap().policies
}

/// Simulates so many days from the beginning of 2027 on.
fn year(days: u32) -> String {
    let from: DateTime<Utc> = "2027-01-01T00:05:00Z".parse().unwrap();
    let scenario = Scenario { prune: Prune::REQUESTED, ..Scenario::new(from, days) };
    let policies = policies();
    let (simulation, stories) = simulate_with_stories(&policies, None, &scenario);
    page(Played { simulation: &simulation, policies: &policies, stories: &stories }, None, &scenario)
}

#[test]
fn a_year_is_small_has_its_numbers_and_can_be_read_without_a_script() {
    let page = year(365);
    assert!(page.len() < 300_000, "{} bytes", page.len());
    for part in [
        "<b>Sat 1 Jan 2028</b>",
        "any day of the last 7, the 1st of each of the last 3 months",
        "A day without a run costs no backup",
        "<caption>Dec 2027</caption>",
        "<b>Back to Fri 31 Dec 2027, 01:00:</b>",
        "script-src &#39;sha256-",
    ] {
        let part = part.replace("&#39;", "'");
        assert!(page.contains(&part), "{part} is not in\n{page}");
    }
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    for part in
        [" onclick", " onload", " onerror", "javascript:", "http://", "https://", "http-equiv=\"refresh"]
    {
        assert!(!page.contains(part), "{part}");
    }
    assert_eq!(page, year(365), "the same each time");
}

#[test]
fn markup_in_names_and_policies_is_text() {
    let evil = "</script><img src=x onerror=alert(1)>";
    let pages = [
        status_page(&overview(vec![health(evil)]), &Default::default(), None, evil),
        vm::page(&explained(evil, evil), &[evil.to_owned()], Some(evil), None),
        live_page(&[(evil.to_owned(), format!("{evil}</textarea>"))], 0, None, ""),
        findings(
            parse(&[SourceFile { name: evil.to_owned(), bytes: evil.into() }]).unwrap_err().diagnostics(),
            evil,
        ),
    ];
    for page in pages {
        assert!(!page.contains("<img") && page.contains("img src=x"), "{page}");
        assert!(!page.contains(&format!("{evil}</textarea>")), "{page}");
    }
}

#[test]
fn five_thousand_vms_fit_into_two_megabytes_whatever_is_wrong_with_them() {
    let one = |number: u128| {
        let mut vm = health(&format!("customer-web-{number}"));
        vm.uuid = Some(VmId::new(Uuid::from_u128(number << 64)));
        vm.hypervisor = Some(Uuid::from_u128((number % 40) << 96).to_string());
        if number.is_multiple_of(3) {
            vm.verdict = BackupHealth::Safe;
        }
        vm
    };
    let history = crate::report::RunHistory {
        overview: Some(overview((0..5_000).map(one).collect())),
        ..Default::default()
    };
    let page = crate::report::page::page(&history, at("2026-11-22 21:00").to_utc());
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<th scope=\"row\"><a href=\"/vm/").count(), 5_000);
    assert!(
        page.contains("VMs: 5000 too old") || page.contains("too old: 5000 VMs"),
        "as old as these are by now"
    );
}
