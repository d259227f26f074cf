//! Messages on standard error: as sentences for people, or as JSON for programs.
//!
//! Only this program's own messages are let through, at any verbosity: what the libraries below it have to say in their
//! traces are requests with all their headers, and the token is in one of them.

use super::context::{Global, LogFormat};
use crate::report::json::Harmless;
use crate::report::{Styles, Tone};
use crate::runner::output::{self, Output};
use anstyle::Style;
use std::fmt;
use std::io::{self, Write};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sets messages up for the whole program. A second call changes nothing.
pub(super) fn set_up(global: &Global, output: &Output) {
    let level = match (global.quiet, global.verbose) {
        (0, 0) => LevelFilter::INFO,
        (0, 1) => LevelFilter::DEBUG,
        (0, _) => LevelFilter::TRACE,
        (1, _) => LevelFilter::WARN,
        (_, _) => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let is_json = global.log_format == LogFormat::Json;
    let line = move || Line { text: Vec::new(), is_json };
    // Left to itself, the layer puts colours into pipes and files as well.
    let layer = tracing_subscriber::fmt::layer().with_writer(line).with_ansi(false);
    let sentence = Sentence { styles: output.error_styles, columns: output.error_columns };
    let layer = if is_json { layer.json().boxed() } else { layer.event_format(sentence).boxed() };
    // The error says that there is a subscriber already.
    let _ = tracing_subscriber::registry().with(layer.with_filter(ours)).try_init();
}

/// A line of the log, written when it is whole, above the bars of running uploads.
struct Line {
    text: Vec<u8>,
    is_json: bool,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        if self.is_json {
            // What is logged may contain an answer of a server. A vector takes everything that is written to it.
            let mut harmless = Vec::with_capacity(text.len());
            drop(Harmless::new(&mut harmless).write_all(&text));
            text = harmless;
        }
        output::say(text);
    }
}

/// `warning: https://… is plain HTTP`; information has no word before it. On a terminal no message breaks in a word.
struct Sentence {
    styles: Styles,
    columns: Option<usize>,
}

impl<S, N> FormatEvent<S, N> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (style, word) = match *event.metadata().level() {
            Level::ERROR => (self.styles.of(Tone::Alarm), "error: "),
            Level::WARN => (self.styles.of(Tone::Wait), "warning: "),
            Level::INFO => (Style::new(), ""),
            Level::DEBUG => (self.styles.of(Tone::Plain), "debug: "),
            Level::TRACE => (self.styles.of(Tone::Plain), "trace: "),
        };
        let mut text = word.to_owned();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let text = output::lines(&text, self.columns);
        let word = word.trim_end();
        writeln!(out, "{style}{word}{style:#}{}", text.strip_prefix(word).unwrap_or(&text))
    }
}
