//! The page of one VM beside the page of all: read from FiFo when it is asked for, one after the other.

use super::super::fifo::FAIL_FAST;
use super::super::host::Host;
use super::super::read::{KeptVms, Planned, Query, Selection, not_there};
use super::super::run::Order;
use super::super::site::Shown;
use super::Answer;
use crate::insight::show::{enter_expiry_dates, explain};
use crate::inventory::VmId;
use crate::plan::Prune;
use crate::policy::Pattern;
use crate::report::Failure;
use crate::report::html::vm::page;
use crate::report::stop::headline;
use std::convert::Infallible;
use std::future::pending;
use tokio::sync::{mpsc, oneshot, watch};

pub(in super::super) const WAITING_MAX: usize = 8;

/// A VM whose page is asked for; the answer to one that is not there is none.
pub(in super::super) type Wanted = (VmId, oneshot::Sender<Option<Answer>>);

pub(in super::super) fn vm_of(path: &str) -> Option<VmId> {
    path.strip_prefix("/vm/")?.parse().ok()
}

pub(in super::super) async fn asked(vm: VmId, wanted: mpsc::Sender<Wanted>) -> Option<Answer> {
    let (answer, answered) = oneshot::channel();
    let busy = || Some(text("others are being answered; try again in a moment".to_owned()));
    match wanted.try_send((vm, answer)) {
        Ok(()) => answered.await.unwrap_or_else(|_| busy()),
        Err(_) => busy(),
    }
}

/// Answers one request after the other, until the process ends.
pub(in super::super) async fn answer_all(
    host: &Host,
    order: &Order<'_>,
    mut wanted: mpsc::Receiver<Wanted>,
    shown: watch::Receiver<Shown>,
) -> Infallible {
    while let Some((vm, answer)) = wanted.recv().await {
        let page = match page_of(host, order, vm, &shown).await {
            Ok(page) => {
                page.map(|body| Answer { is_well: true, content_type: "text/html; charset=utf-8", body })
            }
            Err(failure) => Some(text(failure.text())),
        };
        // The client may have gone.
        let _ = answer.send(page);
    }
    pending().await
}

fn text(line: String) -> Answer {
    Answer { is_well: false, content_type: "text/plain; charset=utf-8", body: line + "\n" }
}

/// Writes the page of a VM; `None` where this user sees no such VM.
async fn page_of(
    host: &Host,
    order: &Order<'_>,
    vm: VmId,
    shown: &watch::Receiver<Shown>,
) -> Result<Option<String>, Failure> {
    let policies = (order.policies)()?;
    let target = (order.fifo)()?;
    let stop = host.safety_stop(&target.name());
    let fifo = target.open(host, FAIL_FAST).await?;
    let selection =
        Selection { vms: Pattern::new(&vm.to_string()).into_iter().collect(), allow_empty: false };
    let (policies, selection) = (&policies, &selection);
    let proofs = &host.proofs(&target.name(), None);
    let (at, prune, warns) = (None, Prune::REQUESTED, true);
    let query = Query { host, policies, fifo: &fifo, proofs, selection, at, prune, warns };
    let read = query.plan(KeptVms::All).await;
    fifo.close().await?;
    let Planned { plan, inventory, identity, request, .. } = match read {
        Err(failure) if selection.vms.iter().any(|it| failure == not_there(it)) => return Ok(None),
        read => read?,
    };
    let mut explained = explain(&plan, policies, &inventory, request);
    enter_expiry_dates(&mut explained, policies, &inventory);
    let alarms: Vec<String> = stop.iter().map(headline).collect();
    Ok(Some(page(&explained, &alarms, Some(&identity), Some(&shown.borrow().history))))
}
