//! Restores a VM's backup for real, below a dataset that is made for it and destroyed again.

use super::expected::{Expected, is_stored, of_backup};
use super::whole::{Read, Throttle, whole};
use super::zfs::{self, Found, ZfsError};
use crate::fifo::{FifoError, ReadClient};
use crate::inventory::{Backup, BackupId, Disk, Vm, VmId, chain_of, restorable};
use crate::policy::Pattern;
use crate::store::stream::Code;
use crate::store::{Object, Store, StoreError};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub const REHEARSE_FORMAT: &str = "fifo-retain.rehearse/1";

/// What the check has no business with, each also with `_FILE` behind it.
const SECRETS: [&str; 5] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "FIFO_TOKEN", "FIFO_PASSWORD"];

pub struct Rehearsal<'a> {
    pub fifo: &'a ReadClient,
    pub store: &'a dyn Store,
    pub vm: &'a Pattern,
    /// The newest backup that is not younger; the newest of all without it.
    pub at: Option<DateTime<Utc>>,
    /// A dataset that is not there yet, in one that is.
    pub into: &'a str,
    /// Runs by `sh -c` once all is received.
    pub check: Option<&'a str>,
    pub mountpoint: PathBuf,
    pub keep: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Rehearsed {
    pub format: &'static str,
    pub vm: VmId,
    pub alias: String,
    pub backup: BackupId,
    pub timestamp: Option<DateTime<Utc>>,
    pub comment: Option<String>,
    pub into: String,
    pub steps: Vec<Step>,
    pub size_bytes: u64,
    /// From the first byte fetched to the last one received: what a real restore takes on this host.
    pub took_secs: u64,
    /// How long the check took; `None` without one.
    pub check_secs: Option<u64>,
    pub kept: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub object: String,
    pub size_bytes: u64,
    pub stream_bytes: u64,
    pub took_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    #[error(transparent)]
    Fifo(#[from] FifoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}: no VM that this user can see is meant")]
    NoSuchVm(String),
    #[error("{0}: several VMs are meant: {1}")]
    Several(String, String),
    #[error("{0} has no backup that can be restored by FiFo's records{1}")]
    NoBackup(String, String),
    #[error("{0} exists already, and no rehearsal has left it behind")]
    Exists(String),
    #[error("{0} is no dataset in a pool: write it like tank/rehearsal")]
    BadDataset(String),
    #[error(transparent)]
    Zfs(#[from] ZfsError),
    #[error("{object} is broken ({}): {message}", code.as_str())]
    Broken { object: String, code: Code, message: String },
    #[error("the check failed: it ended with {0}")]
    Check(String),
    #[error("the check failed: it did not end within {} hours", .0.as_secs() / 3600)]
    CheckTooLong(Duration),
    #[error("failed to run the check")]
    NoCheck(#[source] io::Error),
}

impl RehearseError {
    /// Says whether the backup failed, and not the rehearsal.
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Check(_) | Self::CheckTooLong(_))
    }
}

/// Fetches a backup's chain, receives it, runs the check, and destroys what it made: also where it fails, because nothing could
/// be rehearsed or the backup does not restore.
pub async fn rehearse(rehearsal: &Rehearsal<'_>) -> Result<Rehearsed, RehearseError> {
    let into = rehearsal.into;
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|it| it.is_ascii_alphanumeric() || "-_.:".contains(it))
    };
    if !into.contains('/') || !into.split('/').all(is_part) || into.starts_with('-') {
        return Err(RehearseError::BadDataset(into.to_owned()));
    }
    let vm = find(rehearsal).await?;
    let chain = chain(rehearsal, &vm)?;
    match zfs::look(into)? {
        Found::Nothing => {}
        Found::Ours => zfs::destroy(into)?,
        Found::Foreign => return Err(RehearseError::Exists(into.to_owned())),
    }
    zfs::create(into)?;
    let rehearsed = restore(rehearsal, &vm, &chain).await;
    match rehearsed {
        Ok(rehearsed) if rehearsal.keep => Ok(zfs::release(into).map(|()| rehearsed)?),
        Ok(rehearsed) => clean(into).map(|()| rehearsed),
        Err(error) => {
            // Why it went wrong matters more than what is left of it.
            if let Err(left) = clean(into) {
                tracing::warn!("{left}; the next rehearsal into {into} tries again");
            }
            Err(error)
        }
    }
}

/// Destroys what a rehearsal has made, if there is anything left of it. Where that fails the next rehearsal tries again.
pub fn clean(into: &str) -> Result<(), RehearseError> {
    Ok(zfs::destroy(into)?)
}

