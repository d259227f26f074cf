//! The safety stop that an earlier run set: which backups vanished and when, for every output.

use super::Styles;
use super::cells::visible;
use super::markdown::escaped;
use crate::apply::{DeleteKind, LatchedAlarm, SafetyStop};
use crate::inventory::BackupId;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Returns the line with the problem and the next step.
pub fn headline(stop: &SafetyStop) -> String {
    let since = stop
        .since()
        .map_or_else(String::new, |since| format!(" since {}", since.format("%Y-%m-%d %H:%M:%S UTC")));
    let gone: BTreeSet<BackupId> = stop.alarms.iter().flat_map(|alarm| &alarm.gone).copied().collect();
    let is_after = |kind| stop.alarms.iter().any(|alarm| alarm.after == kind);
    let delete = match (is_after(DeleteKind::DeleteLocal), is_after(DeleteKind::DeleteCloud)) {
        (true, false) => "a local delete",
        (false, true) => "a delete from storage",
        (true, true) => "local deletes and deletes from storage",
        (false, false) => "a delete",
    };
    let what = match gone.len() {
        0 => format!("backups vanished after {delete}"),
        1 => format!("1 backup vanished after {delete}"),
        count => format!("{count} backups vanished after {delete}"),
    };
    format!(
        "Safety stop{since}: {what}; `apply` and `reconcile` do nothing until `fifo-retain resume` has been run"
    )
}

/// Lists the vanished backups with times, a line for each alarm, and what could not be read of the latch.
pub fn details(stop: &SafetyStop) -> Vec<String> {
    let mut lines: Vec<String> = stop.alarms.iter().map(detail).collect();
    if let Some(why) = &stop.unreadable {
        lines.push(format!(
            "the latch file {} could not be read ({}), which counts as set; the journal beside it names what went",
            visible(&stop.file),
            visible(why)
        ));
    }
    lines
}

fn detail(alarm: &LatchedAlarm) -> String {
    let gone: Vec<String> = alarm.gone.iter().map(ToString::to_string).collect();
    let delete = match alarm.after {
        DeleteKind::DeleteLocal => "local delete",
        DeleteKind::DeleteCloud => "delete from storage",
    };
    format!(
        "{} {} ({}): with the {delete} of backup {} went {}",
        alarm.time.format("%Y-%m-%d %H:%M:%S UTC"),
        visible(&alarm.alias),
        alarm.vm,
        alarm.backup,
        gone.join(", ")
    )
}

/// Writes it as text, to stand above everything else.
///
/// # Errors
///
/// Those of writing.
pub fn text(stop: &SafetyStop, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let alarm = styles.alarm;
    writeln!(out, "{alarm}{}.{alarm:#}", headline(stop))?;
    for line in details(stop) {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)
}

/// Returns it as Markdown, to stand above everything else.
pub fn markdown(stop: &SafetyStop) -> String {
    let mut text = format!("**{}.**\n", headline(stop));
    for line in details(stop) {
        text.push_str(&format!("- {}\n", escaped(&line)));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::VmId;
    use uuid::Uuid;

    fn stop() -> SafetyStop {
        let [one, two] = [1, 2].map(|number| BackupId::new(Uuid::from_u128(number)));
        let alarm = LatchedAlarm {
            time: "2026-11-22T01:02:03Z".parse().unwrap(),
            vm: VmId::new(Uuid::nil()),
            alias: "web\u{1b}[2J<b>".to_owned(),
            after: DeleteKind::DeleteLocal,
            backup: one,
            gone: vec![one, two],
        };
        SafetyStop { file: "latch.json".to_owned(), alarms: vec![alarm], unreadable: None }
    }

    #[test]
    fn it_says_what_went_and_when_and_acts_on_no_screen() {
        let mut out = Vec::new();
        text(&stop(), &Styles::plain(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("Safety stop since 2026-11-22 01:02:03 UTC: 2 backups vanished"), "{text}");
        assert!(text.contains("`fifo-retain resume`") && text.contains("web\\u{1b}[2J<b>"), "{text}");
        let markdown = markdown(&stop());
        assert!(markdown.starts_with("**Safety stop") && !markdown.contains("<b>"), "{markdown}");
    }

    #[test]
    fn it_says_after_which_kind_of_delete() {
        let mut stop = stop();
        assert!(headline(&stop).contains("2 backups vanished after a local delete"), "{}", headline(&stop));
        stop.alarms[0].after = DeleteKind::DeleteCloud;
        assert!(headline(&stop).contains("2 backups vanished after a delete from storage"));
        assert!(details(&stop)[0].contains("with the delete from storage of backup"));
    }

    #[test]
    fn one_that_cannot_be_read_says_so() {
        let stop = SafetyStop { alarms: Vec::new(), unreadable: Some("it is empty".to_owned()), ..stop() };
        assert!(headline(&stop).starts_with("Safety stop: backups vanished"), "{}", headline(&stop));
        assert!(details(&stop)[0].contains("latch.json could not be read (it is empty)"));
    }
}
