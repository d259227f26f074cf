//! `validate`: checks the policies, offline. What it finds is its output.

use super::context::{Context, Format};
use super::policies::{count_text, counted, plural};
use crate::policy::{self, Diagnostic, Loaded, Policies, Severity, render_github, render_text};
use crate::report::json::document;
use crate::report::{Exit, Failure, Styles};
use crate::runner::output::print;
use crate::simulate::{HeavyTier, heavy_tiers};
use clap::Args;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/validate.txt"))]
pub struct ValidateArgs {
    /// Files and folders with policies, instead of --policies
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Exit with 1 for warnings, too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &ValidateArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json, Format::Github])?;
    let paths = if args.paths.is_empty() { context.policy_paths() } else { args.paths.clone() };
    let (policies, findings) = match policy::load(&paths) {
        Ok(mut loaded) => {
            warn_of_chains(&mut loaded);
            (Some(loaded.policies), loaded.warnings)
        }
        Err(mistakes) => (None, mistakes.diagnostics().to_vec()),
    };
    let shown = match format {
        Format::Github => render_github(&findings),
        _ if findings.is_empty() => String::new(),
        _ => render_text(&findings, context.text().styles != Styles::Plain) + "\n",
    };
    print(|out| match format {
        Format::Json => write_json(policies.as_ref(), &findings, out),
        _ => writeln!(out, "{shown}{}", summary(policies.as_ref(), &findings)),
    })?;
    let is_fine = policies.is_some() && (findings.is_empty() || !args.strict);
    Ok(if is_fine { Exit::Done } else { Exit::Failed })
}

/// Warns of tiers that hold more than twice what `keep` asks for, since increments need all that they were taken from.
fn warn_of_chains(loaded: &mut Loaded) {
    for HeavyTier { policy, tier, keep, peak, fewer } in heavy_tiers(&loaded.policies) {
        let hint = match fewer {
            Some((from, fewer)) => format!(
                "with `from: [{}]` it holds at most {fewer}, each of them larger; or raise `keep`",
                from.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
            ),
            None => "keep fewer of the tiers that are taken from it, or more of this one".to_owned(),
        };
        let message = format!(
            "`{tier}` of `{policy}` holds up to {peak} backups with `keep: {keep}`: the others stay because kept ones are \
             taken from them"
        );
        loaded.warn(&policy, message, hint);
    }
}

fn write_json(policies: Option<&Policies>, findings: &[Diagnostic], out: &mut dyn Write) -> io::Result<()> {
    let finding = |it: &Diagnostic| {
        json!({
            "severity": it.severity.as_str(),
            "file": it.file,
            "line": it.line(),
            "column": it.column(),
            "message": it.message,
            "hint": it.hint,
        })
    };
    let report = json!({
        "format": "fifo-retain.validate/1",
        "policies": policies.map(|policies| policies.iter().count()),
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    });
    document(&report, None, out)
}

/// Sums up: `4 policies in 4 files, no mistakes`.
fn summary(policies: Option<&Policies>, findings: &[Diagnostic]) -> String {
    let mut counts = counted(findings, Severity::Error);
    if findings.iter().any(|it| it.severity == Severity::Warning) {
        counts.push_str(&format!(", {}", counted(findings, Severity::Warning)));
    }
    let files = |names: BTreeSet<&str>| plural(names.len(), "file");
    match policies {
        Some(policies) => {
            let files = files(policies.iter().map(|policy| policy.source.file.as_str()).collect());
            format!("{} in {files}, {counts}", count_text(policies))
        }
        None => format!("{counts} in {}", files(findings.iter().map(|it| it.file.as_str()).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{SourceFile, parse};

    fn warnings(keep: u32, from: &str) -> Vec<(String, Option<String>)> {
        let text = format!(
            "version: 1\npolicy: web\nselect: {{ all: true }}\ntiers:\n\
             - {{ name: weekly, schedule: \"0 1 * * SUN\", type: full, keep: 5 }}\n\
             - {{ name: daily, schedule: \"0 1 * * *\", type: incremental, keep: {keep}{from} }}\n"
        );
        let file = SourceFile { name: "policies/web.yaml".to_owned(), bytes: text.into_bytes() };
        let mut loaded = parse(&[file]).unwrap();
        assert_eq!(loaded.warnings, []);
        warn_of_chains(&mut loaded);
        assert!(loaded.warnings.iter().all(|it| it.file == "policies/web.yaml"));
        loaded.warnings.into_iter().map(|it| (it.message, it.hint)).collect()
    }

    #[test]
    fn a_tier_that_holds_more_than_twice_its_keep_is_warned_about_with_the_parents_that_help() {
        assert_eq!(warnings(5, ""), []);
        assert_eq!(warnings(4, ", from: [weekly]"), []);
        let found = warnings(4, "");
        let [(message, Some(hint))] = found.as_slice() else { panic!("{found:?}") };
        let holds = "`daily` of `web` holds up to 9 backups with `keep: 4`: the others stay because kept ones are taken from them";
        assert_eq!(message, holds);
        assert_eq!(hint, "with `from: [weekly]` it holds at most 4, each of them larger; or raise `keep`");
    }
}
