//! The names by which the commands call the documents of [`report`].

use crate::report;
pub use crate::report::{
    Problem, ProblemCode, Styles, action_text, counts_text, json, metrics, outcome_text as ending_text, page,
    visible, wrapped,
};

pub mod notification {
    pub use crate::report::run::{FORMAT, lines, notification as json, summary};
}

pub mod text {
    use super::report::text::write;
    use super::report::{change, plan as plans, show as shows, status as statuses};
    use crate::insight::show::Explanation;
    use crate::insight::status::Health;
    use crate::insight::{Comparison, Estimate};
    use crate::plan::Plan;
    pub use crate::report::span_text;
    pub use crate::report::status::StatusView;
    pub use crate::report::text::{Detail, TextOptions};
    use std::io::{self, Write};

    #[derive(Clone, Copy, Debug, Default)]
    pub struct PlanExtras<'a> {
        /// As whom FiFo was read.
        pub identity: Option<&'a str>,
        /// The estimate of the bytes that the plan frees and uploads.
        pub estimate: Option<&'a Estimate>,
    }

    impl<'a> PlanExtras<'a> {
        fn parts(self) -> plans::PlanParts<'a> {
            plans::PlanParts {
                identity: self.identity,
                estimate: self.estimate,
                ..plans::PlanParts::default()
            }
        }
    }

    pub fn plan(
        plan: &Plan,
        extras: PlanExtras<'_>,
        options: &TextOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write(&plans::document(plan, extras.parts(), options.detail), options, out)
    }

    pub fn changed_plan(
        plan: &Plan,
        comparison: &Comparison,
        extras: PlanExtras<'_>,
        options: &TextOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write(&change::document(plan, comparison, extras.parts(), options.detail), options, out)
    }

    pub fn status(
        health: &Health,
        view: StatusView,
        identity: Option<&str>,
        options: &TextOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write(&statuses::document(health, None, view, identity, options.detail), options, out)
    }

    pub fn show(
        explained: &Explanation,
        identity: Option<&str>,
        options: &TextOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write(&shows::document(explained, None, identity, options.detail), options, out)
    }
}

pub mod markdown {
    use super::report::markdown::written;
    pub use super::report::markdown::{MARKER, MAX_BYTES_DEFAULT, MAX_BYTES_LEAST};
    use super::report::text::Detail;
    use super::report::{Tone, change, plan as plans, show as shows, status as statuses};
    use crate::apply::SafetyStop;
    use crate::insight::Comparison;
    use crate::insight::show::Explanation;
    use crate::insight::status::Health;
    use crate::plan::Plan;
    use std::io::{self, Write};

    #[derive(Clone, Copy, Debug, Default)]
    pub struct PlanPageParts<'a> {
        /// The effect of a change of policies.
        pub comparison: Option<&'a Comparison>,
        /// A safety stop that is in force.
        pub stop: Option<&'a SafetyStop>,
        /// As whom FiFo was read.
        pub identity: Option<&'a str>,
        /// A unified diff of the backups, without colours; empty for none.
        pub diff: &'a str,
    }

    pub fn plan(
        plan: &Plan,
        parts: &PlanPageParts<'_>,
        max_bytes: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let &PlanPageParts { comparison, stop, identity, diff } = parts;
        let diff = diff.lines().map(|line| (Tone::Plain, line.to_owned())).collect();
        let parts = plans::PlanParts { stop, identity, estimate: None, has_details: true, diff };
        let doc = match comparison {
            Some(comparison) => change::document(plan, comparison, parts, Detail::Usual),
            None => plans::document(plan, parts, Detail::Usual),
        };
        out.write_all(written(&doc, Some(MARKER), Some(max_bytes)).as_bytes())
    }

    pub fn status(health: &Health, identity: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let doc = statuses::document(health, None, statuses::StatusView::All, identity, Detail::Usual);
        out.write_all(written(&doc, None, None).as_bytes())
    }

    pub fn show(explained: &Explanation, identity: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(
            written(&shows::document(explained, None, identity, Detail::Full), None, None).as_bytes(),
        )
    }
}

pub mod diff {
    use super::report::{Doc, Styles, diff};
    use crate::inventory::Inventory;
    use crate::plan::Plan;
    use crate::policy::Policies;
    use std::io::{self, Write};

    pub fn plan(
        plan: &Plan,
        policies: &Policies,
        inventory: &Inventory,
        styles: &Styles,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let doc = Doc::of_diff(diff::lines(plan, policies, inventory));
        let options = super::text::TextOptions {
            styles: *styles,
            columns: usize::MAX,
            detail: super::text::Detail::Usual,
        };
        super::report::text::write(&doc, &options, out)
    }
}

pub mod simulation {
    use super::report::{markdown, simulate, text};
    pub use crate::report::simulate::Simulated;
    use std::io::{self, Write};

    pub fn simulation(
        after: Simulated<'_>,
        before: Option<Simulated<'_>>,
        options: &text::TextOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        text::write(&simulate::document(after, before), options, out)
    }

    pub fn markdown(
        after: Simulated<'_>,
        before: Option<Simulated<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        out.write_all(markdown::written(&simulate::document(after, before), None, None).as_bytes())
    }
}

pub mod safety_stop {
    use super::report::{Styles, markdown, stop, text as texts};
    use crate::apply::SafetyStop;
    pub use crate::report::stop::{details, headline};
    use std::io::{self, Write};

    pub fn text(stop: &SafetyStop, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
        let options =
            texts::TextOptions { styles: *styles, columns: usize::MAX, detail: texts::Detail::Usual };
        texts::write(&stop::document(stop), &options, out)?;
        writeln!(out)
    }

    pub fn markdown(stop: &SafetyStop) -> String {
        markdown::written(&stop::document(stop), None, None) + "\n"
    }
}
