//! Hints for command lines that are wrong in a common way.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Adds what is probably meant to the message about an option that does not exist.
pub(super) fn with_hint(mut error: clap::Error, line: &[OsString]) -> clap::Error {
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
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    error
}
