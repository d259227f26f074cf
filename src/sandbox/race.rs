//! The moment between FiFo's look at `if-match` and what it then does.

use super::message::Request;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The ETags that VMs had before they were last written to, and when that was.
#[derive(Clone, Debug, Default)]
pub(super) struct Race(BTreeMap<Uuid, (String, i64)>);

impl Race {
    /// Takes the condition from a write that was on its way when another one to the same VM was done.
    pub(super) fn loosen(&self, request: &mut Request, vm: Uuid, ms: u32, now_us: i64) {
        let Some((etag, at_us)) = self.0.get(&vm) else { return };
        let is_near = now_us.saturating_sub(*at_us) <= i64::from(ms) * 1_000;
        if is_near && request.header("if-match") == Some(etag) {
            request.headers.retain(|(name, _)| name != "if-match");
        }
    }

    /// Takes note of a write that was done. One that was done in the race leaves the first one's ETag in force.
    pub(super) fn written(&mut self, vm: Uuid, etag_before: Option<&str>, at_us: i64) {
        if let Some(etag) = etag_before
            && self.0.get(&vm).is_none_or(|(_, last_us)| *last_us != at_us)
        {
            self.0.insert(vm, (etag.to_owned(), at_us));
        }
    }
}
