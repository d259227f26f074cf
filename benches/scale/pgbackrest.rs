//! A repository of pgBackRest with the history of one VM, as far as `expire --dry-run` reads it.

use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many full backups the policy keeps: with pgBackRest, what depends on them stays as long.
const KEPT_FULLS: usize = 12;

/// The identifier of the database whose backups these would be.
const SYSTEM_ID: u64 = 6_569_239_123_849_665_679;

#[derive(Deserialize)]
struct Vm {
    backups: HashMap<String, Backup>,
}

#[derive(Deserialize)]
struct Backup {
    /// Microseconds since the Unix epoch.
    timestamp: i64,
    parent: Option<String>,
}

/// A backup as pgBackRest names it.
struct Entry {
    label: String,
    prior: Option<usize>,
    /// Seconds since the Unix epoch.
    at: i64,
}

pub(crate) struct Repository {
    folder: PathBuf,
    version: String,
    entries: Vec<Entry>,
}

/// Returns the version of the pgBackRest that is installed, if one is.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("pgbackrest").arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("pgBackRest ").map(str::to_owned)
}

impl Repository {
    /// Writes a repository into a folder, with the backups of the only VM in a list.
    pub(crate) fn write(folder: &Path, list: &Path, version: &str) -> io::Result<Self> {
        let [vm]: [Vm; 1] = serde_json::from_slice(&fs::read(list)?)?;
        let repository =
            Self { folder: folder.to_owned(), version: version.to_owned(), entries: entries(vm) };
        let backups = folder.join("repo/backup/vm");
        let archives = folder.join("repo/archive/vm");
        fs::create_dir_all(&archives)?;
        for entry in &repository.entries {
            let backup = backups.join(&entry.label);
            fs::create_dir_all(&backup)?;
            // `expire` only asks whether it exists.
            File::create(backup.join("backup.manifest"))?;
        }
        fs::write(backups.join("backup.info"), repository.backup_info())?;
        fs::write(archives.join("archive.info"), repository.archive_info())?;
        Ok(repository)
    }

    /// Returns `expire --dry-run` with a retention in place of the policy's.
    pub(crate) fn expire(&self) -> Command {
        let mut command = Command::new("pgbackrest");
        command.env_clear().current_dir(&self.folder).args([
            "--stanza=vm",
            "--config=/dev/null",
            "--log-level-file=off",
        ]);
        for (option, folder) in [("repo1-path", "repo"), ("lock-path", "lock")] {
            command.arg(format!("--{option}={}", self.folder.join(folder).display()));
        }
        command.arg(format!("--repo1-retention-full={KEPT_FULLS}")).args(["--dry-run", "expire"]);
        command
    }

    /// Asserts that pgBackRest accepts the repository, and decides on every full backup.
    pub(crate) fn check(&self) {
        let output = self.expire().arg("--log-level-console=info").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let fulls = self.entries.iter().filter(|entry| entry.prior.is_none()).count();
        let expired = text.lines().filter(|line| line.contains("expire full backup")).count();
        assert_eq!(
            expired,
            fulls.saturating_sub(KEPT_FULLS),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn backup_info(&self) -> String {
        let current = (0..self.entries.len()).map(|nth| (self.entries[nth].label.clone(), self.backup(nth)));
        let version = json!({"db-catalog-version": 202_107_181, "db-control-version": 1300, "db-system-id": SYSTEM_ID, "db-version": "14"});
        let mut db = vec![("db-id".to_owned(), json!(1))];
        db.extend(version.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        self.info(&[
            ("backup:current", current.collect()),
            ("db", db),
            ("db:history", vec![("1".to_owned(), version.clone())]),
        ])
    }

    fn archive_info(&self) -> String {
        let entry = |key: &str, value: Value| (key.to_owned(), value);
        self.info(&[
            (
                "db",
                vec![
                    entry("db-id", json!(1)),
                    entry("db-system-id", json!(SYSTEM_ID)),
                    entry("db-version", json!("14")),
                ],
            ),
            ("db:history", vec![entry("1", json!({"db-id": SYSTEM_ID, "db-version": "14"}))]),
        ])
    }

    /// What `backup.info` says about a backup.
    fn backup(&self, nth: usize) -> Value {
        let entry = &self.entries[nth];
        let wal = format!("{:024X}", (1_u128 << 64) + nth as u128);
        let lsn = format!("{nth:X}/28");
        let mut value = json!({
            "backrest-format": 5, "backrest-version": self.version,
            "backup-archive-start": wal, "backup-archive-stop": wal, "backup-error": false,
            "backup-info-repo-size": 1 << 30, "backup-info-repo-size-delta": 1 << 25,
            "backup-info-size": 1 << 30, "backup-info-size-delta": 1 << 25,
            "backup-lsn-start": lsn, "backup-lsn-stop": lsn,
            "backup-timestamp-start": entry.at, "backup-timestamp-stop": entry.at,
            "backup-type": "full", "db-id": 1,
            "option-archive-check": true, "option-archive-copy": false, "option-backup-standby": false,
            "option-checksum-page": true, "option-compress": true, "option-hardlink": false, "option-online": true,
        });
        if let Some(prior) = entry.prior {
            let mut chain: Vec<&str> = std::iter::successors(Some(prior), |nth| self.entries[*nth].prior)
                .map(|nth| &*self.entries[nth].label)
                .collect();
            chain.reverse();
            value["backup-type"] = json!("incr");
            value["backup-prior"] = json!(self.entries[prior].label);
            value["backup-reference"] = json!(chain);
        }
        value
    }

    /// Writes a file of sections. Its checksum is the SHA-1 of its sections as one JSON object, without the checksum itself.
    fn info(&self, sections: &[(&str, Vec<(String, Value)>)]) -> String {
        let entry = |key: &str, value: Value| (key.to_owned(), value);
        let head = (
            "backrest",
            vec![entry("backrest-format", json!(5)), entry("backrest-version", json!(self.version))],
        );
        let mut hashed = String::new();
        let mut text = String::new();
        for (name, entries) in std::iter::once(&head).chain(sections) {
            let members: Vec<String> =
                entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let between = if hashed.is_empty() { "{" } else { "," };
            hashed += &format!("{between}\"{name}\":{{{}}}", members.join(","));
            let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            text += &format!("[{name}]\n{}\n", lines.concat());
        }
        let checksum = hex::encode(Sha1::digest(hashed + "}"));
        text.replacen("[backrest]\n", &format!("[backrest]\nbackrest-checksum=\"{checksum}\"\n"), 1)
    }
}

/// Names the backups, oldest first: a full one by its instant, an incremental by its full one and its instant.
fn entries(vm: Vm) -> Vec<Entry> {
    let mut backups: Vec<(String, Backup)> = vm.backups.into_iter().collect();
    backups.sort_unstable_by_key(|(_, backup)| backup.timestamp);
    let places: HashMap<String, usize> =
        backups.iter().enumerate().map(|(nth, (id, _))| (id.clone(), nth)).collect();
    let mut entries: Vec<Entry> = Vec::with_capacity(backups.len());
    for (_, backup) in backups {
        let at = chrono::DateTime::from_timestamp_micros(backup.timestamp).unwrap();
        let own = at.format("%Y%m%d-%H%M%S");
        let prior = backup.parent.map(|parent| places[&parent]);
        let label = match prior.and_then(|nth| entries[nth].label.get(..16)) {
            Some(full) => format!("{full}_{own}I"),
            None => format!("{own}F"),
        };
        entries.push(Entry { label, prior, at: at.timestamp() });
    }
    entries
}
