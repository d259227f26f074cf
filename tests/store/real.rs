//! Recorded streams through the program, and, where there is ZFS, made and restored ones.

use crate::cloud::{Cloud, found, verified};
use crate::streams::{RECORDED_VM, recorded, recorded_backup};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// A cloud with the recorded chain of three.
pub(crate) fn recorded_cloud() -> Cloud {
    let cloud = Cloud::new();
    for number in 1..=3 {
        let backup = recorded_backup(number);
        let parent = (number > 1).then(|| recorded_backup(number - 1));
        cloud.backup(RECORDED_VM, &backup, parent.as_deref(), &[("", recorded(&backup))]);
    }
    cloud
}

#[test]
fn a_recorded_chain_is_proven_to_connect_and_to_be_whole() {
    let cloud = recorded_cloud();
    for depth in ["headers", "full"] {
        let (code, report) = cloud.verify(&["--depth", depth]);
        assert_eq!((code, found(&report)), (0, (vec![], vec![])), "{report:#}");
    }
    // Two of its steps in each other's place.
    cloud.put(&format!("{RECORDED_VM}/{}", recorded_backup(2)), &recorded(&recorded_backup(3)));
    let (code, report) = cloud.verify(&[]);
    let (findings, lost) = found(&report);
    assert_eq!((code, lost.len()), (2, 2), "{report:#}");
    assert!(
        findings.iter().any(|it| it.starts_with("name")) && findings.iter().any(|it| it.starts_with("link"))
    );
}

/// ZFS in a file, by zfs-fuse.
struct Pool {
    folder: TempDir,
    name: String,
    daemon: Option<Child>,
}

