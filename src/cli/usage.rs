//! Command lines that are wrong in a way that clap does not see, or has no word for.

use super::args::CONNECTION;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error};
use std::ffi::OsString;

/// Adds what is probably meant to the message about an option that does not exist.
pub(super) fn with_hint(mut error: Error, line: &[OsString]) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    let is_reconcile = line.iter().any(|word| word == "reconcile");
    let hint = match option.as_str() {
        "--dry-run" | "-n" => "`fifo-retain plan` shows what would be done, without doing it",
        "--yes" | "-y" | "--auto-approve" if is_reconcile => {
            "`reconcile` does not ask, so there is nothing to skip"
        }
        "--yes" | "-y" => "`apply --auto-approve` and `resume --auto-approve` do not ask",
        "--keep-monthly" | "--keep-weekly" | "--keep-daily" => {
            "set `keep` of the tier in the file that `init` writes"
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    error
}

/// Refuses options about a real FiFo beside `--sandbox`. Variables are no conflict.
pub(super) fn refuse_beside_sandbox(matches: &ArgMatches, command: &mut Command) -> Result<(), Error> {
    let is_given = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    match CONNECTION[..CONNECTION.len() - 1].iter().find(is_given).filter(|_| matches.get_flag("sandbox")) {
        None => Ok(()),
        Some(id) => {
            let message =
                format!("the argument '--sandbox' cannot be used with '--{}'", id.replace('_', "-"));
            Err(command.error(ErrorKind::ArgumentConflict, message))
        }
    }
}
