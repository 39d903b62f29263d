//! `hamster init`: founds a one-node cluster.

use super::{Out, say};
use crate::config::{self, parse_address, parse_bytes};
use crate::data_dir::DataDir;
use crate::error::Result;
use crate::identity::{self, Founding};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The flags of `init`.
#[derive(clap::Args)]
pub struct Flags {
    /// The data directory to create
    #[arg(long, value_name = "DIR", default_value = config::DATA_DIR)]
    data_dir: PathBuf,
    /// The address of the cluster port, which other nodes will dial
    #[arg(long, value_name = "IP:PORT", default_value_t = config::LISTEN_ADDRESS, value_parser = parse_address)]
    listen: SocketAddr,
    /// The cluster's name, for people
    #[arg(long, value_name = "NAME", default_value = "hamster")]
    cluster: String,
    /// The node's name, for people [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The zone of the machine; copies are spread over zones first
    #[arg(long, value_name = "NAME", default_value = "default")]
    zone: String,
    /// The capacity of this node, such as 10TiB [default: the size of the file system]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    capacity: Option<u64>,
}

/// Founds the cluster and prints what to do next.
pub fn run(flags: &Flags, out: Out<'_>) -> Result<()> {
    let founding = founding(flags)?;
    let record = identity::init(&DataDir::lock(&flags.data_dir)?, &founding)?;
    say(out, format_args!("cluster {} ({})", record.cluster_id(), record.cluster_name))?;
    say(out, format_args!("node    {} ({})", record.node_id(), record.node_name))?;
    say(out, format_args!("next    hamster serve --data-dir {}", flags.data_dir.display()))
}

fn founding(flags: &Flags) -> Result<Founding> {
    let host = identity::host_name();
    let node_name = flags.node.clone().unwrap_or_else(|| host.clone());
    identity::check_label("cluster", &flags.cluster)?;
    identity::check_label("node", &node_name)?;
    identity::check_label("zone", &flags.zone)?;
    Ok(Founding {
        listen: flags.listen,
        cluster_name: flags.cluster.clone(),
        node_name,
        host,
        zone: flags.zone.clone(),
        capacity_bytes: flags.capacity,
    })
}

/// The cluster that `quickstart` founds: every flag at its default.
pub fn default_founding(listen: SocketAddr) -> Founding {
    let host = identity::host_name();
    Founding {
        listen,
        cluster_name: "hamster".to_owned(),
        node_name: host.clone(),
        host,
        zone: "default".to_owned(),
        capacity_bytes: None,
    }
}
