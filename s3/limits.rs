//! Every limit of the S3 front end, in one place. Those of the protocol are AWS's ("Amazon S3 quotas", "Multipart
//! upload limits").

use std::time::Duration;

/// A connection that has sent no byte of a next request for so long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// From a head's first byte to its last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A body or an answer that makes no progress for so long ends its connection.
pub const STALL: Duration = Duration::from_secs(60);
/// A body that comes slower than this, or an answer that is taken slower, over all the time that the client was waited
/// for and [`STALL`], ends its connection.
pub const BODY_BYTES_PER_SECOND: u64 = 1024;
/// The answer to a long copy or completion begins after so long, before its work is done.
pub const DEFERRED_AFTER: Duration = Duration::from_secs(5);
/// White space follows as often as that.
pub const WHITE_SPACE_EVERY: Duration = Duration::from_secs(5);
/// TLS handshakes take no longer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest PROXY header, bytes; the specification's own advice is to keep below 536.
pub const PREAMBLE_BYTES_MAX: usize = 1024;
/// From a PROXY header's first byte to its last.
pub const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries of `X-Forwarded-For` that are looked at, from the last one on.
pub const PROXY_HOPS_MAX: usize = 32;
/// Connections that one core holds at most, fewer where few files may be open. One that finds every core full is closed
/// at once.
pub const CONNECTIONS_PER_CORE: usize = 16_384;
/// Connections that other cores have handed to a core and that it has not taken yet, at most.
pub const HANDED_CONNECTIONS: usize = 256;
/// Of a body that nobody wants, so much is read so that the connection can go on; more closes it.
pub const DISCARD_BYTES: u64 = 256 << 10;
/// After the last answer so much is still read, and for so long, lest the answer be lost to a reset.
pub const LINGER_BYTES: usize = 16 << 20;
/// See [`LINGER_BYTES`].
pub const LINGER: Duration = Duration::from_secs(5);

/// Largest body of one PUT or one part, bytes.
pub const OBJECT_PUT_BYTES_MAX: u64 = 5 << 30;
/// Smallest part but the last, bytes.
pub const PART_BYTES_MIN: u64 = raft::apply::MIN_PART_BYTES;
/// Highest part number.
pub const PART_NUMBER_MAX: u32 = raft::key::MAX_PART_NUMBER;
/// Entries of one page of a list.
pub const LIST_KEYS_MAX: u32 = 1000;
/// Largest XML body that is read, bytes: 10,000 parts with checksums fit in it.
pub const XML_BODY_BYTES_MAX: usize = 4 << 20;
/// Largest XML body of a CreateBucket, bytes.
pub const CREATE_BUCKET_XML_BYTES_MAX: usize = 16 << 10;
/// Largest XML body of a DeleteObjects, bytes: 1,000 keys of 1,024 bytes, each byte escaped at worst, do not come
/// close in practice.
pub const DELETE_XML_BYTES_MAX: usize = 2 << 20;
/// The most objects of a DeleteObjects.
pub const DELETE_OBJECTS_MAX: usize = 1000;
