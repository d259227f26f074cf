//! Proof that stored backups restore: `verify` asks the storage itself, [`rehearse()`] restores for real.
//!
//! `expected` says which objects FiFo's records promise, `run` compares them with the [`Store`](crate::store::Store) at the
//! depth that was asked for, and makes a [`Report`]; [`check_headers()`] does the same for one backup in a run. [`Known`]
//! remembers across runs when each object was read whole, and what was found broken.
//! Nothing here changes FiFo or the store, and no finding makes a backup expire.

mod check;
mod compare;
mod expected;
mod known;
mod listing;
mod rehearse;
mod report;
mod run;
mod whole;
mod zfs;

pub use check::{Unchecked, check_headers};
pub use known::{Known, KnownVm, ReadWhole, Restored};
pub use rehearse::{REHEARSE_FORMAT, Rehearsal, RehearseError, Rehearsed, Step, clean, rehearse};
pub use report::{
    BackupReport, Depth, FORMAT, Finding, Proof, Report, Shard, Summary, UnknownObject, Unread, VmReport,
    merge,
};
pub use run::{Progress, Question, VerifyError, verify};
