//! The document, the metrics and the lines of `verify`: what is broken, what hangs on it, what to do.

use super::doc::{Block, Column, Detail, Doc, Entry, Line, Row, Table, Tone};
use super::history::KnownVms;
use super::metrics::write;
use super::words::{counted, instant_text, listed, span_text, vm_id, vm_name};
use crate::inventory::{BackupId, VmId};
use crate::plan::bytes_text;
use crate::store::stream::Code;
use crate::verify::{
    BackupReport, Depth, KnownVm, Proof, Rehearsed, Report, Restored, Step, UnknownObject, VmReport,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::iter::successors;

/// How many unknown objects are named; JSON has them all.
const UNKNOWN_SHOWN: usize = 20;

/// Reports a verification, what is worst first.
pub fn document(report: &Report, detail: Detail) -> Doc {
    let mut out: Vec<&VmReport> = report.vms.iter().filter(|vm| is_out(vm)).collect();
    out.sort_by_key(|vm| std::cmp::Reverse(severity(vm)));
    let mut blocks = vec![Block::Entries(out.into_iter().map(entry).collect())];
    let unread = report.unread.iter().map(|it| (Tone::Held, format!("{}: {}", it.object, it.message)));
    let unreadable = report.unreadable_vms.iter().map(|vm| (Tone::Alarm, vm.clone()));
    let shown = if detail >= Detail::Full { usize::MAX } else { UNKNOWN_SHOWN };
    for (title, lines) in [
        ("Could not be read".to_owned(), unread.collect()),
        ("Not shown whole by FiFo, so that nothing is known of them".to_owned(), unreadable.collect()),
        unknown(&report.unknown_objects, shown),
    ] {
        let lines = Block::List(lines);
        if !lines.is_empty() {
            blocks.extend([Block::Heading(title), lines]);
        }
    }
    if detail <= Detail::Brief {
        blocks.retain(|block| matches!(block, Block::Entries(_)));
    }
    Doc { blocks, remarks: remarks(report), summary: summary(report), ..Doc::default() }
}

fn is_out(vm: &VmReport) -> bool {
    vm.backups.iter().any(|backup| !backup.findings.is_empty())
}

/// What cannot be restored at all comes first, then where the newest backup cannot, then by how much is lost.
fn severity(vm: &VmReport) -> (bool, bool, usize) {
    let lost = vm.backups.iter().filter(|backup| !backup.restorable).count();
    (lost == vm.backups.len(), vm.backups.last().is_some_and(|backup| !backup.restorable), lost)
}

fn entry(vm: &VmReport) -> Entry {
    let (all_lost, newest_lost, _) = severity(vm);
    let mut lines = Vec::new();
    for backup in &vm.backups {
        let hanging = hanging_on(backup.backup, vm);
        let name = name(backup.comment.as_deref(), backup.timestamp, backup.backup);
        for finding in &backup.findings {
            let what = format!("{name}: {}: {}", finding.object, finding.message);
            let hang = match hanging {
                0 => String::new(),
                1 => "1 backup hangs on it; ".to_owned(),
                count => format!("{count} backups hang on it; "),
            };
            let tone = if all_lost || newest_lost { Tone::Alarm } else { Tone::Held };
            let line = Line::new(tone, finding.code.as_str(), what);
            lines.push(line.because(format!("{hang}{}", advice(finding.code))));
        }
    }
    let policy = if all_lost { "nothing of it can be restored".to_owned() } else { String::new() };
    let name = vm_name(&vm.alias, Some(vm.uuid));
    Entry { name, id: vm_id(&vm.alias, Some(vm.uuid)), policy, lines }
}

/// Names a backup: `daily of 2026-11-22 01:00:00 UTC (3fa94c21)`.
fn name(comment: Option<&str>, taken: Option<DateTime<Utc>>, id: BackupId) -> String {
    let taken = taken.map_or_else(String::new, |at| format!(" of {}", instant_text(at)));
    format!("{}{taken} ({})", comment.unwrap_or("backup"), id.short())
}

/// Counts the backups that cannot be restored without another one.
fn hanging_on(id: BackupId, vm: &VmReport) -> usize {
    let parents: BTreeMap<BackupId, Option<BackupId>> =
        vm.backups.iter().map(|backup| (backup.backup, backup.parent)).collect();
    let hangs = |backup: &&BackupReport| {
        let above = successors(backup.parent, |parent| parents.get(parent).copied().flatten());
        above.take(parents.len() + 1).any(|parent| parent == id)
    };
    vm.backups.iter().filter(hangs).count()
}

fn advice(code: Code) -> &'static str {
    match code {
        Code::Missing => "bring it back from a mirror, or make a full backup",
        Code::Link | Code::Name => "make a full backup, and delete none until it is verified",
        Code::Size | Code::NoStream | Code::Gzip | Code::Truncated | Code::Checksum | Code::Sha1 => {
            "compare it with a mirror, or make a full backup, and delete none until it is verified"
        }
    }
}

