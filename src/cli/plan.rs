//! `plan`: shows what there is to do, and saves it where that is wished.

use super::args::{Format, PlanArgs};
use super::connection::Chosen;
use super::context::Context;
use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::planning::{self, Planned};
use super::policies;
use crate::plan::Plan;
use crate::render;
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
    context.allow(&[Format::Text, Format::Json])?;
    let is_json = context.global.format == Format::Json;
    if args.diff && is_json {
        return Err(CliError::new(Kind::Usage, "--diff is text: it does not go with --format json"));
    }
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?.open(context).await?;
    let Planned { plan, inventory } =
        planning::make(context, &policies, &fifo, &args.planning, args.at).await?;
    fifo.close().await?;

    // Saved before it is shown: whoever closes the pipe early still finds the file.
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
    context.print(|out| {
        if is_json {
            return render::json::plan(&plan, out);
        }
        if args.diff && !plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
            render::diff::plan(&plan, &policies, &inventory, &context.look.styles, out)?;
            writeln!(out)?;
        }
        render::text::plan(&plan, &context.look, out)
    })?;
    let has_changes = plan.vms.iter().any(|vm| !vm.due_actions().is_empty());
    Ok(if args.detailed_exitcode && has_changes { Outcome::Changes } else { Outcome::Done })
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
