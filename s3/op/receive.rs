//! Receives a body into its blob and verifies it against everything that the client declared about it.

use std::pin::pin;
use std::sync::Arc;

use engine::hash::{self, ChecksumAlgorithm, Digests, Plan};
use engine::io;
use engine::placement::{Partition, Profile};
use engine::write::{BlobWriter, Finished};
use raft::command::{Kind, Outcome, Precondition, PutPart, PutVersion};
use raft::record::{
    BlobRef, Bytes16, Checksum, ChecksumType, ObjectHeaders, PartRecord, VersionKind, VersionRecord,
};

use super::Exchange;
use crate::checksum::{self, DeclaredDigests};
use crate::conn::Piece;
use crate::error::{Code, S3Error, S3Result};
use crate::limits;
use crate::part_number::PartNumber;
use crate::sigv4::PayloadMode;

/// A blob whose bytes have all arrived.
pub(super) struct Received {
    blob: BlobRef,
    /// The checksum among them is computed with the algorithm of the client, of the upload, or the default.
    digests: Digests,
    finished: Finished,
}

/// What a new object has besides its bytes, and its precondition on the current one.
pub(super) struct NewObject {
    pub(super) headers: Option<ObjectHeaders>,
    /// `None` means STANDARD.
    pub(super) storage_class: Option<String>,
    pub(super) precondition: Option<Precondition>,
}

/// Reads the request's body into a new blob of `partition`. `default` is the checksum to compute if the client sent
/// none. An error leaves nothing behind.
pub(super) async fn receive(
    ex: &mut Exchange<'_, '_>,
    partition: Partition,
    default: ChecksumAlgorithm,
) -> S3Result<Received> {
    let declared = DeclaredDigests::from_head(ex.head)?;
    if !ex.head.is_chunked() && ex.head.content_length().is_none() {
        return Err(Code::MissingContentLength.into());
    }
    let size = ex.body.announced();
    if size.is_some_and(|size| size > limits::OBJECT_PUT_BYTES_MAX) {
        return Err(too_large());
    }
    let plan = Plan {
        md5: true,
        sha256: matches!(ex.payload, PayloadMode::Signed(_)),
        chunks: ex.body.has_signed_chunks(),
        checksum: Some(declared.algorithm().unwrap_or(default)),
    };
    let mut writer = writer(ex, partition, size, plan)?;
    fill(ex, &mut writer).await?;
    let received = Received::finish(writer).await?;
    if let Err(error) = check(ex, &declared, &received.digests) {
        if let Finished::Stored(blob) = received.finished {
            blob.discard().await;
        }
        return Err(error);
    }
    Ok(received)
}

/// Creates a writer for a new blob.
pub(super) fn writer(
    ex: &Exchange<'_, '_>,
    partition: Partition,
    size: Option<u64>,
    plan: Plan,
) -> S3Result<BlobWriter> {
    let data_id = ex.service.new_data_id(ex.now_ms);
    let profile = Profile::for_nodes(1);
    Ok(BlobWriter::new(&ex.service.bytes, ex.holder, partition, data_id, profile, size, plan)?)
}

async fn fill(ex: &mut Exchange<'_, '_>, writer: &mut BlobWriter) -> S3Result<()> {
    let mut overflow = [0; 1];
    loop {
        if !writer.has_buffer() {
            ex.body.ready().await?;
        }
        let space = writer.space().await?;
        let full = space.is_empty();
        let target = if full { &mut overflow[..] } else { space };
        match ex.body.read(target).await? {
            Piece::Data(_) if full => {
                return Err(Code::InvalidRequest.with("The body is longer than announced."));
            }
            Piece::Data(count) => {
                writer.advance(count).await?;
                if writer.received() > limits::OBJECT_PUT_BYTES_MAX {
                    return Err(too_large());
                }
            }
            Piece::Shrink => writer.park().await?,
            Piece::ChunkEnd => writer.end_chunk().await,
            Piece::End => return Ok(()),
        }
        while let Some(chunk) = writer.next_chunk() {
            ex.body.verify_chunk(&chunk)?;
        }
    }
}

fn too_large() -> S3Error {
    Code::EntityTooLarge.field("MaxSizeAllowed", limits::OBJECT_PUT_BYTES_MAX.to_string())
}

