//! ListObjects and ListObjectsV2 (AWS, "ListObjects", "ListObjectsV2").

use std::borrow::Cow;

use raft::list::{Entry, ListedObject, Page};
use raft::metadata::ListQuery;

use super::{Exchange, OWNER, body, list_limit, url_encoding};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::uri::Query;
use crate::xml::{self, list};

/// What both versions of the operation ask alike.
struct Asked<'a> {
    prefix: Cow<'a, str>,
    delimiter: Option<Cow<'a, str>>,
    max: u32,
    url: bool,
}

impl<'a> Asked<'a> {
    fn read(query: &Query<'a>) -> S3Result<Asked<'a>> {
        Ok(Asked {
            prefix: query.get("prefix")?.unwrap_or_default(),
            delimiter: query.get("delimiter")?.filter(|delimiter| !delimiter.is_empty()),
            max: list_limit(query, "max-keys", LIST_KEYS_MAX)?,
            url: url_encoding(query)?,
        })
    }

    fn page<'p>(&'p self, bucket: &'p str, truncated: bool) -> list::Page<'p> {
        list::Page {
            bucket,
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max_keys: u64::from(self.max),
            url: self.url,
            truncated,
        }
    }

    async fn fetch(&self, ex: &Exchange<'_, '_>, marker: &str) -> S3Result<Page<ListedObject, String>> {
        let bucket = ex.existing_bucket().await?;
        let query = ListQuery {
            bucket: bucket.to_owned(),
            prefix: self.prefix.clone().into_owned(),
            delimiter: self.delimiter.clone().map(Cow::into_owned),
            marker: marker.to_owned(),
            max: self.max as usize,
        };
        Ok(ex.service.metadata.list_objects(query).await?)
    }
}

/// Answers ListObjects.
pub(super) async fn v1(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let asked = Asked::read(&query)?;
    let marker = query.get("marker")?.unwrap_or_default();
    let found = asked.fetch(ex, &marker).await?;
    let bucket = ex.bucket()?;
    // AWS tells the next marker only where a delimiter makes it hard to guess; some clients rely on one always.
    let next = found.next.as_deref();
    let page = asked.page(bucket, next.is_some());
    Ok(Reply::xml(|out| with_rows(&found, true, |rows| list::objects_v1(page, &marker, next, rows, out))))
}

/// Answers ListObjectsV2.
pub(super) async fn v2(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let asked = Asked::read(&query)?;
    let start_after = query.get("start-after")?.filter(|key| !key.is_empty());
    let token = query.get("continuation-token")?;
    let fetch_owner = match query.get("fetch-owner")?.as_deref() {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(Code::InvalidArgument.with("fetch-owner must be true or false")),
    };
    if token.as_deref().is_some_and(str::is_empty) {
        return Err(Code::InvalidArgument.with("The continuation token provided is incorrect"));
    }
    let marker = match &token {
        Some(token) => Cow::Owned(super::read_token(token)?),
        None => start_after.clone().unwrap_or_default(),
    };
    let found = asked.fetch(ex, &marker).await?;
    let bucket = ex.bucket()?;
    let next = found.next.as_deref().map(super::write_token);
    let page = asked.page(bucket, next.is_some());
    let continuation = list::Continuation {
        start_after: start_after.as_deref(),
        token: token.as_deref(),
        next_token: next.as_deref(),
    };
    Ok(Reply::xml(|out| {
        with_rows(&found, fetch_owner, |rows| list::objects_v2(page, continuation, rows, out))
    }))
}

/// Gives `write` the rows of a page as the answer shows them.
fn with_rows(
    page: &Page<ListedObject, String>,
    with_owner: bool,
    write: impl FnOnce(&mut dyn Iterator<Item = list::Entry<'_>>),
) {
    let etags: Vec<String> = page
        .entries
        .iter()
        .map(|entry| match entry {
            Entry::Row(object) => object.current.etag(),
            Entry::CommonPrefix(_) => String::new(),
        })
        .collect();
    let mut rows = page.entries.iter().zip(&etags).map(|(entry, etag)| match entry {
        Entry::CommonPrefix(prefix) => list::Entry::CommonPrefix(prefix),
        Entry::Row(ListedObject { key, current }) => list::Entry::Object(list::Object {
            key,
            modified_ms: current.modified_ms,
            etag,
            size: current.size,
            owner: with_owner.then_some(OWNER),
            checksum: current.checksum.as_ref().and_then(|spec| {
                let kind = body::kind_of(spec.kind);
                Some(xml::Checksum {
                    algorithm: body::from_record(spec.algorithm)?,
                    text: "",
                    kind: Some(kind),
                })
            }),
        }),
    });
    write(&mut rows);
}
