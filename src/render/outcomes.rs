//! The words for actions and how they ended.

use crate::apply::{ActionKind, ActionOutcome, RunCounts};

/// Returns the word for how an action ended, the same as in JSON.
pub fn ending_text(ending: ActionOutcome) -> &'static str {
    match ending {
        ActionOutcome::Done => "done",
        ActionOutcome::Started => "started",
        ActionOutcome::HandedOver => "left",
        ActionOutcome::Failed => "failed",
        ActionOutcome::Unverified => "unverified",
        ActionOutcome::Dropped => "dropped",
        ActionOutcome::Interrupted => "interrupted",
    }
}

/// Returns what is done by a kind of action, for people.
pub fn action_text(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::DeleteLocal => "delete locally",
        ActionKind::DeleteCloud => "delete from storage",
    }
}

/// Returns the word for a kind of action, the same as in JSON.
pub(super) fn kind_text(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::DeleteLocal => "delete_local",
        ActionKind::DeleteCloud => "delete_cloud",
    }
}

/// Writes the counts of a run in one line, always in this form: what is not there is left out behind the first two. Deletes from
/// storage are the third.
pub fn counts_text(tally: &RunCounts) -> String {
    let mut text = format!("Done: {} created, {} deleted locally", tally.created, tally.deleted_local);
    if tally.deleted_cloud > 0 {
        text.push_str(&format!(", {} deleted from storage", tally.deleted_cloud));
    }
    let others = [
        (tally.started, "started"),
        (tally.left, "left to the next run"),
        (tally.failed, "failed"),
        (tally.dropped, "dropped"),
        (tally.interrupted, "interrupted"),
    ];
    for (index, (count, word)) in others.into_iter().filter(|(count, _)| *count > 0).enumerate() {
        text.push_str(if index == 0 { "; " } else { ", " });
        text.push_str(&format!("{count} {word}"));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_leaves_out_what_did_not_happen() {
        let tally = RunCounts { created: 2, ..RunCounts::default() };
        assert_eq!(counts_text(&tally), "Done: 2 created, 0 deleted locally.");
        let tally = RunCounts { failed: 1, interrupted: 3, ..tally };
        assert_eq!(counts_text(&tally), "Done: 2 created, 0 deleted locally; 1 failed, 3 interrupted.");
    }
}
