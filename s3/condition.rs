//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, and their
//! `x-amz-copy-source-` twins, in the precedence of RFC 9110, 13.2.2, which AWS follows.
//!
//! An entity tag that matches outranks the date of the same sense: If-Match that holds makes
//! If-Unmodified-Since not count; If-None-Match makes If-Modified-Since not count.

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::time;

/// The conditions of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<u64>,
    if_unmodified_since: Option<u64>,
}

/// What a tag condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<String>),
}

impl Tags {
    fn parse(header: &[u8]) -> Tags {
        let text = String::from_utf8_lossy(header);
        if text.trim() == "*" {
            return Tags::Any;
        }
        // S3's tags hold no commas, and S3 takes them with quotes or without.
        let tag = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        Tags::These(text.split(',').map(tag).collect())
    }

    fn names(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

fn failed(condition: &'static str) -> S3Error {
    Code::PreconditionFailed.field("Condition", condition)
}

impl Conditions {
    /// Those of a read or write of the object itself.
    pub fn from_head(head: &RequestHead) -> Conditions {
        Conditions::named(head, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
    }

    /// Those on the source of a copy.
    pub fn from_copy_source(head: &RequestHead) -> Conditions {
        Conditions::named(
            head,
            [
                "x-amz-copy-source-if-match",
                "x-amz-copy-source-if-none-match",
                "x-amz-copy-source-if-modified-since",
                "x-amz-copy-source-if-unmodified-since",
            ],
        )
    }

    fn named(head: &RequestHead, [matches, none_match, modified, unmodified]: [&str; 4]) -> Conditions {
        // A date that is none is ignored (RFC 9110, 13.1.3).
        let date = |name| head.header(name).and_then(time::parse_http_date);
        Conditions {
            if_match: head.header(matches).map(Tags::parse),
            if_none_match: head.header(none_match).map(Tags::parse),
            if_modified_since: date(modified),
            if_unmodified_since: date(unmodified),
        }
    }

    /// For GET and HEAD of an object with this tag (without quotes), last modified at this second:
    /// NotModified or PreconditionFailed where a condition does not hold.
    pub fn check_read(&self, etag: &str, modified_ms: u64) -> Result<(), S3Error> {
        self.check(etag, modified_ms / 1000, true)
    }

    /// For the source of a copy: the answer is PreconditionFailed whichever condition does not hold.
    pub fn check_copy_source(&self, etag: &str, modified_ms: u64) -> Result<(), S3Error> {
        self.check(etag, modified_ms / 1000, false)
    }

    fn check(&self, etag: &str, modified_s: u64, read: bool) -> Result<(), S3Error> {
        let unchanged = |condition| if read { S3Error::from(Code::NotModified) } else { failed(condition) };
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.names(etag) => return Err(failed("If-Match")),
            (None, Some(since)) if modified_s > since => return Err(failed("If-Unmodified-Since")),
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.names(etag) => Err(unchanged("If-None-Match")),
            (None, Some(since)) if modified_s <= since => Err(unchanged("If-Modified-Since")),
            _ => Ok(()),
        }
    }

    /// For writes (PutObject, CompleteMultipartUpload, the target of CopyObject, DeleteObject): `current` is
    /// the tag of the current version, none where there is no object. If-None-Match takes only `*`; dates
    /// don't apply.
    pub fn check_write(&self, current: Option<&str>) -> Result<(), S3Error> {
        match (&self.if_none_match, current) {
            (Some(Tags::These(_)), _) => {
                return Err(Code::NotImplemented.with("If-None-Match of a write can only be '*'."));
            }
            (Some(Tags::Any), Some(_)) => return Err(failed("If-None-Match")),
            _ => {}
        }
        match (&self.if_match, current) {
            (Some(_), None) => Err(Code::NoSuchKey.into()),
            (Some(tags), Some(etag)) if !tags.names(etag) => Err(failed("If-Match")),
            _ => Ok(()),
        }
    }

    /// Whether a write demands that there be no object.
    pub fn demands_absence(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// Tags one of which a write demands of the present object; `*` gives an empty list: any object will do.
    pub fn demanded_tags(&self) -> Option<&[String]> {
        match &self.if_match {
            Some(Tags::These(tags)) => Some(tags),
            Some(Tags::Any) => Some(&[]),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::head;

    const DAY: u64 = 784_111_777;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn conditions(headers: &str) -> Conditions {
        Conditions::from_head(&head(headers))
    }

    fn read(headers: &str) -> u16 {
        conditions(headers).check_read("abc", DAY * 1000 + 999).map_or_else(|e| e.status(), |()| 200)
    }

    #[test]
    fn each_condition_of_a_read_counts() {
        for (headers, status) in [
            ("".to_owned(), 200),
            ("If-Match: \"abc\"\r\n".into(), 200),
            ("If-Match: abc\r\n".into(), 200),
            ("If-Match: *\r\n".into(), 200),
            ("If-Match: \"x\", \"abc\"\r\n".into(), 200),
            ("If-Match: \"x\"\r\n".into(), 412),
            ("If-None-Match: \"abc\"\r\n".into(), 304),
            ("If-None-Match: W/\"abc\"\r\n".into(), 304),
            ("If-None-Match: *\r\n".into(), 304),
            ("If-None-Match: \"x\"\r\n".into(), 200),
            (format!("If-Modified-Since: {THEN}\r\n"), 304),
            (format!("If-Modified-Since: {BEFORE}\r\n"), 200),
            (format!("If-Unmodified-Since: {THEN}\r\n"), 200),
            (format!("If-Unmodified-Since: {BEFORE}\r\n"), 412),
            ("If-Modified-Since: nonsense\r\n".into(), 200),
        ] {
            assert_eq!(read(&headers), status, "{headers}");
        }
    }

    #[test]
    fn tags_outrank_dates() {
        assert_eq!(read(&format!("If-Match: abc\r\nIf-Unmodified-Since: {BEFORE}\r\n")), 200);
        assert_eq!(read(&format!("If-None-Match: x\r\nIf-Modified-Since: {THEN}\r\n")), 200);
        assert_eq!(read(&format!("If-None-Match: abc\r\nIf-Modified-Since: {BEFORE}\r\n")), 304);
        assert_eq!(read("If-Match: x\r\nIf-None-Match: abc\r\n"), 412);
    }

    #[test]
    fn a_copys_source_never_answers_not_modified() {
        let head = head("x-amz-copy-source-if-none-match: abc\r\n");
        let error = Conditions::from_copy_source(&head).check_copy_source("abc", 0).unwrap_err();
        assert_eq!(
            (error.code(), error.field_value("Condition")),
            (Code::PreconditionFailed, Some("If-None-Match"))
        );
        assert_eq!(Conditions::from_head(&head), Conditions::default());
    }

    #[test]
    fn writes_may_demand_absence_or_a_tag() {
        let write = |headers: &str, current| conditions(headers).check_write(current).map_err(|e| e.code());
        assert_eq!(write("If-None-Match: *\r\n", None), Ok(()));
        assert_eq!(write("If-None-Match: *\r\n", Some("abc")), Err(Code::PreconditionFailed));
        assert_eq!(write("If-None-Match: \"abc\"\r\n", None), Err(Code::NotImplemented));
        assert_eq!(write("If-Match: \"abc\"\r\n", Some("abc")), Ok(()));
        assert_eq!(write("If-Match: \"abc\"\r\n", Some("x")), Err(Code::PreconditionFailed));
        assert_eq!(write("If-Match: \"abc\"\r\n", None), Err(Code::NoSuchKey));
        assert_eq!(conditions("If-Match: \"abc\"\r\n").demanded_tags(), Some(&["abc".to_string()][..]));
        assert!(conditions("If-None-Match: *\r\n").demands_absence());
    }
}
