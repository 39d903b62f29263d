//! `x-amz-copy-source`: the object that CopyObject and UploadPartCopy read.

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::name::{BucketName, ObjectKey};
use crate::uri::{self, Query};

/// A copy's source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CopySource {
    pub bucket: BucketName,
    pub key: ObjectKey,
    /// The version id; may be `null`.
    pub version_id: Option<String>,
}

impl CopySource {
    /// Parses the header: `bucket/key` or `/bucket/key`, percent-encoded, optionally followed by `?versionId=`.
    pub fn from_head(head: &RequestHead) -> Result<CopySource, S3Error> {
        let invalid = |why: &str| Code::InvalidArgument.with(why).field("ArgumentName", "x-amz-copy-source");
        let source =
            head.header("x-amz-copy-source").ok_or_else(|| invalid("There is no x-amz-copy-source."))?;
        if source.starts_with(b"arn:") {
            return Err(Code::NotImplemented.with("Copy sources by access point are not implemented."));
        }
        // The query of an encoded source begins at its last '?', since one in the key is encoded as %3F. A source that
        // is not encoded may contain others before it.
        let (path, query) = match memchr::memmem::rfind(source, b"?versionId=") {
            Some(at) => (&source[..at], &source[at + 1..]),
            None => (source, &source[..0]),
        };
        // Some clients also encode the first slash.
        let decoded = uri::decode_str(path, false)?;
        let path = decoded.strip_prefix('/').unwrap_or(&decoded);
        let (bucket, key) =
            path.split_once('/').ok_or_else(|| invalid("The copy source must have the form bucket/key."))?;
        if key.is_empty() {
            return Err(invalid("The copy source must have the form bucket/key."));
        }
        let version_id = Query::new(query).get("versionId")?.map(|id| id.into_owned());
        if version_id.as_deref() == Some("") {
            return Err(invalid("Version id cannot be the empty string"));
        }
        Ok(CopySource { bucket: BucketName::parse(bucket)?, key: ObjectKey::parse(key)?, version_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> Result<(String, String, Option<String>), Code> {
        let mut head = RequestHead::new();
        let text = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-copy-source: {source}\r\n\r\n");
        head.parse(text.as_bytes()).unwrap().unwrap();
        let source = CopySource::from_head(&head).map_err(|e| e.code())?;
        Ok((source.bucket.into_string(), source.key.into_string(), source.version_id))
    }

    #[test]
    fn every_form_yields_bucket_key_and_version() {
        let plain = |key: &str| Ok(("bucket".to_string(), key.to_string(), None));
        assert_eq!(of("bucket/k"), plain("k"));
        assert_eq!(of("/bucket/a%2Fb%20c+d//e"), plain("a/b c+d//e"));
        assert_eq!(of("%2Fbucket%2Fk"), plain("k"));
        assert_eq!(of("bucket//k"), plain("/k"));
        assert_eq!(of("bucket/k?x"), plain("k?x"));
        assert_eq!(of("bucket/k%3FversionId=1"), plain("k?versionId=1"));
        assert_eq!(of("bucket/k?versionId=null"), Ok(("bucket".into(), "k".into(), Some("null".into()))));
    }

    #[test]
    fn a_source_that_names_no_object_is_refused() {
        for (source, code) in [
            ("", Code::InvalidArgument),
            ("bucket", Code::InvalidArgument),
            ("bucket/", Code::InvalidArgument),
            ("bucket/k?versionId=", Code::InvalidArgument),
            ("Bu/k", Code::InvalidBucketName),
            ("bucket/../k", Code::InvalidURI),
            ("bucket/%ff", Code::InvalidURI),
            ("arn:aws:s3:us-west-2:1:accesspoint/x/object/k", Code::NotImplemented),
        ] {
            assert_eq!(of(source), Err(code), "{source}");
        }
    }
}
