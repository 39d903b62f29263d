//! The types of the Raft group. openraft's names stay in this crate.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::vote::RaftLeaderId;

use crate::command::Command;

openraft::declare_raft_types!(
    /// openraft's configuration of types.
    pub TypeConfig:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = openraft::BasicNode,
        Term = u64,
        LeaderId = openraft::impls::leader_id_adv::LeaderId<Self::Term, Self::NodeId>,
        Vote = openraft::impls::Vote<Self::LeaderId>,
        Payload = openraft::EntryPayload<Self::D, Self::NodeId, Self::Node>,
        Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>,
        AsyncRuntime = crate::runtime::Runtime,
);

/// Identifies a log entry: its leader's term and node, and its index.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A leader: its term and its node.
pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
/// A vote.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// What an entry carries.
pub type Payload = openraft::EntryPayload<Proposal, u64, openraft::BasicNode>;
/// Voters and learners.
pub type Membership = openraft::Membership<u64, openraft::BasicNode>;
/// Voters and learners, and the entry that set them.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;

/// The id of the entry at `index` that the leader of `term` on `node` wrote.
pub fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: node }, index)
}

/// An encoded command on its way through the log. Clones share it.
///
/// The node that proposed it keeps the decoded command beside the bytes, so that apply need not decode it again.
#[derive(Clone)]
pub struct Proposal(Arc<Inner>);

struct Inner {
    bytes: Vec<u8>,
    decoded: Mutex<Option<Command>>,
}

impl Proposal {
    /// A command that this node proposes.
    ///
    /// # Errors
    /// The command is longer than a log entry may be.
    pub fn of(command: Command) -> crate::Result<Proposal> {
        let bytes = command.encode_bounded()?;
        Ok(Proposal(Arc::new(Inner { bytes, decoded: Mutex::new(Some(command)) })))
    }

    /// A command as the log or a peer holds it.
    pub fn from_bytes(bytes: Vec<u8>) -> Proposal {
        Proposal(Arc::new(Inner { bytes, decoded: Mutex::new(None) }))
    }

    /// The encoded command.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The command. Apply takes it once, and gets the decoded copy if there is one.
    ///
    /// # Errors
    /// The bytes are not a command of this version.
    pub fn take_command(&self) -> crate::Result<Command> {
        let kept = self.0.decoded.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(|| Command::from_entry(&self.0.bytes), Ok)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.bytes.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl serde::Serialize for Proposal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.bytes)
    }
}

impl<'de> serde::Deserialize<'de> for Proposal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(Proposal::from_bytes)
    }
}
