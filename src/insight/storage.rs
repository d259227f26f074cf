//! What each tier of a VM holds in storage, and the bytes a month that it takes.

use crate::inventory::Backup;
use crate::plan::keep::{Keep, Keeps};
use crate::plan::standing::{BackupView, VmView};
use crate::policy::{Name, TierIndex};
use chrono::TimeDelta;
use serde::Serialize;

const MONTH: TimeDelta = TimeDelta::days(30);

/// What a tier of a VM holds in storage. Each backup counts once, under the first of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TierStorage {
    pub tier: Name,
    /// The newest restorable ones, as many as `keep` asks for.
    pub kept: StoredUsage,
    /// What stays for a reason of its own besides: it runs, its snapshot is wanted, nothing newer can be restored.
    pub kept_otherwise: StoredUsage,
    /// What only stays because backups that stay descend from it.
    pub kept_for_descendants: StoredUsage,
    pub expired: StoredUsage,
    /// The stored bytes of the tier's backups of the last 30 days; of a tier whose gaps are longer the part of the newest that
    /// falls to 30 days. `None` where no size is known.
    pub month_size_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredUsage {
    pub backups: usize,
    /// Their bytes, as far as known.
    pub size_bytes: u64,
}

impl StoredUsage {
    fn add(&mut self, backup: &Backup) {
        self.backups += 1;
        self.size_bytes = self.size_bytes.saturating_add(backup.size_bytes().unwrap_or(0));
    }
}

pub fn tier_storage(view: &VmView<'_>, keeps: &Keeps) -> Vec<TierStorage> {
    let named = |tier: TierIndex| TierStorage {
        tier: view.tier(tier).name.clone(),
        month_size_bytes: month_size_bytes(view, tier),
        ..TierStorage::default()
    };
    let mut tiers: Vec<TierStorage> = (0..view.policy.tiers.len()).map(named).collect();
    for backup in &view.backups {
        let Some(tier) = backup.tier.map(|tier| &mut tiers[tier]) else { continue };
        let place = match keeps.stored[backup.position] {
            Some(Keep::Keep) => &mut tier.kept,
            Some(Keep::Needed) => &mut tier.kept_for_descendants,
            Some(_) => &mut tier.kept_otherwise,
            None => &mut tier.expired,
        };
        place.add(backup.backup);
    }
    tiers
}

fn month_size_bytes(view: &VmView<'_>, tier: TierIndex) -> Option<u64> {
    let of_tier = |backup: &&BackupView<'_>| backup.tier == Some(tier);
    let mut sized =
        view.restorable().rev().filter(of_tier).filter_map(|it| Some((it.taken, it.backup.size_bytes()?)));
    let gap = view.tier(tier).schedule.gap_max();
    if gap > MONTH {
        let (_, newest) = sized.next()?;
        let share = u128::from(newest) * u128::try_from(MONTH.num_seconds()).ok()?;
        return u64::try_from(share / u128::try_from(gap.num_seconds()).ok()?).ok();
    }
    let mut sized = sized.peekable();
    sized.peek()?;
    let recent = sized.take_while(|(taken, _)| view.now - *taken < MONTH);
    Some(recent.fold(0, |sum, (_, bytes)| sum.saturating_add(bytes)))
}
