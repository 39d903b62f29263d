//! Buckets.

use super::{Change, Session};
use crate::{
    Result,
    command::{CreateBucket, DeleteBucket, Outcome},
    key::{self, RowKey},
    kv::Reader,
    record::{BucketRecord, PartRecord, Record, Versioning},
};
use std::{ops::ControlFlow, sync::Arc};

/// Maximum number of upload rows that deleting a bucket removes with it. With more of them, the bucket counts as
/// not empty: abort uploads first. This bounds the work of one command.
pub const MAX_UPLOAD_ROWS_OF_DELETED_BUCKET: usize = 20_000;

impl<R: Reader> Session<'_, R> {
    pub(super) fn create_bucket(
        &mut self,
        command: CreateBucket,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let Ok(row) = key::bucket(&command.name) else { return Ok(Outcome::InvalidKey) };
        if let Some(existing) = self.bucket(&command.name)? {
            return Ok(Outcome::BucketAlreadyExists { same_owner: existing.owner == command.owner });
        }
        let record = Arc::new(BucketRecord {
            name: command.name.clone(),
            created_ms: self.at_ms,
            owner: command.owner,
            versioning: Versioning::Unversioned.into(),
        });
        self.rows.put(row, record.to_row());
        self.remember_bucket(&command.name, Some(record.clone()));
        changes.push(Change::Bucket { name: command.name, record: Some(record) });
        Ok(Outcome::Done)
    }

    /// A bucket is empty if it has no versions, delete markers included. Uploads in progress do not count, as at
    /// AWS: they end with the bucket.
    pub(super) fn delete_bucket(
        &mut self,
        command: &DeleteBucket,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let name = command.name.as_str();
        let Ok(row) = key::bucket(name) else { return Ok(Outcome::InvalidKey) };
        if self.bucket(name)?.is_none() {
            return Ok(Outcome::NoSuchBucket);
        }
        let versions = key::in_bucket(key::TAG_VERSION, name);
        let mut empty = true;
        self.rows.scan(&versions, &key::prefix_end(&versions), &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        })?;
        if !empty {
            return Ok(Outcome::BucketNotEmpty);
        }
        let uploads = key::in_bucket(key::TAG_UPLOAD, name);
        let mut rows = Vec::new();
        let mut blobs = Vec::new();
        let mut ended = Vec::new();
        self.rows.scan(&uploads, &key::prefix_end(&uploads), &mut |row, value| {
            match key::decode(row)? {
                RowKey::Part(..) => blobs.push(PartRecord::from_row(value)?.blob),
                RowKey::Upload(_, upload_id) => ended.push(Change::Upload { upload_id, open: false }),
                _ => {}
            }
            rows.push(row.to_vec());
            let enough = rows.len() > MAX_UPLOAD_ROWS_OF_DELETED_BUCKET;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if rows.len() > MAX_UPLOAD_ROWS_OF_DELETED_BUCKET {
            return Ok(Outcome::BucketNotEmpty);
        }
        for row in rows {
            self.rows.delete(row);
        }
        for blob in &blobs {
            self.release(blob, changes);
        }
        changes.append(&mut ended);
        self.rows.delete(row);
        self.remember_bucket(name, None);
        changes.push(Change::Bucket { name: name.to_owned(), record: None });
        Ok(Outcome::Done)
    }
}
