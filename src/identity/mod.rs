//! A node's identity: its cluster, id, labels and keys, generated once by `init`.
//!
//! It is stored in `<data-dir>/identity/` (mode 700, files mode 600):
//!
//! | file       | what                                                    |
//! |------------|---------------------------------------------------------|
//! | `ca.pem`   | the certificate authority's certificate                 |
//! | `ca.key`   | its key, which signs new nodes                          |
//! | `node.pem` | this node's certificate                                 |
//! | `node.key` | its key                                                 |
//! | `node`     | the node record ([`NodeRecord`])                        |
//!
//! The folder is written and synced as `identity.new` and then renamed, so after a crash it exists whole or not at
//! all. What a crash or an accident may leave:
//!
//! |     | found                                     | meaning                                       | action                                           |
//! |-----|-------------------------------------------|-----------------------------------------------|--------------------------------------------------|
//! | I1  | nothing                                   | never founded                                 | `init` founds; all else refuses and names `init` |
//! | I2  | `identity.new` with some of its files     | `init` was interrupted                        | the next `init` discards it and starts over      |
//! | I3  | `identity/`, whole                        | founded, even if `init` did not get to say so | load it; `init` refuses                          |
//! | I4  | `identity/` and an `identity.new`         | a copy put beside it                          | load `identity/`                                 |
//! | I5  | no `identity/`, but a node's data         | it was lost                                   | `init`, `serve`, `quickstart` refuse: restore it |
//! | I6  | `identity/` without one of its files      | that file was lost                            | refuse and name it: restore it                   |
//! | I7  | one of them empty, cut or changed         | damage                                        | the same                                         |
//! | I8  | keys, certificates or record of two nodes | a copy of another node's file                 | the same                                         |
//! | I9  | a secret that others may read             | a copy that lost its mode                     | refuse with the `chmod` to run                   |
//! | I10 | `identity` that is not a folder           | an accident                                   | refuse: move it away                             |

mod certificates;

use crate::data_dir::{self, DataDir};
use crate::error::{Error, Result};
use crate::files::{self, Secrecy};
use crate::record::{self, Kind};
use certificates::Minted;
use engine::ids::{ClusterId, IdGenerator, NodeId};
use engine::io::{fill_random, unix_ms};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const NODE_RECORD: Kind = Kind { tag: *b"node", version: 1 };
const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const NODE_CERTIFICATE: &str = "node.pem";
const NODE_KEY: &str = "node.key";
const NODE: &str = "node";
const FILES: [&str; 5] = [CA_CERTIFICATE, CA_KEY, NODE_CERTIFICATE, NODE_KEY, NODE];
/// The longest name or label.
pub const LABEL_BYTES_MAX: usize = 64;

/// A node's record of itself. Field numbers are frozen.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NodeRecord {
    /// The cluster's id: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub cluster: Vec<u8>,
    /// The node's id: 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub node: Vec<u8>,
    /// The cluster's name, for people.
    #[prost(string, tag = "3")]
    pub cluster_name: String,
    /// The node's name, for people.
    #[prost(string, tag = "4")]
    pub node_name: String,
    /// The address of the cluster port.
    #[prost(string, tag = "5")]
    pub listen: String,
    /// Label: the machine. Shards of a blob are spread over hosts.
    #[prost(string, tag = "6")]
    pub host: String,
    /// Label: the zone. Shards of a blob are spread over zones first.
    #[prost(string, tag = "7")]
    pub zone: String,
    /// Label: the capacity of this node in bytes, its weight in placement.
    #[prost(uint64, tag = "8")]
    pub capacity_bytes: u64,
    /// When the record was made, milliseconds since 1970.
    #[prost(uint64, tag = "9")]
    pub created_unix_ms: u64,
}

impl NodeRecord {
    /// The cluster's id, whose length was checked when the record was read or made.
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId(self.cluster.as_slice().try_into().unwrap_or_default())
    }

    /// The node's id.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.node.as_slice().try_into().unwrap_or_default())
    }

    /// The address of the cluster port, which was checked when the record was read or made.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen.parse().unwrap_or(crate::config::LISTEN_ADDRESS)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let whole =
            self.cluster.len() == 16 && self.node.len() == 16 && self.listen.parse::<SocketAddr>().is_ok();
        if whole {
            return Ok(());
        }
        Err(Error::refused(format!("{} lacks an id or an address: restore it from a backup", path.display())))
    }
}

/// The arguments of `init`.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The address of the cluster port.
    pub listen: SocketAddr,
    /// The cluster's name.
    pub cluster_name: String,
    /// The node's name.
    pub node_name: String,
    /// The machine.
    pub host: String,
    /// The zone.
    pub zone: String,
    /// Capacity in bytes; `None` for the size of the data directory's file system.
    pub capacity_bytes: Option<u64>,
}

/// A loaded identity: the node's record and keys.
pub struct Identity {
    /// The node record.
    pub record: NodeRecord,
    /// The authority's certificate, PEM.
    pub ca_certificate: String,
    /// The node's certificate, PEM.
    pub node_certificate: String,
    /// The node's key, PEM.
    pub node_key: Zeroizing<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").field("record", &self.record).finish_non_exhaustive()
    }
}

/// The identity folder of a data directory.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}

/// Whether a data directory has been founded.
pub fn exists(data_dir: &Path) -> bool {
    folder(data_dir).exists()
}

