//! `init`: writes a first policy, after questions on a terminal, from options, or from the old script's crontab.

mod crontab;
mod draft;
#[cfg(test)]
mod tests;

use crate::cli::args::{Condition, InitArgs, TextOnly, policy_name, zone};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::Outcome;
use crate::cli::files;
use crate::cli::policies;
use crate::policy::{self, SourceFile};
use crontab::{Crontab, TIERS};
use draft::{Draft, DraftTier, Selection, yaml};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

const DEFAULT_NAME: &str = "grandfather";
const DEFAULT_ZONE: &str = "UTC";
const DEFAULT_HOUR: u8 = 1;
/// How many monthly, weekly and daily backups are kept.
const DEFAULT_KEEP: [NonZeroU32; 3] = [count(12), count(5), count(7)];

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

/// Runs the command.
///
/// # Errors
///
/// There is no terminal to ask on and the options do not say enough; the crontab cannot be read, or has no line that is
/// understood; the file exists already, or cannot be written.
pub(in crate::cli) fn run(args: &InitArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOnly>()?;
    let drafts = match &args.from_crontab {
        Some(file) => from_crontab(file, args, context)?,
        None => vec![grandfather(args, context)?],
    };
    let text = yaml(&drafts);
    let name = drafts.first().map_or(DEFAULT_NAME, |draft| &draft.name);
    let path = args.out.clone().unwrap_or_else(|| default_path(context, name));
    validate(&text, &path, context)?;
    if path == Path::new("-") {
        context.print(|out| out.write_all(text.as_bytes()))?;
        tracing::info!("save it in the policies folder, and run `fifo-retain validate --strict` next");
        return Ok(Outcome::Done);
    }
    write(&path, &text, args.force)?;
    context.print(|out| write!(out, "{}", next_steps(&path, args, context)))?;
    Ok(Outcome::Done)
}

/// Makes the usual three tiers, of options or answers.
fn grandfather(args: &InitArgs, context: &Context) -> Result<Draft, CliError> {
    let is_selected = args.all || !args.select.is_empty();
    if !is_selected && !context.can_ask() {
        return Err(CliError::new(
            Kind::Usage,
            "there is no terminal to ask on, and no option says which VMs the policy is for",
        )
        .hint(
            "give --select metadata.fifo.backup=1 (or another KEY=VALUE), --all or --from-crontab FILE; --name, \
             --timezone, --hour, --keep-monthly, --keep-weekly and --keep-daily have defaults",
        ));
    }
    let given_keep = keep(args);
    if is_selected {
        let selection = if args.all { Selection::All } else { Selection::Conditions(args.select.clone()) };
        return Ok(scheme(
            args.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            selection,
            args.timezone.clone().unwrap_or_else(|| DEFAULT_ZONE.to_owned()),
            args.hour.unwrap_or(DEFAULT_HOUR),
            [0, 1, 2].map(|tier| given_keep[tier].unwrap_or(DEFAULT_KEEP[tier])),
        ));
    }
    let selection = ask(
        context,
        "Which VMs: `all`, or KEY=VALUE such as alias=web-*",
        None,
        "metadata.fifo.backup=1",
        selection,
    )?;
    let name = ask(context, "Name of the policy", args.name.clone(), DEFAULT_NAME, policy_name)?;
    let zone = ask_zone(args, context)?;
    let hour = ask(context, "Hour of the backups, from 0 to 23", args.hour, &DEFAULT_HOUR.to_string(), hour)?;
    let mut kept = DEFAULT_KEEP;
    for (tier, kept) in kept.iter_mut().enumerate() {
        let question = format!("How many {} backups to keep", TIERS[tier]);
        let default = kept.to_string();
        *kept = ask(context, &question, given_keep[tier], &default, |text| {
            text.parse().map_err(|_| "it must be a number of at least 1".to_owned())
        })?;
    }
    Ok(scheme(name, selection, zone, hour, kept))
}

fn scheme(name: String, selection: Selection, zone: String, hour: u8, keep: [NonZeroU32; 3]) -> Draft {
    let days = ["1 * *", "* * SUN", "* * *"];
    let tier = |place: usize| DraftTier {
        name: TIERS[place],
        schedule: format!("0 {hour} {}", days[place]),
        keep: Some(keep[place]),
    };
    Draft {
        name,
        description: "Monthly full backups, weekly and daily incremental ones.".to_owned(),
        remarks: Vec::new(),
        priority: 0,
        selection,
        zone,
        tiers: [0, 1, 2].map(tier).to_vec(),
    }
}

fn keep(args: &InitArgs) -> [Option<NonZeroU32>; 3] {
    [args.keep_monthly, args.keep_weekly, args.keep_daily]
}

