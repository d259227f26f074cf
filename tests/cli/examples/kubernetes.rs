//! The CronJob: what it says about itself, and its container's command with its files where it has them.

use super::yaml::{documents, list, text, texts};
use crate::shell::{Ended, Shell};
use fifo_retain::sandbox::{Effect, Operation, Rule, User};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

fn of_kind(kind: &str) -> Value {
    documents("kubernetes/cronjob.yaml").into_iter().find(|document| document["kind"] == kind).unwrap()
}

#[test]
fn runs_never_overlap_and_a_pod_can_do_little() {
    let spec = &of_kind("CronJob")["spec"];
    assert_eq!(spec["concurrencyPolicy"], "Forbid");
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!(job["backoffLimit"], 0);
    let deadline = job["activeDeadlineSeconds"].as_u64().unwrap();
    assert!(deadline >= 13 * 3_600, "a run gives up on an upload after 12 hours, and then has to end");
    let pod = &job["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 120, "ending is looking and telling");
    assert_eq!(
        (&pod["restartPolicy"], &pod["automountServiceAccountToken"]),
        (&"Never".into(), &false.into())
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    // No secret is in a variable, and each that a file is named for is mounted.
    for variable in container["env"].as_array().unwrap() {
        assert!(!["FIFO_PASSWORD", "FIFO_TOKEN"].contains(&variable["name"].as_str().unwrap()));
    }
}

/// The CronJob's container on this machine: its volumes, its variables and its command.
struct Container {
    shell: Shell,
    variables: BTreeMap<String, String>,
    script: String,
}

impl Container {
    fn new() -> Self {
        let job = of_kind("CronJob");
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let shell = Shell::new();
        shell.user("backup", User::admin("opensesame"));

        // Each volume where it is mounted, below the shell's folder. Kubernetes lays maps and secrets as links through a
        // hidden folder, so that it can swap all of them at once.
        let policies = texts(&of_kind("ConfigMap")["data"]);
        let secret = [("user", "backup"), ("password", "opensesame")];
        let secret = secret.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut moved: BTreeMap<String, String> = BTreeMap::new();
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            let path = text(&mount["mountPath"]);
            let place = shell.path(path.trim_start_matches('/'));
            fs::create_dir_all(&place).unwrap();
            moved.insert(path, place.display().to_string());
            let files: &BTreeMap<String, String> = match () {
                () if volume.get("configMap").is_some() => {
                    assert_eq!(volume["configMap"]["name"], of_kind("ConfigMap")["metadata"]["name"]);
                    &policies
                }
                () if volume.get("secret").is_some() => &secret,
                () => {
                    let claim = &of_kind("PersistentVolumeClaim")["metadata"]["name"];
                    assert_eq!(volume["persistentVolumeClaim"]["claimName"], *claim, "a stop outlives pods");
                    continue;
                }
            };
            fs::create_dir(place.join("..2026_11_22_20_00_00.1")).unwrap();
            symlink("..2026_11_22_20_00_00.1", place.join("..data")).unwrap();
            for (name, content) in files {
                fs::write(place.join("..data").join(name), content).unwrap();
                symlink(format!("..data/{name}"), place.join(name)).unwrap();
            }
        }
        let here = |value: String| {
            let value = value.replace("https://fifo.example.com", &shell.url());
            moved.iter().fold(value, |value, (path, place)| value.replace(path, place))
        };
        let variables = container["env"].as_array().unwrap();
        let variables = variables
            .iter()
            .map(|variable| (text(&variable["name"]), here(text(&variable["value"]))))
            .collect();
        let words = [list(&container["command"]), list(&container["args"])].concat();
        for word in &words {
            assert!(!word.contains("$(") && !word.contains("$$"), "Kubernetes would see to these: {word}");
        }
        let words = words.into_iter().map(|word| format!("'{}'", here(word).replace('\'', "'\\''")));
        let script = format!("exec {}", words.collect::<Vec<_>>().join(" "));
        Self { shell, variables, script }
    }

    /// Runs it as a job does.
    fn run(&self) -> Ended {
        self.shell.run_in("work", &self.variables, &self.script)
    }

    /// Runs a script in the same surroundings.
    fn other(&self, script: &str) -> Ended {
        self.shell.run_in("work", &self.variables, script)
    }
}

#[test]
fn its_container_does_its_work_with_what_is_mounted() {
    let container = Container::new();
    let ended = container.run().code(0);
    assert!(ended.out.contains("Done: ") || ended.out.is_empty(), "{}", ended.out);
    assert!(container.shell.path("var/lib/fifo-retain/journal.jsonl").exists(), "{}", ended.err);
    let ended = container.other("fifo-retain plan --detailed-exitcode").code(0);
    assert!(ended.out.contains("Plan: 0 to create"), "{}", ended.out);
}

#[test]
fn after_a_safety_stop_no_job_does_anything_until_resume() {
    let container = Container::new();
    let asked = || container.shell.with(|state| state.requests.drain(..).count());
    container.shell.with(|state| state.faults.rules.push(Rule::new(Effect::DropBody).on(Operation::Delete)));
    let ended = container.run().code(4);
    assert!(ended.err.contains("CASCADE ALARM"), "{}", ended.err);
    assert!(asked() > 0);
    for _ in 0..2 {
        let ended = container.run().code(4);
        assert!(ended.err.contains("Safety stop since "), "{}", ended.err);
        assert_eq!(asked(), 0, "nothing is sent to FiFo");
    }
    container.other("fifo-retain resume --auto-approve").code(0);
    container.shell.with(|state| state.faults.rules.clear());
    container.run().code(0);
    assert!(asked() > 0);
}
