//! Each fault of a store by its code, at each depth, through the program.

use crate::built::{Sent, noise, packed};
use crate::cloud::{Cloud, found, verified};
use serde_json::{Value, json};
use std::fs;

pub(crate) const VM: &str = "22222222-0000-4000-8000-000000000002";
const KVM: &str = "33333333-0000-4000-8000-000000000003";
pub(crate) const FULL: &str = "bbbbbbbb-0000-4000-8000-000000000001";
pub(crate) const NEXT: &str = "bbbbbbbb-0000-4000-8000-000000000002";
pub(crate) const LAST: &str = "bbbbbbbb-0000-4000-8000-000000000003";

/// A block with which an object is longer than what is read of its beginning.
const LONG: usize = 100_000;

pub(crate) fn sent(vm: &str, disk: &str, backup: &str, guid: u64, from: u64) -> Sent {
    Sent { block: LONG, ..Sent::new(&format!("zones/{vm}{disk}@{backup}"), guid, from) }
}

/// A zone with a chain of three, and a KVM guest of two disks with one of two.
pub(crate) fn cloud() -> Cloud {
    let cloud = Cloud::new();
    let one = |backup, guid, from| [("", sent(VM, "", backup, guid, from).packed())];
    cloud.backup(VM, FULL, None, &one(FULL, 1, 0));
    cloud.backup(VM, NEXT, Some(FULL), &one(NEXT, 2, 1));
    cloud.backup(VM, LAST, Some(NEXT), &one(LAST, 3, 2));
    let disks = |backup, from: u64| {
        ["", "-disk0", "-disk1"].map(|disk| {
            let guid = from + 10 + disk.len() as u64 + u64::from(disk.ends_with('1'));
            let from = if from == 0 { 0 } else { guid - 10 };
            (
                disk,
                Sent { is_volume: true, is_big_endian: true, ..sent(KVM, disk, backup, guid, from) }.packed(),
            )
        })
    };
    cloud.backup(KVM, FULL, None, &disks(FULL, 0));
    cloud.backup(KVM, NEXT, Some(FULL), &disks(NEXT, 10));
    cloud
}

