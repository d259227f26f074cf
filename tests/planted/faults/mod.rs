//! The deliberate faults: each takes one precaution out of the program.

mod apply;
mod plan;
mod prune;

/// One fault.
pub(crate) struct Fault {
    /// Its name.
    pub(crate) name: &'static str,
    /// EventKind it takes away.
    pub(crate) takes_away: &'static str,
    /// The defences that would hide it, and are taken away with it.
    pub(crate) behind: &'static [&'static str],
    /// Seeds that have shown it, which are tried first.
    pub(crate) seeds: &'static [u64],
    /// The replacements: file, a text that is in it once, and what comes in its place. `PLANTED` in it says whether the
    /// fault is switched on.
    pub(crate) edits: &'static [(&'static str, &'static str, &'static str)],
}

/// The faults that have to be noticed.
pub(crate) const FAULTS: [&[Fault]; 3] = [&plan::FAULTS, &apply::FAULTS, &prune::FAULTS];

/// The second lines of defence. Alone, each of these may go unnoticed: it only catches what something else let permit.
pub(crate) const DEFENCES: [Fault; 1] = [Fault {
    name: "no_audit",
    takes_away: "the audit, which reads every plan a second time",
    behind: &[],
    seeds: &[],
    edits: &[(
        "src/plan/audit/mod.rs",
        "    if planned.actions.is_empty() {",
        "    if PLANTED || planned.actions.is_empty() {",
    )],
}];

/// Returns all of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    DEFENCES.iter().chain(FAULTS.iter().copied().flatten())
}
