//! `schema`: the JSON Schemas of what people write and of what programs read.

use super::args::{Format, SchemaArgs, SchemaOf};
use super::context::Context;
use super::error::CliError;
use super::exit::Outcome;
use crate::apply;
use crate::plan;
use crate::policy;
use crate::render;

/// Runs the command.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn run(args: &SchemaArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json])?;
    let schema = match args.of {
        SchemaOf::Policy => policy::schema(),
        SchemaOf::Plan => plan::schema(),
        SchemaOf::Event => apply::schema(),
    };
    context.print(|out| render::json::schema(schema, out))?;
    Ok(Outcome::Done)
}
