//! `verify`: are the stored backups what FiFo says they are?

use super::connect;
use super::context::{Context, Format};
use super::store::StoreArgs;
use super::value::{rate, size};
use crate::policy::Pattern;
use crate::report::{Exit, Failure, json, verify as reports};
use crate::runner::fifo::{FAIL_FAST, Fifo};
use crate::runner::output::{Output, bars, style_of};
use crate::runner::proofs::{self, OpenedStore};
use crate::runner::reporting::write_metrics;
use crate::store::StoreError;
use crate::verify::{Depth, FORMAT, Known, Progress, Question, Report, Shard, VerifyError, merge, verify};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TOLD_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/verify.txt"))]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,

    /// Only these VMs: by UUID, or all with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    vms: Vec<Pattern>,

    /// How much of each object is read
    #[arg(long, value_enum, default_value_t = Depth::Headers)]
    depth: Depth,

    /// Read whole objects no faster than this, all together, such as 200MiB/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<u64>,

    /// Read no more than this whole in this run, such as 100GiB, those first that were read longest ago
    #[arg(long, value_name = "SIZE", value_parser = size)]
    budget: Option<u64>,

    /// How many objects are read at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,

    /// Only a part of the VMs, such as 3/10, so that several machines share the reading
    #[arg(long, value_name = "K/N", conflicts_with = "vms")]
    shard: Option<Shard>,

    /// Put the JSON of all parts together instead of reading anything
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["shard", "vms"])]
    merge: Vec<PathBuf>,

    /// Write metrics to this file, for node_exporter's textfile collector; exit with 1 when that fails
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    metrics_file: Option<PathBuf>,
}

impl ValueEnum for Depth {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Objects, Self::Headers, Self::Full]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Objects => "Nothing: are they there, with their sizes?",
            Self::Headers => "Their beginning: does each chain connect?",
            Self::Full => "All of it, with every checksum",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

pub(super) async fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json, Format::Markdown])?;
    let report = if args.merge.is_empty() { ask(args, context).await? } else { merged(args, context)? };
    if let Some(path) = &args.metrics_file {
        write_metrics(path, &reports::metrics(&report))?;
    }
    let doc = || reports::document(&report, context.text().detail);
    context.print(doc, |out| json::document(&report, None, out))?;
    Ok(if report.is_out() { Exit::Changes } else { Exit::Done })
}

async fn ask(args: &VerifyArgs, context: &Context) -> Result<Report, Failure> {
    let OpenedStore { store, name: store_name } = args.store.open(context)?;
    let fifo = connect::target(context)?.open(&context.host, FAIL_FAST).await?;
    let state_dir = context.host.made_state_dir()?;
    let read = || proofs::known(Some(state_dir), &fifo.name, Some(&store_name));
    let mut known = read();
    let before = known.clone();
    // A verification may take days, and runs find something meanwhile.
    let save_all = |known: &Known| {
        let mut known = known.clone();
        known.take_over(&before, read());
        proofs::save(&known, state_dir);
    };
    let shown = Shown::new(&context.host.output);
    let question = Question {
        depth: args.depth,
        vms: &args.vms,
        shard: args.shard,
        parallel: args.parallel.into(),
        bytes_per_sec: args.rate,
        budget_bytes: args.budget,
        fifo: &fifo.client,
        endpoint: &fifo.name,
        store: store.as_ref(),
        store_name: &store_name,
        clock: context.host.clock,
        progress: &|progress| shown.tell(progress),
        save: &save_all,
    };
    let verified = verify(&question, &mut known).await;
    shown.bar.finish_and_clear();
    let report = verified.map_err(|error| failure(&error, &fifo));
    if let Ok(report) = &report {
        known.enter(report);
    }
    // What was read until a failure was read. Of a wrong store nothing was, and what is known of the right one stays.
    if report.is_ok() || !known.vms.is_empty() {
        save_all(&known);
    }
    fifo.close().await?;
    report
}

/// Puts the reports in the files of `--merge` together, and remembers what they found as if it were found here.
fn merged(args: &VerifyArgs, context: &Context) -> Result<Report, Failure> {
    let read = |path: &PathBuf| {
        let what = || Failure::new(format!("failed to read {}", path.display()));
        let bytes = fs::read(path).map_err(|error| what().because(error))?;
        let report: Report = serde_json::from_slice(&bytes).map_err(|error| what().because(error))?;
        if report.format == FORMAT {
            Ok(report)
        } else {
            Err(what().hint(format!("it has to be the JSON of verify, {FORMAT}")))
        }
    };
    let reports = args.merge.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let report = merge(reports).map_err(Failure::new)?;
    let state_dir = context.host.made_state_dir()?;
    let mut known = proofs::known(Some(state_dir), &report.endpoint, Some(&report.store));
    known.enter(&report);
    proofs::save(&known, state_dir);
    Ok(report)
}

fn failure(error: &VerifyError, fifo: &Fifo) -> Failure {
    match error {
        VerifyError::Fifo(error) => fifo.failure(error),
        VerifyError::Store(error) => store_failure(error),
        VerifyError::WrongStore { .. } => Failure::of(error).hint(
            "is it the right bucket and prefix? nothing is reported of single backups while most objects are not there",
        ),
        VerifyError::NoVm | VerifyError::NoSuchVm(_) => {
            Failure::of(error).hint("a user sees only the VMs it may `get`")
        }
    }
}

/// Says what to check where a store cannot be read.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    let failure = Failure::of(error);
    match error {
        StoreError::Status { status: 401 | 403, .. } => {
            failure.hint("check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the clock; the key needs to list and get")
        }
        StoreError::Missing(_) => failure.hint("check --store"),
        StoreError::Lost { .. } => failure.hint("check --store-endpoint, and whether the store can be reached from here"),
        _ => failure,
    }
}

/// Shows how far a verification is: by a bar on a terminal, else now and then in the log.
struct Shown {
    bar: ProgressBar,
    began: Instant,
    told_at: Mutex<Instant>,
}

impl Shown {
    fn new(output: &Output) -> Self {
        let bar =
            if output.has_bars() { bars().add(ProgressBar::no_length()) } else { ProgressBar::hidden() };
        Self { bar, began: Instant::now(), told_at: Mutex::new(Instant::now()) }
    }

    fn tell(&self, Progress { done, of, is_bytes }: Progress) {
        if self.bar.length() != Some(of) {
            self.bar.reset();
            self.bar.set_length(of);
            self.bar.set_style(style_of(match is_bytes {
                _ if of == 0 => "{spinner} listing",
                true => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
                false => "{wide_bar} {pos} of {len} objects, {eta} left",
            }));
        }
        self.bar.set_position(done);
        let Ok(mut told_at) = self.told_at.lock() else { return };
        if self.bar.is_hidden() && done > 0 && told_at.elapsed() >= TOLD_EVERY {
            *told_at = Instant::now();
            let left = self.began.elapsed().as_secs().saturating_mul(of.saturating_sub(done)) / done;
            let (unit, shift) = if is_bytes { ("MiB", 20) } else { ("objects", 0) };
            tracing::info!("verified {} of {} {unit}, about {left} s left", done >> shift, of >> shift);
        }
    }
}
