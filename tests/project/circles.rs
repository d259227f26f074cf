//! Files import from each other without circles, inside a module too, and the audit imports from the planner only data types.
//!
//! The imports are read from the `use` declarations and the paths of the source. A name that a `mod.rs` re-exports counts
//! as an import from the file that defines it. Tests beside the code are left out.

use crate::structure::sources;
use std::collections::{BTreeMap, BTreeSet};

/// What the audit may import from `plan`: data types, the occurrences of a schedule, and the VM after a create.
const AUDIT_MAY_IMPORT: [&str; 6] = [
    "plan::changeset",
    "plan::due::Occurrences",
    "plan::fingerprint",
    "plan::note",
    "plan::projection",
    "plan::request",
];

/// A module by its path, such as `plan::audit`, and its code without comments and tests.
type Modules = BTreeMap<String, String>;

fn modules() -> Modules {
    let mut modules = Modules::new();
    for (name, text) in sources("src") {
        let path = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if path.split('/').any(|part| part == "tests") || ["lib", "main"].contains(&path) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        modules.insert(path.replace('/', "::"), code.join("\n"));
    }
    modules
}

/// A `use` declaration: whether it re-exports, and its paths.
struct Use {
    is_public: bool,
    paths: Vec<String>,
}

/// Splits code into its `use` declarations and the rest.
fn split_uses(code: &str) -> (Vec<Use>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut open: Option<String> = None;
    for line in code.lines() {
        let start = line.trim_start();
        let is_use = start.starts_with("use ") || (start.starts_with("pub") && start.contains(" use "));
        if open.is_none() && !is_use {
            rest.push_str(line);
            rest.push('\n');
            continue;
        }
        let text = open.take().unwrap_or_default() + start;
        if text.ends_with(';') {
            let (before, tree) = text.trim_end_matches(';').split_once("use ").unwrap();
            uses.push(Use { is_public: before.starts_with("pub"), paths: expanded(tree) });
        } else {
            open = Some(text);
        }
    }
    (uses, rest)
}

/// Writes the paths of a `use` tree out.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().to_owned()];
    };
    let inner = inner.strip_suffix('}').unwrap();
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for letter in inner.chars() {
        match letter {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                part.push(letter);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expanded(part)).map(|path| format!("{prefix}{path}")).collect()
}

/// Finds the paths in code that begin at the root, at the parent or at the module itself.
fn inline_paths(code: &str) -> Vec<String> {
    let words = code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'));
    words
        .filter(|word| ["crate::", "super::", "self::"].iter().any(|root| word.starts_with(root)))
        .map(str::to_owned)
        .collect()
}

/// Resolves a path in a module to the whole path of what it names, if that is a module of ours or something in one.
fn resolved(modules: &Modules, module: &str, path: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut parts: Vec<&str> = path.split("::").map(str::trim).filter(|part| !part.is_empty()).collect();
    match *parts.first()? {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            while parts.first() == Some(&"super") {
                parts.remove(0);
                at.pop();
            }
            parts.insert(0, "");
        }
        first if modules.contains_key(&format!("{module}::{first}")) => parts.insert(0, ""),
        _ => return None,
    }
    at.extend(&parts[1..]);
    if at.last() == Some(&"self") {
        at.pop();
    }
    Some(at.join("::"))
}

/// Returns the module that a whole path leads into, and what is left of the path.
fn module_of<'p>(modules: &Modules, path: &'p str) -> Option<(&'p str, &'p str)> {
    let mut end = path.len();
    loop {
        if modules.contains_key(&path[..end]) {
            return Some((&path[..end], path[end..].trim_start_matches("::")));
        }
        end = path[..end].rfind("::")?;
    }
}

