//! The plan as JSON: for programs, and to be saved and applied later.

use crate::plan::Plan;
use std::io::{self, Write};

/// Writes a plan as indented JSON with a line end behind it. The same plan gives the same bytes.
///
/// # Errors
///
/// Those of writing.
pub fn plan(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, plan)?;
    out.write_all(b"\n")
}
