//! The safety stop that an earlier run set: what happened and when, for every report.

use super::doc::{Block, Doc, Tone};
use super::escape::visible;
use super::words::{counted, instant_text};
use crate::apply::{ActionKind, SafetyStop};
use crate::inventory::BackupId;
use std::collections::BTreeSet;

/// Returns the line with the problem and the next step.
pub fn headline(stop: &SafetyStop) -> String {
    let since = stop.since().map_or_else(String::new, |since| format!(" since {}", instant_text(since)));
    let gone: BTreeSet<BackupId> = stop.alarms.iter().flat_map(|alarm| &alarm.gone).copied().collect();
    let is_after = |kind| stop.alarms.iter().any(|alarm| alarm.after == kind);
    let deletes = match (is_after(ActionKind::DeleteLocal), is_after(ActionKind::DeleteCloud)) {
        (true, false) => Some("a local delete"),
        (false, true) => Some("a delete from storage"),
        (true, true) => Some("local deletes and deletes from storage"),
        (false, false) => None,
    };
    let mut reasons: Vec<String> = Vec::new();
    reasons
        .extend(deletes.map(|deletes| format!("{} vanished after {deletes}", counted(gone.len(), "backup"))));
    if is_after(ActionKind::Create) {
        reasons.push("the body of a request for a backup was lost on the way".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("its reason is not known".to_owned());
    }
    format!(
        "Safety stop{since}: {}; `apply` and `reconcile` do nothing until `fifo-retain resume` has been run",
        reasons.join(", and ")
    )
}

/// Returns the headline, and what happened indented below it.
pub fn text(stop: &SafetyStop) -> String {
    let below = details(stop).into_iter().map(|line| format!("\n  {line}"));
    format!("{}{}", headline(stop), below.collect::<String>())
}

/// Lists the alarms with their times, a line each, and what could not be read of the file.
fn details(stop: &SafetyStop) -> Vec<String> {
    let mut lines: Vec<String> = stop
        .alarms
        .iter()
        .map(|alarm| format!("{} {}", instant_text(alarm.time), visible(&alarm.to_string())))
        .collect();
    if let Some(why) = &stop.unreadable {
        lines.push(format!(
            "the file {} could not be read ({}), which counts as set; the journal beside it names what went",
            visible(&stop.file),
            visible(why)
        ));
    }
    lines
}

pub fn document(stop: &SafetyStop) -> Doc {
    Doc { alarms: blocks(stop), ..Doc::default() }
}

pub(super) fn blocks(stop: &SafetyStop) -> Vec<Block> {
    let details = details(stop).into_iter().map(|line| (Tone::Plain, line)).collect();
    vec![Block::Para(Tone::Alarm, format!("{}.", headline(stop))), Block::List(details)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Alarm, VmRef};
    use crate::inventory::VmId;
    use uuid::Uuid;

    fn id(number: u128) -> BackupId {
        BackupId::new(Uuid::from_u128(number))
    }

    fn at() -> VmRef {
        VmRef { vm: VmId::new(Uuid::nil()), alias: "web\u{1b}[2J<b>".to_owned() }
    }

    fn stop(alarms: &[Alarm], unreadable: Option<&str>) -> SafetyStop {
        SafetyStop {
            file: "stop.json".to_owned(),
            endpoint: "https://fifo".to_owned(),
            alarms: alarms.to_vec(),
            unreadable: unreadable.map(str::to_owned),
        }
    }

    fn vanished(after: ActionKind, gone: &[u128]) -> Alarm {
        let time = "2026-11-22T01:02:03Z".parse().unwrap();
        Alarm::vanished(time, &at(), after, id(1), gone.iter().copied().map(id).collect())
    }

    #[test]
    fn the_headline_has_every_reason_and_says_so_where_none_can_be_read() {
        let local = vanished(ActionKind::DeleteLocal, &[1]);
        let cloud = vanished(ActionKind::DeleteCloud, &[1, 2]);
        let lost = Alarm::body_lost(local.time, &at(), id(3));
        for (alarms, reason) in [
            (vec![local.clone()], ": 1 backup vanished after a local delete; "),
            (vec![cloud.clone()], ": 2 backups vanished after a delete from storage; "),
            (
                vec![local.clone(), cloud],
                ": 2 backups vanished after local deletes and deletes from storage; ",
            ),
            (vec![lost.clone()], ": the body of a request for a backup was lost on the way; "),
            (
                vec![local, lost],
                "a local delete, and the body of a request for a backup was lost on the way; ",
            ),
            (Vec::new(), "Safety stop: its reason is not known; "),
        ] {
            let headline = headline(&stop(&alarms, None));
            assert!(headline.contains(reason), "{headline}");
        }
        let of_alarm = vanished(ActionKind::DeleteLocal, &[1]);
        let details = details(&stop(&[of_alarm], Some("it is empty")));
        assert!(
            details[0].starts_with("2026-11-22 01:02:03 UTC backups have vanished after the local"),
            "{details:?}"
        );
        assert!(details[1].contains("stop.json could not be read (it is empty)"), "{details:?}");
    }
}
