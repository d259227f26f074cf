//! The deliberate faults: each takes one precaution out of the program.

mod apply;
mod plan;

/// A replacement: file, a text that is in it once, and what comes in its place. `PLANTED` in it says whether the fault is
/// switched on.
type Edit = (&'static str, &'static str, &'static str);

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The precaution that it takes out.
    pub(crate) takes_away: &'static str,
    pub(crate) edits: &'static [Edit],
    /// The defences that would hide it, and are taken out with it.
    pub(crate) behind: &'static [&'static str],
}

impl Fault {
    const fn new(name: &'static str, takes_away: &'static str, edits: &'static [Edit]) -> Self {
        Self { name, takes_away, edits, behind: &[] }
    }

    const fn behind(self, behind: &'static [&'static str]) -> Self {
        Self { behind, ..self }
    }
}

pub(crate) const FAULTS: [&[Fault]; 2] = [plan::FAULTS, apply::FAULTS];

/// The second line of defence, which alone may go unnoticed: it only catches what something else has let through.
pub(crate) const DEFENCE: Fault = Fault::new(
    "no_audit",
    "the audit, which reads every plan a second time",
    &[(
        "src/plan/audit/mod.rs",
        "    if planned.actions.is_empty() {",
        "    if PLANTED || planned.actions.is_empty() {",
    )],
);

pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    FAULTS.iter().copied().flatten().chain([&DEFENCE])
}
