//! The cache that FiFo of 2015 keeps of its full list.

use super::message::{Reply, Request};
use std::collections::BTreeMap;

/// The lists that were answered last, by who asked and for what, and when each was made.
#[derive(Clone, Debug, Default)]
pub(super) struct ListCache(BTreeMap<(String, String), (i64, Reply)>);

impl ListCache {
    /// Gives the list that was made last if it is not older than `ms`, else the new one.
    pub(super) fn through(&mut self, request: &Request, new: Reply, ms: u32, now_us: i64) -> Reply {
        if new.status != 200 {
            return new;
        }
        let who = request.header("authorization").or(request.header("x-snarl-token")).unwrap_or_default();
        let full = request.header("x-full-list").unwrap_or_default();
        let key = (who.to_owned(), format!("{}#{full}", request.target));
        match self.0.get(&key) {
            Some((made_us, old)) if now_us.saturating_sub(*made_us) <= i64::from(ms) * 1_000 => old.clone(),
            _ => {
                self.0.insert(key, (now_us, new.clone()));
                new
            }
        }
    }
}
