//! What happens to a VM over the time of a forecast, in terms that all VMs in the same state share.

use crate::inventory::BackupId;
use crate::plan::BackupKind;
use crate::policy::TierIndex;
use chrono::TimeDelta;
use uuid::Uuid;

/// The forecast of a VM, in terms of its [`StateKey`](super::start_state::StateKey).
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) made: Vec<ForecastBackup>,
    /// What is done at which of the times at which it is decided.
    pub(super) steps: Vec<Step>,
    /// How many snapshots are there in the end.
    pub(super) local: usize,
    /// The most snapshots between one backup and the next.
    pub(super) local_max: usize,
    /// The most steps of a restore.
    pub(super) steps_max: usize,
}

/// What is decided at one time.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The place of the time among those at which it is decided.
    pub(super) time: usize,
    /// The place of the backup that is made, in [`Course::made`].
    pub(super) made: Option<usize>,
    /// The backups that are deleted locally.
    pub(super) deleted: Vec<BackupRef>,
}

/// A backup that was made on the way.
#[derive(Clone, Debug)]
pub(super) struct ForecastBackup {
    pub(super) tier: TierIndex,
    pub(super) kind: BackupKind,
    /// How long after the time at which it is decided it is stamped: where a clock ahead of ours has stamped another one.
    pub(super) late: TimeDelta,
    pub(super) parent: Option<BackupRef>,
}

/// Which backup is meant, whatever its UUID.
#[derive(Clone, Copy, Debug)]
pub(super) enum BackupRef {
    /// One that was there at the beginning, by its place in [`Start::ids`](super::start_state::Start::ids).
    Existing(usize),
    /// One that was made on the way, by its place in [`Course::made`].
    Forecast(usize),
}

/// Returns the UUID that stands for a backup made on the way: greater than those there are, and different from any other.
pub(super) fn made_id(number: usize) -> BackupId {
    let number = u128::try_from(number).unwrap_or(0);
    BackupId::new(Uuid::from_u128((u128::MAX - u128::from(u64::MAX)) | number))
}
