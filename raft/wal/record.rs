//! The records of the write-ahead log, and their encoding.
//!
//! A record, all numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `HWLR` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | kind |
//! | 6 | 2 | flags: bit 0 = last record of its batch |
//! | 8 | 4 | length of the payload |
//! | 12 | 4 | CRC-32C over the segment's salt (8), bytes 0..12, bytes 16..24, the payload |
//! | 16 | 8 | sequence number of its batch |
//! | 24 | | the payload |
//!
//! The salt makes the check fail for bytes that a recycled file held before, and for bytes that a client made to
//! look like a record: see `salt` in `segment.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Entry, LeaderId, LogId, Membership, Payload, Proposal, Vote, log_id};

/// Bytes of a record before its payload.
pub const HEADER_BYTES: usize = 24;
/// The longest payload: a command and its frame, or a membership.
pub const MAX_PAYLOAD_BYTES: usize = crate::command::MAX_COMMAND_BYTES + 64 * 1024;
const MAGIC: [u8; 4] = *b"HWLR";
const VERSION: u8 = 1;
const ENDS_BATCH: u16 = 1;
const LOG_ID_BYTES: usize = 24;

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An entry was appended.
    Entry(Entry),
    /// The vote was cast.
    Vote(Vote),
    /// Entries up to this one are known to be committed.
    Committed(Option<LogId>),
    /// Entries after this one are void; `None`: all entries are.
    Truncate(Option<LogId>),
    /// Entries up to this one are in a snapshot and gone.
    Purge(LogId),
}

/// A record decoded from a segment.
#[derive(Debug, PartialEq)]
pub struct DecodedRecord {
    /// The record.
    pub record: Record,
    /// Its length in the file, bytes.
    pub len: usize,
    /// It is the last one of its batch.
    pub ends_batch: bool,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not of this segment, or torn: no magic, another sequence, a wrong checksum, or cut short.
    Absent,
    /// The checksum holds, but this code can't read it: a later version wrote it.
    Unknown(&'static str),
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Record::Entry(_) => 1,
            Record::Vote(_) => 2,
            Record::Committed(_) => 3,
            Record::Truncate(_) => 4,
            Record::Purge(_) => 5,
        }
    }

    /// Bytes that the record takes in a segment.
    pub fn encoded_len(&self) -> usize {
        let payload = match self {
            Record::Entry(Entry { payload: Payload::Blank, .. }) => LOG_ID_BYTES + 1,
            Record::Entry(Entry { payload: Payload::Normal(proposal), .. }) => {
                LOG_ID_BYTES + 1 + proposal.bytes().len()
            }
            Record::Vote(_) => 17,
            Record::Committed(None) | Record::Truncate(None) => 0,
            Record::Committed(Some(_)) | Record::Truncate(Some(_)) | Record::Purge(_) => LOG_ID_BYTES,
            Record::Entry(_) => {
                let mut out = Vec::new();
                self.encode_payload(&mut out);
                out.len()
            }
        };
        HEADER_BYTES + payload
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Record::Entry(entry) => {
                put_log_id(out, &entry.log_id);
                match &entry.payload {
                    Payload::Blank => out.push(0),
                    Payload::Normal(proposal) => {
                        out.push(1);
                        out.extend_from_slice(proposal.bytes());
                    }
                    Payload::Membership(membership) => {
                        out.push(2);
                        put_membership(out, membership);
                    }
                }
            }
            Record::Vote(vote) => {
                out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
                out.extend_from_slice(&vote.leader_id.node_id.to_le_bytes());
                out.push(u8::from(vote.committed));
            }
            Record::Committed(id) | Record::Truncate(id) => {
                if let Some(id) = id {
                    put_log_id(out, id);
                }
            }
            Record::Purge(id) => put_log_id(out, id),
        }
    }

    /// Appends the record's bytes to `out`, including its batch's sequence number and its checksum.
    pub fn encode(&self, salt: u64, sequence: u64, ends_batch: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.push(self.kind());
        out.extend_from_slice(&(if ends_batch { ENDS_BATCH } else { 0 }).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&sequence.to_le_bytes());
        self.encode_payload(out);
        let len = out.len() - start - HEADER_BYTES;
        assert!(len <= MAX_PAYLOAD_BYTES, "the proposer limits a command's length");
        out[start + 8..start + 12].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        let crc = checksum(salt, &out[start..]);
        out[start + 12..start + 16].copy_from_slice(&crc.to_le_bytes());
    }

    /// The record of batch `sequence` at the start of `bytes`.
    ///
    /// # Errors
    /// There is none, or this code can't read it.
    pub fn decode(salt: u64, sequence: u64, bytes: &[u8]) -> Result<DecodedRecord, Fault> {
        let (found_sequence, len) = frame(salt, bytes).ok_or(Fault::Absent)?;
        if found_sequence != sequence {
            return Err(Fault::Absent);
        }
        if bytes[4] != VERSION {
            return Err(Fault::Unknown("its version is unknown"));
        }
        let record = decode_payload(bytes[5], &bytes[HEADER_BYTES..len])
            .ok_or(Fault::Unknown("its kind or its payload is unknown"))?;
        let flags = u16::from_le_bytes([bytes[6], bytes[7]]);
        Ok(DecodedRecord { record, len, ends_batch: flags & ENDS_BATCH != 0 })
    }
}

