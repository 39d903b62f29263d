//! The names of buckets and objects, validated once at the edge: code that holds one need not check it again.

use crate::error::{Code, S3Error};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// A valid bucket name (AWS, "General purpose bucket naming rules").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// Checks a name: 3 to 63 characters of `a-z0-9.-`, each label starting and ending with a letter or digit, not in
    /// the form of an IPv4 address, and without the prefixes and suffixes that AWS reserves.
    pub fn parse(name: &str) -> Result<BucketName, S3Error> {
        if Self::is_valid(name) {
            Ok(BucketName(name.to_owned()))
        } else {
            Err(Code::InvalidBucketName.field("BucketName", name))
        }
    }

    fn is_valid(name: &str) -> bool {
        const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
        const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
        let label = |label: &[u8]| {
            let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
            alphanumeric(label.first()) && alphanumeric(label.last())
        };
        let labels = || name.as_bytes().split(|b| *b == b'.');
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        (3..=63).contains(&name.len())
            && name.bytes().all(allowed)
            && labels().all(label)
            && !(name.bytes().all(|b| b.is_ascii_digit() || b == b'.') && labels().count() == 4)
            && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a `String`.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A valid key: 1 to 1024 bytes of UTF-8 without NUL. It is a string of bytes, not a path: nothing is normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks a decoded key.
    pub fn parse(key: impl Into<String>) -> Result<ObjectKey, S3Error> {
        let key = key.into();
        Self::check(&key)?;
        Ok(ObjectKey(key))
    }

    fn check(key: &str) -> Result<(), S3Error> {
        if key.is_empty() {
            return Err(Code::InvalidArgument.with("The key must not be empty."));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Code::KeyTooLongError
                .field("Size", key.len().to_string())
                .field("MaxSizeAllowed", KEY_BYTES_MAX.to_string()));
        }
        if memchr::memchr(0, key.as_bytes()).is_some() {
            return Err(Code::InvalidArgument.with("A key must not contain a NUL byte."));
        }
        if climbs(key) {
            return Err(Code::InvalidURI.with("The key's '..' climbs above the root."));
        }
        Ok(())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a `String`.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Whether the key, read as a path, climbs above its root. AWS refuses such keys, since clients that map keys to files
/// would write outside their folder.
fn climbs(key: &str) -> bool {
    if memchr::memmem::find(key.as_bytes(), b"..").is_none() {
        return false;
    }
    let mut depth = 0usize;
    for segment in key.split('/') {
        match segment {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

impl std::fmt::Display for BucketName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_awss_rules() {
        for good in ["abc", "a.b.c", "my-bucket-1", "1.2.3.x", "123", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            "a..b",
            ".ab",
            "ab.",
            "a.-b",
            "192.168.5.4",
            "xn--abc",
            "sthree-x",
            "amzn-s3-demo-x",
            "abc-s3alias",
            "abc--ol-s3",
            "abc--x-s3",
            "büx",
            "a b",
            &"a".repeat(64),
        ] {
            assert_eq!(BucketName::parse(bad).unwrap_err().code(), Code::InvalidBucketName, "{bad}");
        }
    }

    #[test]
    fn keys_are_bytes_not_paths() {
        for good in [
            "a",
            "a/b",
            "a//b",
            "/a",
            "./a",
            "a/../b",
            "/",
            "🐹",
            &"k".repeat(1024),
            "a/..",
            "..a",
            "a\r\n\u{1}",
        ] {
            assert_eq!(ObjectKey::parse(good).unwrap().as_str(), good);
        }
        let code = |key: &str| ObjectKey::parse(key).unwrap_err().code();
        assert_eq!(code("../a"), Code::InvalidURI);
        assert_eq!(code("a/../../b"), Code::InvalidURI);
        assert_eq!(code("./../b"), Code::InvalidURI);
        assert_eq!(code("a\0b"), Code::InvalidArgument);
        assert_eq!(code(""), Code::InvalidArgument);
        assert_eq!(code(&"k".repeat(1025)), Code::KeyTooLongError);
        assert_eq!(code(&"🐹".repeat(257)), Code::KeyTooLongError);
    }
}
