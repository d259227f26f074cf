//! `plan`: shows what there is to do, and saves it where that is wished.

use super::args::{Format, PlanArgs};
use super::connection::Chosen;
use super::context::Context;
use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::planning::{self, Planned};
use super::policies;
use crate::plan::Plan;
use crate::render::{self, markdown::MAX_BYTES_DEFAULT};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Runs the command.
///
/// # Errors
///
/// See [`planning::make`]; or the plan cannot be written.
pub(super) async fn run(args: &PlanArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json, Format::Markdown])?;
    let format = context.global.format;
    refuse_what_does_not_go_together(args, format)?;
    let before = match args.against.as_slice() {
        [] => None,
        paths => Some(policies::load_against(context, paths)?),
    };
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?.open(context).await?;
    let planned = planning::make(context, &policies, &fifo, &args.planning, args.at).await?;
    fifo.close().await?;
    let compared = before
        .map(|before| planning::compare_with(&before, &policies, &planned, &args.planning))
        .transpose()?;
    let Planned { plan, inventory } = planned;

    // Saved before it is shown: whoever closes the pipe early still finds the file.
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
    context.print(|out| match (format, &compared) {
        (Format::Json, None) => render::json::plan(&plan, out),
        (Format::Json, Some(compared)) => render::json::comparison(&plan, compared, out),
        (Format::Markdown, compared) => {
            let max_bytes = args.max_bytes.unwrap_or(MAX_BYTES_DEFAULT);
            render::markdown::plan(&plan, compared.as_ref(), max_bytes, out)
        }
        (Format::Text | Format::Github, compared) => {
            if args.diff && !plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
                render::diff::plan(&plan, &policies, &inventory, &context.look.styles, out)?;
                writeln!(out)?;
            }
            render::text::plan(&plan, &context.look, out)?;
            match compared {
                Some(compared) => render::text::comparison(compared, &plan, &context.look, out),
                None => Ok(()),
            }
        }
    })?;
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Outcome::Changes } else { Outcome::Done })
}

fn refuse_what_does_not_go_together(args: &PlanArgs, format: Format) -> Result<(), CliError> {
    let refuse = |message: &str| Err(CliError::new(Kind::Usage, message));
    match format {
        Format::Json if args.diff => refuse("--diff is text: it does not go with --format json"),
        Format::Markdown if args.diff => refuse("--diff is text: it does not go with --format markdown"),
        Format::Text | Format::Json | Format::Github if args.max_bytes.is_some() => {
            refuse("--max-bytes is for --format markdown: nothing else is ever cut")
        }
        Format::Text | Format::Json | Format::Github | Format::Markdown => Ok(()),
    }
}

/// Writes a plan to a file that only its owner may read, whole or not at all.
fn save(plan: &Plan, path: &Path) -> Result<(), CliError> {
    // What a link leads to is written, and the link stays. Where there is nothing yet, the path is as good as any.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_special = fs::metadata(&target).is_ok_and(|it| !it.is_file());
    let saved = if is_special { write_into(plan, &target) } else { replace(plan, &target) };
    saved.map_err(|error| {
        CliError::new(Kind::Files, format!("could not save the plan to {}", path.display())).because(error)
    })?;
    let until = plan.valid_until.map_or_else(String::new, |until| {
        format!("; from {} on it would be another one", until.format("%Y-%m-%d %H:%M:%S UTC"))
    });
    tracing::info!("saved the plan to {}{until}", path.display());
    Ok(())
}

/// Puts a file with the plan in the place of what there was.
fn replace(plan: &Plan, path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are made with mode 0600, and the name is only taken over when all of it is on disk.
    let mut file = NamedTempFile::new_in(folder)?;
    write_to(plan, &mut file)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Writes the plan into a pipe or a device. A file in its place, `/dev/stdout` say, would take it away from everybody.
fn write_into(plan: &Plan, path: &Path) -> io::Result<()> {
    write_to(plan, &mut OpenOptions::new().write(true).open(path)?)
}

fn write_to(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    render::json::plan(plan, &mut out)?;
    out.flush()
}
