//! Multipart uploads (AWS, "Uploading and copying objects using multipart upload").

use super::{Change, Session, checksum, precondition::refusal};
use crate::{
    Result,
    command::{AbortUpload, CompleteUpload, CompletedPart, CreateUpload, Outcome, PutPart},
    key::{self, MAX_PART_NUMBER, Name},
    kv::Reader,
    read,
    record::{
        BlobRef, Bytes16, Checksum, ChecksumSpec, PartRecord, Record, UploadRecord, VersionKind,
        VersionRecord,
    },
};
use engine::hash::ChecksumAlgorithm;
use md5::{Digest, Md5};
use std::{ops::ControlFlow, slice};

/// The minimum size of a part that is not the last, bytes.
pub const MIN_PART_BYTES: u64 = if cfg!(sim) { 64 << 10 } else { 5 * 1024 * 1024 };
/// The maximum size of an object, bytes: 10,000 parts of 5 GiB.
pub const MAX_OBJECT_BYTES: u64 = 10_000 * 5 * 1024 * 1024 * 1024;

/// A refusal.
type Refused = Outcome;

impl<R: Reader> Session<'_, R> {
    pub(super) fn create_upload(
        &mut self,
        command: &CreateUpload,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let upload = &command.upload;
        let Ok(name) = Name::new(&upload.bucket, &upload.key) else { return Ok(Outcome::InvalidKey) };
        if upload.check().is_err() {
            return Ok(Outcome::InvalidRecord);
        }
        if self.bucket(&upload.bucket)?.is_none() {
            return Ok(Outcome::NoSuchBucket);
        }
        self.rows.put(name.upload(upload.upload_id), upload.to_row());
        changes.push(Change::Upload { upload_id: upload.upload_id, open: true });
        Ok(Outcome::Done)
    }

    pub(super) fn put_part(&mut self, command: &PutPart, changes: &mut Vec<Change>) -> Result<Outcome> {
        let part = &command.part;
        let brought = slice::from_ref(&part.blob);
        let Ok(name) = Name::new(&command.bucket, &command.key) else {
            return Ok(self.refuse(Outcome::InvalidKey, brought, changes));
        };
        if part.check().is_err() {
            return Ok(self.refuse(Outcome::InvalidRecord, brought, changes));
        }
        let number = match u16::try_from(part.number) {
            Ok(number) if (1..=MAX_PART_NUMBER).contains(&part.number) => number,
            _ => return Ok(self.refuse(Outcome::InvalidPart { number: part.number }, brought, changes)),
        };
        if self.bucket(&command.bucket)?.is_none() {
            return Ok(self.refuse(Outcome::NoSuchBucket, brought, changes));
        }
        if self.rows.get(&name.upload(command.upload_id))?.is_none() {
            engine::reach!("part-of-an-ended-upload");
            return Ok(self.refuse(Outcome::NoSuchUpload, brought, changes));
        }
        if self.superseded(brought)? {
            return Ok(Outcome::Superseded);
        }
        let row = name.part(command.upload_id, number);
        if let Some(replaced) = self.record::<PartRecord>(&row)? {
            if replaced.blob.data_id == part.blob.data_id {
                return Ok(Outcome::Done);
            }
            engine::reach!("part-replaced");
            if !engine::canary!("replaced-part-kept") {
                self.release(&replaced.blob, changes);
            }
        }
        self.rows.put(row, part.to_row());
        Ok(Outcome::Done)
    }

    pub(super) fn abort_upload(
        &mut self,
        command: &AbortUpload,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let Ok(name) = Name::new(&command.bucket, &command.key) else { return Ok(Outcome::InvalidKey) };
        if self.bucket(&command.bucket)?.is_none() {
            return Ok(Outcome::NoSuchBucket);
        }
        if self.rows.get(&name.upload(command.upload_id))?.is_none() {
            return Ok(Outcome::NoSuchUpload);
        }
        let parts = self.parts(name, command.upload_id)?;
        self.end_upload(name, command.upload_id, &parts, |_| true, changes);
        Ok(Outcome::Done)
    }

    /// A refused Complete brings no blobs and leaves the upload as it was, so that the client may try again.
    pub(super) fn complete_upload(
        &mut self,
        command: &CompleteUpload,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let Ok(name) = Name::new(&command.bucket, &command.key) else { return Ok(Outcome::InvalidKey) };
        let Some(bucket) = self.bucket(&command.bucket)? else { return Ok(Outcome::NoSuchBucket) };
        let state = self.key_state(name, bucket.versioning())?;
        let Some(upload) = self.record::<UploadRecord>(&name.upload(command.upload_id))? else {
            return self.repeated_complete(name, command);
        };
        if let Some(outcome) = refusal(command.precondition.as_ref(), state.target()) {
            return Ok(outcome);
        }
        let parts = self.parts(name, command.upload_id)?;
        let chosen = match choose(&command.parts, &parts) {
            Ok(chosen) => chosen,
            Err(refused) => return Ok(refused),
        };
        let version = match assemble(command, upload, &chosen) {
            Ok(version) => version,
            Err(refused) => return Ok(refused),
        };
        // Both lists ascend by number.
        let mut kept = chosen.iter().map(|part| part.number).peekable();
        let unused = |part: &PartRecord| {
            kept.next_if_eq(&part.number).is_none() && !engine::canary!("unlisted-parts-kept")
        };
        self.end_upload(name, command.upload_id, &parts, unused, changes);
        let version = self.add_version(name, bucket.versioning(), &state, version, changes)?;
        Ok(Outcome::Written { version })
    }

    /// Answers a Complete whose upload is gone. If the version that the same request made still exists, the answer
    /// is the same as the first time, which the client may not have received.
    fn repeated_complete(&self, name: Name<'_>, command: &CompleteUpload) -> Result<Outcome> {
        let made = read::made_by_upload(&self.rows, name, command.upload_id)?;
        Ok(match made.filter(|version| made_by(command, version)) {
            Some(version) => {
                engine::reach!("complete-repeated");
                Outcome::Written { version: version.into() }
            }
            None => Outcome::NoSuchUpload,
        })
    }

    /// An upload's parts, by ascending number.
    fn parts(&self, name: Name<'_>, upload_id: Bytes16) -> Result<Vec<PartRecord>> {
        let start = name.part(upload_id, 0);
        let end = key::prefix_end(&name.upload(upload_id));
        let mut parts = Vec::new();
        self.rows.scan(&start, &end, &mut |_, value| {
            parts.push(PartRecord::from_row(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(parts)
    }

    /// Deletes an upload's rows, and releases the blobs of those of its parts that are unused.
    fn end_upload(
        &mut self,
        name: Name<'_>,
        upload_id: Bytes16,
        parts: &[PartRecord],
        mut unused: impl FnMut(&PartRecord) -> bool,
        changes: &mut Vec<Change>,
    ) {
        self.rows.delete(name.upload(upload_id));
        for part in parts {
            let number = u16::try_from(part.number).expect("apply stores part numbers up to 10,000 only");
            self.rows.delete(name.part(upload_id, number));
            if unused(part) {
                self.release(&part.blob, changes);
            }
        }
        changes.push(Change::Upload { upload_id, open: false });
    }
}

/// The stored parts that the client lists, or why it can't have them.
fn choose<'a>(named: &[CompletedPart], stored: &'a [PartRecord]) -> Result<Vec<&'a PartRecord>, Refused> {
    if named.is_empty() {
        return Err(Outcome::InvalidPart { number: 0 });
    }
    if !named.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Outcome::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for (index, part) in named.iter().enumerate() {
        let number = part.number;
        let found = stored.binary_search_by_key(&number, |part| part.number).map(|at| &stored[at]);
        let found = found.map_err(|_| Outcome::InvalidPart { number })?;
        let same_checksum = part.checksum.is_empty() || part.checksum == found.checksum;
        if part.md5 != found.md5 || !same_checksum {
            return Err(Outcome::InvalidPart { number });
        }
        if found.size < MIN_PART_BYTES && index + 1 < named.len() {
            return Err(Outcome::EntityTooSmall { number, size: found.size });
        }
        chosen.push(found);
    }
    Ok(chosen)
}

/// Whether a Complete of the version's upload asks for exactly this version.
fn made_by(command: &CompleteUpload, version: &VersionRecord) -> bool {
    let same = |(part, blob): (&CompletedPart, &BlobRef)| {
        part.number == blob.part_number
            && Some(part.md5) == blob.md5
            && (part.checksum.is_empty() || part.checksum == blob.checksum)
    };
    command.parts.len() == version.blobs.len()
        && command.parts.iter().zip(&version.blobs).all(same)
        && command.expected_size.is_none_or(|size| size == version.size)
        && (command.expected_checksum.is_none() || command.expected_checksum == version.checksum)
}

/// Assembles the version from the chosen parts.
fn assemble(
    command: &CompleteUpload,
    upload: UploadRecord,
    chosen: &[&PartRecord],
) -> Result<VersionRecord, Refused> {
    let size = chosen.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size));
    let size = size.filter(|&size| size <= MAX_OBJECT_BYTES).ok_or(Outcome::EntityTooLarge)?;
    if command.expected_size.is_some_and(|expected| expected != size) {
        return Err(Outcome::SizeMismatch);
    }
    let checksum = checksum_of(upload.checksum, chosen)?;
    if command.expected_checksum.is_some() && command.expected_checksum != checksum {
        return Err(Outcome::BadChecksum);
    }
    let mut md5 = Md5::new();
    for part in chosen {
        md5.update(part.md5.to_bytes());
    }
    let md5: [u8; 16] = md5.finalize().into();
    Ok(VersionRecord {
        version_id: command.version_id,
        kind: VersionKind::Object.into(),
        upload_id: Some(command.upload_id),
        size,
        md5: md5.into(),
        part_count: u32::try_from(chosen.len()).expect("part numbers are 10,000 at most"),
        headers: upload.headers,
        checksum,
        blobs: chosen.iter().map(|part| blob_of(part)).collect(),
        storage_class: upload.storage_class,
        ..VersionRecord::default()
    })
}

/// The checksum that the chosen parts add up to. An upload that asked for none gets the default one if each part
/// brought its share; a part that came with a checksum of another algorithm did not.
fn checksum_of(asked: Option<ChecksumSpec>, chosen: &[&PartRecord]) -> Result<Option<Checksum>, Refused> {
    let spec = asked.unwrap_or(ChecksumSpec::DEFAULT);
    let len = spec.algorithm().map_or(0, ChecksumAlgorithm::value_len);
    let lacking = chosen.iter().find(|part| part.checksum.len() != len);
    match (lacking, asked) {
        (Some(_), None) => return Ok(None),
        (Some(part), Some(_)) => return Err(Outcome::InvalidPart { number: part.number }),
        (None, _) => {}
    }
    let parts: Vec<_> = chosen.iter().map(|part| (part.checksum.as_slice(), part.size)).collect();
    checksum::combine(spec, &parts).map(Some).ok_or(Outcome::BadChecksum)
}

/// A part's blob as its version refers to it.
fn blob_of(part: &PartRecord) -> BlobRef {
    BlobRef {
        part_number: part.number,
        md5: Some(part.md5),
        checksum: part.checksum.clone(),
        ..part.blob.clone()
    }
}
