//! `init`: writes a first policy, after questions on a terminal, from options, or from the old script's crontab.

mod crontab;
mod draft;

use super::context::{Context, Format};
use super::policies;
use crate::policy::{self, PolicyErrors, SourceFile, Zone, is_name};
use crate::report::{Exit, Failure};
use crate::runner::files::{self, Put, read_input};
use crate::runner::output::{ask_line, can_ask, is_yes, print_text};
use clap::Args;
use crontab::Crontab;
use draft::{Condition, Draft, yaml};
use std::path::{Path, PathBuf};
use std::{fs, io};

const DEFAULT_NAME: &str = "grandfather";
const DEFAULT_ZONE: &str = "UTC";
const DEFAULT_HOUR: u8 = 1;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/init.txt"))]
pub struct InitArgs {
    /// Select VMs by metadata.PATH=VALUE, alias=GLOB, uuid, owner, package or dataset; can be given several times
    #[arg(long, value_name = "KEY=VALUE", help_heading = "VMs", conflicts_with_all = ["all", "from_crontab"])]
    select: Vec<Condition>,

    /// Select every VM
    #[arg(long, help_heading = "VMs", conflicts_with = "from_crontab")]
    all: bool,

    /// The policy's name [default: grandfather]
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    name: Option<String>,

    /// The IANA time zone of the schedules, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<String>,

    /// The hour at which backups are due, from 0 to 23 [default: 1]
    #[arg(long, value_parser = hour, conflicts_with = "from_crontab")]
    hour: Option<u8>,

    /// Let runs with --prune delete expired backups from storage, for good
    #[arg(long, conflicts_with = "from_crontab")]
    prune: bool,

    /// Make policies of the old backup script's lines in this crontab; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Crontab")]
    from_crontab: Option<PathBuf>,

    /// The command in the crontab that backs up every VM with metadata.fifo.backup = 1; can be given several times, such as
    /// for a monthly and a daily one
    #[arg(long, value_name = "COMMAND", help_heading = "Crontab", requires = "from_crontab")]
    wrapper: Vec<String>,

    /// Write to this file; - is standard output [default: NAME.yaml in the policies folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let drafts = match &args.from_crontab {
        Some(file) => from_crontab(file, args, context)?,
        None => vec![grandfather(args, context)?],
    };
    let text = yaml(&drafts);
    let name = drafts.first().map_or(DEFAULT_NAME, |draft| &draft.name);
    let path = args.out.clone().unwrap_or_else(|| {
        let folder = context.policy_paths().into_iter().find(|path| !path.is_file());
        folder.unwrap_or_default().join(format!("{name}.yaml"))
    });
    validate(&text, &path, context)?;
    if path == Path::new("-") {
        print_text(&text)?;
        tracing::info!("save it in the policies folder, and run `fifo-retain validate --strict` next");
        return Ok(Exit::Done);
    }
    write(&path, &text, args.force)?;
    print_text(&next_steps(&path, args, context))?;
    Ok(Exit::Done)
}

fn grandfather(args: &InitArgs, context: &Context) -> Result<Draft, Failure> {
    if args.all || !args.select.is_empty() {
        let name = args.name.as_deref().unwrap_or(DEFAULT_NAME);
        let zone = args.timezone.as_deref().unwrap_or(DEFAULT_ZONE);
        let hour = args.hour.unwrap_or(DEFAULT_HOUR);
        return Ok(Draft::grandfather(name, args.select.clone(), zone, hour, args.prune));
    }
    if !can_ask() {
        return Err(Failure::usage(
            "there is no terminal to ask on, and no option says which VMs the policy is for",
        )
        .hint(
            "give --select metadata.fifo.backup=1 (or another KEY=VALUE), --all or --from-crontab FILE; --name, \
             --timezone and --hour have defaults",
        ));
    }
    let which = "Which VMs: `all`, or KEY=VALUE such as alias=web-*";
    let selection = ask(which, None, "metadata.fifo.backup=1", selection)?;
    let name = ask("Name of the policy", args.name.clone(), DEFAULT_NAME, policy_name)?;
    let zone = ask_zone(args, context)?;
    let hour = ask("Hour of the backups, from 0 to 23", args.hour, &DEFAULT_HOUR.to_string(), hour)?;
    let prune = "Let runs with --prune delete expired backups from storage, for good";
    let prune = ask(prune, args.prune.then_some(true), "n", |text| Ok(is_yes(text)))?;
    Ok(Draft::grandfather(&name, selection, &zone, hour, prune))
}

