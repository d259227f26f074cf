//! The newcomer's first run, at whatever hour and day it comes: the first world under the example policies.

use crate::cloud::Cloud;
use crate::transport::{TestClock, Wire};
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::policy;
use fifo_retain::sandbox::{Seed, World};
use std::path::PathBuf;

#[tokio::test(start_paused = true)]
async fn at_any_hour_the_first_run_does_something_and_leaves_nothing() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = policy::load(&[examples]).unwrap().policies;
    let from: DateTime<Utc> = "2026-12-20T00:10:00Z".parse().unwrap();
    // Every 17 hours: each hour of the day, over a year's end, a February and the clock change in March.
    for step in 0..150 {
        let now = from + TimeDelta::hours(17 * step);
        let clock = TestClock::starting_at(now);
        let mut world = World::seeded(Seed::default(), now.timestamp_micros());
        world.upload_ms = 2_000;
        let wire = Wire::new(world, clock);
        let cloud = Cloud { wire, clock, policies: policies.clone(), ..Cloud::at("2026-12-20T00:10:00Z") };
        let report = cloud.reconcile().await;
        let tally = report.tally();
        assert!(tally.created > 0 && tally.failed + tally.dropped == 0, "{now}: {report:?}");
        let (plan, _) = cloud.plan().await;
        let left: Vec<_> = plan.vms.iter().filter(|vm| !vm.due_actions().is_empty()).collect();
        assert!(left.is_empty(), "{now}: {left:?}");
    }
}
