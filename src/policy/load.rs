//! From files and folders to checked policies, or to all the mistakes in them.

use super::findings::{Diagnostic, PolicyErrors, Severity, SourcePosition, sort};
use super::source::{Report, Span};
use super::yaml::documents;
use super::{Policies, Policy, Source, read};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: usize = 1 << 20;

/// Policies that are free of mistakes, and what is doubtful about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub policies: Policies,
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// Adds a warning about a policy that takes more than its text to find; it has no place in the file.
    pub fn warn(&mut self, policy: &str, message: impl Into<String>, hint: impl Into<String>) {
        let file = self.policies.get(policy).map_or("", |policy| &policy.source.file);
        self.warnings.push(Diagnostic::new(Severity::Warning, file, message, hint));
        sort(&mut self.warnings);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path as people are to be shown it, with `/` between folders.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Reads the policies in files and folders: every `*.yaml` and `*.yml` below a folder, at any depth, hidden ones left out,
/// and a file that is given by name whatever it is called. What is reached twice, by whatever way, is read once. The error has
/// all the mistakes of all the files, those that cannot be read and paths without any policy file among them.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, PolicyErrors> {
    find(paths, false)
}

/// Reads policies to compare with as [`load`] does, where a folder without any policy file is one that has none yet. A path that
/// is not there is a mistake here, too: mistyped, it would make everything look new.
pub fn load_if_any(paths: &[PathBuf]) -> Result<Loaded, PolicyErrors> {
    find(paths, true)
}

/// Reads the policies in files whose contents are at hand. Without a file there is no policy, and no mistake either.
pub fn parse(files: &[SourceFile]) -> Result<Loaded, PolicyErrors> {
    judge(files, Vec::new())
}

/// Reads the files and folders as [`load`] does, and does not look at what is in them.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<SourceFile>, PolicyErrors> {
    let Finder { files, found, .. } = found_in(paths, false);
    if found.is_empty() { Ok(files) } else { Err(PolicyErrors(found)) }
}

fn find(paths: &[PathBuf], may_be_empty: bool) -> Result<Loaded, PolicyErrors> {
    let Finder { files, found, .. } = found_in(paths, may_be_empty);
    judge(&files, found)
}

fn found_in(paths: &[PathBuf], may_be_empty: bool) -> Finder {
    let mut finder = Finder::default();
    if paths.is_empty() {
        let none = "no policy file or folder was given";
        finder.found.push(Diagnostic::new(Severity::Error, "", none, "name one, such as policies/"));
    }
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                finder.met_any = false;
                finder.folder(path);
                if !finder.met_any && !may_be_empty {
                    let none = "there is no policy file in this folder";
                    finder.error(path, none, "policies end in .yaml or .yml");
                }
            }
            Ok(_) => finder.file(path),
            Err(error) => finder.unreadable(path, &error),
        }
    }
    finder.files.sort_by(|a, b| a.name.cmp(&b.name));
    finder
}

type Names = BTreeMap<String, (String, SourcePosition)>;

fn judge(files: &[SourceFile], mut found: Vec<Diagnostic>) -> Result<Loaded, PolicyErrors> {
    let mut policies = Vec::new();
    let mut names = Names::new();
    for file in files {
        if file.bytes.len() > FILE_BYTES_MAX {
            let (large, hint) = ("the file is larger than 1 MiB", "check that it is a policy file");
            found.push(Diagnostic::new(Severity::Error, &file.name, large, hint));
            continue;
        }
        let report = Report::new(&file.name, &file.bytes);
        if report.error_count() == 0 {
            read_file(file, &report, &mut policies, &mut names);
        }
        found.extend(report.into_found());
    }
    sort(&mut found);
    if found.iter().any(|it| it.severity == Severity::Error) {
        return Err(PolicyErrors(found));
    }
    Ok(Loaded { policies: Policies::new(policies), warnings: found })
}

/// Reads a file's policies; those with a mistake in them are left out.
fn read_file(file: &SourceFile, report: &Report<'_>, policies: &mut Vec<Policy>, names: &mut Names) {
    let nodes = documents(report);
    if nodes.is_empty() && report.error_count() == 0 {
        let hint = "delete it, or give it a name that does not end in .yaml or .yml";
        report.error(Span::default(), "this file contains no policy", hint);
    }
    let sha256 = hex::encode(Sha256::digest(&file.bytes));
    for node in &nodes {
        let line = report.line_of(node.span.start);
        let source = Source { file: file.name.clone(), line, sha256: sha256.clone() };
        policies.extend(read::policy(node, source, report, |name, span| {
            let first = names.get(name).cloned();
            if first.is_none() {
                names.insert(name.to_owned(), (file.name.clone(), report.spot(span)));
                return;
            }
            let message = format!("two policies are named `{name}`");
            let twice =
                Diagnostic::new(Severity::Error, &file.name, message, "give one of them another name");
            report.add(Diagnostic { first, ..twice }, span);
        }));
    }
}

#[derive(Default)]
struct Finder {
    files: Vec<SourceFile>,
    found: Vec<Diagnostic>,
    /// The files and folders that have been visited, by their real paths; so links that go round in circles end.
    visited: BTreeSet<PathBuf>,
    /// Whether a policy file, a mistake, or a folder that had been visited before was come upon.
    met_any: bool,
}

impl Finder {
    fn folder(&mut self, folder: &Path) {
        if !self.visit(folder) {
            self.met_any = true;
            return;
        }
        let mut entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder, &error),
        };
        entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        entries.sort_by_key(fs::DirEntry::file_name);
        for path in entries.iter().map(fs::DirEntry::path) {
            let is_policy = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(&path),
                Ok(metadata) if is_policy && metadata.is_file() => self.file(&path),
                // Reading a pipe or a device could wait for ever.
                Ok(_) if is_policy => {
                    self.error(&path, "not a regular file", "pass it by name if it is intended");
                }
                Err(error) if is_policy || error.kind() == io::ErrorKind::PermissionDenied => {
                    self.unreadable(&path, &error);
                }
                // No policy, or a link that leads nowhere and does not look like one.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn file(&mut self, path: &Path) {
        self.met_any = true;
        if !self.visit(path) {
            return;
        }
        let mut bytes = Vec::new();
        // Not much further than a policy may be long.
        let limit = u64::try_from(FILE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => self.files.push(SourceFile { name: name(path), bytes }),
            Err(error) => self.unreadable(path, &error),
        }
    }

    /// Notes that a file or folder is being read; `false` when it was before.
    fn visit(&mut self, path: &Path) -> bool {
        // A pipe, as a shell gives one for `<(…)`, has no real path.
        self.visited.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path; it is relative to the current directory",
            _ => "the user who runs this must be allowed to read it",
        };
        self.error(path, &format!("cannot be read: {error}"), hint);
    }

    fn error(&mut self, path: &Path, message: &str, hint: &str) {
        self.met_any = true;
        self.found.push(Diagnostic::new(Severity::Error, &name(path), message, hint));
    }
}

fn name(path: &Path) -> String {
    let name = path.strip_prefix(".").unwrap_or(path).to_string_lossy();
    let name = name.replace(std::path::MAIN_SEPARATOR, "/");
    if name.is_empty() { ".".to_owned() } else { name }
}
