//! The commands that only look at FiFo read it in one way.

use super::connect;
use super::context::Context;
use crate::plan::Prune;
use crate::policy::{Pattern, Policies};
use crate::report::Failure;
use crate::runner::fifo::FirstContact;
use crate::runner::proofs::{OpenedStore, Proofs};
use crate::runner::read::{KeptVms, Planned, Query, Selection};
use chrono::{DateTime, Utc};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct PlanningArgs {
    /// Only this VM, by UUID, or those with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    vms: Vec<Pattern>,

    /// Go on when this user can see no VM at all
    #[arg(long)]
    allow_empty: bool,
}

impl PlanningArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { vms: self.vms.clone(), allow_empty: self.allow_empty }
    }
}

#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Pruning")]
pub(super) struct PruneArgs {
    /// Delete expired backups from storage too, for good, where the policy says `prune: true`
    #[arg(long)]
    pub(super) prune: bool,

    /// So many backups of each VM may be deleted from storage at once, where the limit is lower
    #[arg(long, value_name = "COUNT", requires = "prune")]
    allow_mass_prune: Option<usize>,
}

impl PruneArgs {
    pub(super) fn switch(self) -> Prune {
        Prune { is_requested: self.prune, mass_allowed: self.allow_mass_prune.unwrap_or(0) }
    }
}

/// Reads the FiFo that is meant and plans, for an instant or for now. Nothing but the sign-in and reads is sent.
pub(super) async fn look(
    context: &Context,
    policies: &Policies,
    selection: &Selection,
    at: Option<DateTime<Utc>>,
    prune: Prune,
    kept: KeptVms,
    store: Option<OpenedStore>,
) -> Result<Planned, Failure> {
    let fifo = connect::target(context)?.open(&context.host, FirstContact::FailFast).await?;
    let proofs = &Proofs::open(&context.host, fifo.name(), store);
    proofs.refresh(false).await;
    let query = Query { host: &context.host, policies, fifo: &fifo, proofs, selection, at, prune };
    let planned = query.plan(kept, kept == KeptVms::Overview).await?;
    fifo.close().await?;
    Ok(planned)
}
