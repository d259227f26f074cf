//! `sandbox`: serves the simulated FiFo for other programs.

use super::context::{Context, Format, SANDBOX_FILE};
use super::value::timeout;
use crate::report::{Exit, Failure};
use crate::runner::fifo::SANDBOX_USER;
use crate::runner::interrupt::Interrupt;
use crate::runner::output::print_text;
use crate::sandbox::{ApiStyle, Options, Sandbox, Seed, Shape};
use clap::Args;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/sandbox.txt"))]
pub struct SandboxArgs {
    /// Where to listen; only loopback addresses, since anybody may control it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// How many VMs there are at first [default: one of every kind]
    #[arg(long, value_name = "COUNT")]
    vms: Option<usize>,

    /// What all UUIDs and sizes come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// The generation of FiFo: v2 is 2015, v3 is 2016 and later
    #[arg(long, value_name = "STYLE", value_parser = ["v2", "v3"], default_value = "v3")]
    api_style: String,

    /// How long an upload takes
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    upload_seconds: u32,

    /// Cut every full list that takes longer, as FiFo of 2016 does after 5s; a VM counts as 10 ms, a backup as 1 ms
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    list_limit: Option<Duration>,

    /// Keep the world in this file from run to run [default: .fifo-retain/sandbox.json, as for --sandbox]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Begin with the first world, whatever the file holds
    #[arg(long)]
    fresh: bool,
}

pub(super) async fn run(args: &SandboxArgs, context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json])?;
    let failed = |error: io::Error| {
        let message = format!("failed to serve the sandbox on {}", args.listen);
        match error.kind() {
            io::ErrorKind::ResourceBusy => Failure::ending(Exit::Locked, message)
                .because(error)
                .hint("wait until the other command in this folder has ended, or give --state FILE"),
            _ => Failure::new(message).because(error),
        }
    };
    let state_file = args.state.clone().unwrap_or_else(|| PathBuf::from(SANDBOX_FILE));
    let vms = args.vms.unwrap_or(Seed::default().vms);
    if args.vms.is_some() && !args.fresh && state_file.exists() {
        tracing::warn!(
            "the world in {} is continued, and --vms is ignored: give --fresh to begin with a new one",
            state_file.display()
        );
    }
    let (style, version, years) = match args.api_style.as_str() {
        "v2" => (ApiStyle::V2, "2", "2015"),
        _ => (ApiStyle::V3, "3", "2016 and later"),
    };
    let options = Options {
        listen: args.listen,
        seed: Seed { vms, seed: args.seed },
        shape: Shape { style, ..Shape::default() },
        upload_ms: u64::from(args.upload_seconds) * 1_000,
        list_limit: args.list_limit,
        state_file: Some(state_file),
        fresh: args.fresh,
        ..Options::default()
    };
    // Listened for before the greeting, so that no signal is missed.
    let interrupt = Interrupt::default();
    interrupt.listen()?;
    let running = Sandbox::start(options).await.map_err(failed)?;
    let (url, user) = (running.url(), SANDBOX_USER);
    print_text(&match format {
        Format::Json => {
            let of = json!({"endpoint": url, "api_version": version, "user": user, "password": user});
            format!("{of}\n")
        }
        _ => {
            let vms = running.with(|state| state.world.vms.len());
            format!(
                "\
A simulated FiFo of {years} with {vms} VMs, at {url}
User {user}, password {user}. Ctrl-C ends it.

In another shell:
  export FIFO_ENDPOINT={url} FIFO_USER={user} FIFO_PASSWORD={user}
  fifo-retain --api-version {version} plan
  curl -d grant_type=password -d username={user} -d password={user} {url}/api/{version}/oauth/token
  curl -H 'accept: application/json' -H \"authorization: Bearer $TOKEN\" {url}/api/{version}/vms
  curl {url}/_sandbox/world
"
            )
        }
    })?;
    interrupt.signalled().await;
    running.stop().await.map_err(failed)?;
    Ok(Exit::Done)
}
