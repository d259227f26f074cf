//! `schema`: the JSON Schemas of what people write and of what programs read.

use super::context::{Context, Format};
use crate::apply;
use crate::plan;
use crate::policy;
use crate::report::{Exit, Failure, json};
use crate::runner::output::print;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/schema.txt"))]
pub struct SchemaArgs {
    /// Of what: a policy file, a plan as JSON, or a line of the JSON that `apply` and `reconcile` write
    #[arg(value_enum, value_name = "WHAT", default_value_t = SchemaOf::Policy)]
    of: SchemaOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    /// A policy file.
    Policy,
    /// A plan.
    Plan,
    /// An event.
    Event,
}

pub(super) fn run(args: &SchemaArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json])?;
    print(|out| match args.of {
        SchemaOf::Policy => out.write_all(policy::SCHEMA.as_bytes()),
        SchemaOf::Plan => json::schema(plan::schema(), out),
        SchemaOf::Event => json::schema(apply::schema(), out),
    })?;
    Ok(Exit::Done)
}
