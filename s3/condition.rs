//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and their `x-amz-copy-source-`
//! counterparts, in the precedence of RFC 9110, 13.2.2, which AWS follows; and If-Range.
//!
//! Entity tags take precedence over dates: with If-Match, If-Unmodified-Since is ignored; with If-None-Match,
//! If-Modified-Since is ignored.

use std::borrow::Cow;

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

/// The tags that a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<String>),
}

impl Tags {
    /// Reads a header, whose list may span several lines (RFC 9110, 5.3). S3's tags contain no commas, and S3 accepts
    /// them with or without quotes.
    fn read(head: &RequestHead, name: &str, comparison: Comparison) -> Option<Tags> {
        let mut lines = head.header_all(name).map(String::from_utf8_lossy);
        let mut list = lines.next()?;
        for line in lines {
            list = Cow::Owned(format!("{list},{line}"));
        }
        if list.trim() == "*" {
            return Some(Tags::Any);
        }
        let tag = |tag: &str| match (tag.trim(), comparison) {
            (tag, Comparison::Weak) => unquoted(tag.strip_prefix("W/").unwrap_or(tag)),
            // A weak tag keeps its prefix, so it equals none of our tags.
            (tag, Comparison::Strong) => unquoted(tag),
        };
        Some(Tags::These(list.split(',').map(tag).collect()))
    }

    fn names(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// How tags are compared (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    /// A weak tag matches nothing.
    Strong,
    /// Weak and strong tags match alike.
    Weak,
}

fn unquoted(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}

/// Whether to honour the request's range. Without If-Range it is honoured; with it, only if If-Range names the object's
/// current tag (without quotes) or the second of its last modification (RFC 9110, 13.1.5). Weak tags, and anything that
/// is neither a tag nor a date, never hold: the client then gets the whole object.
pub fn if_range_holds(head: &RequestHead, etag: &str, modified_ms: u64) -> bool {
    let mut lines = head.header_all("if-range");
    let Some(validator) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    match validator {
        [b'"', tag @ .., b'"'] => tag == etag.as_bytes(),
        date => time::parse_http_date(date) == Some(modified_ms / 1000),
    }
}

fn failed(condition: &'static str) -> S3Error {
    Code::PreconditionFailed.field("Condition", condition)
}

impl Conditions {
    /// The conditions on the object that a request reads or writes.
    pub fn from_head(head: &RequestHead) -> Conditions {
        Conditions::named(head, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
    }

    /// The conditions on the source of a copy.
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
        // An invalid date is ignored (RFC 9110, 13.1.3).
        let date = |name| head.header(name).and_then(time::parse_http_date);
        Conditions {
            if_match: Tags::read(head, matches, Comparison::Strong),
            if_none_match: Tags::read(head, none_match, Comparison::Weak),
            if_modified_since: date(modified),
            if_unmodified_since: date(unmodified),
        }
    }

    /// Checks a GET or HEAD of an object with this tag (without quotes) and time of last modification: NotModified or
    /// PreconditionFailed if a condition does not hold.
    pub fn check_read(&self, etag: &str, modified_ms: u64) -> Result<(), S3Error> {
        self.check(etag, modified_ms / 1000, true)
    }

    /// Checks the source of a copy: PreconditionFailed whichever condition does not hold.
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

    /// Checks a write (PutObject, CompleteMultipartUpload, the target of CopyObject, DeleteObject). `current` is the
    /// tag of the current version, `None` if there is no object. If-None-Match accepts only `*`; dates do not apply.
    pub fn check_write(&self, current: Option<&str>) -> Result<(), S3Error> {
        self.check_writable()?;
        if self.requires_absence() && current.is_some() {
            return Err(failed("If-None-Match"));
        }
        match (&self.if_match, current) {
            (Some(_), None) => Err(Code::NoSuchKey.into()),
            (Some(tags), Some(etag)) if !tags.names(etag) => Err(failed("If-Match")),
            _ => Ok(()),
        }
    }

    /// Refuses conditions that no write supports, whatever it would replace.
    pub fn check_writable(&self) -> Result<(), S3Error> {
        match &self.if_none_match {
            Some(Tags::These(_)) => {
                Err(Code::NotImplemented.with("If-None-Match of a write can only be '*'."))
            }
            Some(Tags::Any) | None => Ok(()),
        }
    }