impl Pool {
    /// Makes a pool; `None` where that cannot be done here.
    fn make() -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("-?").output().is_ok();
        if !Path::new("/dev/fuse").exists() || !has("zfs") || !has("zpool") {
            println!(
                "skipped: rehearsals for real need /dev/fuse and zfs-fuse (apt-get install zfs-fuse), as root"
            );
            return None;
        }
        let is_up = || zpool(&["list"]).is_some();
        let mut daemon = None;
        if !is_up() {
            daemon = Command::new("zfs-fuse").args(["--no-daemon", "--no-kstat-mount"]).spawn().ok();
            for _ in 0..100 {
                if is_up() {
                    break;
                }
                sleep(Duration::from_millis(100));
            }
        }
        let folder = TempDir::new().unwrap();
        let (name, image) = (format!("frt{}", std::process::id()), folder.path().join("image"));
        fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
        if zpool(&["create", "-m", "none", &name, image.to_str().unwrap()]).is_none() {
            println!("skipped: no pool can be made here");
            return None;
        }
        Some(Self { folder, name, daemon })
    }

    fn exists(&self, dataset: &str) -> bool {
        Command::new("zfs")
            .args(["list", &format!("{}/{dataset}", self.name)])
            .output()
            .unwrap()
            .status
            .success()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in 0..40 {
            if zpool(&["destroy", "-f", &self.name]).is_some() {
                break;
            }
            sleep(Duration::from_millis(250));
        }
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn zpool(arguments: &[&str]) -> Option<()> {
    Command::new("zpool").args(arguments).output().ok()?.status.success().then_some(())
}

#[test]
fn a_real_chain_is_made_verified_and_restored_and_nothing_is_left_of_it() {
    let Some(pool) = Pool::make() else { return };
    let (cloud, into) = (recorded_cloud(), format!("{}/rehearsal", pool.name));
    // Streams of this very day instead of the recorded ones, where there is no pool of that name yet.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/record.sh");
    let made = pool.folder.path().join("made");
    let recorder =
        Command::new("sh").arg(script).arg(pool.folder.path().join("work")).arg(&made).output().unwrap();
    if recorder.status.success() {
        for number in 1..=3 {
            let backup = recorded_backup(number);
            let parent = (number > 1).then(|| recorded_backup(number - 1));
            let bytes = fs::read(made.join(RECORDED_VM).join(&backup)).unwrap();
            cloud.backup(RECORDED_VM, &backup, parent.as_deref(), &[("", bytes)]);
        }
    }
    let (code, report) = cloud.verify(&["--depth", "full"]);
    assert_eq!((code, found(&report)), (0, (vec![], vec![])), "{report:#}");

    let rehearse = |arguments: &[&str]| {
        let mut program = cloud.program();
        program.args(["--format", "json", "rehearse", "web-1", "--into", &into]).args(arguments);
        verified(&mut program)
    };
    let check = "test \"$(cat $FIFO_RETAIN_MOUNTPOINT/numbers | wc -l)\" = 5 && test -z \"$FIFO_TOKEN\" && \
                 grep 'and then this' $FIFO_RETAIN_MOUNTPOINT/hello";
    let (code, done) = rehearse(&["--run", check]);
    assert_eq!((code, &done["format"]), (0, &json!("fifo-retain.rehearse/1")), "{done:#}");
    assert_eq!((&done["backup"], done["steps"].as_array().unwrap().len()), (&json!(recorded_backup(3)), 3));
    assert!(!pool.exists("rehearsal"));

    // An older backup; a check that fails; one that is broken.
    let (code, older) = rehearse(&["--at", "2026-11-22T21:36:44Z", "--run", "true"]);
    assert_eq!(code, 0, "{older:#}");
    assert_eq!(older["backup"], json!(recorded_backup(1)), "{older:#}");
    let (code, failed) = rehearse(&["--run", "exit 3"]);
    assert!(code == 2 && failed["err"].as_str().unwrap().contains("exit status: 3"), "{failed}");
    let good = fs::read(cloud.store().join(RECORDED_VM).join(recorded_backup(2))).unwrap();
    let name = format!("{RECORDED_VM}/{}", recorded_backup(2));
    cloud.put(&name, &good[..good.len() - 20]);
    let (code, failed) = rehearse(&[]);
    assert!(code == 2 && failed["err"].as_str().unwrap().contains("truncated"), "{failed}");
    cloud.put(&name, &good);
    assert!(!pool.exists("rehearsal"));

    // What others have made is not touched, whatever it holds.
    Command::new("zfs").args(["create", "-p", &format!("{into}/mine")]).output().unwrap();
    let (code, failed) = rehearse(&[]);
    assert!(code == 1 && failed["err"].as_str().unwrap().contains("exists already"), "{failed}");
    let below = format!("{into}/mine");
    assert_eq!(verified(cloud.program().args(["rehearse", "web-1", "--into", &below])).0, 1);
    assert!(pool.exists("rehearsal/mine"));
    Command::new("zfs").args(["destroy", "-r", &into]).output().unwrap();

    // Killed in the middle: the next one cleans up. Asked to stop: it does so itself.
    for signal in ["-KILL", "-TERM"] {
        let flag = cloud.path(&format!("flag{signal}"));
        let mut program = Command::new(env!("CARGO_BIN_EXE_fifo-retain"));
        let run = format!("touch {} && sleep 60", flag.display());
        let mut running = program
            .args(["rehearse", "web-1", "--into", &into, "--run", &run])
            .envs(
                cloud
                    .program()
                    .get_envs()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
            )
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if flag.exists() {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        assert!(flag.exists() && pool.exists("rehearsal"));
        Command::new("kill").args([signal, &running.id().to_string()]).status().unwrap();
        let ended = running.wait().unwrap();
        assert_eq!(pool.exists("rehearsal"), signal == "-KILL");
        if signal == "-TERM" {
            assert_eq!(ended.code(), Some(143));
        } else {
            assert_eq!(rehearse(&["--run", "true"]).0, 0);
        }
    }

    let (code, kept) = rehearse(&["--keep"]);
    assert!(code == 0 && kept["kept"] == true && pool.exists("rehearsal"), "{kept:#}");
    assert_eq!(rehearse(&[]).0, 1, "what was kept is the user's");
    Command::new("zfs").args(["destroy", "-r", &into]).output().unwrap();
}