async fn find(rehearsal: &Rehearsal<'_>) -> Result<Vm, RehearseError> {
    let inventory = rehearsal.fifo.list().await?.inventory;
    let mut meant: Vec<Vm> =
        inventory.vms.into_values().filter(|vm| rehearsal.vm.means(Some(vm.id), &vm.alias)).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(vm), true) => Ok(vm),
        (None, _) => Err(RehearseError::NoSuchVm(rehearsal.vm.to_string())),
        (Some(vm), false) => {
            let ids = meant.iter().chain([&vm]).map(|vm| vm.id.to_string()).collect::<Vec<_>>();
            Err(RehearseError::Several(rehearsal.vm.to_string(), ids.join(", ")))
        }
    }
}

fn chain(rehearsal: &Rehearsal<'_>, vm: &Vm) -> Result<Vec<Backup>, RehearseError> {
    let good: Vec<bool> = vm.backups.values().map(is_stored).collect();
    let restorable = restorable(&vm.backups, &good);
    let is_old_enough = |backup: &Backup| match (rehearsal.at, backup.timestamp) {
        (None, _) => true,
        (Some(at), taken) => taken.is_some_and(|taken| taken <= at),
    };
    let candidates = vm.backups.values().zip(restorable).filter(|(backup, ok)| *ok && is_old_enough(backup));
    let newest = candidates.map(|(backup, _)| (backup.timestamp, backup.id)).max();
    let chain = newest.and_then(|(_, id)| chain_of(&vm.backups, id));
    let steps = chain.map(|chain| chain.steps.into_iter().rev().cloned().collect());
    steps.ok_or_else(|| no_backup(rehearsal, vm))
}

fn no_backup(rehearsal: &Rehearsal<'_>, vm: &Vm) -> RehearseError {
    let at = rehearsal.at.map_or_else(String::new, |at| format!(", taken by {at}"));
    RehearseError::NoBackup(if vm.alias.is_empty() { vm.id.to_string() } else { vm.alias.clone() }, at)
}

async fn restore(rehearsal: &Rehearsal<'_>, vm: &Vm, chain: &[Backup]) -> Result<Rehearsed, RehearseError> {
    let mut there = BTreeMap::new();
    let mut add = |object: Object| {
        there.insert(object.name, object.size_bytes);
    };
    rehearsal.store.list(&format!("{}/", vm.id), &mut add).await?;
    let began = Instant::now();
    let mut steps = Vec::new();
    // By disk, the snapshot that was received last.
    let mut last: BTreeMap<Disk, u64> = BTreeMap::new();
    for backup in chain {
        for object in of_backup(vm.id, backup).into_iter().filter(|object| !object.is_xml) {
            let name = object.name();
            let &size = there.get(&name).ok_or(StoreError::Missing(name))?;
            let from = last.get(&object.disk).copied().unwrap_or_default();
            let (step, guid) = receive(rehearsal, &object, size, from).await?;
            last.insert(object.disk, guid);
            steps.push(step);
        }
    }
    let took_secs = began.elapsed().as_secs();
    let Some(newest) = chain.last() else { return Err(no_backup(rehearsal, vm)) };
    let check_secs = match rehearsal.check {
        None => None,
        Some(command) => {
            Some(check(rehearsal, command, newest.id, vm.id, last.keys().copied()).await?.as_secs())
        }
    };
    Ok(Rehearsed {
        format: REHEARSE_FORMAT,
        vm: vm.id,
        alias: vm.alias.clone(),
        backup: newest.id,
        timestamp: newest.timestamp,
        comment: newest.comment.as_deref().map(str::to_owned),
        into: rehearsal.into.to_owned(),
        size_bytes: steps.iter().map(|step| step.size_bytes).sum(),
        steps,
        took_secs,
        check_secs,
        kept: rehearsal.keep,
    })
}

