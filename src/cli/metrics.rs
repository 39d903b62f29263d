//! `hamster metrics`: prints a running node's metrics, fetched over the cluster port.

use super::{Out, say};
use crate::cluster::{Kind, MetricsReply, client};
use crate::config;
use crate::error::Result;
use std::path::PathBuf;

/// The flags of `metrics`.
#[derive(clap::Args)]
pub struct Flags {
    /// The data directory of the node, which holds its certificate and address
    #[arg(long, value_name = "DIR", default_value = config::DATA_DIR)]
    data_dir: PathBuf,
}

/// Prints the metrics.
pub fn run(flags: &Flags, out: Out<'_>) -> Result<()> {
    let reply: MetricsReply = client::call(&flags.data_dir, Kind::Metrics, Kind::MetricsReply)?;
    say(out, format_args!("{}", reply.text.trim_end()))
}