fn unknown(objects: &[UnknownObject], shown: usize) -> (String, Vec<(Tone, String)>) {
    let bytes = bytes_text(objects.iter().map(|object| object.size_bytes).sum());
    let title = format!("{} of no record that FiFo shows, {bytes}", counted(objects.len(), "object"));
    let line = |object: &UnknownObject| {
        (Tone::Plain, format!("{}  {}", object.object, bytes_text(object.size_bytes)))
    };
    let mut lines: Vec<(Tone, String)> = objects.iter().take(shown).map(line).collect();
    if objects.len() > shown {
        lines.push((Tone::Plain, format!("… and {} more, in the JSON and with -v", objects.len() - shown)));
    }
    (title, lines)
}

fn remarks(report: &Report) -> Vec<(Tone, String)> {
    let counts = &report.summary;
    let mut remarks = Vec::new();
    if counts.left > 0 {
        let left = format!("{} ({})", counted(counts.left, "object"), bytes_text(counts.left_bytes));
        remarks.push((Tone::Wait, format!("The budget left {left} to later runs, which begin with them.")));
    }
    let why = match report.depth {
        Depth::Objects => "No object was read: what is in them is not known.",
        Depth::Headers => {
            "Objects were read up to their first record: damage behind it shows only at --depth full."
        }
        Depth::Full => return remarks,
    };
    remarks.push((Tone::Plain, why.to_owned()));
    remarks
}

fn summary(report: &Report) -> Vec<String> {
    let it = &report.summary;
    let shard = report.shard.map_or_else(String::new, |shard| format!(", part {shard}"));
    let head = format!("Verified: {}, depth {}{shard}.", report.store, report.depth.as_str());
    let bad = listed([
        (it.broken, "broken"),
        (it.backups - it.restorable, "not restorable"),
        (it.unread, "unread"),
        (it.unreadable_vms, "VMs not shown by FiFo"),
    ]);
    let bad = if bad.is_empty() { "nothing is wrong".to_owned() } else { bad };
    let read = match report.depth {
        Depth::Objects => String::new(),
        Depth::Headers => format!(", {} looked into", it.headers_read),
        Depth::Full => format!(", {} read whole ({})", it.read, bytes_text(it.read_bytes)),
    };
    let (vms, backups, objects) =
        (counted(it.vms, "VM"), counted(it.backups, "backup"), counted(it.objects, "object"));
    vec![head, format!("{vms}, {backups}, {objects}{read}: {bad}.")]
}

const PROOF_COLUMNS: [Column; 6] = [
    Column::wrapping("stored backups of", 0),
    Column::new("objects there", 0),
    Column::new("chain connects", 2),
    Column::new("read whole", 3),
    Column::new("restored", 1),
    Column::number("broken", 0),
];

/// Adds to a report what `verify` and `rehearse` have proven of these VMs; FiFo's own word is in it already.
pub fn with_proofs(mut doc: Doc, known: &KnownVms, vms: &[(VmId, &str)]) -> Doc {
    let row = |&(id, alias): &(VmId, &str)| {
        let known = known.get(&id)?;
        let proof = &known.proof;
        let there = proof.listed_at.map(|_| format!("{} of {}", proof.objects_there, proof.objects));
        let restored = known.restored.map(|restored| {
            let took = span_text(i64::try_from(restored.took_secs).unwrap_or(i64::MAX));
            format!("{} in {took}", day(restored.at))
        });
        let broken = known.broken.len();
        let cells = vec![
            vm_name(alias, Some(id)),
            there.unwrap_or_default(),
            proof.connects_at.map(day).unwrap_or_default(),
            proof.read_at.map(day).unwrap_or_default(),
            restored.unwrap_or_default(),
            if broken > 0 { broken.to_string() } else { String::new() },
        ];
        let tone = if broken > 0 { Tone::Alarm } else { Tone::Plain };
        Some(Row { tone, cells, ..Row::default() })
    };
    let rows: Vec<Row> = vms.iter().filter_map(row).collect();
    if !rows.is_empty() {
        doc.blocks.push(Block::Table(Table { columns: &PROOF_COLUMNS, rows, folded: None }));
    }
    doc
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

/// What is known of a VM's stored backups, for JSON.
#[derive(Serialize)]
pub struct Verified<'a> {
    #[serde(flatten)]
    proof: &'a Proof,
    broken: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<&'a Restored>,
}

