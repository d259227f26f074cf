//! Reports what the run waits for, so that a run of hours is never silent.

use super::context::RunContext;
use super::event::{EventKind, SlotHolder, SlotUse, Waiting};
use crate::plan::bytes_text;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::sleep;

/// A wait that is shorter than this is not reported.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// How many holders of slots the text names.
const NAMED_MAX: usize = 3;

/// Reports at intervals what is waited for, and once more when that is over.
pub(super) async fn report(context: &RunContext<'_>) -> Infallible {
    let every = context.executor.settings.timing.report_every;
    let mut is_reported = false;
    sleep(FIRST_AFTER.min(every)).await;
    loop {
        let waiting = context.waiting();
        let is_something = waiting.for_slot + waiting.for_clock > 0;
        if is_something || is_reported {
            context.emit(EventKind::Waiting(waiting));
        }
        is_reported = is_something;
        sleep(every).await;
    }
}

impl RunContext<'_> {
    fn waiting(&self) -> Waiting {
        let slots = self.slots.waited_for();
        let for_slot = slots.iter().map(|slots| slots.waiting).sum();
        let for_clock = self.clock_waits();
        let message = text(for_slot, for_clock, &slots);
        Waiting { for_slot, for_clock, slots, message }
    }
}

fn text(for_slot: usize, for_clock: usize, slots: &[SlotUse]) -> String {
    let mut parts = Vec::new();
    if for_slot > 0 {
        let each: Vec<String> = slots.iter().map(use_text).collect();
        parts.push(format!("{for_slot} waiting for a slot: {}", each.join("; ")));
    }
    if for_clock > 0 {
        parts.push(format!("{for_clock} waiting for FiFo's clock to reach their due time"));
    }
    parts.join("; ")
}

fn use_text(slots: &SlotUse) -> String {
    let mut text = match &slots.hypervisor {
        Some(hypervisor) => format!("{hypervisor} uses {} of {}", slots.running, slots.limit),
        None => format!("{} of {} in use overall", slots.running, slots.limit),
    };
    let named: Vec<String> = slots.held_by.iter().take(NAMED_MAX).map(holder_text).collect();
    if !named.is_empty() {
        text.push_str(&format!(", held by {}", named.join(", ")));
    }
    let others = slots.running.saturating_sub(named.len());
    if others > 0 && !named.is_empty() {
        text.push_str(&format!(" and {others} more"));
    }
    text
}

fn holder_text(holder: &SlotHolder) -> String {
    let mut facts = Vec::new();
    if let Some(since) = holder.since {
        facts.push(format!("since {}", since.format("%H:%M UTC")));
    }
    facts.push(bytes_text(holder.bytes));
    if holder.quiet_secs >= 60 {
        facts.push(format!("no growth for {} min", holder.quiet_secs / 60));
    }
    format!("{} ({})", holder.at.alias, facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::VmRef;
    use crate::inventory::{BackupId, VmId};
    use uuid::Uuid;

    #[test]
    fn what_is_not_waited_for_is_left_out() {
        assert_eq!(text(0, 0, &[]), "");
        assert_eq!(text(0, 1, &[]), "1 waiting for FiFo's clock to reach their due time");
        assert!(!text(1, 0, &[]).contains("clock"));
    }

    #[test]
    fn what_is_waited_for_is_said_in_a_line() {
        let at = VmRef { vm: VmId::new(Uuid::nil()), alias: "db-1".to_owned() };
        let holder = SlotHolder {
            at,
            backup: BackupId::new(Uuid::nil()),
            since: Some("2026-11-22T01:02:03Z".parse().unwrap()),
            bytes: 3 << 30,
            quiet_secs: 570,
        };
        let slots = |hypervisor: Option<&str>, held_by| SlotUse {
            hypervisor: hypervisor.map(str::to_owned),
            waiting: 1,
            running: 2,
            limit: 2,
            held_by,
        };
        assert_eq!(
            text(2, 1, &[slots(Some("hv-3"), vec![holder]), slots(None, Vec::new())]),
            "2 waiting for a slot: hv-3 uses 2 of 2, held by db-1 (since 01:02 UTC, 3.0 GiB, no growth for 9 min) and 1 \
             more; 2 of 2 in use overall; 1 waiting for FiFo's clock to reach their due time"
        );
    }
}