/// Founds a one-node cluster in a data directory. Refuses if it already holds one.
pub fn init(data: &DataDir, founding: &Founding) -> Result<NodeRecord> {
    let data_dir = data.path();
    let target = folder(data_dir);
    if target.exists() {
        return Err(Error::refused(format!(
            "{} already holds a node: run `hamster serve --data-dir {0}`, or give another --data-dir",
            data_dir.display()
        )));
    }
    refuse_orphaned_data(data_dir)?;
    let record = found(data_dir, founding)?;
    let minted = certificates::mint(&record)?;

    let fresh = data_dir.join("identity.new");
    discard(&fresh)?;
    files::make_private_dir(&fresh)?;
    files::create_secret(&fresh.join(CA_CERTIFICATE), minted.ca_certificate.as_bytes())?;
    files::create_secret(&fresh.join(CA_KEY), minted.ca_key.as_bytes())?;
    files::create_secret(&fresh.join(NODE_CERTIFICATE), minted.node_certificate.as_bytes())?;
    files::create_secret(&fresh.join(NODE_KEY), minted.node_key.as_bytes())?;
    files::create_secret(&fresh.join(NODE), &record::encode(NODE_RECORD, &record))?;
    files::sync_dir(&fresh)?;
    std::fs::rename(&fresh, &target).map_err(|error| files::cannot("write", &target, &error))?;
    files::sync_dir(data_dir)?;
    // The entry of the data directory itself must be durable as well.
    files::sync_dir(data_dir.parent().unwrap_or(Path::new("/")))?;
    Ok(record)
}

/// Loads the identity of a data directory, checking every file.
pub fn load(data_dir: &Path) -> Result<Identity> {
    let folder = folder(data_dir);
    match std::fs::metadata(&folder) {
        Ok(meta) if meta.is_dir() => {}
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(files::cannot("read", &folder, &error));
        }
        Ok(_) => {
            return Err(Error::refused(format!(
                "{} is not a folder: move it away, and restore the node's identity from a backup",
                folder.display()
            )));
        }
        Err(_) => {
            refuse_orphaned_data(data_dir)?;
            return Err(Error::refused(format!(
                "no node in {}: run `hamster init --data-dir {0}` first",
                data_dir.display()
            )));
        }
    }
    let missing = FILES.iter().map(|name| folder.join(name)).find(|path| !path.exists());
    if let Some(path) = missing {
        return Err(Error::refused(format!("{} is missing: restore it from a backup", path.display())));
    }
    let path = folder.join(NODE);
    let record: NodeRecord = record::decode(NODE_RECORD, &files::read(&path, Secrecy::Secret)?, &path)?;
    record.check(&path)?;
    let pem = Minted {
        ca_certificate: files::read_text(&folder.join(CA_CERTIFICATE), Secrecy::Public)?,
        // Needed only to sign new nodes, but whoever can read it can join the cluster.
        ca_key: files::read_secret_text(&folder.join(CA_KEY), Secrecy::Secret)?,
        node_certificate: files::read_text(&folder.join(NODE_CERTIFICATE), Secrecy::Public)?,
        node_key: files::read_secret_text(&folder.join(NODE_KEY), Secrecy::Secret)?,
    };
    certificates::check(&record, &pem)?;
    let Minted { ca_certificate, node_certificate, node_key, .. } = pem;
    Ok(Identity { record, ca_certificate, node_certificate, node_key })
}

/// Refuses a data directory that holds a node's data without its identity: a new identity would take over the data.
fn refuse_orphaned_data(data_dir: &Path) -> Result<()> {
    match data_dir::holds_data(data_dir)? {
        false => Ok(()),
        true => Err(Error::refused(format!(
            "{} holds a node's data, but its folder identity is gone: restore it from a backup, or give another --data-dir",
            data_dir.display()
        ))),
    }
}

/// The error for an unusable file of the identity.
pub fn unfit(file: &str, error: &dyn fmt::Display) -> Error {
    Error::refused(format!(
        "identity/{file} in the data directory is unfit ({error}): restore it from a backup"
    ))
}

/// This machine's host name, or `localhost` if it has none.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || check_label("host", name).is_err() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

/// Checks a name or label: visible ASCII, 1 to 64 bytes.
pub fn check_label(what: &str, text: &str) -> Result<()> {
    let fine =
        !text.is_empty() && text.len() <= LABEL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--{what} takes 1 to {LABEL_BYTES_MAX} visible ASCII characters without spaces"
    )))
}

fn found(data_dir: &Path, founding: &Founding) -> Result<NodeRecord> {
    let capacity_bytes = match founding.capacity_bytes {
        Some(bytes) => bytes,
        None => file_system_bytes(data_dir)?,
    };
    let mut ids = IdGenerator::new();
    let mut fresh_id = || {
        let mut random = [0; 16];
        fill_random(&mut random);
        ids.next(unix_ms(), u128::from_le_bytes(random)).to_vec()
    };
    Ok(NodeRecord {
        cluster: fresh_id(),
        node: fresh_id(),
        cluster_name: founding.cluster_name.clone(),
        node_name: founding.node_name.clone(),
        listen: founding.listen.to_string(),
        host: founding.host.clone(),
        zone: founding.zone.clone(),
        capacity_bytes,
        created_unix_ms: unix_ms(),
    })
}

fn file_system_bytes(data_dir: &Path) -> Result<u64> {
    let stat =
        rustix::fs::statvfs(data_dir).map_err(|error| files::cannot("measure", data_dir, &error.into()))?;
    Ok(stat.f_frsize.saturating_mul(stat.f_blocks))
}

fn discard(fresh: &Path) -> Result<()> {
    match std::fs::remove_dir_all(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(files::cannot("remove", fresh, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
