//! The Dockerfile under `examples/`, as far as it can be checked without an engine.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const INSTRUCTIONS: [&str; 10] =
    ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "ENTRYPOINT", "CMD", "LABEL"];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Returns the instructions with their arguments, continued lines joined.
fn instructions() -> Vec<(String, Vec<String>)> {
    let text = read("examples/Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

#[test]
fn its_stages_its_copies_and_its_paths_fit_together() {
    let manifest = read("Cargo.toml");
    let rust =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let ignored = read("examples/Dockerfile.dockerignore");
    let sent: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut stages: Vec<String> = Vec::new();
    let mut copied = BTreeSet::new();
    for (instruction, arguments) in instructions() {
        assert!(INSTRUCTIONS.contains(&instruction.as_str()), "{instruction}");
        match instruction.as_str() {
            "FROM" => stages.push(arguments.get(2).cloned().unwrap_or_default()),
            "COPY" => match arguments[0].strip_prefix("--from=") {
                Some(stage) => {
                    assert!(stages[..stages.len() - 1].iter().any(|it| it == stage), "no stage {stage}");
                    assert_eq!(arguments[1], "/src/target/dist/fifo-retain");
                }
                None => {
                    for source in &arguments[..arguments.len() - 1] {
                        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists(), "no {source}");
                        assert!(sent.contains(source.as_str()), "{source} is not sent to the build");
                        copied.insert(source.clone());
                    }
                }
            },
            "ENTRYPOINT" | "CMD" => {
                let list: Value = serde_json::from_str(&arguments.join(" ")).unwrap();
                assert!(list.as_array().is_some_and(|list| list.iter().all(Value::is_string)), "{list}");
            }
            _ => {}
        }
    }
    assert_eq!(copied.iter().map(String::as_str).collect::<BTreeSet<_>>(), sent);
    assert_eq!(stages, ["build", ""]);
    let first = &instructions()[0].1;
    assert_eq!(first[0], format!("rust:{rust}-slim-bookworm"), "the compiler that Cargo.toml asks for");
    assert!(manifest.contains("[profile.dist]"));
}

#[test]
fn it_runs_as_somebody_who_may_do_little() {
    let all = instructions();
    let of = |name: &str| all.iter().rposition(|(instruction, _)| instruction == name).unwrap();
    assert!(of("FROM") < of("USER") && of("USER") < of("ENTRYPOINT"), "the user of the last stage");
    let (user, group) = all[of("USER")].1[0].split_once(':').unwrap();
    let user: u32 = user.parse().unwrap();
    assert_eq!(group, user.to_string());
    assert!(user > 0);
    let run = all[of("RUN")].1.join(" ");
    for what in ["ca-certificates", &format!("--uid {user} --gid {user} "), "/state"] {
        assert!(run.contains(what), "{what}: {run}");
    }
    let secrets = ["FIFO_TOKEN", "FIFO_PASSWORD"];
    let set = all.iter().filter(|(instruction, _)| instruction == "ENV");
    assert!(set.flat_map(|(_, words)| words).all(|word| !secrets.iter().any(|it| word.contains(it))));
}
