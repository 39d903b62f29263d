//! The Range header (RFC 9110, 14.2), as S3 interprets it.

use crate::error::{Code, S3Error};

/// A requested range, before the size of the object is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From an offset to the end.
    From(u64),
    /// From one offset to another, both inclusive.
    FromTo(u64, u64),
    /// The last N bytes.
    Last(u64),
}

/// A range of bytes of an object; empty only if the object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first byte.
    pub start: u64,
    /// The number of bytes.
    pub length: u64,
}

impl ByteRange {
    /// Parses the header. Returns `None` for a range that has to be ignored: another unit, several ranges (S3 answers
    /// those with the whole object), an end before the start, or white space, which the grammar does not allow.
    pub fn parse(header: &[u8]) -> Option<ByteRange> {
        let text = std::str::from_utf8(header).ok()?;
        let (unit, set) = text.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        match set.split_once('-')? {
            ("", last) => Some(ByteRange::Last(number(last)?)),
            (first, "") => Some(ByteRange::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(ByteRange::FromTo(first, last))
            }
        }
    }

    /// The bytes that the range selects in an object of `size` bytes; InvalidRange if there are none. For an empty
    /// object, a suffix range selects the whole, empty object (RFC 9110, 14.1.2), so that clients can read a footer
    /// without knowing the size.
    pub fn resolve(self, size: u64) -> Result<Extent, S3Error> {
        let (start, end) = match self {
            ByteRange::From(first) => (first, size),
            ByteRange::FromTo(first, last) => (first, last.saturating_add(1).min(size)),
            ByteRange::Last(length) => (size.saturating_sub(length), size),
        };
        let whole_empty_object = size == 0 && matches!(self, ByteRange::Last(1..));
        if start >= end && !whole_empty_object {
            return Err(Code::InvalidRange
                .field("ActualObjectSize", size.to_string())
                .header("Content-Range", format!("bytes */{size}")));
        }
        Ok(Extent { start, length: end - start })
    }

    /// Parses `x-amz-copy-source-range`, which is stricter: it allows only `bytes=first-last`, and only within the
    /// source.
    pub fn parse_copy_source(header: &[u8]) -> Result<ByteRange, S3Error> {
        match (header.starts_with(b"bytes="), ByteRange::parse(header)) {
            (true, Some(range @ ByteRange::FromTo(..))) => Ok(range),
            _ => Err(Code::InvalidArgument
                .with(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are \
                     the zero-based offsets of the first and last bytes to copy",
                )
                .field("ArgumentName", "x-amz-copy-source-range")),
        }
    }

    /// The bytes that the range selects in the source of a copy, which must contain all of them.
    pub fn resolve_copy_source(self, size: u64) -> Result<Extent, S3Error> {
        match self {
            ByteRange::FromTo(_, last) if last < size => self.resolve(size),
            _ => Err(Code::InvalidArgument
                .with(format!("Range specified is not valid for source object of size: {size}"))
                .field("ArgumentName", "x-amz-copy-source-range")),
        }
    }
}

/// Digits only. A number too large for u64 becomes the largest one, which is past the end of any object anyway.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolve(header: &str, size: u64) -> Option<Result<(u64, u64), Code>> {
        let extent = ByteRange::parse(header.as_bytes())?.resolve(size);
        Some(extent.map(|e| (e.start, e.length)).map_err(|e| e.code()))
    }

    #[test]
    fn every_form_gives_its_bytes() {
        assert_eq!(resolve("bytes=0-9", 100), Some(Ok((0, 10))));
        assert_eq!(resolve("bytes=90-200", 100), Some(Ok((90, 10))));
        assert_eq!(resolve("Bytes=5-5", 100), Some(Ok((5, 1))));
        assert_eq!(resolve("bytes=99-", 100), Some(Ok((99, 1))));
        assert_eq!(resolve("bytes=-10", 100), Some(Ok((90, 10))));
        assert_eq!(resolve("bytes=-1000", 100), Some(Ok((0, 100))));
        assert_eq!(resolve("bytes=0-99999999999999999999999", 100), Some(Ok((0, 100))));
    }

    #[test]
    fn a_range_that_cannot_be_satisfied_is_refused() {
        for (header, size) in [
            ("bytes=100-", 100),
            ("bytes=100-200", 100),
            ("bytes=-0", 100),
            ("bytes=-0", 0),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
        ] {
            assert_eq!(resolve(header, size), Some(Err(Code::InvalidRange)), "{header}");
        }
    }

    /// A suffix range of an empty object was refused, where AWS answers 200 with an empty body. Readers of file formats
    /// with a footer failed on empty files.
    #[test]
    fn a_suffix_range_of_an_empty_object_selects_the_object() {
        assert_eq!(resolve("bytes=-5", 0), Some(Ok((0, 0))));
    }

    #[test]
    fn anything_but_a_single_range_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-0",
            "bytes=0-1,5-6",
            "bytes=a-b",
            "bytes=+1-2",
            "items=0-1",
            "0-1",
        ] {
            assert_eq!(resolve(header, 100), None, "{header}");
        }
    }

    /// White space used to be skipped: first all of Unicode's, then spaces and tabs. A range that another parser
    /// considers invalid was honoured, so the two disagreed about the length of the response.
    #[test]
    fn a_range_with_white_space_is_ignored() {
        for space in [' ', '\t', '\u{a0}', '\u{2003}', '\u{85}', '\n', '\u{c}'] {
            for header in [
                format!("bytes{space}=0-9"),
                format!("bytes={space}0-9"),
                format!("bytes=0{space}-9"),
                format!("bytes=0-{space}9"),
                format!("bytes=0-9{space}"),
                format!("{space}bytes=0-9"),
                format!("bytes=-{space}9"),
            ] {
                assert_eq!(resolve(&header, 100), None, "{header:?}");
            }
        }
    }

    #[test]
    fn the_range_of_a_copy_must_lie_within_its_source() {
        let resolve =
            |header: &str| ByteRange::parse_copy_source(header.as_bytes())?.resolve_copy_source(100);
        assert_eq!(resolve("bytes=0-99").unwrap(), Extent { start: 0, length: 100 });
        for header in ["bytes=0-100", "bytes=5-", "bytes=-5", "0-5", "bytes=0-1,3-4"] {
            assert_eq!(resolve(header).unwrap_err().code(), Code::InvalidArgument, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_object(a in any::<u64>(), b in any::<u64>(), size in any::<u64>(), form in 0..3) {
            let text = match form { 0 => format!("bytes={a}-{b}"), 1 => format!("bytes={a}-"), _ => format!("bytes=-{a}") };
            if let Some(Ok((start, length))) = resolve(&text, size) {
                prop_assert!((length > 0 || size == 0) && start.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
