//! `schema`: the JSON Schemas of what people write and of what programs read.

use crate::apply;
use crate::cli::args::{SchemaArgs, SchemaOf, TextOrJson};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Outcome;
use crate::plan;
use crate::policy;
use crate::render;

pub(in crate::cli) fn run(args: &SchemaArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOrJson>()?;
    context.print(|out| match args.of {
        SchemaOf::Policy => out.write_all(policy::SCHEMA.as_bytes()),
        SchemaOf::Plan => render::json::schema(plan::schema(), out),
        SchemaOf::Event => render::json::schema(apply::schema(), out),
    })?;
    Ok(Outcome::Done)
}
