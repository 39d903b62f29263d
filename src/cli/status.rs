//! `hamster status`: prints a running node's status, fetched over the cluster port.

use super::{Out, say};
use crate::cluster::{Kind, client};
use crate::config;
use crate::error::{Error, Result};
use crate::status::{self, Status};
use std::path::PathBuf;

/// The flags of `status`.
#[derive(clap::Args)]
pub struct Flags {
    /// The data directory of the node, which holds its certificate and address
    #[arg(long, value_name = "DIR", default_value = config::DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the status.
pub fn run(flags: &Flags, out: Out<'_>) -> Result<()> {
    let status: Status = client::call(&flags.data_dir, Kind::Status, Kind::StatusReply)?;
    if flags.json {
        let json = serde_json::to_string_pretty(&status)
            .map_err(|error| Error::failed(format!("cannot encode the status: {error}")))?;
        return say(out, format_args!("{json}"));
    }
    say(out, format_args!("{}", status::table(&status).trim_end()))
}