/// Makes the policies that do what a crontab does. Each line that is not taken over is reported.
fn from_crontab(file: &Path, args: &InitArgs, context: &Context) -> Result<Vec<Draft>, Failure> {
    let (shown, bytes) = read_input("crontab", file)?;
    let text = String::from_utf8_lossy(&bytes);
    let crontab = Crontab::read(&text, &args.wrapper);
    for (line, why) in &crontab.unread {
        tracing::warn!("{shown}:{line}: this line is not taken over: {why}");
    }
    if crontab.is_empty() {
        return Err(Failure::new(format!("no line of {shown} runs the backup script")).hint(
            "a line is taken over when its command has one of the words monthly, weekly and daily and the UUIDs of \
             VMs, or is a command that --wrapper names",
        ));
    }
    let zone = match (&args.timezone, crontab.needs_zone()) {
        (Some(zone), _) => zone.clone(),
        (None, false) => DEFAULT_ZONE.to_owned(),
        (None, true) if can_ask() => ask_zone(args, context)?,
        (None, true) => {
            return Err(Failure::usage(format!("{shown} does not say in which time zone cron runs"))
                .hint("give --timezone with the zone of the machine that it is from"));
        }
    };
    let drafts = crontab.drafts(args.name.as_deref().unwrap_or(DEFAULT_NAME), &zone);
    for remark in drafts.iter().flat_map(|draft| &draft.remarks) {
        tracing::warn!("{remark}");
    }
    Ok(drafts)
}

fn ask_zone(args: &InitArgs, context: &Context) -> Result<String, Failure> {
    let own = context.environment.text("TZ").ok().flatten().filter(|name| zone(name).is_ok());
    ask("Time zone of the schedules", args.timezone.clone(), own.unwrap_or(DEFAULT_ZONE), zone)
}

/// Asks until the answer can be used. What an option gives is not asked.
fn ask<T>(
    question: &str,
    given: Option<T>,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    loop {
        let Some(answer) = ask_line(&format!("{question} [{default}]: "))? else {
            return Err(Failure::ending(Exit::Declined, "the question was not answered: nothing is written"));
        };
        let answer = answer.trim();
        match read(if answer.is_empty() { default } else { answer }) {
            Ok(answer) => return Ok(answer),
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

fn selection(text: &str) -> Result<Vec<Condition>, String> {
    if text == "all" { Ok(Vec::new()) } else { Ok(vec![text.parse()?]) }
}

fn hour(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|hour| *hour < 24).ok_or_else(|| "it must be a number from 0 to 23".to_owned())
}

fn policy_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("use a-z, 0-9 and -, such as web-servers".to_owned())
    }
}

fn zone(text: &str) -> Result<String, String> {
    let found = Zone::find(text).map(|_| text.to_owned());
    found.ok_or_else(|| "not an IANA time zone; write it like Europe/Berlin".to_owned())
}

fn validate(text: &str, path: &Path, context: &Context) -> Result<(), Failure> {
    let file = SourceFile { name: path.display().to_string(), bytes: text.into() };
    let checked = policy::parse(&[file]);
    let findings = checked.as_ref().map_or_else(PolicyErrors::diagnostics, |loaded| &loaded.warnings[..]);
    policies::print_diagnostics(context, findings);
    let invalid = |_| Failure::new("these options do not make a valid policy: nothing is written");
    checked.map(drop).map_err(invalid)
}

fn write(path: &Path, text: &str, may_replace: bool) -> Result<(), Failure> {
    let put = if may_replace { Put::Over } else { Put::New };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = folder
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| files::put(path, files::PUBLIC, put, |out| out.write_all(text.as_bytes())));
    written.map_err(|error| {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let failure = Failure::new(format!("failed to write {}", path.display())).because(error);
        let hint = "choose another --name or --out, or replace it with --force";
        if exists { failure.hint(hint) } else { failure }
    })
}

fn next_steps(path: &Path, args: &InitArgs, context: &Context) -> String {
    let path = path.display();
    let sandbox = if context.global.sandbox { " --sandbox" } else { "" };
    let policies = if args.out.is_some() { format!(" --policies {path}") } else { String::new() };
    format!(
        "Wrote {path}.\n\nNext:\n  fifo-retain validate --strict {path}\n  fifo-retain{sandbox}{policies} plan\n"
    )
}

#[cfg(test)]
mod tests;
