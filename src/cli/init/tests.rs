use super::*;
use crate::policy::Loaded;

const WEB: &str = "4fa44310-0000-4000-8000-000000000001";
const DB: &str = "9c01b7ee-0000-4000-8000-000000000002";

/// Reads a crontab, and the policies made of it as `validate --strict` would.
fn taken_over(text: &str, wrappers: &[&str]) -> (Loaded, Vec<(usize, String)>) {
    let crontab = Crontab::read(text, &wrappers.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
    let unread = crontab.unread.clone();
    (loaded(&yaml(&crontab.drafts("old", "Europe/Berlin"))), unread)
}

fn loaded(text: &str) -> Loaded {
    let file = SourceFile { name: "made.yaml".to_owned(), bytes: text.into() };
    policy::parse(&[file]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}"))
}

#[test]
fn the_usual_scheme_passes_the_strict_check() {
    for (selection, prune) in [
        (Vec::new(), false),
        (selection("alias=web-*").unwrap(), true),
        (selection("metadata.x y.on=true").unwrap(), false),
    ] {
        let text = yaml(&[Draft::grandfather("web", selection, "Europe/Berlin", 1, prune)]);
        let loaded = loaded(&text);
        assert_eq!((loaded.policies.iter().count(), loaded.warnings), (1, Vec::new()));
        assert_eq!(text.contains("\nprune: true\n"), prune, "{text}");
        assert!(!text.contains("\n\n\n") && text.contains("    keep: 12\n"), "{text}");
    }
}

#[test]
fn conditions_of_one_key_are_alternatives_and_of_several_go_together() {
    let conditions = ["metadata.fifo.backup=1", "alias=web-*", "alias=app-*", "metadata.os=no"];
    let conditions = conditions.map(|it| it.parse().unwrap()).to_vec();
    let draft = Draft::grandfather("web", conditions, "UTC", 1, false);
    let loaded = loaded(&yaml(&[draft]));
    let select = &loaded.policies.iter().next().unwrap().select;
    assert_eq!(select.to_string(), "alias: [web-*, app-*], metadata: {fifo.backup: 1, os: no}");
}

#[test]
fn a_condition_names_a_field_or_a_path_in_the_metadata() {
    let read = |text: &str| text.parse::<Condition>();
    assert!(read("metadata.fifo.backup=1").is_ok() && read("alias=web-*").is_ok());
    assert!(read("name=web").unwrap_err().contains("alias, uuid"));
    assert!(read("alias=").is_err() && read("alias").is_err() && read("metadata.=1").is_err());
}

#[test]
fn names_are_those_of_policies() {
    assert!(policy_name("web-2").is_ok() && policy_name("2").is_ok());
    assert!(policy_name("-web").is_err() && policy_name("Web").is_err() && policy_name("").is_err());
    assert!(zone("Europe/Berlin").is_ok() && zone("Berlin").is_err());
}

#[test]
fn vms_with_the_same_schedules_share_a_policy() {
    let text = format!(
        "# the old script\nMAILTO=ops@example.com\n\
         0 1 1 * * /opt/backup.sh monthly {WEB}\n0 1 * * 0 /opt/backup.sh weekly {WEB} > /dev/null 2>&1\n\
         0 1 * * * /opt/backup.sh daily {WEB}\n\
         0 1 1 * * root /opt/backup.sh {DB} monthly\n0 1 * * 0 root /opt/backup.sh {DB} weekly\n\
         @daily root /opt/backup.sh {DB} daily\n"
    );
    let (loaded, unread) = taken_over(&text, &[]);
    assert_eq!((unread, &loaded.warnings), (Vec::new(), &Vec::new()));
    let mut policies: Vec<_> = loaded.policies.iter().collect();
    policies.sort_by_key(|policy| policy.select.uuid.clone());
    let uuids: Vec<_> = policies.iter().map(|policy| policy.select.uuid.clone()).collect();
    assert_eq!(uuids, [[WEB.to_owned()], [DB.to_owned()]], "their dailies are at different times");
    let tiers: Vec<String> =
        policies[1].tiers.iter().map(|tier| format!("{} {}", tier.name, tier.schedule)).collect();
    assert_eq!(tiers, ["monthly 0 1 1 * *", "weekly 0 1 * * 0", "daily 0 0 * * *"]);

    let (loaded, _) = taken_over(&text.replace("@daily", "0 1 * * *"), &[]);
    assert_eq!(loaded.policies.iter().map(|policy| policy.select.uuid.len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn the_wrapper_has_its_own_calendar_for_all_marked_vms() {
    let (loaded, unread) = taken_over("0 1 * * * /opt/backup-all\n", &["backup-all"]);
    assert_eq!((unread, loaded.warnings), (Vec::new(), Vec::new()));
    let policy = loaded.policies.iter().next().unwrap();
    assert_eq!(policy.select.to_string(), "metadata: {fifo.backup: 1}");
    let tiers: Vec<String> = policy.tiers.iter().map(|tier| tier.schedule.to_string()).collect();
    assert_eq!(tiers, ["0 1 1 * *", "0 1 * * 0", "0 1 * * *"]);
}

#[test]
fn a_single_vm_beside_the_wrapper_has_the_higher_priority() {
    let text = format!("0 1 * * * backup-all\n0 2 1 * * backup monthly {DB}\n");
    let (loaded, _) = taken_over(&text, &["backup-all"]);
    let priority = |is_single: bool| {
        loaded.policies.iter().find(|policy| policy.select.uuid.is_empty() != is_single).unwrap().priority
    };
    assert!(priority(true) > priority(false));
}

#[test]
fn a_line_that_is_not_understood_is_reported_and_never_guessed() {
    let text = format!(
        "0 3 * * * logrotate\n0 1 1 * * backup monthly {WEB}\n0 2 1 * * backup monthly {WEB}\n\
         0 1 * * 0 backup {WEB}\n0 1 * * 0 backup weekly\n@reboot backup daily {WEB}\n\
         0 1 32 * * backup daily {WEB}\n0 1 * * * [ -e /x ] && backup daily {WEB}\n0 1 * * *\n\
         0 1 * * 1-6 backup-all\n0 1 * * * backup daily weekly {WEB}\n"
    );
    let (loaded, unread) = taken_over(&text, &["backup-all"]);
    let whys: Vec<(usize, &str)> = unread.iter().map(|(line, why)| (*line, why.as_str())).collect();
    for (number, words) in [
        (1, "neither a tier nor a VM"),
        (3, "an earlier line has a monthly"),
        (4, "names a VM and no tier"),
        (5, "names a tier and no VM"),
        (6, "@reboot is not a schedule"),
        (7, "day-of-month"),
        (8, "has a condition"),
        (9, "fewer than five fields"),
        (10, "does not run the wrapper every day"),
        (11, "several tiers"),
    ] {
        let found = whys.iter().any(|(line, why)| *line == number && why.contains(words));
        assert!(found, "{number}: {words}\n{whys:#?}");
    }
    assert_eq!((whys.len(), loaded.policies.iter().count()), (10, 1));
}

#[test]
fn a_full_backup_that_the_crontab_does_not_have_is_remarked() {
    let crontab = Crontab::read(&format!("0 1 * * 0 b weekly {WEB}\n0 1 * * * b daily {WEB}\n"), &[]);
    let drafts = crontab.drafts("old", "UTC");
    assert!(drafts[0].remarks[0].contains("has no monthly for these VMs: weekly is full here"));
    assert!(yaml(&drafts).contains("# The crontab has no monthly"));
    loaded(&yaml(&drafts));
}

#[test]
fn the_zone_of_the_crontab_is_the_policy_s() {
    let text = format!("0 1 1 * * b monthly {WEB}\nCRON_TZ=Asia/Tokyo\n0 1 1 * * b monthly {DB}\n");
    let crontab = Crontab::read(&text, &[]);
    assert!(crontab.needs_zone());
    let zones: Vec<String> = crontab.drafts("old", "UTC").into_iter().map(|draft| draft.zone).collect();
    assert_eq!(zones, ["Asia/Tokyo", "UTC"]);
    let unread = Crontab::read(&format!("CRON_TZ=Tokyo\n0 1 1 * * b monthly {WEB}\n"), &[]).unread;
    assert!(unread[0].1.contains("Tokyo, is not an IANA time zone"));
}

#[test]
fn the_crontab_that_fifo_s_client_documents_becomes_three_tiers() {
    let text = "1 0 1 * * /opt/fifo/monthly\n1 0 2-31 * * /opt/fifo/daily\n";
    for wrappers in [["monthly", "daily"], ["/opt/fifo/monthly", "/opt/fifo/daily"]] {
        let (loaded, unread) = taken_over(text, &wrappers);
        assert_eq!((unread, loaded.warnings), (Vec::new(), Vec::new()));
        let policy = loaded.policies.iter().next().unwrap();
        assert_eq!(policy.select.to_string(), "metadata: {fifo.backup: 1}");
        let tiers: Vec<String> =
            policy.tiers.iter().map(|tier| format!("{} {}", tier.name, tier.schedule)).collect();
        assert_eq!(tiers, ["monthly 1 0 1 * *", "weekly 1 0 * * 0", "daily 1 0 * * *"]);
    }
}

#[test]
fn a_line_that_crons_read_differently_is_named_with_what_to_write() {
    let text = format!(
        "TZ=Asia/Tokyo\n0 1 1-7 * */7 b monthly {WEB}\n0 1 */2 * SUN b weekly {WEB}\n0 1 1 * * b monthly {WEB}\n\
         0 1 */2 * * b daily {WEB}\n"
    );
    let (_, unread) = taken_over(&text, &[]);
    for ((line, why), (number, words)) in unread.iter().zip([
        (1, ["on illumos Asia/Tokyo is the zone", "write CRON_TZ=Asia/Tokyo"]),
        (2, ["`0 1 1-7 * +0-6/7`", "for either `0 1 1-7 * 0-6/7`"]),
        (3, ["`0 1 1-31/2 * +SUN`", "for either `0 1 1-31/2 * SUN`"]),
    ]) {
        assert_eq!(*line, number);
        assert!(words.iter().all(|words| why.contains(words)), "{why}");
    }
    assert_eq!(unread.len(), 3, "{unread:?}");
}