/// Fetches an object and receives it. Returns the snapshot's number as well.
async fn receive(
    rehearsal: &Rehearsal<'_>,
    object: &Expected,
    size: u64,
    from: u64,
) -> Result<(Step, u64), RehearseError> {
    let began = Instant::now();
    let snapshot = format!("{}@{}", dataset(rehearsal, object.vm, object.disk), object.backup);
    let mut child = zfs::receive(&snapshot)?;
    let mut input = child.stdin.take();
    // ZFS gets the bytes while they are checked; what it has received of a broken stream it gives up by itself.
    let hand_over = move |plain: &[u8]| {
        if input.as_mut().is_some_and(|input| input.write_all(plain).is_err()) {
            input = None;
        }
    };
    let read = whole(rehearsal.store, object, size, &Throttle::new(None), &|_| {}, hand_over).await;
    let received = zfs::received(&snapshot, child);
    let Read { begin, damage, sha1, stream_bytes } = read?;
    let broken = |code, message: String| RehearseError::Broken { object: object.name(), code, message };
    if let Some(damage) = damage {
        return Err(broken(damage.code, damage.message));
    }
    let Some(begin) = begin else { return Err(broken(Code::NoStream, "it is empty".to_owned())) };
    if begin.name != object.snapshot() {
        return Err(broken(Code::Name, format!("it is of {:?}", begin.name)));
    }
    if begin.from_guid != from {
        let message = "it does not start from the snapshot before it in the chain".to_owned();
        return Err(broken(Code::Link, message));
    }
    if object.sha1.is_some() && object.sha1 != sha1 {
        return Err(broken(Code::Sha1, "it has another SHA-1 than FiFo has recorded".to_owned()));
    }
    received?;
    if zfs::guid(&snapshot).is_some_and(|guid| guid != begin.guid) {
        let (doing, why) = (format!("receive {snapshot}"), "it has another guid than its stream".to_owned());
        return Err(ZfsError { doing, why }.into());
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok((Step { object: object.name(), size_bytes: size, stream_bytes, took_ms }, begin.guid))
}

fn dataset(rehearsal: &Rehearsal<'_>, vm: VmId, disk: Disk) -> String {
    format!("{}/{vm}{}", rehearsal.into, disk.suffix())
}

/// A check that ends with the rehearsal, and all that it has started with it: what uses the dataset keeps it from being
/// destroyed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and what it started not.
        let group = format!("kill -KILL -{}", self.0.id());
        let _ = Command::new("sh").args(["-c", &group]).stderr(Stdio::null()).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CHECK_POLL: Duration = Duration::from_millis(50);
const CHECK_MAX: Duration = Duration::from_secs(24 * 3600);

/// Runs the user's check; returns how long it took.
async fn check(
    rehearsal: &Rehearsal<'_>,
    check: &str,
    backup: BackupId,
    vm: VmId,
    disks: impl Iterator<Item = Disk>,
) -> Result<Duration, RehearseError> {
    let mut command = Command::new("sh");
    // Its output must not be taken for our report.
    command.args(["-c", check]).stdin(Stdio::null()).stdout(io::stderr());
    for secret in SECRETS {
        command.env_remove(secret).env_remove(format!("{secret}_FILE"));
    }
    command.env_remove("FIFO_USER_FILE");
    command.env("FIFO_RETAIN_VM", vm.to_string());
    command.env("FIFO_RETAIN_BACKUP", backup.to_string());
    let mut volumes = Vec::new();
    for disk in disks {
        let dataset = dataset(rehearsal, vm, disk);
        match volume(&dataset) {
            Some(device) => volumes.push(device.display().to_string()),
            None if disk == Disk::Zone => {
                let folder = rehearsal.mountpoint.display().to_string();
                zfs::mount(&dataset, &folder)?;
                command.env("FIFO_RETAIN_MOUNTPOINT", folder);
            }
            None => {}
        }
    }
    if !volumes.is_empty() {
        command.env("FIFO_RETAIN_VOLUME", volumes.join(" "));
    }
    ended(command, CHECK_MAX).await
}

/// Waits for a command that is to end well; returns how long it took.
async fn ended(mut command: Command, max: Duration) -> Result<Duration, RehearseError> {
    let began = Instant::now();
    let mut running = Running(command.process_group(0).spawn().map_err(RehearseError::NoCheck)?);
    let status = loop {
        match running.0.try_wait().map_err(RehearseError::NoCheck)? {
            Some(status) => break status,
            None if began.elapsed() >= max => return Err(RehearseError::CheckTooLong(max)),
            None => sleep(CHECK_POLL).await,
        }
    };
    if status.success() { Ok(began.elapsed()) } else { Err(RehearseError::Check(status.to_string())) }
}

/// Returns the device of a volume, where Linux and illumos have it.
fn volume(dataset: &str) -> Option<PathBuf> {
    ["/dev/zvol/rdsk", "/dev/zvol"]
        .map(|folder| Path::new(folder).join(dataset))
        .into_iter()
        .find(|it| it.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_does_not_end_is_ended_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $! >started; wait"]).current_dir(folder.path());
        let error = ended(command, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, RehearseError::CheckTooLong(_)) && error.is_finding(), "{error}");
        let child = std::fs::read_to_string(started).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // A process that nobody has waited for yet is a zombie.
        let is_gone = || stat().is_err() || stat().is_ok_and(|stat| stat.contains(") Z "));
        for _ in 0..100 {
            if is_gone() {
                return;
            }
            sleep(CHECK_POLL).await;
        }
        panic!("it still runs");
    }
}
