//! The manifests: what they say about themselves, and each container's command with its files where it has them.

use super::yaml::{documents, list, text};
use crate::shell::{Ended, Shell, repository};
use crate::watching::{run, succeeded};
use fifo_retain::sandbox::User;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

fn of_kind(file: &str, kind: &str) -> Value {
    let mut documents = documents(&format!("kubernetes/{file}.yaml")).into_iter();
    documents.find(|document| document["kind"] == kind).unwrap()
}

/// Returns the pod of the CronJob, and that of the Deployment.
fn pods() -> [Value; 2] {
    let job = of_kind("cronjob", "CronJob")["spec"]["jobTemplate"]["spec"].clone();
    [job, of_kind("deployment", "Deployment")["spec"].clone()].map(|spec| spec["template"]["spec"].clone())
}

/// Returns the ConfigMap that kustomize makes: its name, and its files by their names.
fn policies() -> (String, BTreeMap<String, String>) {
    let generator = of_kind("kustomization", "Kustomization")["configMapGenerator"][0].clone();
    let files = list(&generator["files"]).into_iter().map(|path| {
        let text = fs::read_to_string(repository("examples/kubernetes").join(&path)).unwrap();
        (path.rsplit('/').next().unwrap().to_owned(), text)
    });
    (text(&generator["name"]), files.collect())
}

#[test]
fn runs_never_overlap_and_a_pod_can_do_little() {
    let spec = &of_kind("cronjob", "CronJob")["spec"];
    assert_eq!(spec["concurrencyPolicy"], "Forbid");
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!(job["backoffLimit"], 0);
    let deadline = job["activeDeadlineSeconds"].as_u64().unwrap();
    assert!(deadline >= 2 * 3_600, "a run ends at its deadline of an hour, and then has to report");
    assert_eq!(job["template"]["spec"]["restartPolicy"], "Never");
    let deployment = &of_kind("deployment", "Deployment")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]["type"]), (&1.into(), &"Recreate".into()));
    for pod in pods() {
        assert!(
            pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 120,
            "a run that ends checks and reports"
        );
        assert_eq!(pod["automountServiceAccountToken"], false);
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
        // No shell between the kubelet's signals and the program.
        assert_eq!(container["command"], json!(["fifo-retain"]));
        // No secret is in a variable, and each that a file is named for is mounted.
        for variable in container["env"].as_array().unwrap() {
            assert!(!["FIFO_PASSWORD", "FIFO_TOKEN"].contains(&variable["name"].as_str().unwrap()));
        }
    }
}

#[test]
fn pods_run_as_the_user_of_the_image_and_its_group_owns_the_claim() {
    let image = fs::read_to_string(repository("examples/Dockerfile")).unwrap();
    let user = image.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    for pod in pods() {
        let context = &pod["securityContext"];
        assert_eq!(format!("{}:{}", context["runAsUser"], context["runAsGroup"]), user);
        assert_eq!(context["fsGroup"], context["runAsGroup"]);
    }
}

#[test]
fn a_fifo_that_is_down_makes_the_deployment_unready_and_does_not_restart_it() {
    let [_, pod] = pods();
    let container = &pod["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/metrics");
    let port = container["ports"][0]["containerPort"].to_string();
    let address = list(&container["args"]).pop().unwrap();
    assert!(address.ends_with(&format!(":{port}")), "{address}");
}

#[test]
fn kustomize_renders_the_manifests_with_the_policies_of_the_repository() {
    let folder = repository("examples/kubernetes");
    let Some(rendered) = run("kubectl", &["kustomize", folder.to_str().unwrap()]) else { return };
    succeeded(&rendered);
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    let policies =
        rendered.lines().filter(|line| line.trim_start().starts_with("name: fifo-retain-policies-"));
    let names: BTreeSet<&str> = policies.map(str::trim).collect();
    assert_eq!(names.len(), 1, "the job mounts the ConfigMap that is made: {names:?}");
    assert_eq!(
        rendered.matches("namespace: backups").count(),
        rendered.matches("\nkind: ").count(),
        "{rendered}"
    );
}

/// The CronJob's container on this machine: its volumes, its variables and its command.
struct Container {
    shell: Shell,
    variables: BTreeMap<String, String>,
    script: String,
}

