//! Broken policies and what is said of them, word for word.
//!
//! Each `policies_broken/NAME.yaml` holds mistakes of one theme, and has its expected text in `NAME.txt`. After a meant change of words, running with
//! `UPDATE_GOLDEN=1` writes the texts anew, to be read before they are committed; where `CI` is set it does not.

use fifo_retain::policy::{PolicyErrors, Severity, SourceFile, load, parse, render_text};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const GOOD: &str = r#"
version: 1
policy: web
select: { all: true }
tiers:
  - { name: weekly, schedule: "0 1 * * SUN", type: full }
"#;

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> SourceFile {
    SourceFile { name: name.to_owned(), bytes: bytes.into() }
}

fn mistakes(bytes: impl Into<Vec<u8>>) -> PolicyErrors {
    parse(&[file("a.yaml", bytes)]).unwrap_err()
}

/// The headings alone, with their places.
fn lines(mistakes: &PolicyErrors) -> Vec<String> {
    let lines = mistakes.diagnostics().iter().map(|it| match (it.line(), it.column()) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", it.file, it.message),
        _ => format!("{}: {}", it.file, it.message),
    });
    lines.collect()
}

#[test]
fn every_broken_policy_is_reported_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies_broken");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some() && std::env::var_os("CI").is_none();
    let (mut sources, mut goldens) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path.extension().unwrap() == "yaml";
        if is_source { &mut sources } else { &mut goldens }.insert(path);
    }
    assert!(sources.len() >= 5, "only {} files of broken policies", sources.len());
    let mut wrong = Vec::new();
    for source in &sources {
        let name = source.file_name().unwrap().to_str().unwrap();
        let text = match parse(&[file(name, fs::read(source).unwrap())]) {
            Err(mistakes) => render_text(mistakes.diagnostics(), false),
            Ok(_) => panic!("{name} is taken for a good policy"),
        };
        let golden = source.with_extension("txt");
        if update {
            fs::write(&golden, &text).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{name} now reads:\n\n{text}"));
        }
        goldens.remove(&golden);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(goldens, BTreeSet::new(), "expected texts without a policy");
}

#[test]
fn a_file_without_a_policy_is_a_mistake() {
    for text in ["", "---\n# version: 1\n---\n"] {
        let mistakes = mistakes(text);
        assert_eq!(lines(&mistakes), ["a.yaml:1:1: this file contains no policy"]);
        let hint = "delete it, or give it a name that does not end in .yaml or .yml";
        assert_eq!(mistakes.diagnostics()[0].hint.as_deref(), Some(hint));
        assert!(mistakes.to_string().contains(hint));
    }
}

#[test]
fn a_file_beyond_a_mebibyte_is_refused_unread() {
    let mut bytes = GOOD.as_bytes().to_vec();
    bytes.resize(1 << 20, b'\n');
    assert!(parse(&[file("a.yaml", bytes.clone())]).is_ok());
    bytes.push(b'\n');
    assert_eq!(lines(&mistakes(bytes)), ["a.yaml: the file is larger than 1 MiB"]);
}

#[test]
fn a_binary_file_is_reported_at_its_first_odd_byte() {
    let bytes = [b"\x7fELF\x02\n\x01".as_slice(), &[0xff, 0xfe, 0, 1, 2, 0xc3, 0x28]].concat();
    assert_eq!(lines(&mistakes(bytes)), ["a.yaml:2:2: the file is not UTF-8 text"]);
    let utf16: Vec<u8> = "\u{feff}version: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(lines(&mistakes(utf16)), ["a.yaml:1:1: the file is not UTF-8 text"]);
    let control = mistakes(b"version: \x00\x01\n".as_slice());
    assert_eq!(control.diagnostics()[0].line(), Some(1), "{control}");
}

#[test]
fn anchors_and_aliases_are_refused_each_at_its_place() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    let bomb = lines(&mistakes(bomb));
    let told_of = |what: &str| bomb.iter().filter(|line| line.contains(what)).count();
    assert_eq!((told_of("anchors (`&…`)"), told_of("aliases (`*…`)")), (12, 9 * 11));
    let within = lines(&mistakes("version: 1\ntiers: &t [*t]\n"));
    assert!(
        within.contains(&"a.yaml:2:12: aliases (`*…`) are not supported in policies".to_owned()),
        "{within:?}"
    );
    let policy = GOOD.replace("{ all: true }", "{ alias: &web web-1, owner: *web }");
    assert_ne!(policy, GOOD);
    assert_eq!(
        lines(&mistakes(policy)),
        [
            "a.yaml:4:18: anchors (`&…`) are not supported in policies",
            "a.yaml:4:37: aliases (`*…`) are not supported in policies"
        ]
    );
}

