//! The structure of the source: who may import from whom, who may read the clock, and how long a file may get.
//!
//! Read from the source itself, so that a shortcut is noticed when it is taken.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, each of which may import from those before it, with the earlier ones that it must not import from all the same.
const ROOMS: [(&str, &[&str]); 13] = [
    ("sandbox", &[]),
    ("inventory", &["sandbox"]),
    ("policy", &["sandbox"]),
    ("plan", &["sandbox"]),
    ("simulate", &["sandbox"]),
    ("insight", &["sandbox"]),
    ("fifo", &["sandbox", "policy", "plan", "simulate", "insight"]),
    ("store", &["sandbox", "policy", "plan", "simulate", "insight"]),
    ("verify", &["sandbox", "plan", "simulate", "insight"]),
    ("apply", &["sandbox", "simulate", "insight", "store", "verify"]),
    ("report", &["sandbox", "fifo"]),
    ("runner", &[]),
    ("cli", &[]),
];

/// The files that belong to no module directory.
const ROOMLESS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

/// No file is longer than what one can read in a sitting.
const LINES_MAX: usize = 600;

/// The files that may read the clock.
const CLOCK_READERS: [&str; 2] = ["src/cli/context.rs", "src/sandbox/state.rs"];

/// What the pure modules never name.
const IMPURE: [&str; 9] = [
    "tokio",
    "reqwest",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "rand::",
    "getrandom",
];

pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source in {folder}");
    found
}

/// Returns the lines that are no comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(place, line)| (place + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn room_of(name: &str) -> Option<&str> {
    name.strip_prefix("src/")?.split(['/', '.']).next()
}

/// Names the rooms that a line imports from by a path from the crate's root.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::")
        .skip(1)
        .filter_map(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next())
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let Some(place) = ROOMS.iter().position(|(room, _)| room_of(&name) == Some(room)) else {
            assert!(ROOMLESS.contains(&name.as_str()), "{name} is in no room");
            continue;
        };
        let (room, refused) = ROOMS[place];
        let is_allowed = |import: &str| {
            ROOMS[..place].iter().any(|(earlier, _)| *earlier == import) && !refused.contains(&import)
        };
        for (number, line) in code(&text) {
            for import in imports(line).filter(|&import| import != room && !is_allowed(import)) {
                wrong.push(format!("{name}:{number}: {room} must not import from {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_is_found_wherever_it_stands() {
    let found = |line| imports(line).collect::<Vec<_>>();
    assert_eq!(found("use crate::plan::{Plan, audit};"), ["plan"]);
    assert_eq!(found("    vm: &crate::inventory::Vm, p: crate::policy::Policy"), ["inventory", "policy"]);
    assert_eq!(found("use crate::{plan, fifo};"), [""], "a group at the root is no room and so is refused");
    assert_eq!(room_of("src/plan/audit/mod.rs"), Some("plan"));
}

#[test]
fn the_clock_is_read_in_two_places() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        for (number, line) in code(&text) {
            let reads =
                ["Utc::now", "Local::now", "SystemTime::now"].iter().any(|clock| line.contains(clock));
            if reads && !CLOCK_READERS.contains(&name.as_str()) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_environment_is_read_in_one_place() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let may_read = ["src/cli/context.rs", "src/main.rs"].contains(&name.as_str());
        // What the service manager wants is in the environment as well.
        let is_service = |line: &str| line.contains("sd_notify::") && name == "src/runner/every.rs";
        for (number, line) in code(&text).filter(|(_, line)| !may_read && !is_service(line)) {
            if ["env::", "etcetera::", "terminal_size", "sd_notify::"].iter().any(|word| line.contains(word))
            {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_rooms_stay_pure() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let is_pure =
            matches!(room_of(&name), Some("inventory" | "policy" | "plan" | "simulate" | "insight"));
        // Only to share the VMs among.
        let may_have_threads = room_of(&name) == Some("simulate");
        let may_read_files = room_of(&name) == Some("policy");
        for (number, line) in code(&text).filter(|_| is_pure) {
            let impure = IMPURE
                .iter()
                .any(|word| line.contains(word) && !(may_have_threads && *word == "std::thread"));
            if impure || (line.contains("fs::") && !may_read_files) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    let all = sources("src").into_iter().chain(sources("tests"));
    let long: Vec<String> = all
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