/// Whether `bytes` may start with a record, of whatever segment.
pub fn starts_as_record(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The batch sequence and the total length of the record at the start of `bytes`, if all of it is there.
pub fn frame(salt: u64, bytes: &[u8]) -> Option<(u64, usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    if header[..4] != MAGIC {
        return None;
    }
    let payload = usize::try_from(u32::from_le_bytes(header[8..12].try_into().ok()?)).ok()?;
    if payload > MAX_PAYLOAD_BYTES {
        return None;
    }
    let whole = bytes.get(..HEADER_BYTES + payload)?;
    let crc = u32::from_le_bytes(header[12..16].try_into().ok()?);
    (checksum(salt, whole) == crc)
        .then(|| (u64::from_le_bytes(header[16..24].try_into().unwrap_or_default()), whole.len()))
}

fn checksum(salt: u64, record: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_le_bytes());
    digest.update(&record[..12]);
    digest.update(&record[16..]);
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    out.extend_from_slice(&id.leader_id.term.to_le_bytes());
    out.extend_from_slice(&id.leader_id.node_id.to_le_bytes());
    out.extend_from_slice(&id.index.to_le_bytes());
}

/// Encodes a log id: term, node, index, 24 bytes.
pub fn log_id_bytes(id: &LogId) -> Vec<u8> {
    let mut out = Vec::with_capacity(LOG_ID_BYTES);
    put_log_id(&mut out, id);
    out
}

/// Takes fixed-length and length-prefixed fields from the front of some bytes.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    /// The next four bytes as a count.
    pub fn count(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// The next 24 bytes as a log id.
    pub fn log_id(&mut self) -> Option<LogId> {
        Some(log_id(self.u64()?, self.u64()?, self.u64()?))
    }
}

fn decode_payload(kind: u8, payload: &[u8]) -> Option<Record> {
    let mut cursor = Cursor(payload);
    let optional = |cursor: &mut Cursor<'_>| {
        if cursor.0.is_empty() { Some(None) } else { cursor.log_id().map(Some) }
    };
    let record = match kind {
        1 => {
            let log_id = cursor.log_id()?;
            let payload = match cursor.byte()? {
                0 => Payload::Blank,
                1 => Payload::Normal(Proposal::from_bytes(std::mem::take(&mut cursor.0).to_vec())),
                2 => Payload::Membership(take_membership(&mut cursor)?),
                _ => return None,
            };
            Record::Entry(Entry { log_id, payload })
        }
        2 => {
            let leader_id = LeaderId { term: cursor.u64()?, node_id: cursor.u64()? };
            Record::Vote(Vote { leader_id, committed: cursor.byte()? != 0 })
        }
        3 => Record::Committed(optional(&mut cursor)?),
        4 => Record::Truncate(optional(&mut cursor)?),
        5 => Record::Purge(cursor.log_id()?),
        _ => return None,
    };
    cursor.0.is_empty().then_some(record)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Appends a membership: the number of configs, and for each the number of voters and the voters; then the number
/// of nodes, and for each its id, the length of its address and the address.
pub fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_count(out, configs.len());
    for voters in configs {
        put_count(out, voters.len());
        for voter in voters {
            out.extend_from_slice(&voter.to_le_bytes());
        }
    }
    put_count(out, membership.nodes().count());
    for (id, node) in membership.nodes() {
        out.extend_from_slice(&id.to_le_bytes());
        put_count(out, node.addr.len());
        out.extend_from_slice(node.addr.as_bytes());
    }
}

/// Takes a membership from the front.
pub fn take_membership(cursor: &mut Cursor<'_>) -> Option<Membership> {
    let mut configs = Vec::new();
    for _ in 0..cursor.count()? {
        let mut voters = BTreeSet::new();
        for _ in 0..cursor.count()? {
            voters.insert(cursor.u64()?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..cursor.count()? {
        let id = cursor.u64()?;
        let len = cursor.count()?;
        let addr = String::from_utf8(cursor.take(len)?.to_vec()).ok()?;
        nodes.insert(id, openraft::BasicNode { addr });
    }
    if configs.is_empty() && nodes.is_empty() {
        return Some(Membership::default());
    }
    Membership::new(configs, nodes).ok()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