#[test]
fn nothing_is_found_in_a_store_without_faults() {
    let cloud = cloud();
    cloud.backup(KVM, LAST, None, &[("", sent(KVM, "", LAST, 9, 0).packed())]);
    // What FiFo does not call completed is its own word, and nothing that is missing.
    cloud.change(KVM, LAST, |record| *record = json!({"state": "uploading", "timestamp": 1}));
    for depth in ["objects", "headers", "full"] {
        let (code, report) = cloud.verify(&["--depth", depth]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(found(&report), (vec![], vec![]));
        let summary = &report["summary"];
        assert_eq!((&summary["vms"], &summary["backups"]), (&json!(2), &json!(5)));
        assert_eq!((&summary["objects"], &summary["restorable"]), (&json!(14), &json!(5)));
        assert_eq!((&report["format"], &report["depth"]), (&json!("fifo-retain.verify/1"), &json!(depth)));
    }
}

/// Changes the object of the middle of the chain.
type Break = fn(&Cloud, Vec<u8>);

#[test]
fn each_fault_is_named_at_its_depth_and_what_hangs_on_it_cannot_be_restored() {
    fn put(cloud: &Cloud, bytes: &[u8]) {
        cloud.put(&format!("{VM}/{NEXT}"), bytes);
        // FiFo takes a checksum of what it has sent, whatever that was.
        cloud.change(VM, NEXT, |record| {
            record["files"] = json!({format!("{VM}/{NEXT}"): {"size": bytes.len()}});
        });
    }
    let cases: [(&str, &str, &str, Break); 14] = [
        ("it is gone", "objects", "missing", |cloud, _| {
            fs::remove_file(cloud.store().join(format!("{VM}/{NEXT}"))).unwrap();
        }),
        ("its configuration is gone", "objects", "missing", |cloud, _| {
            fs::remove_file(cloud.store().join(format!("{VM}/{NEXT}.xml"))).unwrap();
        }),
        ("it is shorter", "objects", "size", |cloud, bytes| {
            cloud.put(&format!("{VM}/{NEXT}"), &bytes[..bytes.len() - 1]);
        }),
        ("an error message", "headers", "no_stream", |cloud, _| put(cloud, b"cannot open 'zones/x'")),
        ("another VM's", "headers", "name", |cloud, _| put(cloud, &sent(KVM, "", NEXT, 2, 1).packed())),
        ("another disk's", "headers", "name", |cloud, _| {
            put(cloud, &sent(VM, "-disk0", NEXT, 2, 1).packed())
        }),
        ("from another snapshot", "headers", "link", |cloud, _| {
            put(cloud, &sent(VM, "", NEXT, 2, 99).packed())
        }),
        ("full where an increment should be", "headers", "link", |cloud, _| {
            put(cloud, &sent(VM, "", NEXT, 2, 0).packed());
        }),
        ("an increment where a full one should be", "headers", "link", |cloud, bytes| {
            put(cloud, &bytes);
            cloud.change(VM, NEXT, |record| drop(record.as_object_mut().unwrap().remove("parent")));
        }),
        ("a message in the middle", "full", "gzip", |cloud, mut bytes| {
            bytes.splice(90_000..90_000, *b"warning: something");
            put(cloud, &bytes);
        }),
        ("something behind it", "full", "gzip", |cloud, mut bytes| {
            bytes.extend(b"warning");
            put(cloud, &bytes);
        }),
        ("cut", "full", "truncated", |cloud, bytes| put(cloud, &bytes[..90_000])),
        ("a wrong checksum of ZFS", "full", "checksum", |cloud, _| {
            let mut plain = sent(VM, "", NEXT, 2, 1).plain();
            plain[90_000] ^= 1;
            put(cloud, &packed(&plain));
        }),
        ("another SHA-1", "full", "sha1", |cloud, _| {
            cloud.change(VM, NEXT, |record| {
                record["files"][format!("{VM}/{NEXT}")]["sha1"] = json!("00".repeat(20));
            });
        }),
    ];
    let depths = ["objects", "headers", "full"];
    for (what, noticed_at, expected, break_it) in cases {
        let cloud = cloud();
        break_it(&cloud, sent(VM, "", NEXT, 2, 1).packed());
        let first = depths.iter().position(|depth| *depth == noticed_at).unwrap();
        for (place, depth) in depths.into_iter().enumerate() {
            let (code, report) = cloud.verify(&["--depth", depth]);
            let (findings, lost) = found(&report);
            if place < first {
                assert_eq!((code, findings), (0, vec![]), "{what}, {depth}: {report:#}");
                continue;
            }
            let codes: Vec<&str> = findings.iter().filter_map(|it| it.split(' ').next()).collect();
            assert_eq!(code, 2, "{what}, {depth}: {report:#}");
            assert!(codes.contains(&expected), "{what}, {depth}: {findings:?}");
            assert!(findings.iter().all(|it| it.contains(&format!("{VM}/{NEXT}"))), "{what}: {findings:?}");
            assert_eq!(lost, [NEXT, LAST], "{what}, {depth}");
        }
        // What was found at a greater depth is not forgotten while the object is the same.
        let (code, report) = cloud.verify(&["--depth", "objects"]);
        assert_eq!((code, found(&report).1.len()), (2, 2), "{what}: {report:#}");
    }
}

#[test]
fn any_flipped_byte_of_a_stored_backup_is_found_by_full_and_what_lies_in_its_beginning_by_headers() {
    let cloud = Cloud::new();
    let bytes = Sent::new(&format!("zones/{VM}@{FULL}"), 1, 0).packed();
    assert!(bytes.len() < 4096, "all of it is its beginning");
    cloud.backup(VM, FULL, None, &[("", bytes.clone())]);
    for depth in ["headers", "full"] {
        for at in (0..bytes.len()).step_by(if depth == "full" { 97 } else { 61 }) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x20;
            cloud.put(&format!("{VM}/{FULL}"), &bytes);
            assert_eq!(cloud.verify(&["--depth", depth]).0, 2, "{depth}, byte {at}");
        }
        cloud.put(&format!("{VM}/{FULL}"), &bytes);
        assert_eq!(cloud.verify(&["--depth", depth]).0, 0, "{depth}");
    }
}

