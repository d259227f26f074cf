//! Tests of what is reported about plans and inventories.

mod compare;
mod overview;
mod show;
mod status;
mod storage;

use super::{Overview, OverviewBuilder};
use crate::inventory::Inventory;
use crate::plan::Planner;
use crate::policy::Policies;
use chrono::{DateTime, Utc};

/// Looks over VMs, as `status` does while it reads them.
pub(crate) fn overview_of(policies: &Policies, inventory: &Inventory, now: DateTime<Utc>) -> Overview {
    let mut planner = Planner::new(policies, now);
    let mut overview = OverviewBuilder::default();
    for vm in inventory.vms.values() {
        overview.add(vm, planner.decide(vm));
    }
    overview.finish(&planner, &inventory.endpoint, &inventory.unreadable)
}
