//! The arguments for reports of a run: `apply`, `reconcile` and partly `status`.

use clap::Args;
use secrecy::SecretString;
use std::path::PathBuf;

/// The arguments of every command that carries a plan out and reports the result.
#[derive(Debug, Args)]
pub struct ReportingArgs {
    /// Write metrics to this file after the run, for node_exporter's textfile collector; it should end in .prom
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    pub metrics_file: Option<PathBuf>,

    /// Post a summary of the run as JSON to this address (FIFO_RETAIN_NOTIFY_URL, which others cannot see in `ps`)
    // Taken as it is and read later: clap would repeat what it cannot read, and that may hold a token.
    #[arg(long, value_name = "URL", help_heading = "Reporting")]
    pub notify_url: Option<SecretString>,

    /// Ping a cron monitor: URL/start, then URL when all was done, else URL/fail (FIFO_RETAIN_PING_URL)
    #[arg(long, value_name = "URL", help_heading = "Reporting")]
    pub ping_url: Option<SecretString>,
}