#[test]
fn a_wrong_bucket_is_a_failed_read_and_no_finding() {
    let cloud = cloud();
    cloud.put(&format!("{VM}/{LAST}"), b"cannot open");
    cloud.verify(&["--depth", "headers"]);
    let nowhere = format!("file://{}", cloud.path("nowhere").display());
    let (code, failed) = cloud.verify(&["--store", &nowhere]);
    assert_eq!(code, 1, "{failed}");
    fs::create_dir(cloud.path("nowhere")).unwrap();
    let (code, failed) = cloud.verify(&["--store", &nowhere]);
    let told = failed["err"].as_str().unwrap();
    assert!(code == 1 && told.contains("lacks 14 of the 14 objects"), "{told}");
    // Nor is anything remembered of it, and what was found in the right one stays.
    let known = fs::read_dir(cloud.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let known: Vec<_> = known.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    let known = fs::read_to_string(&known[0]).unwrap();
    assert!(known.contains("no_stream") && !known.contains("nowhere"), "{known}");
}

#[test]
fn objects_of_no_record_are_listed_with_their_bytes_and_are_no_fault() {
    let cloud = cloud();
    cloud.forget(VM, LAST);
    cloud.put("README", b"hello");
    let gone = "44444444-0000-4000-8000-000000000004";
    cloud.put(&format!("{gone}/{FULL}"), b"abc");
    let (code, report) = cloud.verify(&[]);
    let unknown = report["unknown_objects"].as_array().unwrap();
    let names: Vec<&str> = unknown.iter().map(|it| it["object"].as_str().unwrap()).collect();
    let last = format!("{VM}/{LAST}");
    let expected = [last.clone(), format!("{last}.xml"), format!("{gone}/{FULL}"), "README".to_owned()];
    assert_eq!((code, names), (0, expected.iter().map(String::as_str).collect()));
    assert_eq!(unknown[3]["size_bytes"], 5);
    // Of a part of the VMs it cannot be told.
    let (code, report) = cloud.verify(&["--vm", "web-2"]);
    assert_eq!((code, &report["unknown_objects"]), (0, &json!([])));
    assert_eq!(report["summary"]["vms"], 1);
    assert_eq!(cloud.verify(&["--vm", "nobody"]).0, 1);
}

#[test]
fn a_budget_reads_first_what_was_read_longest_ago() {
    let cloud = cloud();
    // Eleven streams of 100 KB; four of them a run.
    let mut seen = 0;
    for run in 0..3 {
        let (code, report) = cloud.verify(&["--depth", "full", "--budget", "430KiB", "--parallel", "2"]);
        let summary = &report["summary"];
        assert_eq!((code, summary["read"].as_u64().unwrap()), (0, 4), "{report:#}");
        seen += summary["read"].as_u64().unwrap();
        let all_read = report["vms"].as_array().unwrap().iter().all(|vm| vm["proof"]["read_at"].is_string());
        assert_eq!(all_read, run == 2, "run {run}, {seen} read");
        assert_eq!(summary["left"].as_u64().unwrap(), 5);
    }
    // Damage that comes afterwards is found once its turn comes again, and stays found.
    let mut bytes = sent(VM, "", FULL, 1, 0).packed();
    let (_, end) = bytes.split_at_mut(90_000);
    end[..10].copy_from_slice(&noise(10));
    cloud.put(&format!("{VM}/{FULL}"), &bytes);
    let codes: Vec<i32> =
        (0..3).map(|_| cloud.verify(&["--depth", "full", "--budget", "430KiB"]).0).collect();
    assert_eq!(codes, [2, 2, 2], "an object with another date comes first");
}

#[test]
fn parts_are_put_together_and_a_missing_one_is_noticed() {
    let cloud = cloud();
    cloud.put("README", b"hello");
    let mut found_bad = sent(KVM, "-disk1", FULL, 17, 0);
    found_bad.from_guid = 3;
    cloud.put(&format!("{KVM}/{FULL}-disk1"), &found_bad.packed());
    let mut files = Vec::new();
    for part in 1..=3 {
        let (_, report) = cloud.verify(&["--shard", &format!("{part}/3")]);
        let path = cloud.path(&format!("part-{part}.json"));
        fs::write(&path, report.to_string()).unwrap();
        files.push(path.to_str().unwrap().to_owned());
    }
    let merge = |files: &[String]| {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        cloud.verify(&[&["--merge"], files.as_slice()].concat())
    };
    let (code, merged) = merge(&files);
    let (whole_code, whole) = cloud.verify(&[]);
    assert_eq!((code, whole_code), (2, 2));
    let without_time = |mut report: Value| {
        report["at"].take();
        for vm in report["vms"].as_array_mut().unwrap() {
            vm["proof"].take();
        }
        report
    };
    assert_eq!(without_time(merged), without_time(whole));
    let (code, failed) = merge(&files[..2]);
    assert!(code == 1 && failed["err"].as_str().unwrap().contains("the part 3/3 is missing"), "{failed}");
    let twice = [files[0].clone(), files[1].clone(), files[2].clone(), files[1].clone()];
    assert_eq!(merge(&twice).0, 1);
}

#[test]
fn people_and_prometheus_read_the_same() {
    let cloud = cloud();
    cloud.put(&format!("{VM}/{FULL}"), b"::error::cannot open \x1b[2J");
    cloud.put("README", b"hello");
    let metrics = cloud.path("verify.prom");
    let output = cloud.program().args(["verify", "--metrics-file"]).arg(&metrics).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for part in ["no_stream", "2 backups", "nothing of it", "README", "1 broken, 3 not restorable"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(
        !text.contains('\u{1b}') && !text.lines().any(|line| line.trim_start().starts_with("::")),
        "{text}"
    );
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(
        metrics.contains(&format!("fifo_retain_verify_broken{{vm=\"{VM}\",alias=\"web-2\"}} 1\n")),
        "{metrics}"
    );
    let markdown = cloud.program().args(["--format", "markdown", "verify"]).output().unwrap();
    assert!(String::from_utf8(markdown.stdout).unwrap().contains("no_stream"));
    let (code, twice) = (cloud.verify(&["--depth", "headers"]), cloud.verify(&["--depth", "headers"]).0);
    assert_eq!((code.0, twice), (2, 2));
    let size = verified(cloud.program().args(["--format", "json", "verify", "--depth", "objects"])).1;
    assert!(found(&size).0.contains(&format!("size {VM}/{FULL}")));
}

#[test]
fn status_and_show_tell_what_is_proven_of_each_vm() {
    let cloud = cloud();
    write_policy(&cloud);
    let text = |arguments: &[&str]| {
        let output = cloud.program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let at = ["--at", "2026-11-22T22:00:00Z"];
    assert!(!text(&["status", at[0], at[1]]).contains("objects there"), "nothing is known yet");
    let (_, before) = verified(cloud.program().args(["--format", "json", "status", at[0], at[1]]));
    assert!(before.get("verified").is_none(), "{before:#}");
    let check = cloud.program().args(["status", "--check", at[0], at[1]]).output().unwrap();
    assert_eq!(check.status.code(), Some(0));
    cloud.put(&format!("{KVM}/{FULL}-disk1"), b"cannot open");
    cloud.verify(&["--depth", "full"]);
    let check = cloud.program().args(["status", "--check", at[0], at[1]]).output().unwrap();
    assert_eq!(check.status.code(), Some(2), "one is broken, and none too old");
    let status = text(&["status", at[0], at[1]]);
    assert!(status.contains("objects there") && status.contains("6 of 6"), "{status}");
    let metrics = cloud.path("status.prom");
    for command in ["status", "show"] {
        let mut program = cloud.program();
        program.args(["--format", "json", command, at[0], at[1]]);
        match command {
            "show" => program.arg("web-2"),
            _ => program.arg("--metrics-file").arg(&metrics),
        };
        let (code, json) = verified(&mut program);
        let of_vm = &json["verified"][VM];
        assert_eq!((code, &of_vm["objects_there"], &of_vm["broken"]), (0, &json!(6), &json!(0)), "{json:#}");
        assert!(of_vm["connects_at"].is_string() && of_vm["read_at"].is_string(), "{json:#}");
        assert_eq!(json["verified"].get(KVM).is_some(), command == "status");
    }
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(metrics.contains(&format!("fifo_retain_vm_stored_broken{{vm=\"{KVM}\"}} 1\n")), "{metrics}");
    assert!(text(&["show", at[0], at[1], "web-2"]).contains("6 of 6"));
    assert!(text(&["--format", "html", "status", at[0], at[1]]).contains("6 of 6"));
}

fn write_policy(cloud: &Cloud) {
    let policy = "version: 1\npolicy: all\nselect: { any: [{ alias: \"web-*\" }] }\n\
        tiers: [{ name: daily, schedule: \"0 1 * * *\", type: full }]\n";
    fs::create_dir(cloud.path("policies")).unwrap();
    fs::write(cloud.path("policies/all.yaml"), policy).unwrap();
}

#[test]
fn a_plan_makes_again_what_was_found_broken_until_its_object_is_another_one() {
    let cloud = cloud();
    write_policy(&cloud);
    // Verified long after it was made: no pause is left to wait for.
    let plan = |store: bool| {
        let mut program = cloud.program();
        program.args(["--format", "json", "plan", "--vm", "web-2", "--at", "2026-11-22T23:00:00Z"]);
        if !store {
            program.env_remove("FIFO_RETAIN_STORE");
        }
        let (code, plan) = verified(&mut program);
        assert_eq!(code, 0, "{plan}");
        let vm = &plan["vms"][0];
        let notes =
            vm["notes"].as_array().unwrap().iter().map(|note| note["code"].as_str().unwrap().to_owned());
        (vm["status"].as_str().unwrap().to_owned(), notes.collect::<Vec<_>>(), vm["fingerprint"].clone())
    };
    let sound = plan(true);
    assert_eq!((sound.0.as_str(), &sound.1[..]), ("up_to_date", &[][..]));
    let name = format!("{VM}/{FULL}");
    let good = fs::read(cloud.store().join(&name)).unwrap();
    cloud.put(&name, b"cannot open");
    cloud.verify(&["--depth", "headers"]);
    for store in [true, false] {
        let broken = plan(store);
        assert_eq!(
            (broken.0.as_str(), &broken.1[..]),
            ("changes", &["broken", "unrestorable", "unrestorable"].map(String::from)[..])
        );
        assert_ne!(broken.2, sound.2);
    }
    cloud.put(&name, &good);
    assert_eq!(plan(true), sound);
    // Without the store nobody can see that.
    assert_eq!(plan(false).0, "changes");
}
