//! Listings, which reader threads read from the store.

use super::Metadata;
use crate::Result;
use crate::key::Name;
use crate::list::{self, ListedObject, ListedVersion, Page, PartsPage, Query, VersionMarker};
use crate::record::{BucketRecord, Bytes16, UploadRecord};

/// What a listing of a bucket's keys asks for; see [`Query`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: String,
    /// Keys must start with it.
    pub prefix: String,
    /// Groups keys.
    pub delimiter: Option<String>,
    /// Only keys or common prefixes after it.
    pub marker: String,
    /// Maximum number of entries on a page.
    pub max: usize,
}

impl ListQuery {
    fn borrowed(&self) -> Query<'_> {
        let delimiter = self.delimiter.as_deref();
        Query { prefix: &self.prefix, delimiter, marker: &self.marker, max: self.max }
    }
}

impl Metadata {
    /// Current objects; see [`list::objects`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn list_objects(&self, query: ListQuery) -> Result<Page<ListedObject, String>> {
        let read = move |view: &super::reads::View<'_>| list::objects(view, &query.bucket, query.borrowed());
        Ok(self.read_store(read).await?.1)
    }

    /// Versions; see [`list::versions`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn list_versions(
        &self,
        query: ListQuery,
        version: Option<VersionMarker>,
    ) -> Result<Page<ListedVersion, (String, Option<VersionMarker>)>> {
        let read = move |view: &super::reads::View<'_>| {
            list::versions(view, &query.bucket, query.borrowed(), version)
        };
        Ok(self.read_store(read).await?.1)
    }

    /// Uploads in progress; see [`list::uploads`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn list_uploads(
        &self,
        query: ListQuery,
        upload: Option<Bytes16>,
    ) -> Result<Page<UploadRecord, (String, Option<Bytes16>)>> {
        let read =
            move |view: &super::reads::View<'_>| list::uploads(view, &query.bucket, query.borrowed(), upload);
        Ok(self.read_store(read).await?.1)
    }

    /// Parts of an upload after number `after`; `None` if there is no such upload; see [`list::parts`].
    ///
    /// # Errors
    /// No key can have this name, or the store can't be read.
    pub async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload_id: Bytes16,
        after: u32,
        max: usize,
    ) -> Result<Option<PartsPage>> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let read = move |view: &super::reads::View<'_>| {
            list::parts(view, Name::new(&bucket, &key)?, upload_id, after, max)
        };
        Ok(self.read_store(read).await?.1)
    }

    /// Buckets whose names start with `prefix`, after `marker`, and whether there are more; see
    /// [`list::buckets`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn list_buckets(
        &self,
        prefix: &str,
        marker: &str,
        max: usize,
    ) -> Result<(Vec<BucketRecord>, bool)> {
        let (prefix, marker) = (prefix.to_owned(), marker.to_owned());
        let read = move |view: &super::reads::View<'_>| list::buckets(view, &prefix, &marker, max);
        Ok(self.read_store(read).await?.1)
    }
}