impl Container {
    fn new(pod: &Value) -> Self {
        let container = &pod["containers"][0];
        let shell = Shell::new();
        shell.user("backup", User::admin("opensesame"));

        // Each volume where it is mounted, below the shell's folder. Kubernetes lays maps and secrets as links through a
        // hidden folder, so that it can swap all of them at once.
        let (map, policies) = policies();
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
                    assert_eq!(volume["configMap"]["name"], map.as_str());
                    &policies
                }
                () if volume.get("secret").is_some() => &secret,
                () => {
                    let claim = &of_kind("state", "PersistentVolumeClaim")["metadata"]["name"];
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
    let [job, deployment] = pods();
    let container = Container::new(&job);
    let ended = container.run().code(0);
    assert!(ended.out.contains("Done: ") || ended.out.is_empty(), "{}", ended.out);
    assert!(container.shell.path("var/lib/fifo-retain/journal.jsonl").exists(), "{}", ended.err);
    // After a failed weekly a run makes the daily first, and the next one the weekly.
    container.run().code(0);
    let ended = container.other("fifo-retain plan --detailed-exitcode").code(0);
    assert!(ended.out.contains("Plan: 0 to create"), "{}", ended.out);

    // The other one stays, so it is asked by its probes.
    let mut container = Container::new(&deployment);
    container.script = container.script.replace("exec ", "").replace("0.0.0.0:9797", "127.0.0.1:0");
    let script = format!(
        "{} 2> log & trap 'kill $!' EXIT\n\
         until address=$(grep -om1 'http://127.0.0.1:[0-9]*' log); do sleep 0.1; done\n\
         until curl --fail --silent $address/healthz > /dev/null; do sleep 0.1; done\n\
         curl --fail --silent $address/metrics",
        container.script
    );
    let ended = container.other(&script).code(0);
    assert!(ended.out.contains("fifo_retain_build_info"), "{}", ended.out);
}

#[test]
fn the_parts_of_the_job_that_verifies_are_all_there_is_and_are_put_together() {
    let job = of_kind("verify", "Job")["spec"].clone();
    let (pod, parts) = (&job["template"]["spec"], job["completions"].as_u64().unwrap());
    assert_eq!((&job["completionMode"], &pod["restartPolicy"]), (&json!("Indexed"), &json!("Never")));
    assert_eq!(pod["securityContext"], pods()[0]["securityContext"]);
    let [reader, sender] = ["initContainers", "containers"].map(|it| &pod[it][0]);
    assert_eq!(reader["securityContext"], pods()[0]["containers"][0]["securityContext"]);
    assert_eq!(sender["securityContext"], reader["securityContext"]);

    let shell = Shell::new();
    shell.user("backup", User::admin("opensesame"));
    let here = |path: &str| shell.path(path.trim_start_matches('/')).display().to_string();
    for (path, text) in
        [("fifo/user", "backup"), ("fifo/password", "opensesame"), ("store/id", "x"), ("store/secret", "x")]
    {
        shell.write(format!("run/secrets/{path}"), text);
    }
    fs::create_dir_all(shell.path("parts")).unwrap();
    // Objects of which each has the right name, and is no stream.
    let names = shell.with(|state| {
        let records = state.world.vms.values().flat_map(|vm| vm.backups.values());
        records
            .flat_map(|record| record.files.iter().flatten().map(|(name, _)| name.clone()))
            .collect::<Vec<_>>()
    });
    for name in &names {
        shell.write(format!("store/{name}"), "cannot open");
        shell.write(format!("store/{}.xml", &name[..name.len().min(73)]), "<domain/>");
    }
    let moved = |text: String| {
        let store = format!("file://{}", here("store"));
        let text = text.replace("https://fifo.example.com", &shell.url()).replace("s3://fifo-backup", &store);
        text.replace("/run/secrets", &here("run/secrets")).replace("/parts", &here("parts"))
    };
    let variables = reader["env"].as_array().unwrap().iter();
    let mut variables: BTreeMap<String, String> =
        variables.map(|it| (text(&it["name"]), moved(text(&it["value"])))).collect();
    assert!(
        !variables.keys().any(|name| name.ends_with("_KEY") || name.ends_with("_PASSWORD")),
        "{variables:?}"
    );
    let script = moved(list(&reader["args"]).pop().unwrap());
    for index in 0..parts {
        variables.insert("JOB_COMPLETION_INDEX".to_owned(), index.to_string());
        shell.run_in("work", &variables, &script).code(0);
        assert!(shell.path(format!("parts/part-{}.prom", index + 1)).exists(), "what is pushed");
    }
    let pushed = list(&sender["args"]).pop().unwrap();
    assert!(
        pushed.contains("@/parts/part-$part.prom") && pushed.contains("part=$((JOB_COMPLETION_INDEX + 1))")
    );
    let merge = format!("fifo-retain verify --merge {}/part-*.json", here("parts"));
    let ended = shell.run_in("work", &variables, &merge).code(2);
    assert!(ended.out.contains("no_stream"), "{}", ended.out);
}
