use super::help;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = help::SCHEMA)]
pub struct SchemaArgs {
    /// Of what: a policy file, a plan as JSON, or a line of the JSON that `apply` and `reconcile` write
    #[arg(value_enum, value_name = "WHAT", default_value_t = SchemaOf::Policy)]
    pub of: SchemaOf,
}

/// What there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A policy file.
    Policy,
    /// A plan.
    Plan,
    /// An event.
    Event,
}
