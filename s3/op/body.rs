//! Receiving a body: into its blob, checked against all that the client said of it.

use engine::hash::{self, Digests, Plan, Sha256Chunk};
use engine::placement::{Partition, Profile};
use engine::write::{BlobWriter, Finished};
use raft::Metadata;
use raft::command::{Command, Outcome};
use raft::record::{BlobRef, Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumSpec};

use super::Exchange;
use crate::checksum::{Algorithm, ChecksumType, Value, Wanted};
use crate::conn::Piece;
use crate::error::{Code, S3Error, S3Result};
use crate::http::response::ResponseHead;
use crate::limits;
use crate::sigv4::PayloadMode;

/// A body that is wholly here and is what the client said.
pub(super) struct Received {
    pub(super) blob: BlobRef,
    pub(super) md5: [u8; 16],
    /// The checksum that the client sent, verified; or the one that was asked for by `compute`.
    pub(super) checksum: Option<Value>,
    finished: Finished,
}

/// Reads the request's body into a new blob of `partition`. `compute` asks for a checksum where the client sent
/// none. Nothing is left behind by an error.
pub(super) async fn receive(
    ex: &mut Exchange<'_, '_>,
    partition: Partition,
    compute: Option<Algorithm>,
) -> S3Result<Received> {
    let wanted = Wanted::from_head(ex.head)?;
    if !ex.head.is_chunked() && ex.head.content_length().is_none() {
        return Err(Code::MissingContentLength.into());
    }
    let size = ex.body.announced();
    if size.is_some_and(|size| size > limits::OBJECT_PUT_BYTES_MAX) {
        return Err(too_large());
    }
    let algorithm = wanted.algorithm().or(compute);
    let plan = Plan {
        md5: true,
        sha256: matches!(ex.payload, PayloadMode::Signed(_)),
        checksum: algorithm.map(to_engine),
    };
    let data_id = ex.service.new_data_id(ex.now_ms);
    let mut writer = BlobWriter::new(&ex.service.bytes, partition, data_id, Profile::for_nodes(1), size, plan)?;
    fill(ex, &mut writer).await?;
    let digests = writer.end().await?;
    let checksum = check(ex, &wanted, algorithm, &digests)?;
    let size = writer.taken();
    let finished = writer.finish().await?;
    let md5 = digests.md5.unwrap_or_default();
    let blob = record_of(&finished, size, md5, checksum.as_ref());
    Ok(Received { blob, md5, checksum, finished })
}

/// The record of a finished blob.
pub(super) fn record_of(finished: &Finished, size: u64, md5: [u8; 16], checksum: Option<&Value>) -> BlobRef {
    let place = finished.blob_ref();
    BlobRef {
        data_id: place.data_id.0.into(),
        size,
        partition: u32::from(place.partition),
        k: u32::from(place.profile.k),
        m: u32::from(place.profile.m),
        codec: u32::from(place.codec),
        part_number: 0,
        md5: Some(md5.into()),
        checksum: checksum.map(|value| value.bytes().to_vec()).unwrap_or_default(),
    }
}

async fn fill(ex: &mut Exchange<'_, '_>, writer: &mut BlobWriter) -> S3Result<()> {
    let mut chunk = ex.body.has_signed_chunks().then(Sha256Chunk::new);
    let mut nowhere = [0; 1];
    loop {
        let space = writer.space().await?;
        let full = space.is_empty();
        let target = if full { &mut nowhere[..] } else { space };
        match ex.body.read(target).await? {
            Piece::Data(_) if full => return Err(Code::InvalidRequest.with("The body is longer than announced.")),
            Piece::Data(count) => {
                if let Some(chunk) = &mut chunk {
                    chunk.update(&target[..count]);
                }
                writer.advance(count).await?;
                if writer.taken() > limits::OBJECT_PUT_BYTES_MAX {
                    return Err(too_large());
                }
            }
            Piece::ChunkEnd => {
                if let Some(chunk) = &mut chunk {
                    ex.body.verify_chunk(&chunk.finish_chunk())?;
                }
            }
            Piece::End => return Ok(()),
        }
    }
}