/// Makes the policies that do what a crontab does. Each line that is not taken over is reported.
fn from_crontab(file: &Path, args: &InitArgs, context: &Context) -> Result<Vec<Draft>, CliError> {
    let is_stdin = file == Path::new("-");
    let text = if is_stdin { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let shown = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let text = text.map_err(|error| {
        CliError::new(Kind::Files, format!("failed to read the crontab {shown}")).because(error)
    })?;
    let crontab = Crontab::read(&text, args.wrapper.as_deref());
    for unread in &crontab.unread {
        tracing::warn!("{shown}:{}: this line is not taken over: {}", unread.line, unread.why);
    }
    if crontab.is_empty() {
        return Err(CliError::new(Kind::Settings, format!("no line of {shown} runs the backup script")).hint(
            "a line is taken over when its command has one of the words monthly, weekly and daily and the UUIDs of \
             VMs, or is the command that --wrapper names",
        ));
    }
    let zone = match (&args.timezone, crontab.needs_zone()) {
        (Some(zone), _) => zone.clone(),
        (None, false) => DEFAULT_ZONE.to_owned(),
        (None, true) if context.can_ask() => ask_zone(args, context)?,
        (None, true) => {
            return Err(CliError::new(
                Kind::Usage,
                format!("{shown} does not say in which time zone cron runs"),
            )
            .hint("give --timezone with the zone of the machine that it is from"));
        }
    };
    let mut drafts = crontab.drafts(args.name.as_deref().unwrap_or(DEFAULT_NAME), &zone);
    for draft in &mut drafts {
        draft.remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
        for tier in &mut draft.tiers {
            let place = TIERS.iter().position(|name| *name == tier.name);
            tier.keep = place.and_then(|place| keep(args)[place]);
        }
    }
    Ok(drafts)
}

fn ask_zone(args: &InitArgs, context: &Context) -> Result<String, CliError> {
    let own = context.environment.text("TZ").ok().flatten().filter(|name| zone(name).is_ok());
    ask(context, "Time zone of the schedules", args.timezone.clone(), own.unwrap_or(DEFAULT_ZONE), zone)
}

/// Asks until the answer can be used. What an option gives is not asked.
fn ask<T>(
    context: &Context,
    question: &str,
    given: Option<T>,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, CliError> {
    if let Some(given) = given {
        return Ok(given);
    }
    loop {
        let Some(answer) = context.ask_line(&format!("{question} [{default}]: "))? else {
            return Err(CliError::new(Kind::Declined, "the question was not answered: nothing is written"));
        };
        let answer = answer.trim();
        match read(if answer.is_empty() { default } else { answer }) {
            Ok(answer) => return Ok(answer),
            Err(why) => tracing::warn!("{why}"),
        }
    }
}

fn selection(text: &str) -> Result<Selection, String> {
    if text == "all" {
        return Ok(Selection::All);
    }
    text.parse::<Condition>().map(|condition| Selection::Conditions(vec![condition]))
}

fn hour(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|hour| *hour < 24).ok_or_else(|| "it must be a number from 0 to 23".to_owned())
}

fn default_path(context: &Context, name: &str) -> PathBuf {
    let folder = context.policy_paths().into_iter().find(|path| !path.is_file());
    folder.unwrap_or_default().join(format!("{name}.yaml"))
}

/// Checks what is to be written, and reports what is doubtful in it.
fn validate(text: &str, path: &Path, context: &Context) -> Result<(), CliError> {
    let file = SourceFile { name: path.display().to_string(), bytes: text.into() };
    match policy::parse(&[file]) {
        Ok(loaded) => {
            policies::print_diagnostics(context, &loaded.warnings);
            Ok(())
        }
        Err(mistakes) => {
            policies::print_diagnostics(context, mistakes.diagnostics());
            Err(CliError::new(Kind::Settings, "these options do not make a valid policy: nothing is written"))
        }
    }
}

fn write(path: &Path, text: &str, may_replace: bool) -> Result<(), CliError> {
    let failed = |error: io::Error| {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let message = format!("failed to write {}", path.display());
        let error = CliError::new(Kind::Files, message).because(error);
        if exists { error.hint("choose another --name or --out, or replace it with --force") } else { error }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    if may_replace {
        return files::put(path, files::PUBLIC, |out| out.write_all(text.as_bytes())).map_err(failed);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn next_steps(path: &Path, args: &InitArgs, context: &Context) -> String {
    let path = path.display();
    let mut plan = "fifo-retain".to_owned();
    if context.global.sandbox {
        plan.push_str(" --sandbox");
    }
    if args.out.is_some() {
        plan.push_str(&format!(" --policies {path}"));
    }
    format!("Wrote {path}.\n\nNext:\n  fifo-retain validate --strict {path}\n  {plan} plan\n")
}
