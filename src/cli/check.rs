//! `check`: can this machine and this user do the work? Reads only; every finding is one line.

mod local;
mod report;

use super::connect;
use super::context::Context;
use super::options::Format;
use super::policies::plural;
use crate::apply::CLOCK_SKEW_MAX;
use crate::fifo::{FifoError, Listing};
use crate::report::span_text;
use crate::report::{Exit, Failure};
use crate::runner::fifo::{Fifo, FirstContact, Target};
use crate::runner::output::print;
use crate::runner::read::{SKEW_WARN, skew};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use report::{Checks, Finding};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/check.txt"))]
pub struct CheckArgs {}

/// Runs the command.
///
/// # Errors
///
/// The findings cannot be written, or the form of output is not for this command. A problem is no error but an [`Exit`].
pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json])?;
    let mut checks = Checks::default();
    let (endpoint, listing) = match connect::target(context) {
        Ok(target) => {
            let name = target.name();
            checks.ok("endpoint", format!("{name}, {}", target.identity()));
            (Some(name), remote(&target, context, &mut checks).await)
        }
        Err(failure) => {
            checks.fail("endpoint", &failure, None);
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
    print(|out| match format {
        Format::Json => checks.write_json(endpoint.as_deref(), out),
        _ => checks.write_text(context.text(), out),
    })?;
    Ok(if checks.count(Finding::Problem) == 0 { Exit::Done } else { Exit::Failed })
}

/// Makes the checks for which FiFo is asked, up to the first problem that leaves nothing more to ask.
async fn remote(target: &Target, context: &Context, checks: &mut Checks) -> Option<Listing> {
    let fifo = match target.open(&context.host, FirstContact::FailFast).await {
        Ok(fifo) => fifo,
        Err(failure) => {
            checks.fail("connection", &failure, None);
            return None;
        }
    };
    let listing = asked(&fifo, context, checks).await;
    if let Err(failure) = fifo.close().await {
        checks.fail("connection", &failure, None);
    }
    listing
}

async fn asked(fifo: &Fifo, context: &Context, checks: &mut Checks) -> Option<Listing> {
    let before = context.host.now();
    match fifo.read().backend().await {
        Ok(server) => {
            checks.ok("connection", "FiFo answers, and all of its subsystems are up");
            clock(server, before, context.host.now(), checks);
        }
        Err(error) => {
            let advice = "is this the address of FiFo's API, and are all of its services running?";
            checks.fail("connection", &fifo.failure(&error), Some(advice));
            return None;
        }
    }
    if let Err(error) = fifo.read().sign_in().await {
        let advice = "check FIFO_USER and FIFO_PASSWORD, FIFO_TOKEN or the profile";
        checks.fail("sign-in", &fifo.failure(&error), Some(advice));
        return None;
    }
    let listed = fifo.read().list().await;
    // A given token is sent for the first time with the list.
    if !listed.as_ref().is_err_and(FifoError::is_refusal) {
        checks.ok("sign-in", "FiFo accepts these credentials");
    }
    match listed {
        Ok(listing) => {
            readable(&listing, checks);
            Some(listing)
        }
        Err(error) => {
            let check = if error.is_refusal() { "sign-in" } else { "permissions" };
            checks.fail(check, &fifo.failure(&error), None);
            None
        }
    }
}

fn clock(server: Option<DateTime<Utc>>, before: DateTime<Utc>, after: DateTime<Utc>, checks: &mut Checks) {
    let Some(server) = server else {
        let advice = "compare the clocks by hand: due times follow from both";
        return checks.add("clock", Finding::Unverified, "FiFo does not say what time it is there", advice);
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
        skew if skew > CLOCK_SKEW_MAX => {
            let advice = "nothing is planned with more than an hour between the clocks: set the wrong one";
            checks.add("clock", Finding::Problem, message, advice);
        }
        skew if skew > SKEW_WARN => {
            checks.add("clock", Finding::Warning, message, "due times shift by as much: set the wrong one");
        }
        _ => checks.ok("clock", message),
    }
}

/// Says what the list shows of the user's permissions.
fn readable(listing: &Listing, checks: &mut Checks) {
    let vms = plural(listing.visible, "VM");
    let message = format!("the user may list VMs (cloud→vms→list) and read {vms} (vms→<uuid>→get)");
    if listing.visible == 0 {
        let advice = "grant vms→<uuid>→get; a user who may see no VM looks just like an empty cloud";
        checks.add("permissions", Finding::Problem, message, advice);
    } else {
        checks.ok("permissions", message);
    }
    let unreadable = listing.inventory.unreadable.len();
    if unreadable > 0 {
        let message = format!("{} cannot be read completely", plural(unreadable, "VM"));
        let advice = "`fifo-retain plan` says why for each; nothing is done to them";
        checks.add("permissions", Finding::Problem, message, advice);
    }
    checks.add(
        "permissions",
        Finding::Unverified,
        format!("vms→<uuid>→backup and vms→<uuid>→backup_delete for {vms}"),
        "FiFo does not show a client its permissions, and only a create or a delete would show: look the user's up in \
         FiFo, or run `fifo-retain apply --vm` for one VM; a missing one is named then",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(skew_secs: i64) -> String {
        let now: DateTime<Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
        let mut out = Vec::new();
        let mut checks = Checks::default();
        clock(Some(now + TimeDelta::seconds(skew_secs)), now, now, &mut checks);
        checks.write_json(None, &mut out).unwrap();
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
