//! stub
#![allow(missing_docs, unused_variables, clippy::unused_async)]
use std::sync::Arc;
use crate::command::*; use crate::record::*; use crate::list::*;
pub struct Metadata;
pub struct Resolved { pub version: Option<Arc<VersionRecord>>, pub located: Option<engine::peer::Located> }
type R<T> = crate::Result<T>;
impl Metadata {
  pub async fn bucket(&self, name: &str) -> R<Option<Arc<BucketRecord>>> { panic!() }
  pub async fn resolve(&self, bucket: &str, key: &str, selector: Selector, locate: bool) -> R<Resolved> { panic!() }
  pub async fn commit(&self, command: Command) -> R<Outcome> { panic!() }
  pub async fn store_and_commit(&self, blob: engine::peer::SmallBlob, command: Command) -> R<Outcome> { panic!() }
  pub async fn upload(&self, bucket: &str, key: &str, id: Bytes16) -> R<Option<Arc<UploadRecord>>> { panic!() }
  pub async fn list_objects(&self, bucket: &str, prefix: &str, delimiter: Option<&str>, marker: &str, max: usize) -> R<Page<ListedObject, String>> { panic!() }
  pub async fn list_versions(&self, bucket: &str, prefix: &str, delimiter: Option<&str>, marker: &str, version: Option<VersionMarker>, max: usize) -> R<Page<ListedVersion, (String, Option<VersionMarker>)>> { panic!() }
  pub async fn list_uploads(&self, bucket: &str, prefix: &str, delimiter: Option<&str>, marker: &str, after: Option<Bytes16>, max: usize) -> R<Page<UploadRecord, (String, Option<Bytes16>)>> { panic!() }
  pub async fn list_parts(&self, bucket: &str, key: &str, id: Bytes16, after: u32, max: usize) -> R<Option<PartsPage>> { panic!() }
  pub async fn list_buckets(&self, prefix: &str, marker: &str, max: usize) -> R<(Vec<BucketRecord>, bool)> { panic!() }
}
