//! `sandbox`: serves the simulated FiFo for other programs.

use crate::cli::args::{SandboxArgs, Style, TextOrJson};
use crate::cli::connection::SANDBOX_USER;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::Outcome;
use crate::sandbox::{ApiStyle, Options, RunningSandbox, Sandbox, Seed, Shape};
use serde_json::json;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command until a signal ends it.
///
/// # Errors
///
/// It cannot listen there, or its world cannot be read or written.
pub(in crate::cli) async fn run(args: &SandboxArgs, context: &Context) -> Result<Outcome, CliError> {
    let format = context.format()?;
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::ResourceBusy => Kind::Locked,
            _ => Kind::Files,
        };
        let error =
            CliError::new(kind, format!("failed to serve the sandbox on {}", args.listen)).because(error);
        match kind {
            Kind::Locked => {
                error.hint("wait until the other command in this folder has ended, or give --state FILE")
            }
            _ => error,
        }
    };
    let state_file = args.state.clone().unwrap_or_else(|| context.sandbox_file().to_owned());
    let vms = args.vms.unwrap_or(Seed::default().vms);
    if args.vms.is_some() && !args.fresh && state_file.exists() {
        tracing::warn!(
            "the world in {} is continued, and --vms is ignored: give --fresh to begin with a new one",
            state_file.display()
        );
    }
    let style = match args.api_style {
        Style::V2 => ApiStyle::V2,
        Style::V3 => ApiStyle::V3,
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
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let running = Sandbox::start(options).await.map_err(failed)?;
    let greeting = match format {
        TextOrJson::Json => greeting_json(&running, style),
        TextOrJson::Text => greeting(&running, style),
    };
    context.print(|out| out.write_all(greeting.as_bytes()))?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    running.stop().await.map_err(failed)?;
    Ok(Outcome::Done)
}

fn api_version(style: ApiStyle) -> &'static str {
    match style {
        ApiStyle::V2 => "2",
        ApiStyle::V3 => "3",
    }
}

fn greeting_json(running: &RunningSandbox, style: ApiStyle) -> String {
    let greeting = json!({
        "endpoint": running.url(),
        "api_version": api_version(style),
        "user": SANDBOX_USER,
        "password": SANDBOX_USER,
    });
    format!("{greeting}\n")
}

fn greeting(running: &RunningSandbox, style: ApiStyle) -> String {
    let (url, user, version) = (running.url(), SANDBOX_USER, api_version(style));
    let vms = running.with(|state| state.world.vms.len());
    let years = match style {
        ApiStyle::V2 => "2015",
        ApiStyle::V3 => "2016 and later",
    };
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
