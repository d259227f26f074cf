use super::help;
use super::value::timeout;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = help::SANDBOX)]
pub struct SandboxArgs {
    /// Where to listen; only loopback addresses, since anybody may control it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// How many VMs there are at first [default: one of every kind]
    #[arg(long, value_name = "COUNT")]
    pub vms: Option<usize>,

    /// What all UUIDs and sizes come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// The generation of FiFo: v2 is 2015, v3 is 2016 and later
    #[arg(long, value_enum, value_name = "STYLE", default_value_t = Style::V3)]
    pub api_style: Style,

    /// How long an upload takes
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub upload_seconds: u32,

    /// Cut every full list that takes longer, as FiFo of 2016 does after 5s; a VM counts as 10 ms, a backup as 1 ms
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub list_limit: Option<Duration>,

    /// Keep the world in this file from run to run [default: .fifo-retain/sandbox.json, as for --sandbox]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Begin with the first world, whatever the file holds
    #[arg(long)]
    pub fresh: bool,
}

/// The generations of FiFo that the sandbox knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// 2015.
    V2,
    /// 2016 and later.
    V3,
}
