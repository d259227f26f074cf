//! The examples for those who run the program on a timer and watch it, and the page about its metrics: each checked by the
//! real tool where it is installed, and as far as it goes without.

mod alerts;
mod timers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Runs a tool; `None`, with a message, where it is not installed.
#[allow(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("left out, since it is not installed: {tool}");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[track_caller]
pub(crate) fn succeeded(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}
