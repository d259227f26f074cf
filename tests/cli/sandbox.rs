use crate::harness::{Ended, Folder};
use fifo_retain::plan::Plan;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

/// A `sandbox` command that runs; it is ended in any case.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_serves_others_until_it_is_interrupted() {
    let folder = Folder::new();
    let line = ["sandbox", "--listen", "127.0.0.1:0", "--vms", "20", "--state", "world.json", "--fresh"];
    let child = folder.sealed(&line).stdout(Stdio::piped()).spawn().unwrap();
    let mut served = Served(child);
    let mut out = BufReader::new(served.0.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.starts_with("A simulated FiFo of 2016 and later with 20 VMs, at "), "{first}");
    let url = first.trim_end().rsplit(' ').next().unwrap().to_owned();

    let mut command = folder.command(&["--endpoint", &url, "--format", "json", "plan"]);
    command.env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin");
    let plan: Plan = serde_json::from_str(&Ended::of(command).code(0).out).unwrap();
    assert_eq!(plan.vms.len(), 20);

    let killed = Command::new("kill").args(["-TERM", &served.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(served.0.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(&format!("export FIFO_ENDPOINT={url} ")), "{rest}");
    assert!(folder.path("world.json").exists());
}

/// Serves a sandbox and gives its address with it.
fn served(folder: &Folder, options: &[&str]) -> (Served, String) {
    let line = [&["--format", "json", "sandbox", "--listen", "127.0.0.1:0"], options].concat();
    let mut served = Served(folder.sealed(&line).stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output: serde_json::Value = serde_json::from_str(&first).unwrap();
    let url = output["endpoint"].as_str().unwrap().to_owned();
    (served, url)
}

#[test]
fn a_list_that_is_always_cut_gives_the_same_plan() {
    let folder = Folder::new();
    let planned = |options: &[&str]| {
        let (_served, url) = served(&folder, &[&["--vms", "90"], options].concat());
        let line = ["--endpoint", &url, "--format", "json", "plan", "--at", "2030-01-01T12:00:00Z"];
        let mut command = folder.command(&line);
        command.env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin");
        let ended = Ended::of(command).code(0);
        let plan: Plan = serde_json::from_str(&ended.out).unwrap();
        (plan.vms.iter().map(|vm| (vm.uuid, vm.alias.clone(), vm.status)).collect::<Vec<_>>(), ended.err)
    };
    let ((by_list, quiet), (one_by_one, output)) = (planned(&[]), planned(&["--list-limit", "1s"]));
    assert_eq!((by_list.len(), &by_list), (90, &one_by_one));
    assert!(output.contains("from now on VMs are read one by one"), "{output}");
    assert!(!quiet.contains("one by one"), "{quiet}");
}

#[test]
fn it_listens_to_nobody_else() {
    let ended = Folder::new().run(&["sandbox", "--listen", "0.0.0.0:0"]).code(1);
    assert!(ended.err.contains("loopback"), "{}", ended.err);
}

#[test]
fn the_built_in_one_is_the_same_from_run_to_run() {
    let folder = Folder::new();
    let planned = || {
        let ended = folder.run(&["--sandbox", "--format", "json", "plan"]).code(0);
        serde_json::from_str::<Plan>(&ended.out).unwrap()
    };
    let (first, second) = (planned(), planned());
    assert_eq!((first.endpoint.as_str(), second.endpoint.as_str()), ("sandbox", "sandbox"));
    assert!(first.summary.create > 0);
    let ids = |plan: &Plan| plan.vms.iter().map(|vm| (vm.uuid, vm.fingerprint.clone())).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second));
    assert!(folder.path(".fifo-retain/sandbox.json").exists());
}

#[test]
fn a_file_that_holds_something_else_is_named() {
    let folder = Folder::new();
    folder.write(".fifo-retain/sandbox.json", "[]");
    let ended = folder.run(&["--sandbox", "plan"]).code(1);
    assert!(ended.err.contains(".fifo-retain/sandbox.json"), "{}", ended.err);
    assert_eq!(folder.read(".fifo-retain/sandbox.json"), "[]");
}

#[test]
fn what_is_served_and_what_other_commands_use_is_one_world() {
    let folder = Folder::new();
    let (served, _) = served(&folder, &["--vms", "20"]);
    let ended = folder.run(&["--sandbox", "plan"]).code(5);
    assert!(ended.err.contains("wait until the other command in this folder has ended"), "{}", ended.err);
    drop(served);
    let ended = folder.run(&["--sandbox", "--format", "json", "plan"]).code(0);
    let plan: Plan = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(plan.vms.len(), 20);
}