fn too_large() -> S3Error {
    Code::EntityTooLarge.field("MaxSizeAllowed", limits::OBJECT_PUT_BYTES_MAX.to_string())
}

/// Compares what was received with what was announced. Gives the checksum to store.
fn check(
    ex: &Exchange<'_, '_>,
    wanted: &Wanted,
    algorithm: Option<Algorithm>,
    digests: &Digests,
) -> S3Result<Option<Value>> {
    if let PayloadMode::Signed(expected) = &ex.payload
        && digests.sha256.as_ref() != Some(expected)
    {
        return Err(Code::XAmzContentSHA256Mismatch.into());
    }
    if wanted.content_md5.is_some() && wanted.content_md5 != digests.md5 {
        return Err(Code::BadDigest.into());
    }
    let computed = algorithm.zip(digests.checksum.as_ref()).and_then(|(algorithm, sum)| Value::new(algorithm, sum.as_bytes()));
    let expected = match (&wanted.value, wanted.trailer) {
        (Some(value), _) => Some(value.clone()),
        (None, Some(algorithm)) => {
            let text = ex
                .body
                .trailers()
                .find(|(name, _)| name.eq_ignore_ascii_case(algorithm.header()))
                .map(|(_, text)| text)
                .ok_or_else(|| Code::MalformedTrailerError.with("The announced trailer is missing."))?;
            Some(Value::parse(algorithm, text.as_bytes())?)
        }
        (None, None) => None,
    };
    match expected {
        Some(expected) if computed.as_ref() != Some(&expected) => Err(Code::BadDigest.with(format!(
            "The {} you specified did not match the calculated checksum.",
            expected.algorithm().name()
        ))),
        _ => Ok(computed),
    }
}

impl Received {
    /// Commits the blob with its command: a small one's bytes travel along.
    pub(super) async fn commit(self, metadata: &Metadata, command: Command) -> S3Result<Outcome> {
        commit(self.finished, metadata, command).await
    }
}

/// Commits a finished blob with the command that refers to it, and gives the outcome where that is no refusal.
pub(super) async fn commit(finished: Finished, metadata: &Metadata, command: Command) -> S3Result<Outcome> {
    let outcome = match finished {
        // An empty object has a record and no bytes.
        Finished::Small(blob) if blob.framed.is_empty() => metadata.commit(command).await?,
        Finished::Small(blob) => metadata.store_and_commit(blob, command).await?,
        Finished::Stored(_) => metadata.commit(command).await?,
    };
    super::outcome::accepted(outcome)
}

/// A body of XML, bounded and checked like any other.
pub(super) async fn document(ex: &mut Exchange<'_, '_>) -> S3Result<Vec<u8>> {
    let wanted = Wanted::from_head(ex.head)?;
    document_of(ex, &wanted).await
}