    /// Whether a write requires that the object does not exist.
    pub fn requires_absence(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// The tags of which the current object must have one. `*` gives an empty list: any object will do.
    pub fn required_tags(&self) -> Option<&[String]> {
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

    /// Only the first line counted: a cache that held the object under the tag on the second line was sent all of it
    /// again.
    #[test]
    fn a_list_of_tags_may_be_spread_over_several_lines() {
        assert_eq!(read("If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n"), 304);
        assert_eq!(read("If-None-Match: \"x\"\r\nif-none-match: \"y\", \"z\"\r\n"), 200);
        assert_eq!(read("If-Match: \"x\"\r\nIf-Match: \"abc\"\r\n"), 200);
        let twice = head("x-amz-copy-source-if-match: x\r\nx-amz-copy-source-if-match: abc\r\n");
        assert!(Conditions::from_copy_source(&twice).check_copy_source("abc", 0).is_ok());
    }

    /// If-Match compares strongly (RFC 9110, 13.1.1), but the prefix of a weak tag was skipped.
    #[test]
    fn a_weak_tag_matches_only_for_if_none_match() {
        assert_eq!(read("If-Match: W/\"abc\"\r\n"), 412);
        assert_eq!(read("If-Match: W/\"abc\", \"abc\"\r\n"), 200);
        assert_eq!(read("If-None-Match: W/\"x\", W/\"abc\"\r\n"), 304);
    }

    /// If-Range was ignored: a download that was resumed after the object had changed got the end of a different
    /// object.
    #[test]
    fn if_range_holds_only_for_the_current_object() {
        for (validator, holds) in [
            ("\"abc\"", true),
            ("\"abd\"", false),
            ("W/\"abc\"", false),
            ("abc", false),
            ("\"x\", \"abc\"", false),
            ("*", false),
            ("", false),
            ("\"", false),
            (THEN, true),
            (BEFORE, false),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ] {
            let head = head(&format!("If-Range: {validator}\r\n"));
            assert_eq!(if_range_holds(&head, "abc", DAY * 1000 + 999), holds, "{validator}");
        }
        assert!(if_range_holds(&head(""), "abc", 0));
        assert!(!if_range_holds(&head("If-Range: \"abc\"\r\nIf-Range: \"abc\"\r\n"), "abc", 0));
    }

    #[test]
    fn tags_take_precedence_over_dates() {
        assert_eq!(read(&format!("If-Match: abc\r\nIf-Unmodified-Since: {BEFORE}\r\n")), 200);
        assert_eq!(read(&format!("If-None-Match: x\r\nIf-Modified-Since: {THEN}\r\n")), 200);
        assert_eq!(read(&format!("If-None-Match: abc\r\nIf-Modified-Since: {BEFORE}\r\n")), 304);
        assert_eq!(read("If-Match: x\r\nIf-None-Match: abc\r\n"), 412);
    }

    #[test]
    fn the_source_of_a_copy_never_answers_not_modified() {
        let head = head("x-amz-copy-source-if-none-match: abc\r\n");
        let error = Conditions::from_copy_source(&head).check_copy_source("abc", 0).unwrap_err();
        assert_eq!(
            (error.code(), error.field_value("Condition")),
            (Code::PreconditionFailed, Some("If-None-Match"))
        );
        assert_eq!(Conditions::from_head(&head), Conditions::default());
    }

    #[test]
    fn writes_may_require_absence_or_a_tag() {
        let write = |headers: &str, current| conditions(headers).check_write(current).map_err(|e| e.code());
        assert_eq!(write("If-None-Match: *\r\n", None), Ok(()));
        assert_eq!(write("If-None-Match: *\r\n", Some("abc")), Err(Code::PreconditionFailed));
        assert_eq!(write("If-None-Match: \"abc\"\r\n", None), Err(Code::NotImplemented));
        assert_eq!(write("If-Match: \"abc\"\r\n", Some("abc")), Ok(()));
        assert_eq!(write("If-Match: \"abc\"\r\n", Some("x")), Err(Code::PreconditionFailed));
        assert_eq!(write("If-Match: \"abc\"\r\n", None), Err(Code::NoSuchKey));
        assert_eq!(conditions("If-Match: \"abc\"\r\n").required_tags(), Some(&["abc".to_string()][..]));
        assert!(conditions("If-None-Match: *\r\n").requires_absence());
    }
}
