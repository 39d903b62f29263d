//! The cluster port's control calls: framed messages over mutual TLS 1.3.
//!
//! | offset | bytes | what                                     |
//! |--------|-------|------------------------------------------|
//! | 0      | 4     | magic `HMCP`                             |
//! | 4      | 2     | version, little-endian                   |
//! | 6      | 2     | kind ([`Kind`])                          |
//! | 8      | 4     | length of the body                       |
//! | 12     | 4     | CRC-32C of bytes 0..12 and of the body   |
//! | 16     | …     | the body: a protobuf message             |
//!
//! A connection begins with a hello that names the cluster and the connection's purpose. Then calls are answered one
//! after the other. A frame's head is checked before memory is allocated for its body.

#[cfg(not(fuzzing))]
pub mod client;
#[cfg(not(fuzzing))]
pub mod server;

use crate::record::checksum;
use std::fmt;

const MAGIC: [u8; 4] = *b"HMCP";
/// The version of frames that this binary sends and accepts.
pub const VERSION: u16 = 1;
/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 16;
/// The longest body of a call.
pub const CALL_BYTES_MAX: usize = 64 * 1024;
/// The longest body of a reply: the metrics of 256 cores take about 3 MiB.
pub const REPLY_BYTES_MAX: usize = 16 << 20;

/// What a frame holds. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`Hello`], first from the client, then from the server.
    Hello = 1,
    /// A refusal: [`Refusal`].
    Refusal = 2,
    /// Asks for the node's status: an empty body.
    Status = 3,
    /// [`crate::status::Status`].
    StatusReply = 4,
    /// Asks for the node's metrics: an empty body.
    Metrics = 5,
    /// [`MetricsReply`].
    MetricsReply = 6,
}

/// The first message of a connection. Field numbers are frozen.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hello {
    /// The cluster's id, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub cluster: Vec<u8>,
    /// The id of the sending node, 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub node: Vec<u8>,
    /// What the connection is for: [`PURPOSE_CONTROL`].
    #[prost(uint32, tag = "3")]
    pub purpose: u32,
    /// The number of cores of the sending node.
    #[prost(uint32, tag = "4")]
    pub cores: u32,
}

/// The purpose of connections that carry status and metrics calls.
pub const PURPOSE_CONTROL: u32 = 1;

/// Why a call was not answered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refusal {
    /// One line.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// The metrics in the Prometheus text format.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MetricsReply {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// Why a frame was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The magic is wrong: the peer speaks another protocol.
    Magic,
    /// The version is unknown: the peer is newer or broken.
    Version(u16),
    /// A kind that this node does not know.
    Kind(u16),
    /// The body is longer than such a frame may be.
    TooLong(u32),
    /// The checksum does not match.
    Checksum,
    /// The body does not decode as the message of its kind.
    Body,
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => out.write_str("it does not speak Hamster's cluster protocol"),
            Self::Version(version) => {
                write!(out, "it speaks version {version} of the protocol, not {VERSION}")
            }
            Self::Kind(kind) => write!(out, "it sent a message of the unknown kind {kind}"),
            Self::TooLong(length) => write!(out, "it sent a message of {length} bytes, more than allowed"),
            Self::Checksum => out.write_str("a message was damaged on its way"),
            Self::Body => out.write_str("a message could not be read"),
        }
    }
}

impl std::error::Error for FrameError {}

/// A frame's head. Everything but the checksum is checked, which needs the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the body holds.
    pub kind: Kind,
    /// Its length, within the limit.
    pub length: usize,
    bytes: [u8; HEAD_BYTES],
}

/// Encodes a frame.
pub fn encode<M: prost::Message>(kind: Kind, message: &M) -> Vec<u8> {
    let body_bytes = message.encoded_len();
    assert!(body_bytes <= REPLY_BYTES_MAX, "our own message is too long");
    let mut frame = Vec::with_capacity(HEAD_BYTES + body_bytes);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&(kind as u16).to_le_bytes());
    frame.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&message.encode_to_vec());
    let sum = checksum(&frame[..12], &frame[HEAD_BYTES..]);
    frame[12..16].copy_from_slice(&sum.to_le_bytes());
    frame
}

/// Checks a frame's head; `limit` bounds the body.
pub fn decode_head(bytes: [u8; HEAD_BYTES], limit: usize) -> Result<Head, FrameError> {
    if bytes[0..4] != MAGIC {
        return Err(FrameError::Magic);
    }
    let version = u16::from_le_bytes([bytes[4], bytes[5]]);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = kind(u16::from_le_bytes([bytes[6], bytes[7]]))?;
    let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if length as usize > limit {
        return Err(FrameError::TooLong(length));
    }
    Ok(Head { kind, length: length as usize, bytes })
}

impl Head {
    /// Checks the checksum of head and body.
    pub fn check(&self, body: &[u8]) -> Result<(), FrameError> {
        let sum = u32::from_le_bytes([self.bytes[12], self.bytes[13], self.bytes[14], self.bytes[15]]);
        if sum == checksum(&self.bytes[..12], body) { Ok(()) } else { Err(FrameError::Checksum) }
    }
}

fn kind(number: u16) -> Result<Kind, FrameError> {
    let known =
        [Kind::Hello, Kind::Refusal, Kind::Status, Kind::StatusReply, Kind::Metrics, Kind::MetricsReply];
    known.into_iter().find(|kind| *kind as u16 == number).ok_or(FrameError::Kind(number))
}

#[cfg(test)]
mod tests;