#[test]
fn what_nests_too_deep_or_holds_too_much_is_refused() {
    let deep = format!("x: {}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(lines(&mistakes(deep)), ["a.yaml:1:35: nested more than 32 levels deep"]);
    let wide = format!("x: [{}]", "y,".repeat(60_000));
    let lines = lines(&mistakes(wide));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("the file contains more than 50000 values"), "{lines:?}");
}

#[test]
fn too_many_tiers_are_refused() {
    let tier = |n| format!("  - {{ name: t{n}, schedule: \"{n} 1 * * *\", type: full }}\n");
    let policy = |count: u32| format!("{GOOD}{}", (1..count).map(tier).collect::<String>());
    assert!(parse(&[file("a.yaml", policy(32))]).is_ok());
    assert_eq!(lines(&mistakes(policy(33))), ["a.yaml:6:5: `tiers` has 33 entries, more than 32"]);
}

#[test]
fn carriage_returns_and_a_byte_order_mark_move_no_place() {
    let dos = format!("\u{feff}{}", GOOD.trim_start().replace('\n', "\r\n"));
    assert_eq!(parse(&[file("a.yaml", dos.clone())]).unwrap().warnings, []);
    let mistakes = mistakes(dos.replace("all: true", "all: 1"));
    assert_eq!(lines(&mistakes), ["a.yaml:3:16: `all` must be true or false, found the number `1`"]);
    assert!(!mistakes.to_string().contains('\r'));
}

#[test]
fn the_mistakes_of_all_files_come_in_one_go_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("sub/.hidden")).unwrap();
    fs::write(path("b.yaml"), GOOD.replace("all: true", "all: false")).unwrap();
    fs::write(path("sub/a.yml"), GOOD).unwrap();
    fs::write(path("sub/.hidden/x.yaml"), "broken: [").unwrap();
    fs::write(path(".x.yaml"), "broken: [").unwrap();
    fs::write(path("notes.txt"), "broken: [").unwrap();
    let missing = path("nowhere.yaml");
    let mistakes = load(&[folder.path().to_owned(), missing]).unwrap_err();
    let root = format!("{}/", folder.path().display());
    let lines: Vec<String> = lines(&mistakes).iter().map(|it| it.replace(&root, "")).collect();
    assert_eq!(
        lines,
        [
            "b.yaml:4:16: `all` can only be true",
            "nowhere.yaml: cannot be read: No such file or directory (os error 2)",
            "sub/a.yml:3:9: two policies are named `web`",
        ]
    );
    let (file, first) = mistakes.diagnostics()[2].first.as_ref().unwrap();
    assert_eq!((file, first.line), (&format!("{root}b.yaml"), 3));
}

#[test]
fn a_file_reached_twice_is_read_once_and_a_named_one_whatever_its_ending() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("policy.txt");
    let inside = folder.path().join("other.yaml");
    fs::write(&named, GOOD).unwrap();
    fs::write(&inside, GOOD.replace("web", "db")).unwrap();
    let paths = [inside, folder.path().to_owned(), named.clone(), folder.path().join("../").join(&named)];
    let loaded = load(&paths).unwrap();
    assert_eq!(loaded.policies.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["db", "web"]);
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_and_links_to_nowhere_end() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("sub/a.yaml"), GOOD).unwrap();
    symlink("..", path("sub/up")).unwrap();
    symlink("self", path("self")).unwrap();
    symlink("a.yaml", path("sub/b.yaml")).unwrap();
    let loaded = load(&[folder.path().to_owned()]).unwrap();
    assert_eq!(loaded.policies.iter().count(), 1);
    symlink("nowhere", path("lost.yaml")).unwrap();
    let mistakes = load(&[folder.path().to_owned()]).unwrap_err();
    assert_eq!(mistakes.diagnostics()[0].file, path("lost.yaml").to_str().unwrap());
}

#[test]
fn paths_without_a_policy_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_owned();
    let mistakes = load(std::slice::from_ref(&empty)).unwrap_err();
    assert_eq!(lines(&mistakes), [format!("{}: there is no policy file in this folder", empty.display())]);
    let none: [PathBuf; 0] = [];
    assert_eq!(lines(&load(&none).unwrap_err()), [": no policy file or folder was given"]);
}

#[test]
fn mistakes_always_hold_an_error_and_good_policies_never() {
    let warned = GOOD.replace("0 1 * * SUN", "30 2 * * *") + "timezone: Europe/Berlin\n";
    let loaded = parse(&[file("a.yaml", warned.clone())]).unwrap();
    assert!(loaded.warnings.iter().all(|it| it.severity == Severity::Warning));
    assert_eq!(loaded.warnings.len(), 1);
    let mistakes = parse(&[file("a.yaml", warned), file("b.yaml", "")]).unwrap_err();
    let severities: Vec<Severity> = mistakes.diagnostics().iter().map(|it| it.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Error]);
}