/// Verifies what was received against what was declared. `digests` include the chunks that are not yet verified.
pub(super) fn check(
    ex: &mut Exchange<'_, '_>,
    declared: &DeclaredDigests,
    digests: &Digests,
) -> S3Result<()> {
    for chunk in &digests.chunks {
        ex.body.verify_chunk(chunk)?;
    }
    ex.body.verify_end()?;
    if let PayloadMode::Signed(expected) = &ex.payload
        && digests.sha256.as_ref() != Some(expected)
    {
        return Err(Code::XAmzContentSHA256Mismatch.into());
    }
    if declared.content_md5.is_some() && declared.content_md5 != digests.md5 {
        return Err(Code::BadDigest.into());
    }
    let expected = match (declared.value, declared.trailer) {
        (Some(value), _) => Some(value),
        (None, Some(algorithm)) => {
            let text = ex
                .body
                .trailers()
                .find(|(name, _)| name.eq_ignore_ascii_case(checksum::header(algorithm)))
                .map(|(_, text)| text)
                .ok_or_else(|| Code::MalformedTrailerError.with("The announced trailer is missing."))?;
            Some(checksum::parse(algorithm, text.as_bytes())?)
        }
        (None, None) => None,
    };
    match expected {
        Some(expected) if digests.checksum != Some(expected) => Err(Code::BadDigest.with(format!(
            "The {} you specified did not match the calculated checksum.",
            checksum::name(expected.algorithm())
        ))),
        _ => Ok(()),
    }
}

impl Received {
    /// Finishes a writer that computes the MD5 among others.
    pub(super) async fn finish(writer: BlobWriter) -> S3Result<Received> {
        let size = writer.received();
        let (finished, digests) = writer.finish().await?;
        let place = finished.blob_ref();
        let blob = BlobRef {
            data_id: place.data_id.0.into(),
            size,
            partition: u32::from(place.partition),
            k: u32::from(place.profile.k),
            m: u32::from(place.profile.m),
            codec: u32::from(place.codec),
            part_number: 0,
            md5: digests.md5.map(Bytes16::from),
            checksum: digests.checksum.map(|value| value.as_bytes().to_vec()).unwrap_or_default(),
        };
        Ok(Received { blob, digests, finished })
    }

    /// The checksum of the bytes.
    pub(super) fn checksum(&self) -> Option<hash::Checksum> {
        self.digests.checksum
    }

    /// The MD5 of the bytes.
    pub(super) fn md5(&self) -> Bytes16 {
        self.blob.md5.unwrap_or_default()
    }

    /// Makes the blob the object of the request's key. Returns the version as written.
    pub(super) async fn put_version(
        self,
        ex: &mut Exchange<'_, '_>,
        new: NewObject,
    ) -> S3Result<Arc<VersionRecord>> {
        let NewObject { headers, storage_class, precondition } = new;
        let version = VersionRecord {
            version_id: ex.service.new_id(ex.now_ms).into(),
            kind: VersionKind::Object.into(),
            size: self.blob.size,
            md5: self.md5(),
            headers,
            storage_class,
            checksum: self.digests.checksum.map(|value| Checksum::new(&value, ChecksumType::FullObject)),
            blobs: if self.blob.size > 0 { vec![self.blob] } else { Vec::new() },
            ..VersionRecord::default()
        };
        let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
        let put = Kind::PutVersion(PutVersion { bucket, key, version, precondition });
        match commit(ex, self.finished, put).await? {
            Outcome::Written { version } => Ok(version),
            _ => Err(Code::InternalError.into()),
        }
    }

    /// Makes the blob a part of an upload whose parts have checksums by `algorithm`; a checksum by another algorithm is
    /// not kept. Returns the part as written.
    pub(super) async fn put_part(
        self,
        ex: &mut Exchange<'_, '_>,
        upload_id: Bytes16,
        number: PartNumber,
        algorithm: ChecksumAlgorithm,
    ) -> S3Result<PartRecord> {
        let md5 = self.md5();
        let mut blob = BlobRef { part_number: number.into(), ..self.blob };
        if self.digests.checksum.is_none_or(|checksum| checksum.algorithm() != algorithm) {
            blob.checksum.clear();
        }
        let part = PartRecord {
            number: number.into(),
            size: blob.size,
            md5,
            modified_ms: io::unix_ms(),
            checksum: blob.checksum.clone(),
            blob,
        };
        let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
        let put = PutPart { bucket, key, upload_id, part: part.clone() };
        commit(ex, self.finished, Kind::PutPart(put)).await?;
        Ok(part)
    }
}

/// Commits a finished blob with the command that refers to it; the bytes of a small blob travel with the command.
/// Returns the outcome, or an error if the command was refused.
async fn commit(ex: &mut Exchange<'_, '_>, finished: Finished, kind: Kind) -> S3Result<Outcome> {
    let (metadata, command) = (&ex.service.metadata, ex.service.command(kind));
    let work = pin!(async {
        match finished {
            // An empty object has a record but no bytes.
            Finished::Small(blob, held) if !blob.framed.is_empty() => {
                let outcome = metadata.store_and_commit(blob, command).await;
                drop(held);
                outcome
            }
            Finished::Small(..) => metadata.commit(command).await,
            Finished::Stored(stored) => {
                stored.keep();
                metadata.commit(command).await
            }
        }
    });
    let outcome = ex.with_keepalive(work).await;
    if outcome.is_err() {
        // Perhaps nothing refers to the blob, and nothing ever will.
        ex.service.bytes.home().segments().note_leftovers();
    }
    super::outcome::accepted(outcome?)
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