/// A body of XML, where the checksum headers may speak of something else.
pub(super) async fn document_of(ex: &mut Exchange<'_, '_>, wanted: &Wanted) -> S3Result<Vec<u8>> {
    if ex.body.announced().is_some_and(|size| size > limits::XML_BODY_BYTES_MAX as u64) {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let mut document = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let mut chunk = Sha256Chunk::new();
    loop {
        match ex.body.read(&mut buffer).await? {
            Piece::Data(count) => {
                chunk.update(&buffer[..count]);
                document.extend_from_slice(&buffer[..count]);
                if document.len() > limits::XML_BODY_BYTES_MAX {
                    return Err(Code::MaxMessageLengthExceeded.into());
                }
            }
            Piece::ChunkEnd => ex.body.verify_chunk(&chunk.finish_chunk())?,
            Piece::End => break,
        }
    }
    let algorithm = wanted.algorithm();
    let plan = Plan {
        md5: wanted.content_md5.is_some(),
        sha256: matches!(ex.payload, PayloadMode::Signed(_)),
        checksum: algorithm.map(to_engine),
    };
    let mut hash = ex.service.bytes.hashes().open(plan);
    hash.update_now(&document);
    check(ex, wanted, algorithm, &hash.finish())?;
    Ok(document)
}

/// The engine's name of an algorithm.
pub(super) fn to_engine(algorithm: Algorithm) -> hash::ChecksumKind {
    match algorithm {
        Algorithm::Crc32 => hash::ChecksumKind::Crc32,
        Algorithm::Crc32c => hash::ChecksumKind::Crc32c,
        Algorithm::Crc64Nvme => hash::ChecksumKind::Crc64Nvme,
        Algorithm::Sha1 => hash::ChecksumKind::Sha1,
        Algorithm::Sha256 => hash::ChecksumKind::Sha256,
    }
}

/// The record's name of an algorithm.
pub(super) fn to_record(algorithm: Algorithm) -> ChecksumAlgorithm {
    match algorithm {
        Algorithm::Crc32 => ChecksumAlgorithm::Crc32,
        Algorithm::Crc32c => ChecksumAlgorithm::Crc32c,
        Algorithm::Crc64Nvme => ChecksumAlgorithm::Crc64nvme,
        Algorithm::Sha1 => ChecksumAlgorithm::Sha1,
        Algorithm::Sha256 => ChecksumAlgorithm::Sha256,
    }
}

/// The protocol's name of a recorded algorithm; none for one that this version does not know.
pub(super) fn from_record(algorithm: i32) -> Option<Algorithm> {
    Some(match ChecksumAlgorithm::try_from(algorithm).ok()? {
        ChecksumAlgorithm::Crc32 => Algorithm::Crc32,
        ChecksumAlgorithm::Crc32c => Algorithm::Crc32c,
        ChecksumAlgorithm::Crc64nvme => Algorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 => Algorithm::Sha1,
        ChecksumAlgorithm::Sha256 => Algorithm::Sha256,
        ChecksumAlgorithm::Unspecified => return None,
    })
}

/// The protocol's name of a recorded kind.
pub(super) fn kind_of(kind: i32) -> ChecksumType {
    if kind == ChecksumKind::Composite as i32 { ChecksumType::Composite } else { ChecksumType::FullObject }
}

/// The record's name of a kind.
pub(super) fn kind_to_record(kind: ChecksumType) -> ChecksumKind {
    match kind {
        ChecksumType::Composite => ChecksumKind::Composite,
        ChecksumType::FullObject => ChecksumKind::FullObject,
    }
}

/// What an upload's checksums are, if it asked for any.
pub(super) fn spec_of(spec: Option<&ChecksumSpec>) -> Option<(Algorithm, ChecksumType)> {
    spec.and_then(|spec| Some((from_record(spec.algorithm)?, kind_of(spec.kind))))
}

/// A stored checksum as clients read it.
pub(super) fn checksum_text(stored: &Checksum, part_count: u32) -> Option<(Algorithm, String, ChecksumType)> {
    let algorithm = from_record(stored.algorithm)?;
    let value = Value::new(algorithm, &stored.value)?;
    let kind = kind_of(stored.kind);
    let text = match kind {
        ChecksumType::Composite => value.to_composite(part_count as usize),
        ChecksumType::FullObject => value.to_base64(),
    };
    Some((algorithm, text, kind))
}

/// The record of a checksum over a whole object.
pub(super) fn full_object(value: &Value) -> Checksum {
    Checksum::new(to_record(value.algorithm()), ChecksumKind::FullObject, value.bytes().to_vec())
}

/// Tells a client the checksum of what it sent.
pub(super) fn write_checksum(lines: &mut ResponseHead<'_>, value: &Value) {
    lines.header(value.algorithm().header(), value.to_base64());
}
