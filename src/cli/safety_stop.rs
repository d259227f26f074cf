//! The safety stop in the state folder, which an alarm sets and `resume` lifts.

use super::context::Context;
use super::error::{CliError, Kind};
use crate::apply::{SafetyStop, StopFile};
use crate::render::safety_stop::{self, details, headline};
use std::io::{self, Write};

/// Names the safety stop for a FiFo.
///
/// # Errors
///
/// No state folder was given and the user has no home.
pub(super) fn of(context: &Context, endpoint: &str) -> Result<StopFile, CliError> {
    Ok(StopFile::new(&context.state_dir()?, endpoint))
}

/// Reads the safety stop for a FiFo, for those who only show it. Where there is no state folder there is none.
pub(super) fn shown(context: &Context, endpoint: &str) -> Option<SafetyStop> {
    of(context, endpoint).ok()?.read()
}

/// Writes a safety stop that is set, as text above everything else.
pub(super) fn write_shown(
    stop: Option<&SafetyStop>,
    context: &Context,
    out: &mut dyn Write,
) -> io::Result<()> {
    stop.map_or(Ok(()), |stop| safety_stop::text(stop, &context.text_options.styles, out))
}

/// Writes a safety stop that is set, as Markdown above everything else.
pub(super) fn write_shown_markdown(stop: Option<&SafetyStop>, out: &mut dyn Write) -> io::Result<()> {
    stop.map_or(Ok(()), |stop| out.write_all(safety_stop::markdown(stop).as_bytes()))
}

/// Refuses to go on while a safety stop is set.
pub(super) fn refuse_if_set(stop_file: &StopFile) -> Result<(), CliError> {
    let Some(stop) = stop_file.read() else { return Ok(()) };
    let mut message = headline(&stop);
    for line in details(&stop) {
        message.push_str(&format!("\n  {line}"));
    }
    Err(CliError::new(Kind::SafetyStop, message).hint(
        "find what drops the bodies of DELETE requests between here and FiFo, and put an end to it: another run could take \
         more backups; then run `fifo-retain resume`",
    ))
}

/// Says that runs have to stop and that the safety stop could not be set, so that nothing keeps the next run back.
pub(super) fn not_set(why: &str) -> CliError {
    CliError::new(
        Kind::SafetyStop,
        format!(
            "runs have to stop, and THE SAFETY STOP COULD NOT BE WRITTEN, so nothing holds the next run back: {why}"
        ),
    )
    .hint(
        "start no further run, by hand neither, and stop every timer, service and job that starts one, until the cause \
         is found: another run could take more backups",
    )
}
