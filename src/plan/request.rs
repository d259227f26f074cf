use chrono::{DateTime, Utc};

/// What a decision is asked for, besides the policies and the VM. An instant alone asks by one clock and without `--prune`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The instant that is planned for, by the later one of our clock and FiFo's: ages and future dates go by it.
    pub now: DateTime<Utc>,
    /// The same by the earlier one: what is due goes by it, since a backup that FiFo stamps before its due time does not
    /// count for that.
    pub due_at: DateTime<Utc>,
    pub prune: Prune,
}

/// What the command says of deletes from storage. It takes two switches: this one and `prune: true` in the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Whether expired backups are deleted: `--prune`.
    pub is_requested: bool,
    /// So many backups of each VM may go at once, whatever the limit says: `--allow-mass-prune`.
    pub mass_allowed: usize,
}

impl Prune {
    pub const REQUESTED: Self = Self { is_requested: true, mass_allowed: 0 };
}

impl Request {
    /// Asks by our clock and FiFo's, where that is known.
    pub fn by_clocks(ours: DateTime<Utc>, server: Option<DateTime<Utc>>, prune: Prune) -> Self {
        let server = server.unwrap_or(ours);
        Self { now: ours.max(server), due_at: ours.min(server), prune }
    }
}

impl From<DateTime<Utc>> for Request {
    fn from(now: DateTime<Utc>) -> Self {
        Self::by_clocks(now, None, Prune::default())
    }
}
