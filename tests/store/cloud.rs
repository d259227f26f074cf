//! A FiFo with what a test gives it, a store in a folder, and the program over both.

use crate::server::{Answer, serve};
use assert_cmd::Command;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub(crate) struct Cloud {
    folder: TempDir,
    endpoint: String,
    vms: Arc<Mutex<Map<String, Value>>>,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let vms: Arc<Mutex<Map<String, Value>>> = Arc::default();
        let shown = Arc::clone(&vms);
        let endpoint = serve(move |asked| {
            let vms = shown.lock().unwrap();
            let path = asked.path.strip_prefix("/api/3/").unwrap_or_default();
            match path.split('?').next().unwrap_or_default() {
                "vms" => Answer::json(&Value::Array(vms.values().cloned().collect())),
                "cloud/connection" => Answer::new(200, ""),
                other => match other.strip_prefix("vms/").and_then(|id| vms.get(id)) {
                    Some(vm) => Answer::json(vm),
                    None => Answer::new(404, ""),
                },
            }
        });
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("store")).unwrap();
        Self { folder, endpoint, vms }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a completed backup with its objects, by what stands behind its UUID in their names, both to FiFo and to the store.
    pub(crate) fn backup(&self, vm: &str, backup: &str, parent: Option<&str>, objects: &[(&str, Vec<u8>)]) {
        let mut files = Map::new();
        for (suffix, bytes) in objects {
            let name = format!("{vm}/{backup}{suffix}");
            self.put(&name, bytes);
            files.insert(name, json!({"size": bytes.len(), "sha1": hex::encode(Sha1::digest(bytes))}));
        }
        self.put(&format!("{vm}/{backup}.xml"), b"<domain/>");
        let mut vms = self.vms.lock().unwrap();
        let shown = vms.entry(vm).or_insert_with(|| {
            json!({"uuid": vm, "alias": format!("web-{}", &vm[35..]), "state": "running", "hypervisor": "h", "backups": {}})
        });
        // Their numbers are in the order of their ages.
        let secs = 1_795_383_403 + backup[35..].parse::<u64>().unwrap();
        let mut record = json!({
            "comment": "daily", "timestamp": secs * 1_000_000, "state": "completed",
            "xml": true, "local": false, "files": files,
        });
        if let Some(parent) = parent {
            record["parent"] = json!(parent);
        }
        shown["backups"][backup] = record;
    }

    /// Changes what FiFo shows of a backup.
    pub(crate) fn change(&self, vm: &str, backup: &str, change: impl FnOnce(&mut Value)) {
        change(&mut self.vms.lock().unwrap()[vm]["backups"][backup]);
    }

    pub(crate) fn forget(&self, vm: &str, backup: &str) {
        self.vms.lock().unwrap()[vm]["backups"].as_object_mut().unwrap().remove(backup);
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.store().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fifo-retain"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("FIFO_ENDPOINT", &self.endpoint).env("FIFO_TOKEN", "t0ken");
        command.env("FIFO_RETAIN_STORE", format!("file://{}", self.store().display()));
        command.env("FIFO_RETAIN_STATE_DIR", self.path("state")).current_dir(self.folder.path());
        command
    }

    /// Verifies; returns the exit code and the JSON.
    pub(crate) fn verify(&self, arguments: &[&str]) -> (i32, Value) {
        let mut program = self.program();
        verified(program.args(["--format", "json", "verify"]).args(arguments))
    }
}

pub(crate) fn verified(program: &mut Command) -> (i32, Value) {
    let output = program.output().unwrap();
    let code = output.status.code().unwrap();
    let out = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        json!({"out": text(&output.stdout), "err": text(&output.stderr)})
    });
    (code, out)
}

/// Lists what was found: `<backup>: <code> <object>`, with the backups that are not restorable behind it.
pub(crate) fn found(report: &Value) -> (Vec<String>, Vec<String>) {
    let backups =
        || report["vms"].as_array().unwrap().iter().flat_map(|vm| vm["backups"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = backups().flat_map(|backup| backup["findings"].as_array().unwrap());
    let findings = findings.map(|it| format!("{} {}", text(&it["code"]), text(&it["object"])));
    let lost = backups().filter(|backup| backup["restorable"] == false).map(|backup| text(&backup["backup"]));
    (findings.collect(), lost.collect())
}
