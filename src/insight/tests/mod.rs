//! Tests of what is reported about plans and inventories.

mod compare;
mod overview;
mod show;
mod status;
mod storage;

use super::status::{Health, HealthBuilder};
use crate::inventory::Inventory;
use crate::plan::Planner;
use crate::policy::Policies;
use chrono::{DateTime, Utc};

/// Looks over VMs, as `status` does while it reads them.
pub(crate) fn overview_of(policies: &Policies, inventory: &Inventory, now: DateTime<Utc>) -> Health {
    let mut planner = Planner::new(policies, now);
    let mut overview = HealthBuilder::default();
    for vm in inventory.vms.values() {
        overview.add(vm, planner.decide(vm));
    }
    overview.finish(&planner, &inventory.endpoint, &inventory.unreadable)
}
