//! Reading the policies, and telling what is wrong with them.

use super::context::{Context, LogFormat};
use crate::policy::{self, Diagnostic, Loaded, Policies, PolicyErrors, Severity, SourceFile, render_text};
use crate::report::{Failure, Styles};
use crate::runner::output;
use std::path::PathBuf;

const EXAMPLES: [(&str, &str); 4] = [
    ("built-in/daily-full.yaml", include_str!("../../policies/daily-full.yaml")),
    ("built-in/databases.yaml", include_str!("../../policies/databases.yaml")),
    ("built-in/differential.yaml", include_str!("../../policies/differential.yaml")),
    ("built-in/grandfather.yaml", include_str!("../../policies/grandfather.yaml")),
];

/// Returns the example policies where a run would take these.
fn examples(context: &Context) -> Option<Vec<SourceFile>> {
    let file = |(name, text): (&str, &str)| SourceFile { name: name.to_owned(), bytes: text.into() };
    (context.global.sandbox && context.has_no_policies()).then(|| EXAMPLES.map(file).into())
}

/// Reads the policies that a run would take, without any output, and says whether they are the built-in ones.
pub(super) fn read(context: &Context) -> (Result<Loaded, PolicyErrors>, bool) {
    match examples(context) {
        Some(files) => (policy::parse(&files), true),
        None => (policy::load(&context.policy_paths()), false),
    }
}

/// Reads the files of the policies that a run would take, whatever is in them.
pub(super) fn sources(context: &Context) -> Result<Vec<SourceFile>, Failure> {
    let read = examples(context).map_or_else(|| policy::read_files(&context.policy_paths()), Ok);
    read.map_err(|mistakes| refused(context, &mistakes, "in the places of policies", ""))
}

/// Reads the policies of a run. Warnings and mistakes go to standard error.
pub(super) fn load(context: &Context) -> Result<Policies, Failure> {
    let (read, is_built_in) = read(context);
    let loaded = read.map_err(|mistakes| refused(context, &mistakes, "in the policies", ""))?;
    if is_built_in {
        tracing::info!(
            "there is no folder `policies` here: using the built-in example policies; `fifo-retain init` writes one of \
             your own"
        );
    }
    print_diagnostics(context, &loaded.warnings);
    Ok(loaded.policies)
}

/// Reads the policies of a run, and warns where its `--prune` has no effect.
pub(super) fn load_for(context: &Context, prunes: bool) -> Result<Policies, Failure> {
    let policies = load(context)?;
    if prunes && !policies.iter().any(|policy| policy.prune) {
        tracing::warn!("--prune deletes nothing: no policy says `prune: true`");
    }
    Ok(policies)
}

/// Reads the policies to compare with, if there are any paths. Their warnings no longer matter.
pub(super) fn load_against(context: &Context, paths: &[PathBuf]) -> Result<Option<Policies>, Failure> {
    if paths.is_empty() {
        return Ok(None);
    }
    let loaded = policy::load_if_any(paths).map_err(|mistakes| {
        let hint = "; to compare with no policies at all, give --against an empty folder";
        refused(context, &mistakes, "in the policies to compare with", hint)
    })?;
    if loaded.policies.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let paths = paths.join(" and ");
        tracing::warn!("there is no policy in {paths}: every VM counts as unprotected before this change");
    }
    Ok(Some(loaded.policies))
}

fn refused(context: &Context, mistakes: &PolicyErrors, place: &str, hint: &str) -> Failure {
    print_diagnostics(context, mistakes.diagnostics());
    Failure::new(format!("{} {place}", counted(mistakes.diagnostics(), Severity::Error)))
        .hint(format!("FiFo was not contacted{hint}"))
}

pub(super) fn print_diagnostics(context: &Context, diagnostics: &[Diagnostic]) {
    if context.global.log_format == LogFormat::Text {
        let colour = context.host.output.error_styles != Styles::Plain;
        let gap = if diagnostics.is_empty() { "" } else { "\n" };
        return output::say(format!("{}{gap}", render_text(diagnostics, colour)).into_bytes());
    }
    for it in diagnostics {
        let (file, line, column, hint) = (&it.file, it.line(), it.column(), it.hint.as_deref());
        match it.severity {
            Severity::Error => tracing::error!(file, line, column, hint, "{}", it.message),
            Severity::Warning => tracing::warn!(file, line, column, hint, "{}", it.message),
        }
    }
}

/// Counts the findings of a severity: `1 mistake`, `2 warnings`, `no mistakes`.
pub(super) fn counted(diagnostics: &[Diagnostic], severity: Severity) -> String {
    let noun = match severity {
        Severity::Error => "mistake",
        Severity::Warning => "warning",
    };
    plural(diagnostics.iter().filter(|it| it.severity == severity).count(), noun)
}

pub(super) fn count_text(policies: &Policies) -> String {
    match policies.iter().count() {
        1 => "1 policy".to_owned(),
        count => format!("{count} policies"),
    }
}

pub(super) fn plural(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
