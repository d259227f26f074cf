//! `check`: can this machine and this user do the work? Reads only; every finding is one line.

mod local;
mod report;

use super::args::Format;
use super::connect;
use super::context::Context;
use super::policies::plural;
use crate::apply::CLOCK_SKEW_MAX;
use crate::fifo::{FifoError, Listing};
use crate::render::text::span_text;
use crate::run::{Exit, Failure};
use crate::runner::fifo::{Fifo, FirstContact, Target};
use crate::runner::output::print;
use crate::runner::read::{SKEW_WARN, skew};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use report::{Check, CheckReport, Finding};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/check.txt"))]
pub struct CheckArgs {}

/// Runs the command.
///
/// # Errors
///
/// The findings cannot be written, or the form of output is not for this command. A problem is no error but an
/// [`Exit`].
pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json])?;
    let mut checks = Vec::new();
    let (endpoint, listing) = match connect::target(context) {
        Ok(chosen) => {
            let name = chosen.name();
            checks.push(Check::ok("endpoint", format!("{name}, {}", chosen.identity())));
            let listing = remote(chosen, context, &mut checks).await;
            (Some(name), listing)
        }
        Err(error) => {
            checks.push(Check::problem("endpoint", &error));
            (None, None)
        }
    };
    let policies = local::policies(context, &mut checks);
    if let (Some(policies), Some(listing)) = (&policies, &listing) {
        local::selected(policies, &listing.inventory, &mut checks);
    }
    if let Some(endpoint) = &endpoint {
        local::state(context, endpoint, &mut checks);
    }
    let mut report = CheckReport::default();
    checks.into_iter().for_each(|check| report.add(check));
    print(|out| match format {
        Format::Json => report.write_json(endpoint.as_deref(), out),
        _ => report.write_text(context.text(), out),
    })?;
    Ok(if report.count(Finding::Problem) == 0 { Exit::Done } else { Exit::Failed })
}

/// Makes the checks for which FiFo is asked, up to the first problem that leaves nothing more to ask.
async fn remote(chosen: Target, context: &Context, checks: &mut Vec<Check>) -> Option<Listing> {
    let fifo = match chosen.open(&context.host, FirstContact::FailFast).await {
        Ok(fifo) => fifo,
        Err(error) => {
            checks.push(Check::problem("connection", &error));
            return None;
        }
    };
    let listing = asked(&fifo, context, checks).await;
    if let Err(error) = fifo.close().await {
        checks.push(Check::problem("connection", &error));
    }
    listing
}

async fn asked(fifo: &Fifo, context: &Context, checks: &mut Vec<Check>) -> Option<Listing> {
    let before = context.host.now();
    match fifo.read().backend().await {
        Ok(server) => {
            checks.push(Check::ok("connection", "FiFo answers, and all of its subsystems are up"));
            checks.push(clock(server, before, context.host.now()));
        }
        Err(error) => {
            let has_no_answer = error.is_silence();
            let problem = Check::problem("connection", &fifo.failure(&error));
            checks.push(if has_no_answer {
                problem
            } else {
                problem.advice("is this the address of FiFo's API, and are all of its services running?")
            });
            return None;
        }
    }
    if let Err(error) = fifo.read().sign_in().await {
        let problem = Check::problem("sign-in", &fifo.failure(&error));
        checks.push(problem.advice("check FIFO_USER and FIFO_PASSWORD, FIFO_TOKEN or the profile"));
        return None;
    }
    let listed = fifo.read().list().await;
    // A given token is sent for the first time with the list.
    if !listed.as_ref().is_err_and(FifoError::is_refusal) {
        checks.push(Check::ok("sign-in", "FiFo accepts these credentials"));
    }
    match listed {
        Ok(listing) => {
            readable(&listing, checks);
            Some(listing)
        }
        Err(error) => {
            let check = if error.is_refusal() { "sign-in" } else { "permissions" };
            checks.push(Check::problem(check, &fifo.failure(&error)));
            None
        }
    }
}

fn clock(server: Option<DateTime<Utc>>, before: DateTime<Utc>, after: DateTime<Utc>) -> Check {
    let Some(server) = server else {
        return Check::new("clock", Finding::Unverified, "FiFo does not say what time it is there");
    };
    let skew = skew(server, before, after);
    let apart = span_text(skew.num_seconds().abs());
    // A server's date is cut to the second, so that one second behind says nothing.
    let message = if skew >= TimeDelta::seconds(1) {
        format!("FiFo is {apart} ahead of this machine")
    } else if skew <= TimeDelta::seconds(-1) {
        format!("FiFo is {apart} behind this machine")
    } else {
        "FiFo and this machine agree".to_owned()
    };
    match skew.abs() {
        skew if skew > CLOCK_SKEW_MAX => Check::new("clock", Finding::Problem, message)
            .advice("nothing is planned with more than an hour between the clocks: set the wrong one"),
        skew if skew > SKEW_WARN => Check::new("clock", Finding::Warning, message)
            .advice("due times shift by as much: set the wrong one"),
        _ => Check::ok("clock", message),
    }
}

/// Says what the list shows of the user's permissions.
fn readable(listing: &Listing, checks: &mut Vec<Check>) {
    let vms = plural(listing.visible, "VM");
    let message = format!("the user may list VMs (cloud→vms→list) and read {vms} (vms→<uuid>→get)");
    checks.push(if listing.visible == 0 {
        Check::new("permissions", Finding::Problem, message)
            .advice("grant vms→<uuid>→get; a user who may see no VM looks just like an empty cloud")
    } else {
        Check::ok("permissions", message)
    });
    let unreadable = listing.inventory.unreadable.len();
    if unreadable > 0 {
        let message = format!("{} cannot be read completely", plural(unreadable, "VM"));
        checks.push(
            Check::new("permissions", Finding::Problem, message)
                .advice("`fifo-retain plan` says why for each; nothing is done to them"),
        );
    }
    let unverified = format!("vms→<uuid>→backup and vms→<uuid>→backup_delete for {vms}");
    checks.push(Check::new("permissions", Finding::Unverified, unverified).advice(
        "FiFo does not show a client its permissions, and only a create or a delete would show: look the user's up in \
         FiFo, or run `fifo-retain apply --vm` for one VM; a missing one is named then",
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(skew_secs: i64) -> String {
        let now: DateTime<Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
        let mut out = Vec::new();
        let mut report = CheckReport::default();
        report.add(clock(Some(now + TimeDelta::seconds(skew_secs)), now, now));
        report.write_json(None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn clocks_are_compared_in_either_direction() {
        assert!(
            agreement(2).contains("FiFo is 2 s ahead of this machine") && agreement(2).contains("\"ok\"")
        );
        assert!(
            agreement(-400).contains("FiFo is 6 min behind this machine")
                && agreement(-400).contains("\"warning\"")
        );
        assert!(agreement(3_601).contains("\"problem\"") && agreement(-3_601).contains("\"problem\""));
        assert!(agreement(0).contains("FiFo and this machine agree"));
    }
}
