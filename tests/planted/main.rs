//! Judges the judges of the simulation: with a deliberate fault in the program, some life must break a promise that it
//! keeps without the fault.
//!
//! The program that ships knows nothing of this. The faults are a list of replacements (`faults`), applied to a copy of
//! the source below `target/planted`. The copy is built there once with all faults behind run-time switches, and its
//! simulation lives with one fault switched on at a time (`inside.rs`, which is part of the copy alone).
//!
//! `FIFO_RETAIN_SIM_FAULT=name` looks at one fault, `FIFO_RETAIN_SIM_FAULT_SEEDS` says within how many lives.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says all it knows"
)]

mod faults;

use faults::{Fault, all};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const INSIDE: &str = "inside::every_planted_fault_is_noticed";

const NAME: &str = "name = \"fifo-retain\"\n";

/// What the copy consists of, apart from `src`. Without `src/main.rs` there is no binary that could take the place of the
/// real one in the shared target folder.
const COPIED: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "benches/list.rs",
    "benches/plan.rs",
    "benches/scale",
    "benches/verify.rs",
    "policies/policy.schema.json",
    "tests/apply/transport.rs",
    "tests/planted/inside.rs",
    "src",
    "tests/simulation",
    "tests/planted/faults",
];

/// The switch, as it is added to the copy's library.
const SWITCH: &str = r#"
thread_local! {
    static PLANTED: std::cell::RefCell<Vec<&'static str>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Switches these faults on for this thread, and all others off.
pub fn plant(names: &[&'static str]) {
    PLANTED.set(names.to_vec());
}

pub fn planted(name: &str) -> bool {
    PLANTED.with_borrow(|planted| planted.contains(&name))
}
"#;

/// What the copy's simulation has beside the real one.
const MODULES: &str = "#[path = \"../planted/faults/mod.rs\"]\nmod faults;\n#[path = \"../planted/inside.rs\"]\nmod inside;\nmod cloud;";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> BTreeMap<String, String> {
    let mut paths: Vec<PathBuf> = COPIED.iter().map(|name| root().join(name)).collect();
    let mut found = BTreeMap::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        found.insert(name, fs::read_to_string(&path).unwrap());
    }
    found.remove("src/main.rs").unwrap();
    found
}

/// Applies all faults; returns the names of those that do not fit, each with the reason.
fn plant(sources: &mut BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for fault in all() {
        for (file, old, new) in fault.edits {
            let Some(text) = sources.get_mut(*file) else {
                wrong.push(format!("{}: there is no {file}", fault.name));
                continue;
            };
            match text.matches(old).count() {
                1 => *text = text.replace(old, &new.replace("PLANTED", &switch(fault))),
                count => wrong.push(format!("{}: found {count} times in {file}: {old}", fault.name)),
            }
        }
    }
    wrong
}

fn switch(fault: &Fault) -> String {
    format!("crate::planted(\"{}\")", fault.name)
}

/// Writes the copy; what has not changed is left alone, so that it is not built again.
fn write(sources: &BTreeMap<String, String>, folder: &Path) {
    for (name, text) in sources {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !sources.contains_key(&name) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn every_fault_fits_the_source() {
    let wrong = plant(&mut sources());
    assert!(wrong.is_empty(), "these faults can no longer be planted:\n{}", wrong.join("\n"));
    let mut names = BTreeSet::new();
    for fault in all() {
        assert!(names.insert(fault.name), "{} is there twice", fault.name);
        assert!(!fault.takes_away.is_empty(), "{} takes nothing away", fault.name);
        let asks = fault.edits.iter().any(|(_, _, new)| new.contains("PLANTED"));
        assert!(asks, "{} cannot be switched on", fault.name);
    }
    for fault in all() {
        for other in fault.behind {
            assert!(names.contains(other), "{} names {other}, which is not there", fault.name);
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "thousands of lives take too long without optimisation")]
fn every_planted_fault_is_noticed() {
    let mut sources = sources();
    let wrong = plant(&mut sources);
    assert!(wrong.is_empty(), "these faults can no longer be planted:\n{}", wrong.join("\n"));
    sources.get_mut("src/lib.rs").unwrap().push_str(SWITCH);
    let main = sources.get_mut("tests/simulation/main.rs").unwrap();
    assert_eq!(main.matches("mod cloud;").count(), 1);
    *main = main.replace("mod cloud;", MODULES);
    // The simulation reaches in no further than `apply`; what lies above would only take time to build.
    let library = sources.get_mut("src/lib.rs").unwrap();
    for room in ["cli", "insight", "report", "runner", "simulate", "store", "verify"] {
        let line = format!("pub mod {room};");
        assert_eq!(library.matches(&line).count(), 1, "{line}");
        *library = library.replace(&line, "");
    }
    // Under its own name everywhere, it and the program never take each other's place in the shared target folder.
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = sources.get_mut(file).unwrap();
        assert_eq!(text.matches(NAME).count(), 1, "{NAME} in {file}");
        *text = text.replace(NAME, "name = \"planted\"\n");
    }
    sources.get_mut("Cargo.toml").unwrap().push_str("\n[lib]\nname = \"fifo_retain\"\n");
    // Built in the target folder of this very build, with its profile, the dependencies are there already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("planted");
    write(&sources, &folder);

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the outer cargo passes to its tests would look like a changed environment to build scripts.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|own| text.starts_with(own))
        {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(&folder).env("CARGO_TARGET_DIR", target).args([
        "test",
        "--release",
        "--offline",
        "--test",
        "simulation",
        "--",
        "--exact",
        INSIDE,
        "--nocapture",
    ]);
    let output = cargo.output().unwrap();
    let summary =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{summary}");
    assert!(summary.contains("1 passed"), "the copy has not run its test:\n{summary}");
    for line in summary.lines().filter(|line| line.starts_with("fault ")) {
        eprintln!("{line}");
    }
}
