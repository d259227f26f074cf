//! `rehearse`: restores a VM's backup for real.

use super::connect;
use super::context::{Context, Format};
use super::store::StoreArgs;
use super::value::instant;
use super::verify::store_failure;
use crate::policy::Pattern;
use crate::report::{Exit, Failure, failed, json, verify as reports};
use crate::runner::fifo::{FAIL_FAST, Fifo};
use crate::runner::interrupt::Interrupt;
use crate::runner::proofs::{self, OpenedStore};
use crate::verify::{Rehearsal, RehearseError, Restored, clean, rehearse};
use chrono::{DateTime, Utc};
use clap::Args;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/rehearse.txt"))]
pub struct RehearseArgs {
    /// Which VM: by UUID, or by an alias that only one has
    #[arg(value_name = "VM")]
    vm: Pattern,

    #[command(flatten)]
    store: StoreArgs,

    /// The newest backup that is no younger, such as 2026-12-01T01:00:00Z [default: the newest]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<DateTime<Utc>>,

    /// The dataset to make and to restore into, such as tank/rehearsal; it must not be there yet, and what it lies in must be
    #[arg(long, value_name = "DATASET")]
    into: String,

    /// A check to run on what was restored, by `sh -c`
    #[arg(long, value_name = "CMD")]
    run: Option<String>,

    /// Leave what was restored, if all went well
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(args: &RehearseArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json, Format::Markdown])?;
    let OpenedStore { store, name: store_name } = args.store.open(context)?;
    let target = connect::target(context)?;
    let state_dir = context.host.made_state_dir()?;
    let _lock = lock(state_dir, &args.into)?;
    let mountpoint = mountpoint(state_dir, &args.into)?;
    let fifo = target.open(&context.host, FAIL_FAST).await?;
    let rehearsal = Rehearsal {
        fifo: &fifo.client,
        store: store.as_ref(),
        vm: &args.vm,
        at: args.at,
        into: &args.into,
        check: args.run.as_deref(),
        mountpoint: mountpoint.clone(),
        keep: args.keep,
    };
    let interrupt = Interrupt::default();
    interrupt.listen()?;
    let rehearsed = tokio::select! {
        ended = rehearse(&rehearsal) => ended.map_err(|error| failure(&error, &fifo)),
        exit = interrupt.signalled() => {
            clean(&args.into).map_err(|error| Failure::of(&error))?;
            Err(Failure::ending(exit, "stopped by a signal; what was made is destroyed"))
        }
    };
    if !args.keep || rehearsed.is_err() {
        // It may not be there, or be in use by what was left running.
        let _ = fs::remove_dir(&mountpoint);
    }
    fifo.close().await?;
    let rehearsed = rehearsed?;
    let mut known = proofs::known(Some(state_dir), &target.name(), Some(&store_name));
    known.vms.entry(rehearsed.vm).or_default().restored = Some(Restored {
        backup: rehearsed.backup,
        at: context.host.now(),
        took_secs: rehearsed.took_secs,
        size_bytes: rehearsed.size_bytes,
    });
    proofs::save(&known, state_dir);
    context.print(|| reports::rehearsed(&rehearsed), |out| json::document(&rehearsed, None, out))?;
    Ok(Exit::Done)
}

/// Keeps a second rehearsal from taking the first one's dataset for one that was left behind.
fn lock(state_dir: &Path, into: &str) -> Result<File, Failure> {
    let path = state_dir.join(format!("rehearse-{}.lock", digest(into)));
    let failed = || Failure::new(format!("failed to lock {}", path.display()));
    let file = File::create(&path).map_err(|error| failed().because(error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::ending(Exit::Locked, format!("another rehearsal into {into} is under way")))
        }
        Err(TryLockError::Error(error)) => Err(failed().because(error)),
    }
}

fn mountpoint(state_dir: &Path, into: &str) -> Result<PathBuf, Failure> {
    let folder = fs::canonicalize(state_dir).map_err(failed("failed to find the state folder"))?;
    Ok(folder.join(format!("rehearsal-{}", digest(into))))
}

fn digest(into: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(into));
    digest.truncate(16);
    digest
}

fn failure(error: &RehearseError, fifo: &Fifo) -> Failure {
    let failure = match error {
        RehearseError::Fifo(error) => return fifo.failure(error),
        RehearseError::Store(error) => return store_failure(error),
        error => Failure::of(error),
    };
    match error {
        RehearseError::Exists(_) => {
            failure.hint("name one that is not there yet; nothing of yours is ever destroyed")
        }
        RehearseError::Zfs(error) if error.is_absence() => {
            failure.hint("rehearse runs on a host with ZFS, as a user who may create datasets")
        }
        error if error.is_finding() => Failure { exit: Exit::Changes, ..failure },
        _ => failure,
    }
}
