//! Command lines that are wrong in a way that clap does not see, or has no word for.

use super::args::CONNECTION;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error};

/// Options of other programs, and what is meant by them here.
const SLIPS: [(&str, &str); 5] = [
    ("--dry-run", LOOKS),
    ("-n", LOOKS),
    ("--yes", ASKS_NOT),
    ("-y", ASKS_NOT),
    ("--auto-approve", ASKS_NOT),
];
const LOOKS: &str = "`fifo-retain plan` shows what would be done, without doing it";
const ASKS_NOT: &str =
    "`apply --auto-approve` and `resume --auto-approve` do not ask, and `reconcile` never does";

/// Adds what is probably meant to the message about an option that does not exist.
pub(super) fn with_hint(mut error: Error) -> Error {
    let is_it = |(option, _): &&(&str, &str)| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given)) => given == option,
        _ => false,
    };
    let slip = SLIPS.iter().find(is_it).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    if let Some((_, hint)) = slip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(*hint)]));
    }
    error
}

/// Refuses options about a real FiFo beside `--sandbox`. Variables are no conflict, which clap's own conflicts would make them.
pub(super) fn refuse_beside_sandbox(matches: &ArgMatches, command: &mut Command) -> Result<(), Error> {
    let is_given = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let given = CONNECTION[..CONNECTION.len() - 1].iter().find(is_given);
    let Some(id) = given.filter(|_| matches.get_flag("sandbox")) else { return Ok(()) };
    let message = format!("the argument '--sandbox' cannot be used with '--{}'", id.replace('_', "-"));
    Err(command.error(ErrorKind::ArgumentConflict, message))
}