/// Lists what each module imports, as whole paths that name the defining module.
fn imports(modules: &Modules) -> BTreeMap<&str, BTreeSet<String>> {
    let split: BTreeMap<&str, (Vec<Use>, String)> =
        modules.iter().map(|(name, code)| (name.as_str(), split_uses(code))).collect();
    let mut exported: BTreeMap<(&str, String), String> = BTreeMap::new();
    for (module, (uses, _)) in &split {
        for path in uses.iter().filter(|it| it.is_public).flat_map(|it| &it.paths) {
            let Some(whole) = resolved(modules, module, path) else { continue };
            let name = whole.rsplit("::").next().unwrap().to_owned();
            exported.insert((module, name), whole);
        }
    }
    let mut imports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (module, (uses, rest)) in &split {
        let private = uses.iter().filter(|it| !it.is_public).flat_map(|it| it.paths.clone());
        let found = imports.entry(module).or_default();
        for path in private.chain(inline_paths(rest)) {
            let Some(mut whole) = resolved(modules, module, &path) else { continue };
            while let Some((owner, name)) = module_of(modules, &whole) {
                let first = name.split("::").next().unwrap().to_owned();
                match exported.iter().find(|((by, what), _)| *by == owner && *what == first) {
                    Some((_, target)) if *target != whole => whole.clone_from(target),
                    _ => break,
                }
            }
            if module_of(modules, &whole).is_some_and(|(owner, _)| owner != *module) {
                found.insert(whole);
            }
        }
    }
    imports
}

/// Finds a circle: modules of which each imports from the next one, and the last from the first.
fn circle(edges: &BTreeMap<&str, BTreeSet<&str>>) -> Option<Vec<String>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = edges.clone();
    loop {
        let ends: Vec<&str> = left
            .iter()
            .filter(|(_, to)| !to.iter().any(|to| left.contains_key(to)))
            .map(|(name, _)| *name)
            .collect();
        if ends.is_empty() {
            break;
        }
        left.retain(|name, _| !ends.contains(name));
    }
    // Each of those left imports from another one of them, so going on leads into a circle.
    let mut way: Vec<&str> = vec![*left.keys().next()?];
    loop {
        let next = *left[way.last().unwrap()].iter().find(|to| left.contains_key(*to)).unwrap();
        if let Some(begin) = way.iter().position(|seen| *seen == next) {
            return Some(way[begin..].iter().chain([&next]).map(|name| (*name).to_owned()).collect());
        }
        way.push(next);
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let imports = imports(&modules);
    let edges = imports
        .iter()
        .map(|(name, to)| (*name, to.iter().filter_map(|to| Some(module_of(&modules, to)?.0)).collect()));
    if let Some(circle) = circle(&edges.collect()) {
        panic!("a circle: {}", circle.join(" -> "));
    }
}

#[test]
fn the_audit_shares_no_code_with_the_planner() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (module, paths) in imports(&modules) {
        let is_audit = module == "plan::audit" || module.starts_with("plan::audit::");
        for path in paths.iter().filter(|path| is_audit && path.starts_with("plan::")) {
            let may = |may: &str| path == may || path.starts_with(&format!("{may}::"));
            if !path.starts_with("plan::audit") && !AUDIT_MAY_IMPORT.iter().any(|one| may(one)) {
                wrong.push(format!("{module} imports {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found_through_groups_and_re_exports() {
    let module = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let modules = Modules::from([
        module("room", "mod one;\nmod two;\npub use two::{Name, Other};"),
        module("room::one", "use super::{Name, self as room};\nfn f(name: Name) {}"),
        module("room::two", "struct Name;\nfn g(x: super::one::Thing) {}"),
    ]);
    let found = imports(&modules);
    assert!(found["room::one"].contains("room::two::Name"), "{found:?}");
    assert!(found["room::two"].contains("room::one::Thing"), "{found:?}");
    assert!(found["room"].is_empty(), "a re-export is no import: {found:?}");
    let edges = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::from(["a"]))]);
    assert_eq!(circle(&edges).unwrap(), ["a", "b", "a"]);
    let line = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::new())]);
    assert_eq!(circle(&line), None);
}
