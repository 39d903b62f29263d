//! Every limit of the S3 front end, in one place. The protocol's limits are AWS's ("Amazon S3 quotas", "Multipart
//! upload limits").

use std::time::Duration;

/// A connection that has sent no byte of its next request for this long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time limit from the first byte of a head to its last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A body or response that makes no progress for this long ends its connection.
pub const STALL: Duration = Duration::from_secs(60);
/// The minimum rate. A client that sends a body or takes a response more slowly than this ends its connection. The rate
/// is measured over all the time spent waiting for the client, and [`STALL`] is allowed on top. Unit tests have no time
/// for clients that are so slow.
pub const BODY_BYTES_PER_SECOND: u64 = if cfg!(test) { 1 << 20 } else { 1024 };
/// The response to a long copy or completion begins after this time, before the work is done. Unit tests do not wait.
pub const DEFERRED_AFTER: Duration = Duration::from_millis(if cfg!(test) {
    0
} else if cfg!(sim) {
    200
} else {
    5000
});
/// After that, white space is sent at this interval.
pub const WHITE_SPACE_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 5000 });
/// The time limit of a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest PROXY header, bytes; the specification itself advises to stay below 536.
pub const PREAMBLE_BYTES_MAX: usize = 1024;
/// The time limit from the first byte of a PROXY header to its last.
pub const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many entries of `X-Forwarded-For` are read, counted from the last.
pub const PROXY_HOPS_MAX: usize = 32;
/// The most connections that one core holds; fewer if the limit on open files is low. A connection that finds every
/// core full is closed at once.
pub const CONNECTIONS_PER_CORE: usize = 16_384;
/// The most connections that other cores have handed to a core and it has not taken yet.
pub const HANDED_CONNECTIONS: usize = 256;
/// The most bytes of an unwanted body that are read so that the connection can be reused; if more are left, the
/// connection is closed.
pub const DISCARD_BYTES: u64 = 256 << 10;
/// The most bytes read after the last response, so that a reset does not destroy it.
pub const LINGER_BYTES: usize = 16 << 20;
/// How long they are read: see [`LINGER_BYTES`].
pub const LINGER: Duration = Duration::from_secs(5);

/// Largest body of one PUT or one part, bytes.
pub const OBJECT_PUT_BYTES_MAX: u64 = 5 << 30;
/// Smallest part except the last, bytes.
pub const PART_BYTES_MIN: u64 = raft::apply::MIN_PART_BYTES;
/// Highest part number.
pub const PART_NUMBER_MAX: u32 = raft::key::MAX_PART_NUMBER;
/// The most entries of one page of a list.
pub const LIST_KEYS_MAX: u32 = 1000;
/// Largest XML body, bytes: 10,000 parts with checksums fit.
pub const XML_BODY_BYTES_MAX: usize = 4 << 20;
/// Largest XML body of a CreateBucket, bytes.
pub const CREATE_BUCKET_XML_BYTES_MAX: usize = 16 << 10;
/// Largest XML body of a DeleteObjects, bytes. Unescaped, 1,000 keys of 1,024 bytes take half of it; escaping could
/// exceed it in theory, but does not come close in practice.
pub const DELETE_XML_BYTES_MAX: usize = 2 << 20;
/// The most objects of a DeleteObjects.
pub const DELETE_OBJECTS_MAX: usize = 1000;