pub fn verified(known: &KnownVms) -> BTreeMap<VmId, Verified<'_>> {
    fn one(vm: &KnownVm) -> Verified<'_> {
        let KnownVm { proof, restored, broken, .. } = vm;
        Verified { proof, broken: broken.len(), restored: restored.as_ref() }
    }
    known.iter().map(|(id, vm)| (*id, one(vm))).collect()
}

/// The metrics of a verification, with their meaning. `docs/verify.md` lists the same.
type Series = (&'static str, &'static str, fn(&VmReport) -> Option<i64>);
const SERIES: [Series; 7] = [
    ("fifo_retain_verify_backups", "Stored backups by FiFo's word", |vm| count(vm.backups.len())),
    ("fifo_retain_verify_restorable", "Of which nothing is known against them and all they rest on", |vm| {
        count(vm.backups.iter().filter(|backup| backup.restorable).count())
    }),
    ("fifo_retain_verify_broken", "Stored backups with something wrong", |vm| {
        count(vm.backups.iter().filter(|backup| !backup.findings.is_empty()).count())
    }),
    ("fifo_retain_verify_objects", "Objects that the records promise", |vm| count(vm.proof.objects)),
    ("fifo_retain_verify_objects_there", "Of which this many are there", |vm| count(vm.proof.objects_there)),
    (
        "fifo_retain_verify_chain_connects_timestamp_seconds",
        "When the newest restorable chain was last seen to connect",
        |vm| vm.proof.connects_at.map(|at| at.timestamp()),
    ),
    (
        "fifo_retain_verify_read_whole_timestamp_seconds",
        "Since when every object of that chain has been read whole",
        |vm| vm.proof.read_at.map(|at| at.timestamp()),
    ),
];

fn count(count: usize) -> Option<i64> {
    i64::try_from(count).ok()
}

pub fn metrics(report: &Report) -> String {
    let mut out = String::new();
    let it = &report.summary;
    let all = [
        ("timestamp_seconds", "When the last verification began", Some(report.at.timestamp())),
        ("unknown_objects", "Objects of no record", count(it.unknown_objects)),
        ("unknown_bytes", "Their bytes", i64::try_from(it.unknown_bytes).ok()),
        ("unread_objects", "Objects that could not be read", count(it.unread)),
        ("left_bytes", "Bytes that the budget left to later runs", i64::try_from(it.left_bytes).ok()),
    ];
    for (name, help, value) in all {
        let name = format!("fifo_retain_verify_{name}");
        let sample = value.into_iter().map(|value| (Vec::new(), value));
        write(&mut out, (&name, "gauge", help), &name, sample);
    }
    for (name, help, value) in SERIES {
        let sample = |vm: &VmReport| {
            Some((vec![("vm", vm.uuid.to_string()), ("alias", vm.alias.clone())], value(vm)?))
        };
        write(&mut out, (name, "gauge", help), name, report.vms.iter().filter_map(sample));
    }
    out
}

pub fn rehearsed(rehearsed: &Rehearsed) -> Doc {
    let backup = name(rehearsed.comment.as_deref(), rehearsed.timestamp, rehearsed.backup);
    let row = |step: &Step| Row {
        cells: vec![
            step.object.clone(),
            bytes_text(step.size_bytes),
            bytes_text(step.stream_bytes),
            format!("{}.{} s", step.took_ms / 1000, step.took_ms % 1000 / 100),
        ],
        ..Row::default()
    };
    let rows = rehearsed.steps.iter().map(row).collect();
    let table = Table { columns: &STEP_COLUMNS, rows, folded: None };
    let secs = |secs: u64| span_text(i64::try_from(secs).unwrap_or(i64::MAX));
    let check =
        rehearsed.check_secs.map_or_else(String::new, |took| format!(" The check passed in {}.", secs(took)));
    let left = if rehearsed.kept { format!(" It stays in {}.", rehearsed.into) } else { String::new() };
    let summary = format!(
        "Restored: {}, {} in {}.{check}{left}",
        counted(rehearsed.steps.len(), "object"),
        bytes_text(rehearsed.size_bytes),
        secs(rehearsed.took_secs)
    );
    let heading = format!("{}: {backup}", vm_name(&rehearsed.alias, Some(rehearsed.vm)));
    Doc {
        blocks: vec![Block::Heading(heading), Block::Table(table)],
        summary: vec![summary],
        ..Doc::default()
    }
}

const STEP_COLUMNS: [Column; 4] = [
    Column::wrapping("object", 0),
    Column::number("fetched", 2),
    Column::number("unpacked", 1),
    Column::number("took", 0),
];
