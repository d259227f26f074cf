//! The `zfs` program, as far as a rehearsal needs it. It touches only what this program has made: a dataset with a mark of its own.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The property that marks a rehearsal's dataset; what lies below inherits it, which does not count.
const MARK: &str = "fifo-retain:rehearsal";

/// A dataset is busy for a moment after it was unmounted.
const DESTROY_TRIES: u32 = 40;
const DESTROY_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}: {why}")]
pub struct ZfsError {
    pub(super) doing: String,
    pub(super) why: String,
}

impl ZfsError {
    /// Says whether there is no such program, or it cannot be started.
    pub fn is_absence(&self) -> bool {
        self.doing == RUN
    }
}

const RUN: &str = "run zfs";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Left behind by a rehearsal.
    Ours,
    Foreign,
}

pub(super) fn look(dataset: &str) -> Result<Found, ZfsError> {
    let listed = output(&["list", "-H", "-o", "name", dataset])?;
    if !listed.status.success() {
        let why = message(&listed);
        let is_absent = why.contains("does not exist");
        return if is_absent { Ok(Found::Nothing) } else { Err(failed(&format!("look for {dataset}"), why)) };
    }
    let mark = run(&format!("look at {dataset}"), &["get", "-H", "-o", "source", MARK, dataset])?;
    Ok(if mark.trim() == "local" { Found::Ours } else { Found::Foreign })
}

/// Makes the dataset that everything else is received below. Nothing in it is mounted by itself.
pub(super) fn create(dataset: &str) -> Result<(), ZfsError> {
    let mark = format!("{MARK}=1");
    run(&format!("create {dataset}"), &["create", "-o", "mountpoint=none", "-o", &mark, dataset]).map(drop)
}

/// Destroys a dataset with everything in it, if it has the mark.
pub(super) fn destroy(dataset: &str) -> Result<(), ZfsError> {
    let mut last = Ok(());
    for _ in 0..DESTROY_TRIES {
        if look(dataset)? != Found::Ours {
            return Ok(());
        }
        last = run(&format!("destroy {dataset}"), &["destroy", "-r", "-f", dataset]).map(drop);
        if last.is_ok() {
            break;
        }
        sleep(DESTROY_PAUSE);
    }
    last
}

/// Gives a dataset to the user: from now on it is none of ours.
pub(super) fn release(dataset: &str) -> Result<(), ZfsError> {
    run(&format!("release {dataset}"), &["inherit", MARK, dataset]).map(drop)
}

pub(super) fn mount(dataset: &str, folder: &str) -> Result<(), ZfsError> {
    run(&format!("mount {dataset}"), &["set", &format!("mountpoint={folder}"), dataset]).map(drop)
}

/// Returns a snapshot's number; `None` where this ZFS does not tell.
pub(super) fn guid(snapshot: &str) -> Option<u64> {
    run("read a guid", &["get", "-H", "-p", "-o", "value", "guid", snapshot]).ok()?.trim().parse().ok()
}

pub(super) fn receive(snapshot: &str) -> Result<Child, ZfsError> {
    let mut command = command(&["receive", snapshot]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map_err(|error| unstartable(&error))
}

pub(super) fn received(snapshot: &str, child: Child) -> Result<(), ZfsError> {
    let output = child.wait_with_output().map_err(|error| unstartable(&error))?;
    checked(&format!("receive {snapshot}"), &output).map(drop)
}

fn run(doing: &str, arguments: &[&str]) -> Result<String, ZfsError> {
    checked(doing, &output(arguments)?)
}

fn checked(doing: &str, output: &Output) -> Result<String, ZfsError> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(doing, message(output)))
    }
}

fn output(arguments: &[&str]) -> Result<Output, ZfsError> {
    command(arguments).stdin(Stdio::null()).output().map_err(|error| unstartable(&error))
}

/// Messages are compared, so they have to be in English.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("zfs");
    command.args(arguments).env("LC_ALL", "C");
    command
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn failed(doing: &str, why: String) -> ZfsError {
    ZfsError { doing: doing.to_owned(), why }
}

fn unstartable(error: &io::Error) -> ZfsError {
    failed(RUN, error.to_string())
}
